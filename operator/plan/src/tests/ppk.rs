//! Post-quantum preshared keys of policies with automatic keys.

use esplanade_crds::{AutomaticKeying, Keying, NodePolicy, Phase, Protection, SealedKey, SealingKey};
use esplanade_seal::{KeyPair, Usage};

use super::automatic::world as without;
use super::build::{key, mk_secret};
use super::world::{World, open};
use crate::Plan;

const PPK: &[u8; 32] = b"32 bytes that nobody can foresee";

/// Nodes a, b and c, and the policy `pods` with a PPK in Secret `ppk` under `k`.
fn world() -> World {
    let mut world = without();
    let ppk_secret_ref = Some(key("ppk", "k"));
    let keying =
        Keying { automatic: Some(AutomaticKeying { ppk_secret_ref, ..Default::default() }), manual: None };
    world.policy("pods").spec.protection = Some(Protection { keying, ..Default::default() });
    world.snapshot.secrets.insert("ppk".into(), mk_secret(&[("k", PPK)]));
    world
}

fn told<'a>(plan: &'a Plan, node: &str) -> &'a NodePolicy {
    &plan.node_states[node].0.policies[0]
}

fn sealed<'a>(plan: &'a Plan, node: &str) -> &'a SealedKey {
    told(plan, node).automatic.as_ref().unwrap().ppk.as_ref().unwrap()
}

#[test]
fn each_node_gets_it_sealed_to_itself_before_anything_is_switched_on() {
    let mut world = world();
    // Nobody has a sealing key yet.
    let plan = world.write();
    assert!(plan.policies_at("a").is_empty());
    assert_eq!(
        plan.policy("pods", "Programmed"),
        "False Pending: node a has no sealing key yet: is its agent running?; node b has no sealing key yet: is its agent \
         running?; node c has no sealing key yet: is its agent running?"
    );
    world.agents_confirm();
    let plan = world.write();
    for node in ["a", "b", "c"] {
        assert_eq!(told(&plan, node).phase, Phase::Prepare);
        let ppk = open(node, "uid-of-pods", Usage::Ppk, sealed(&plan, node)).unwrap();
        assert_eq!(ppk.as_slice(), PPK);
        assert!(open(node, "uid-of-pods", Usage::Encryption, sealed(&plan, node)).is_err());
    }
    assert!(open("a", "uid-of-pods", Usage::Ppk, sealed(&plan, "b")).is_err());
    // What is sealed stays.
    assert_eq!(world.plan().node_states, plan.node_states);
}

#[test]
fn it_comes_to_be_in_force_as_without() {
    let mut world = World::in_force_in(world());
    let plan = world.plan();
    assert_eq!(world.phases(), [Some(Phase::Enforce); 3]);
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Ready"));
    assert!(plan.policy("pods", "ResolvedRefs").starts_with("True"));
}

#[test]
fn one_node_that_cannot_be_sealed_to_holds_up_all() {
    let mut world = World::with_keys_in(world());
    world.agent("c").sealing_key = None;
    for _ in 0..4 {
        world.write();
        for node in ["a", "b"] {
            let generation = world.state(node).metadata.generation;
            world.agent(node).observed_generation = generation;
        }
    }
    assert_eq!(world.phases(), [Some(Phase::Prepare), Some(Phase::Prepare), None]);
    assert!(world.plan().policy("pods", "Programmed").contains("node c has no sealing key yet"));
}

#[test]
fn without_the_secret_nothing_is_switched_on_and_the_words_say_what_to_do() {
    type Break = fn(&mut World);
    let cases: [(Break, &str); 4] = [
        (
            |world| drop(world.snapshot.secrets.remove("ppk")),
            "False SecretNotFound: there is no Secret ppk in namespace esplanade for the PPK: write kubectl -n esplanade \
             create secret generic ppk --from-file=k=FILE (32 bytes or more from a random generator, e.g. head -c 32 \
             /dev/urandom >FILE); until then nothing is switched on",
        ),
        (
            |world| drop(world.snapshot.secrets.insert("ppk".into(), mk_secret(&[("other", PPK)]))),
            "False SecretNotFound: Secret ppk in namespace esplanade has no key k (32 bytes or more wanted), it has other: \
             add it, or correct ppkSecretRef.key; until then nothing is switched on",
        ),
        (
            |world| drop(world.snapshot.secrets.insert("ppk".into(), mk_secret(&[("k", &PPK[1..])]))),
            "False InvalidKey: Secret ppk in namespace esplanade, key k: a post-quantum preshared key has 32 to 1024 bytes \
             (256 bits of entropy or more, RFC 8784 §6), this one has 31; until then nothing is switched on",
        ),
        (
            |world| drop(world.snapshot.secrets.insert("ppk".into(), mk_secret(&[("k", &[7; 1025])]))),
            "False InvalidKey: Secret ppk in namespace esplanade, key k: a post-quantum preshared key has 32 to 1024 bytes \
             (256 bits of entropy or more, RFC 8784 §6), this one has 1025; until then nothing is switched on",
        ),
    ];
    for (spoil, words) in cases {
        let mut world = world();
        spoil(&mut world);
        world.write();
        world.agents_confirm();
        let plan = world.write();
        assert_eq!(plan.policy("pods", "ResolvedRefs"), words);
        assert_eq!(plan.policy("pods", "Accepted"), "True Accepted");
        assert!(plan.policy("pods", "Encrypted").starts_with("False NotReady"));
        assert!(plan.policy("pods", "Programmed").starts_with("False NotReady"));
        assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Degraded"));
        assert!(["a", "b", "c"].iter().all(|node| plan.policies_at(node).is_empty()), "{words}");
        assert!(plan.peers["a"].selectors.is_empty());
    }
}

