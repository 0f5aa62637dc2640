//! Networks outside the cluster behind one of its nodes.

use esplanade_crds::{
    Action, Endpoints, Enforcement, Gateway, OutsideSelectors, Phase, Protection, TrafficProtocol,
    TrafficSelector,
};

use super::automatic::world;
use super::build::{mk_node, mk_policy, mk_sa, node, nodes, pod_cidrs};
use super::world::World;
use crate::Plan;

pub(super) fn behind(node: &str, cidrs: &[&str]) -> Endpoints {
    Endpoints {
        cidrs: Some(cidrs.iter().map(|cidr| (*cidr).to_owned()).collect()),
        gateway: Some(Gateway { address: None, node: Some(node.into()) }),
        ..Default::default()
    }
}

/// Pods of all nodes to these networks behind c, with automatic keys.
fn site(cidrs: &[&str]) -> World {
    let mut world = world();
    world.policy("pods").spec.to = vec![behind("c", cidrs)];
    world
}

/// What lies at the node on both sides.
fn lies_at(plan: &Plan, node: &str) -> [Vec<String>; 2] {
    let [selectors] = plan.peers[node].selectors.as_slice() else { panic!("{:?}", plan.peers[node]) };
    [selectors.from.clone(), selectors.to.clone()]
}

fn resolved(world: &mut World) -> String {
    world.plan().policy("pods", "ResolvedRefs")
}

#[test]
fn its_networks_are_the_nodes_like_its_pod_cidrs() {
    let mut world = World::in_force_in(site(&["192.0.2.0/24", "2001:db8:7::/48"]));
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(world.phases(), vec![Some(Phase::Enforce); 3]);
    assert_eq!(lies_at(&plan, "a"), [vec!["10.244.1.0/24"], vec![]]);
    assert_eq!(lies_at(&plan, "c"), [vec!["10.244.3.0/24"], vec!["192.0.2.0/24", "2001:db8:7::/48"]]);
    let told = &plan.node_states["a"].0;
    assert_eq!(told.pod_cidrs, ["10.244.1.0/24"]);
    assert_eq!((&told.policies[0].gateways, &told.policies[0].outside), (&vec![], &None));
}

#[test]
fn networks_of_two_nodes_may_be_on_both_sides() {
    let mut world = world();
    let spec = &mut world.policy("pods").spec;
    (spec.from, spec.to) = (vec![behind("a", &["192.0.2.0/25"])], vec![behind("c", &["192.0.2.128/25"])]);
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(lies_at(&plan, "a"), [vec!["192.0.2.0/25"], vec![]]);
    assert!(plan.peers["b"].selectors.is_empty());
}

#[test]
fn with_manual_keys_the_node_is_an_end_of_ipsec_sas() {
    let mut world = World::settled();
    world.snapshot.nodes.push(mk_node("c", &["10.0.0.3"], &["10.244.3.0/24"]));
    world.snapshot.sas.extend([mk_sa("out", "a", "c", 0x4001), mk_sa("back", "c", "a", 0x4002)]);
    let mut policy = mk_policy("site", &["out", "back"]);
    (policy.spec.from[0].pod_cidrs, policy.spec.to) = (Some(node("a")), vec![behind("c", &["192.0.2.0/24"])]);
    world.snapshot.policies.push(policy);
    assert_eq!(world.plan().policy("site", "ResolvedRefs"), "True ResolvedRefs");
    world.policy("site").spec.from = vec![pod_cidrs()];
    assert_eq!(
        world.plan().policy("site", "ResolvedRefs"),
        "False SecurityAssociationMissing: no IpsecSA from b to c, from c to b: that traffic is dropped"
    );
}

