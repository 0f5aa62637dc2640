//! An edit that makes an accepted policy unacceptable doesn't open its traffic to clear text.

use esplanade_crds::{Endpoints, PodSelectors};

use super::build::{mk_policy, mk_sa};
use super::world::World;

/// Settled, then edited to ask for what isn't implemented.
fn edited() -> World {
    let mut world = World::settled();
    let policy = world.policy("pods");
    policy.spec.protection = None;
    policy.spec.priority = 100;
    policy.metadata.generation = Some(2);
    world
}

#[test]
fn the_nodes_keep_the_policy_as_it_was() {
    let mut world = edited();
    let before = (world.state("a").spec.clone(), world.state("b").spec.clone());
    let peers: Vec<_> = world.snapshot.peers.iter().map(|peer| peer.spec.clone()).collect();
    let plan = world.plan();
    assert_eq!((&plan.node_states["a"].0, &plan.node_states["b"].0), (&before.0, &before.1));
    assert_eq!(plan.peers.values().cloned().collect::<Vec<_>>(), peers);
}

#[test]
fn the_status_says_so() {
    let plan = edited().plan();
    assert_eq!(
        plan.policy("pods", "Accepted"),
        "False NotImplemented: keying of a policy in force can't be edited where its keys are automatic, or are to be: write \
         keying.manual, as it was; or apply what you want as another policy with a lower priority, wait until it is \
         Ready, and delete this one; until then the nodes keep the policy as it was before"
    );
    assert_eq!(
        plan.policy("pods", "Programmed"),
        "False NotReady: not accepted (see condition Accepted): the nodes keep the policy as it was before"
    );
    let status = &plan.policy_status["pods"];
    assert_eq!(status.phase.as_deref(), Some("Rejected"));
    assert_eq!(status.nodes.as_ref().unwrap().summary, "2/2");
    assert_eq!(status.conditions[0].observed_generation, Some(2));
}

#[test]
fn its_ipsec_sas_stay_its_own() {
    let mut world = edited();
    let mut thief = mk_policy("a-thief", &["a-to-b", "b-to-a"]);
    thief.metadata.creation_timestamp = None;
    world.snapshot.policies.push(thief);
    let plan = world.plan();
    let sa = &plan.node_states["a"].0.security_associations[0];
    assert_eq!(sa.policy.as_deref(), Some("pods"));
    assert!(
        plan.policy("a-thief", "ResolvedRefs")
            .starts_with("False SecurityAssociationMismatch: IpsecSA a-to-b is IpsecPolicy pods's already")
    );
}

#[test]
fn a_corrected_policy_goes_on_and_a_deleted_one_goes() {
    let mut world = edited();
    world.settle();
    world.policy("pods").spec = mk_policy("pods", &["a-to-b", "b-to-a"]).spec;
    world.settle();
    assert_eq!(world.plan().policy_status["pods"].phase.as_deref(), Some("Ready"));

    let mut world = edited();
    world.settle();
    world.snapshot.policies.clear();
    let plan = world.plan();
    assert!(plan.policies_at("a").is_empty());
    assert!(plan.peers["a"].selectors.is_empty());
    assert_eq!(plan.node_states["a"].0.security_associations[0].policy, None);
}

#[test]
fn another_object_of_the_same_name_was_never_in_force() {
    let mut world = edited();
    let policy = world.policy("pods");
    policy.metadata.uid = Some("another".into());
    policy.spec.from.push(Endpoints { pods: Some(PodSelectors::default()), ..Default::default() });
    let plan = world.plan();
    assert!(plan.policies_at("a").is_empty());
    assert_eq!(plan.policy_status["pods"].nodes.as_ref().unwrap().summary, "0/0");
}

#[test]
fn a_node_that_is_gone_keeps_nothing() {
    let mut world = edited();
    world.snapshot.nodes.remove(1);
    let plan = world.plan();
    assert_eq!(plan.node_states.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(plan.policies_at("a"), ["pods"]);
    assert_eq!(plan.policy_status["pods"].nodes.as_ref().unwrap().summary, "1/1");
}

#[test]
fn a_kept_policy_takes_no_further_ipsec_sas() {
    let mut world = edited();
    world.snapshot.sas.push(mk_sa("more", "a", "b", 0x5001));
    let plan = world.plan();
    let more = plan.node_states["a"].0.security_associations.iter().find(|sa| sa.name == "more").unwrap();
    assert_eq!(more.policy, None);
}