#[test]
fn what_is_in_force_stays_while_the_secret_is_away() {
    let mut world = World::in_force_in(world());
    let before = world.plan();
    let ppk = world.snapshot.secrets.remove("ppk").unwrap();
    let plan = world.write();
    assert_eq!((&plan.node_states, &plan.peers), (&before.node_states, &before.peers));
    let words = plan.policy("pods", "ResolvedRefs");
    assert!(
        words.ends_with("until then the nodes keep the policy as it was before, with the PPK that they have"),
        "{words}"
    );
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Degraded"));
    assert!(plan.policy("pods", "Encrypted").starts_with("Unknown"));
    world.snapshot.secrets.insert("ppk".into(), ppk);
    let plan = world.write();
    assert_eq!(plan.node_states, before.node_states);
    assert!(plan.policy("pods", "Programmed").starts_with("True"));
}

#[test]
fn a_node_that_was_rebooted_gets_it_anew_in_the_same_revision() {
    let mut world = World::in_force_in(world());
    let before = world.plan();
    let fresh = KeyPair::from_bytes(&[9; 32]);
    let (id, public_key) = (fresh.public().id(), fresh.public().to_base64());
    world.agent("b").sealing_key = Some(SealingKey { id: id.clone(), public_key });
    let plan = world.write();
    assert_eq!(sealed(&plan, "b").recipient, id);
    assert_eq!(told(&plan, "b").revision, told(&before, "b").revision);
    assert_eq!(sealed(&plan, "a"), sealed(&before, "a"));
}

#[test]
fn the_revision_tells_versions_apart_and_nothing_of_the_ppk() {
    let revision = |change: fn(&mut World)| {
        let mut world = world();
        change(&mut world);
        world.write();
        world.agents_confirm();
        told(&world.write(), "a").revision.clone()
    };
    let first = revision(|_| {});
    let another =
        revision(|world| world.snapshot.secrets.get_mut("ppk").unwrap().resource_version = "8".into());
    let remade = revision(|world| world.snapshot.secrets.get_mut("ppk").unwrap().uid = "another".into());
    let none = revision(|world| world.policy("pods").spec.protection = None);
    let all = [&first, &another, &remade, &none];
    assert!(
        all.iter().enumerate().all(|(at, one)| all[at + 1..].iter().all(|other| one != other)),
        "{all:?}"
    );
    // What it holds goes into nothing that can be read.
    let bytes = revision(|world| {
        let secret = world.snapshot.secrets.get_mut("ppk").unwrap();
        secret.data.insert("k".into(), zeroize::Zeroizing::new(vec![1; 32]));
    });
    assert_eq!(first, bytes);
}

#[test]
fn a_policy_has_the_revision_that_it_had_before_there_were_ppks() {
    let mut world = without();
    world.write();
    assert_eq!(told(&world.write(), "a").revision, "9140130948ff925e");
}

#[test]
fn another_ppk_is_another_revision_beside_the_one_in_force() {
    let mut world = World::in_force_in(world());
    let before = sealed(&world.plan(), "a").clone();
    world.snapshot.secrets.get_mut("ppk").unwrap().resource_version = "8".into();
    world.write();
    let policies = world.state("a").spec.policies.clone();
    let of = |place: usize| policies[place].automatic.as_ref().unwrap().ppk.clone().unwrap();
    assert_eq!((policies.len(), of(0) == before, of(1).source.resource_version.as_str()), (2, true, "8"));
    for _ in 0..6 {
        world.agents_confirm();
        world.write();
    }
    let policies = &world.state("a").spec.policies;
    let sealed = policies[0].automatic.as_ref().unwrap().ppk.as_ref().unwrap();
    assert_eq!((policies.len(), sealed.source.resource_version.as_str()), (1, "8"));
}