#[test]
fn what_goes_to_a_node_that_is_not_there_is_dropped_and_it_is_said() {
    let mut world = site(&["192.0.2.0/24"]);
    world.policy("pods").spec.to = vec![behind("d", &["192.0.2.0/24"])];
    let mut world = World::in_force_in(world);
    let plan = world.plan();
    assert_eq!(
        plan.policy("pods", "ResolvedRefs"),
        "False NodeNotFound: to: gateway.node: there is no Node d: until there is, what goes to cidrs and comes from there is \
         dropped (192.0.2.0/24)"
    );
    let told = &plan.node_states["a"].0.policies[0];
    let outside = OutsideSelectors { from: Vec::new(), to: vec!["192.0.2.0/24".into()] };
    assert_eq!((told.phase, told.outside.as_ref()), (Phase::Enforce, Some(&outside)));
    // It joins.
    let revision = told.revision.clone();
    world.snapshot.nodes.push(mk_node("d", &["10.0.0.4"], &["10.244.4.0/24"]));
    let plan = world.write();
    assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(lies_at(&plan, "d")[1], ["192.0.2.0/24"]);
    let told = &plan.node_states["a"].0.policies[0];
    assert_eq!((told.phase, &told.outside, &told.revision), (Phase::Enforce, &None, &revision));
    // And goes.
    world.snapshot.nodes.pop();
    assert_eq!(world.plan().node_states["a"].0.policies[0].outside, Some(outside));
    // Where nothing is protected, it is only said.
    world.policy("pods").spec.action = Action::Discard;
    world.state("a").spec.policies.clear();
    world.state("b").spec.policies.clear();
    world.state("c").spec.policies.clear();
    assert_eq!(resolved(&mut world), "False NodeNotFound: to: gateway.node: there is no Node d");
}

#[test]
fn another_gateway_is_an_edit() {
    let mut world = World::in_force_in(site(&["192.0.2.0/24"]));
    world.policy("pods").spec.to = vec![behind("b", &["192.0.2.0/24"])];
    let plan = world.write();
    assert_eq!(plan.policy("pods", "Accepted"), "True Accepted");
    let lies = |plan: &Plan, node: &str| {
        let of = plan.peers[node].selectors.iter().map(|one| (one.revision.is_some(), one.to.clone()));
        of.collect::<Vec<_>>()
    };
    let there = vec!["192.0.2.0/24".to_owned()];
    // As it was at each node, and as it is to be.
    assert_eq!(lies(&plan, "b"), [(true, vec![]), (true, there.clone())]);
    assert_eq!(lies(&plan, "c"), [(true, there.clone()), (true, vec![])]);
    for _ in 0..16 {
        world.agents_confirm();
        world.write();
    }
    let plan = world.plan();
    assert_eq!((lies(&plan, "b"), lies(&plan, "c")), (vec![(false, there)], vec![(false, vec![])]));
    assert_eq!(world.phases(), vec![Some(Phase::Enforce); 3]);
    assert_eq!(world.state("a").spec.policies.len(), 1);
}

#[test]
fn networks_of_two_gateways_that_overlap_are_named() {
    let mut world = site(&["192.0.2.0/24"]);
    world.policy("pods").spec.to.push(behind("b", &["192.0.2.128/25", "198.51.100.0/24"]));
    assert_eq!(
        resolved(&mut world),
        "False Conflicted: to: cidrs of several gateways: b's 192.0.2.128/25 overlaps c's 192.0.2.0/24: through which of them a \
         packet goes can't be told, and some are dropped: write each network at one gateway"
    );
    // The same network twice at the same gateway, and beside it.
    world.policy("pods").spec.to =
        vec![behind("c", &["192.0.2.0/24"]), behind("c", &["192.0.2.0/25"]), behind("b", &["192.0.3.0/24"])];
    assert_eq!(resolved(&mut world), "True ResolvedRefs");
    // A gateway outside beside a node; two of them as ever.
    let mut world = World::settled();
    let mut policy = mk_policy("pods", &["a-to-b", "b-to-a"]);
    let outside = |address| super::gateways::behind(address, &["192.0.2.0/24"]);
    policy.spec.to = vec![behind("b", &["192.0.2.0/24"]), outside("198.51.100.7")];
    world.snapshot.policies = vec![policy];
    assert!(resolved(&mut world).contains("198.51.100.7's 192.0.2.0/24 overlaps b's 192.0.2.0/24"));
    world.policy("pods").spec.to = vec![outside("198.51.100.8"), outside("198.51.100.7")];
    assert!(!resolved(&mut world).contains("overlaps"));
}

const EVERYTHING: &[&str] = &["0.0.0.0/0", "::/0"];

