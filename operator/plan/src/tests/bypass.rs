//! What is let through, where others are protected with automatic keys: nodes go along step by step.

use esplanade_crds::{Action, Endpoints, Gateway, Phase, TrafficProtocol, TrafficSelector};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

use super::automatic::world;
use super::build::{mk_policy, pod_cidrs};
use super::world::World;

const NODES: [&str; 3] = ["a", "b", "c"];

/// Lets all between pods pass, but for what comes before it.
fn bypass(world: &mut World) {
    let mut policy = mk_policy("clear", &[]);
    (policy.spec.action, policy.spec.protection) = (Action::Bypass, None);
    world.snapshot.policies.push(policy);
}

impl World {
    /// What each node is told of it: the phases of its revisions.
    fn clear(&mut self) -> Vec<Vec<Phase>> {
        let told = |node: &str| {
            let told = self.state(node).spec.policies.iter().filter(|one| one.name == "clear");
            told.map(|one| one.phase).collect()
        };
        NODES.map(told).to_vec()
    }

    fn all_at(&mut self, phases: &[Phase]) {
        assert_eq!(self.clear(), vec![phases.to_vec(); 3]);
    }
}

#[test]
fn nodes_go_along_step_by_step_and_back() {
    use Phase::{Encrypt, Enforce, Prepare};
    let mut world = World::in_force();
    bypass(&mut world);
    world.write();
    for phase in [Prepare, Encrypt] {
        world.all_at(&[phase]);
        // Not before all have done it.
        world.agent("b").observed_generation = None;
        let plan = world.write();
        world.all_at(&[phase]);
        assert!(plan.policy("clear", "Programmed").starts_with("False"), "{plan:?}");
        assert_eq!(plan.policy_status["clear"].phase.as_deref(), Some("Pending"));
        world.agents_confirm();
        world.write();
    }
    world.all_at(&[Enforce]);
    world.agents_confirm();
    let plan = world.write();
    assert_eq!(plan.policy("clear", "Programmed"), "True Programmed: in the kernel of a, b, c");
    assert_eq!(plan.policy_status["clear"].phase.as_deref(), Some("Ready"));

    // Another traffic comes beside it, as with any edit.
    world.policy("clear").spec.traffic = vec![TrafficSelector::all_of(TrafficProtocol::TCP)];
    world.write();
    for phases in [&[Enforce, Prepare], &[Enforce, Encrypt], &[Enforce, Enforce], &[Encrypt, Enforce]] {
        world.all_at(phases);
        world.agents_confirm();
        world.write();
    }
    world.settle();
    world.all_at(&[Enforce]);

    world.snapshot.policies.retain(|policy| policy.metadata.name.as_deref() != Some("clear"));
    for phase in [Encrypt, Prepare] {
        world.write();
        world.all_at(&[phase]);
        world.write();
        world.all_at(&[phase]);
        world.agents_confirm();
    }
    world.write();
    world.all_at(&[]);
}

#[test]
fn where_nothing_else_has_automatic_keys_it_is_there_at_once_and_stays_when_something_has() {
    let mut world = world();
    let pods = world.snapshot.policies.pop().unwrap();
    bypass(&mut world);
    world.write();
    world.all_at(&[Phase::Enforce]);
    world.snapshot.policies.push(pods);
    for _ in 0..4 {
        world.write();
        world.all_at(&[Phase::Enforce]);
        for node in NODES {
            world.publish(node, &[&format!("{node}1")]);
        }
        world.agents_confirm();
    }
    let told = &world.state("a").spec.policies;
    assert!(told.iter().any(|one| one.name == "pods" && one.phase > Phase::Prepare), "{told:?}");
}

#[test]
fn who_has_no_automatic_keys_has_nothing_to_publish_for_it() {
    let mut world = World::in_force();
    for peer in &mut world.snapshot.peers {
        peer.status = None;
    }
    bypass(&mut world);
    for _ in 0..3 {
        world.write();
        world.agents_confirm();
    }
    world.all_at(&[Phase::Enforce]);
}

#[test]
fn who_has_nothing_with_automatic_keys_is_not_waited_for() {
    let mut world = world();
    let only = ["a", "b"].map(str::to_owned).to_vec();
    let policy = &mut world.policy("pods").spec.from[0];
    policy.pod_cidrs.as_mut().unwrap().match_expressions = Some(vec![LabelSelectorRequirement {
        key: "kubernetes.io/hostname".into(),
        operator: "In".into(),
        values: Some(only),
    }]);
    let mut world = World::in_force_in(world);
    bypass(&mut world);
    for phase in [Phase::Prepare, Phase::Encrypt, Phase::Enforce] {
        world.write();
        assert_eq!(world.clear()[..2], [[phase], [phase]]);
        world.agents_confirm();
        world.agent("c").observed_generation = None;
    }
    world.write();
    world.all_at(&[Phase::Enforce]);
}

#[test]
fn nobody_outside_is_waited_for() {
    let mut world = World::in_force();
    bypass(&mut world);
    let cidrs = Some(vec!["198.51.100.0/24".to_owned()]);
    let gateway = Some(Gateway { address: Some("203.0.113.1".into()), ..Gateway::default() });
    for gateway in [None, gateway] {
        let outside = Endpoints { cidrs: cidrs.clone(), gateway, ..Endpoints::default() };
        world.policy("clear").spec.from = vec![outside];
        world.policy("clear").spec.to = vec![pod_cidrs()];
        world.write();
        world.all_at(&[Phase::Enforce]);
    }
}
