//! What is said of IpsecSAs.

use esplanade_crds::ProblemKind;

use super::build::{at, encryption, key, mk_secret};
use super::world::World;

#[test]
fn programmed_when_both_ends_confirm() {
    let mut world = World::two_nodes();
    let first = world.plan();
    assert_eq!(
        first.sa("a-to-b", "Programmed"),
        "False Pending: node a has no sealing key yet: is its agent running?; node b has no sealing key \
         yet: is its agent running?"
    );
    assert_eq!(first.sa_status["a-to-b"].spi, Some(0x1001));
    assert!(first.sa_status["a-to-b"].nodes.is_empty());

    world.apply(&first);
    world.agents_confirm();
    let second = world.plan();
    assert_eq!(second.sa("a-to-b", "Programmed"), "False Pending: waiting for a, b");

    world.apply(&second);
    world.agents_confirm();
    world.agent("b").observed_generation = Some(1);
    let third = world.plan();
    assert_eq!(third.sa("a-to-b", "Programmed"), "False Pending: waiting for b");
    assert_eq!(third.sa_status["a-to-b"].nodes, ["a"]);

    world.agents_confirm();
    let fourth = world.plan();
    assert_eq!(fourth.sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
    assert_eq!(fourth.sa_status["a-to-b"].nodes, ["a", "b"]);
}

#[test]
fn a_problem_is_told_in_the_kernels_words() {
    let mut world = World::settled();
    world.problem("a", ProblemKind::IpsecSA, "a-to-b", "KernelError", "Requested COMP algorithm not found");
    let plan = world.plan();
    assert_eq!(plan.sa("a-to-b", "Programmed"), "False KernelError: a: Requested COMP algorithm not found");
    assert_eq!(plan.sa_status["a-to-b"].nodes, ["b"]);
    assert_eq!(plan.sa("b-to-a", "Programmed"), "True Programmed: in the kernel of a, b");
}

#[test]
fn a_problem_of_another_kind_with_the_same_name_is_another_ones() {
    let mut world = World::settled();
    world.problem("a", ProblemKind::IpsecPolicy, "a-to-b", "KernelError", "no");
    assert_eq!(world.plan().sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
}

#[test]
fn a_problem_of_the_node_stands_in_the_way_until_it_confirms() {
    let mut world = World::settled();
    world.problem("a", ProblemKind::Node, "a", "KernelError", "Operation not permitted");
    assert_eq!(world.plan().sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
    world.agent("a").observed_generation = None;
    assert_eq!(world.plan().sa("a-to-b", "Programmed"), "False KernelError: a: Operation not permitted");
}

#[test]
fn what_an_agent_calls_a_problem_is_made_a_reason() {
    let mut world = World::settled();
    for (category, reason) in [("Unsealable", "Unsealable"), ("", "KernelError"), ("no word", "KernelError")]
    {
        world.agent("a").problems.clear();
        world.problem("a", ProblemKind::IpsecSA, "a-to-b", category, "x");
        assert_eq!(world.plan().sa("a-to-b", "Programmed"), format!("False {reason}: a: x"));
    }
    world.agent("a").problems.clear();
    world.problem("a", ProblemKind::IpsecSA, "a-to-b", "KernelError", &"ü".repeat(5000));
    let message = world.plan().sa("a-to-b", "Programmed");
    assert!(message.len() < 2100 && message.ends_with('…'));
}

#[test]
fn insecure_keying_is_told_only_while_true() {
    let mut world = World::settled();
    assert_eq!(world.plan().sa("a-to-b", "InsecureKeying"), "none");
    world.sa("a-to-b").spec.allow_insecure_manual_aead = true;
    assert_eq!(world.plan().sa("a-to-b", "InsecureKeying"), "none");
    let spec = &mut world.sa("a-to-b").spec;
    spec.encryption = encryption("AES-GCM-16-256");
    spec.integrity = None;
    assert_eq!(
        world.plan().sa("a-to-b", "InsecureKeying"),
        "True InsecureAlgorithm: AES-GCM-16-256 with a manual key: should a sender start again from \
         sequence number 0 with the same key, confidentiality and integrity are lost (RFC 8221 §3)"
    );
}

#[test]
fn two_aeads_with_one_key_are_told() {
    let mut world = World::settled();
    world.snapshot.secrets.insert("gcm".into(), mk_secret(&[("one", &[5; 36]), ("two", &[6; 36])]));
    for (sa, secret) in [("a-to-b", "one"), ("b-to-a", "two")] {
        let spec = &mut world.sa(sa).spec;
        (spec.integrity, spec.allow_insecure_manual_aead) = (None, true);
        spec.encryption = encryption("AES-GCM-16-256");
        spec.encryption.as_mut().unwrap().key_secret_ref = Some(key("gcm", secret));
    }
    assert!(world.plan().sa("a-to-b", "InsecureKeying").ends_with("are lost (RFC 8221 §3)"));
    let same = mk_secret(&[("one", &[5; 36]), ("two", &[5; 36])]);
    world.snapshot.secrets.insert("gcm".into(), same);
    assert!(
        world
            .plan()
            .sa("a-to-b", "InsecureKeying")
            .ends_with("; they are now: IpsecSA b-to-a has the same key, write one for each")
    );
}

#[test]
fn conditions_carry_generation_and_the_time_of_their_last_change() {
    let mut world = World::settled();
    let find = |plan: &crate::Plan, type_: &str| {
        plan.sa_status["a-to-b"].conditions.iter().find(|one| one.type_ == type_).unwrap().clone()
    };
    let before = world.plan();
    assert!(find(&before, "Programmed").last_transition_time < at(world.second));

    world.sa("a-to-b").metadata.generation = Some(2);
    world.sa("a-to-b").spec.reqid = Some(1);
    world.second = 1000;
    let refused = world.plan();
    let accepted = find(&refused, "Accepted");
    assert_eq!(accepted.observed_generation, Some(2));
    assert_eq!(accepted.last_transition_time, at(1001));

    world.apply(&refused);
    world.sa("a-to-b").spec.reqid = None;
    world.sa("a-to-b").spec.spi = Some(3);
    let refused = world.plan();
    let accepted = find(&refused, "Accepted");
    assert_eq!(accepted.message, "spi: 0 to 255 are reserved (RFC 4303 §2.1): write 256 to 4294967295");
    assert_eq!(accepted.last_transition_time, at(1001));
}