/// What is said where pods send everything through c, the policy edited, and another one beside it.
fn everything(edit: impl FnOnce(&mut World)) -> String {
    let mut world = site(EVERYTHING);
    // They have IPv4 only.
    edit(&mut world);
    resolved(&mut world)
}

/// What lets pods and nodes send to each other in the clear.
fn before(world: &mut World, edit: impl FnOnce(&mut esplanade_crds::IpsecPolicySpec)) {
    let mut before = mk_policy("before", &[]);
    (before.spec.action, before.spec.protection, before.spec.priority) = (Action::Bypass, None, 499);
    before.spec.to = vec![nodes(), pod_cidrs()];
    edit(&mut before.spec);
    world.snapshot.policies.push(before);
}

#[test]
fn what_a_gateways_networks_contain_of_other_nodes_is_named() {
    assert_eq!(
        everything(|_| ()),
        "False Conflicted: to: cidrs contain what isn't behind their gateway: Node a's 10.0.0.1/32 (0.0.0.0/0 of c); Node b's \
         10.0.0.2/32 (0.0.0.0/0 of c). What has these addresses sends from its own node, and that is dropped: write a policy \
         for it with a lower priority, e.g. action: Bypass, from: [{podCIDRs: {}}], to: [{nodes: {}}, {podCIDRs: {}}]; or \
         narrower cidrs"
    );
    let named = |said: &str| said.starts_with("False Conflicted: to: cidrs contain");
    let fine = |said: &str| said == "True ResolvedRefs";
    // The gateway's own addresses are behind it; what is no one's too.
    assert!(fine(&everything(
        |world| world.policy("pods").spec.to = vec![behind("c", &["10.0.0.3/32", "10.0.1.0/24"])]
    )));
    // A part of others' pods.
    let part = |world: &mut World| world.policy("pods").spec.to = vec![behind("c", &["10.244.2.128/25"])];
    assert!(everything(part).contains("Node b's 10.244.2.0/24 (10.244.2.128/25 of c)"));
    // All of them: they send to a through c only if a is behind it too.
    let all = |world: &mut World| world.policy("pods").spec.to = vec![behind("c", &["10.244.2.0/24"])];
    assert!(everything(all).contains("Node b's 10.244.2.0/24 (10.244.2.0/24 of c)"));
    // Nobody but b itself sends there, from b.
    assert!(fine(&everything(|world| {
        part(world);
        world.policy("pods").spec.from[0].pod_cidrs = Some(node("b"));
    })));
    // What arrives in the clear is accepted.
    assert!(fine(&everything(|world| {
        let protection = Protection { enforcement: Enforcement::Permissive, ..Default::default() };
        world.policy("pods").spec.protection = Some(protection);
    })));
    // All that has addresses sends through c itself.
    assert!(fine(&everything(|world| world.policy("pods").spec.from.push(nodes()))));
    assert!(named(&everything(|world| world.policy("pods").spec.from = vec![nodes()])));
}

#[test]
fn a_policy_before_it_that_is_for_all_of_that_answers_it() {
    let with = |edit: fn(&mut esplanade_crds::IpsecPolicySpec)| everything(|world| before(world, edit));
    let fine = |said: String| assert_eq!(said, "True ResolvedRefs");
    let named = |said: String| assert!(said.starts_with("False Conflicted: to: cidrs contain"), "{said}");
    fine(with(|_| ()));
    fine(with(|spec| std::mem::swap(&mut spec.from, &mut spec.to)));
    fine(with(|spec| (spec.priority, spec.action) = (500, Action::Discard)));
    // Whatever is outside, which the nodes are in.
    fine(with(|spec| {
        let cidrs = Some(vec!["10.0.0.0/8".to_owned()]);
        spec.to = vec![Endpoints { cidrs, ..Default::default() }];
    }));
    named(with(|spec| spec.priority = 500));
    named(with(|spec| spec.to = vec![pod_cidrs()]));
    named(with(|spec| spec.from[0].pod_cidrs = Some(node("a"))));
    named(with(|spec| spec.traffic = vec![TrafficSelector::all_of(TrafficProtocol::TCP)]));
    fine(everything(|world| {
        let tcp = vec![TrafficSelector::all_of(TrafficProtocol::TCP)];
        world.policy("pods").spec.traffic = tcp.clone();
        before(world, |spec| spec.traffic = tcp);
    }));
}
