//! Policies that say different things about the same packets, and nodes that say different things about the same pods.

use esplanade_crds::{Action, Endpoints, IpsecPolicy, Mark, Protection, TrafficProtocol, TrafficSelector};

use super::build::{mk_node, mk_policy, node, nodes};
use super::gateways::behind;
use super::world::World;

/// Pods of a and b, in tunnels; and `other`, which lets them pass, edited.
fn world(edit: impl FnOnce(&mut IpsecPolicy)) -> World {
    let mut world = World::settled();
    let mut other = mk_policy("other", &[]);
    (other.spec.action, other.spec.protection) = (Action::Bypass, None);
    edit(&mut other);
    world.snapshot.policies.push(other);
    world
}

fn said(edit: impl FnOnce(&mut IpsecPolicy)) -> String {
    world(edit).plan().policy("pods", "Conflicted")
}

fn of(node_name: &str) -> Endpoints {
    Endpoints { pod_cidrs: Some(node(node_name)), ..Default::default() }
}

fn port(port: u16, end_port: Option<u16>) -> Vec<TrafficSelector> {
    let udp = TrafficSelector::all_of(TrafficProtocol::UDP);
    vec![TrafficSelector { port: Some(port), end_port, ..udp }]
}

#[test]
fn both_say_what_counts() {
    let mut world = world(|_| ());
    let plan = world.plan();
    assert_eq!(
        plan.policy("pods", "Conflicted"),
        "True Conflicted: IpsecPolicy other has the same priority, 500, and action Bypass, and covers some of the same \
         traffic (from 10.244.1.0/24 to 10.244.2.0/24): there Protect counts: write another priority in one of them; the \
         lower one counts"
    );
    assert!(
        plan.policy("other", "Conflicted")
            .contains("IpsecPolicy pods has the same priority, 500, and action Protect")
    );
    assert!(plan.policy("other", "Conflicted").contains("there Protect counts"));
    // It goes on as before.
    assert!(plan.policy("pods", "Programmed").starts_with("True"));
    world.policy("other").spec.action = Action::Discard;
    assert!(world.plan().policy("pods", "Conflicted").contains("there Discard counts"));
}

#[test]
fn what_can_not_meet_does_not_contradict() {
    let quiet = |edit: fn(&mut IpsecPolicy)| assert_eq!(said(edit), "none");
    quiet(|other| other.spec.priority = 499);
    quiet(|other| other.spec.from = vec![nodes()]);
    // What stays on one node.
    quiet(|other| (other.spec.from, other.spec.to) = (vec![of("a")], vec![of("a")]));
    quiet(|other| {
        (other.spec.action, other.spec.protection) =
            (Action::Protect, Some(Protection { interface_id: 7, ..Default::default() }));
    });
}

#[test]
fn the_same_action_does_not_contradict() {
    let protect =
        |other: &mut IpsecPolicy| (other.spec.action, other.spec.protection) = (Action::Protect, None);
    assert_eq!(said(protect), "none");
}

#[test]
fn networks_meet_where_one_lies_in_the_other() {
    let site = behind("198.51.100.7", &["10.244.0.0/16"]);
    let mut world = world(|other| (other.spec.from, other.spec.to) = (vec![of("a")], vec![site]));
    assert!(world.plan().policy("pods", "Conflicted").contains("from 10.244.1.0/24 to 10.244.2.0/24"));
    world.policy("other").spec.to = vec![behind("198.51.100.7", &["10.244.3.0/24"])];
    assert_eq!(world.plan().policy("pods", "Conflicted"), "none");
}

#[test]
fn ports_meet_on_the_same_side() {
    let with = |one: Vec<TrafficSelector>, other: Vec<TrafficSelector>| {
        let mut world = world(|policy| policy.spec.traffic = other);
        let policy = world.policy("pods");
        policy.spec.traffic = one;
        // One direction only, as full meshes cover the same ports on both sides.
        for policy in ["pods", "other"] {
            let spec = &mut world.policy(policy).spec;
            (spec.from, spec.to) = (vec![of("a")], vec![of("b")]);
        }
        world.plan().policy("pods", "Conflicted") != "none"
    };
    assert!(with(port(53, None), Vec::new()));
    assert!(with(port(50, Some(60)), port(53, None)));
    assert!(!with(port(50, Some(52)), port(53, None)));
    assert!(!with(port(53, None), vec![TrafficSelector::all_of(TrafficProtocol::TCP)]));
    assert!(!with(port(53, None), vec![TrafficSelector::all_of(TrafficProtocol::ICMPv6)]));
    // None of it exists in the networks' family.
    assert!(!with(vec![TrafficSelector::all_of(TrafficProtocol::ICMPv6)], Vec::new()));
    let echo = |icmp_type| {
        vec![TrafficSelector { icmp_type: Some(icmp_type), ..TrafficSelector::all_of(TrafficProtocol::ICMP) }]
    };
    assert!(with(echo(8), echo(8)));
    assert!(!with(echo(8), echo(0)));
}

#[test]
fn ports_of_opposite_sides_always_meet() {
    let mut world = world(|other| {
        (other.spec.from, other.spec.to, other.spec.traffic) = (vec![of("b")], vec![of("a")], port(53, None));
    });
    let spec = &mut world.policy("pods").spec;
    (spec.from, spec.to, spec.traffic) = (vec![of("a")], vec![of("b")], port(99, None));
    assert!(world.plan().policy("pods", "Conflicted").starts_with("True"));
}

#[test]
fn marks_tell_packets_apart() {
    let with = |value| {
        let mut world = world(|other| other.spec.mark = Some(Mark { value, mask: 0xff }));
        world.policy("pods").spec.mark = Some(Mark { value: 7, mask: 0xf });
        world.plan().policy("pods", "Conflicted") != "none"
    };
    assert!(with(0x17));
    assert!(!with(0x18));
}

#[test]
fn pod_cidrs_that_overlap_are_named() {
    let mut world = World::settled();
    world.snapshot.nodes.push(mk_node("c", &["10.0.0.3"], &["10.244.2.128/25"]));
    let resolved = world.plan().policy("pods", "ResolvedRefs");
    let words = "podCIDRs: Node c's 10.244.2.128/25 overlaps Node b's 10.244.2.0/24: whose pods a packet is for can't be told, \
                 and some of them can't be reached: give each Node its own (spec.podCIDRs)";
    assert!(resolved.starts_with("False Conflicted") && resolved.contains(words), "{resolved}");
    // They are no business of policies that don't cover them.
    for edit in [
        |world: &mut World| world.policy("pods").spec.from = vec![nodes()],
        |world: &mut World| {
            let spec = &mut world.policy("pods").spec;
            (spec.from, spec.to) = (vec![of("a")], vec![of("b")]);
        },
    ] {
        edit(&mut world);
        assert!(!world.plan().policy("pods", "ResolvedRefs").contains("overlaps"));
    }
}

#[test]
fn the_same_pod_cidr_twice() {
    let mut world = World::settled();
    world.snapshot.nodes.push(mk_node("c", &["10.0.0.3"], &["10.244.2.0/24"]));
    let resolved = world.plan().policy("pods", "ResolvedRefs");
    assert!(resolved.contains("Node c's 10.244.2.0/24 overlaps Node b's 10.244.2.0/24"), "{resolved}");
}
