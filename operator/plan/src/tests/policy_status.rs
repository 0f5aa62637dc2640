//! What is said of IpsecPolicies.

use esplanade_crds::{Enforcement, NodeCounts, ProblemKind};

use super::build::{mk_node, node};
use super::world::World;

#[test]
fn ready_when_everyone_confirms() {
    let mut world = World::two_nodes();
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "Accepted"), "True Accepted");
    assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(
        plan.policy("pods", "Encrypted"),
        "False Pending: not in every kernel: see condition Programmed"
    );
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Pending"));

    world.settle();
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "Programmed"), "True Programmed: in the kernel of a, b");
    assert_eq!(
        plan.policy("pods", "Encrypted"),
        "True Encrypted: traffic between all participants is encrypted"
    );
    let status = &plan.policy_status["pods"];
    assert_eq!(status.phase.as_deref(), Some("Ready"));
    assert_eq!(status.nodes, Some(NodeCounts { desired: 2, ready: 2, summary: "2/2".into() }));
    assert!(status.problems.is_empty());
}

#[test]
fn what_lacks_an_sa_is_not_programmed() {
    let mut world = World::settled();
    world.snapshot.sas.remove(1);
    world.settle();
    let plan = world.plan();
    let programmed = plan.policy("pods", "Programmed");
    assert_eq!(programmed, "False NotReady: something it names is missing: see condition ResolvedRefs");
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Degraded"));
}

#[test]
fn permissive_is_encrypted_too() {
    let mut world = World::settled();
    world.policy("pods").spec.protection.as_mut().unwrap().enforcement = Enforcement::Permissive;
    world.settle();
    assert!(world.plan().policy("pods", "Encrypted").starts_with("True"));
}

#[test]
fn a_node_that_is_behind_is_named() {
    let mut world = World::settled();
    world.agent("b").observed_generation = Some(1);
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "Programmed"), "False Pending: waiting for b");
    assert_eq!(plan.policy_status["pods"].nodes.as_ref().unwrap().summary, "1/2");
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Pending"));
}

#[test]
fn a_node_has_to_know_every_participants_peer() {
    let waiting = |edit: &dyn Fn(&mut World)| {
        let mut world = World::settled();
        edit(&mut world);
        world.plan().policy("pods", "Programmed")
    };
    for through in [None, Some(""), Some("0101"), Some("9"), Some("1x2")] {
        let through = through.map(str::to_owned);
        assert_eq!(
            waiting(&|world| world.agent("b").peers_applied_through = through.clone()),
            "False Pending: waiting for b"
        );
    }
    for version in [None, Some("0"), Some("999"), Some("new")] {
        let version = version.map(str::to_owned);
        assert_eq!(
            waiting(&|world| world.snapshot.peers[0].metadata.resource_version = version.clone()),
            "False Pending: waiting for a, b"
        );
    }
    assert_eq!(
        waiting(&|world| world.snapshot.peers[0].spec.addresses.clear()),
        "False Pending: waiting for a, b"
    );
    assert_eq!(
        waiting(&|world| {
            world.snapshot.peers.remove(1);
        }),
        "False Pending: waiting for a, b"
    );
}

#[test]
fn a_peer_that_takes_no_part_need_not_be_known() {
    let mut world = World::settled();
    world.snapshot.nodes.push(mk_node("c", &["10.0.0.3"], &[]));
    assert!(world.plan().policy("pods", "Programmed").starts_with("True"));
}

#[test]
fn problems_of_the_policy_and_of_its_ipsec_sas_count() {
    for (kind, name) in [(ProblemKind::IpsecPolicy, "pods"), (ProblemKind::IpsecSA, "a-to-b")] {
        let mut world = World::settled();
        world.problem("a", kind, name, "KernelError", "Invalid mode");
        let plan = world.plan();
        assert_eq!(plan.policy("pods", "Programmed"), "False KernelError: a: Invalid mode");
        assert!(plan.policy("pods", "Encrypted").starts_with("False Pending"));
        let status = &plan.policy_status["pods"];
        assert_eq!(status.phase.as_deref(), Some("Degraded"));
        assert_eq!(status.problems, ["a: Invalid mode"]);
        assert_eq!(status.nodes.as_ref().unwrap().summary, "1/2");
    }
    let mut world = World::settled();
    world.problem("a", ProblemKind::IpsecSA, "another", "KernelError", "Invalid mode");
    assert!(world.plan().policy("pods", "Programmed").starts_with("True"));
}

#[test]
fn only_the_first_few_problems_are_told() {
    let mut world = World::settled();
    for number in 0..12 {
        let name = format!("n{number:02}");
        world.snapshot.nodes.push(mk_node(&name, &[&format!("10.1.0.{}", number + 1)], &["10.250.0.0/24"]));
    }
    world.settle();
    for number in 0..12 {
        world.problem(&format!("n{number:02}"), ProblemKind::IpsecPolicy, "pods", "KernelError", "no");
    }
    let plan = world.plan();
    assert_eq!(plan.policy_status["pods"].problems.len(), 8);
    assert_eq!(
        plan.policy("pods", "Programmed"),
        "False KernelError: n00: no; n01: no; n02: no; n03: no; and 8 more"
    );
}

#[test]
fn a_policy_of_one_node_is_ready_by_itself() {
    let mut world = World::settled();
    let spec = &mut world.policy("pods").spec;
    spec.from[0].pod_cidrs = Some(node("a"));
    spec.action = esplanade_crds::Action::Discard;
    spec.protection = None;
    world.settle();
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "Programmed"), "True Programmed: in the kernel of a");
    assert_eq!(plan.policy("pods", "Encrypted"), "none");
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Ready"));
}
