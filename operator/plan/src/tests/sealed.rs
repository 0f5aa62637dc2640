//! Keys sealed to nodes.

use esplanade_crds::{NodeSecurityAssociation, SealingKey};
use esplanade_seal::{KeyPair, Usage};

use super::build::{ENCRYPTION_KEY, INTEGRITY_KEY, encryption, integrity, mk_secret};
use super::world::{World, key_pair, open};
use crate::Plan;

fn told<'a>(plan: &'a Plan, node: &str, sa: &str) -> &'a NodeSecurityAssociation {
    plan.node_states[node].0.security_associations.iter().find(|one| one.name == sa).unwrap()
}

#[test]
fn both_ends_can_open_their_own_and_nobody_else() {
    let plan = World::settled().plan();
    for node in ["a", "b"] {
        let sa = told(&plan, node, "a-to-b");
        let key = sa.encryption.as_ref().unwrap().key.as_ref().unwrap();
        assert_eq!(key.recipient, key_pair(node).public().id());
        assert_eq!(open(node, "a-to-b", Usage::Encryption, key).unwrap().as_slice(), ENCRYPTION_KEY);
        let other = if node == "a" { "b" } else { "a" };
        assert!(open(other, "a-to-b", Usage::Encryption, key).is_err());
        assert!(open(node, "b-to-a", Usage::Encryption, key).is_err());
        let key = &sa.integrity.as_ref().unwrap().key;
        assert_eq!(open(node, "a-to-b", Usage::Integrity, key).unwrap().as_slice(), INTEGRITY_KEY);
    }
}

#[test]
fn nothing_is_told_before_there_is_a_sealing_key() {
    let mut world = World::settled();
    world.agent("b").sealing_key = None;
    world.state("b").spec.security_associations.clear();
    let plan = world.plan();
    assert!(plan.installed_at("b").is_empty());
    assert_eq!(plan.installed_at("a"), ["a-to-b", "b-to-a"]);
    let pending = "False Pending: node b has no sealing key yet: is its agent running?";
    assert_eq!(plan.sa("a-to-b", "Programmed"), pending);
    assert_eq!(plan.sa("a-to-b", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(plan.sa_status["a-to-b"].nodes, ["a"]);
    assert_eq!(plan.policy("pods", "Programmed"), pending);
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Pending"));
    assert_eq!(plan.policies_at("b"), ["pods"]);
}

#[test]
fn what_was_told_stays_while_the_sealing_key_is_away() {
    let mut world = World::settled();
    let before = world.plan();
    world.agent("b").sealing_key = None;
    assert_eq!(world.plan().node_states, before.node_states);
}

#[test]
fn a_sealing_key_that_is_none() {
    let mut world = World::settled();
    world.state("b").spec.security_associations.clear();
    world.agent("b").sealing_key = Some(SealingKey { id: "x".into(), public_key: "AAAA".into() });
    assert_eq!(
        world.plan().sa("a-to-b", "Programmed"),
        "False Unsealable: node b: a sealing key has 32 bytes, this one has 3"
    );
    let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    world.agent("b").sealing_key = Some(SealingKey { id: "x".into(), public_key: zero.into() });
    assert_eq!(
        world.plan().sa("a-to-b", "Programmed"),
        "False Unsealable: node b: the sealing key is no usable X25519 public key"
    );
}

#[test]
fn a_new_sealing_key_means_sealed_anew_for_that_node_only() {
    let mut world = World::settled();
    let before = world.plan();
    let new = KeyPair::from_bytes(&[99; 32]).public().clone();
    world.agent("b").sealing_key = Some(SealingKey { id: new.id(), public_key: new.to_base64() });
    let after = world.plan();
    assert_eq!(before.node_states["a"], after.node_states["a"]);
    let key = told(&after, "b", "a-to-b").encryption.as_ref().unwrap().key.as_ref().unwrap();
    assert_eq!(key.recipient, new.id());
    assert_ne!(*told(&before, "b", "a-to-b"), *told(&after, "b", "a-to-b"));
}

#[test]
fn a_new_version_of_the_secret_means_sealed_anew() {
    let mut world = World::settled();
    world.snapshot.secrets.insert("keys".into(), {
        let mut secret = mk_secret(&[("enc", INTEGRITY_KEY.as_slice()), ("auth", ENCRYPTION_KEY.as_slice())]);
        secret.resource_version = "8".into();
        secret
    });
    let plan = world.plan();
    let key = told(&plan, "b", "a-to-b").encryption.as_ref().unwrap().key.as_ref().unwrap();
    assert_eq!(key.source.resource_version, "8");
    assert_eq!(open("b", "a-to-b", Usage::Encryption, key).unwrap().as_slice(), INTEGRITY_KEY);
}

#[test]
fn a_secret_that_vanishes_stops_nothing() {
    let mut world = World::settled();
    let before = world.plan();
    world.snapshot.secrets.clear();
    let plan = world.plan();
    assert_eq!(plan.node_states, before.node_states);
    assert_eq!(
        plan.sa("a-to-b", "ResolvedRefs"),
        "False SecretNotFound: there is no Secret keys in namespace esplanade: write kubectl -n esplanade \
         create secret \
         generic keys --from-file=enc=FILE --from-file=auth=FILE (enc: 32 bytes, auth: 32 bytes); until \
         then the nodes keep the keys they have"
    );
    assert_eq!(plan.sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
    assert_eq!(plan.policies_at("a"), ["pods"]);
}

#[test]
fn a_secret_that_goes_bad_stops_nothing_either() {
    let mut world = World::settled();
    let before = world.plan();
    world.snapshot.secrets.get_mut("keys").unwrap().data.insert("enc".into(), vec![1; 5].into());
    let plan = world.plan();
    assert_eq!(plan.node_states, before.node_states);
    assert!(
        plan.sa("a-to-b", "ResolvedRefs")
            .ends_with("this one has 5; until then the nodes keep the keys they have")
    );
}

#[test]
fn what_only_one_end_has_is_not_programmed() {
    let mut world = World::settled();
    world.state("b").spec.security_associations.clear();
    world.snapshot.secrets.clear();
    let plan = world.plan();
    assert!(plan.installed_at("b").is_empty());
    assert_eq!(plan.installed_at("a"), ["a-to-b", "b-to-a"]);
    assert_eq!(
        plan.sa("a-to-b", "Programmed"),
        "False NotReady: b: something it names is missing: see condition ResolvedRefs"
    );
}

#[test]
fn a_key_of_another_algorithm_is_not_kept() {
    let mut world = World::settled();
    world.snapshot.secrets.clear();
    world.sa("a-to-b").spec.encryption = encryption("AES-CBC-128");
    assert_eq!(world.plan().installed_at("a"), ["b-to-a"]);
    world.sa("a-to-b").spec.encryption = encryption("AES-CBC-256");
    world.sa("a-to-b").spec.integrity = integrity("HMAC-SHA2-512-256");
    assert_eq!(world.plan().installed_at("a"), ["b-to-a"]);
}

#[test]
fn a_missing_key_comes_before_a_missing_sealing_key() {
    let mut world = World::two_nodes();
    world.snapshot.secrets.get_mut("keys").unwrap().data.remove("auth");
    let plan = world.plan();
    assert_eq!(
        plan.sa("a-to-b", "Programmed"),
        "False NotReady: something it names is missing: see condition ResolvedRefs"
    );
}
