//! Networks outside the cluster without a gateway.

use esplanade_crds::{Action, Endpoints, IpsecPolicy, OutsideSelectors, PeerSelectors};

use super::build::mk_policy;
use super::world::World;

fn cidrs(cidrs: &[&str]) -> Endpoints {
    let cidrs = cidrs.iter().map(|cidr| (*cidr).to_owned()).collect();
    Endpoints { cidrs: Some(cidrs), ..Default::default() }
}

/// Beside `pods`: nothing goes between pods and these networks.
fn world(edit: impl FnOnce(&mut IpsecPolicy)) -> World {
    let mut world = World::settled();
    let mut policy = mk_policy("site", &[]);
    (policy.spec.action, policy.spec.protection) = (Action::Discard, None);
    policy.spec.to = vec![cidrs(&["192.0.2.0/24", "2001:db8::/32"])];
    edit(&mut policy);
    world.snapshot.policies.push(policy);
    world
}

#[test]
fn every_node_is_told_what_is_outside() {
    for action in [Action::Discard, Action::Bypass] {
        let mut world = world(|policy| policy.spec.action = action);
        let plan = world.plan();
        assert_eq!(plan.policy("site", "Accepted"), "True Accepted");
        assert_eq!(plan.policy("site", "ResolvedRefs"), "True ResolvedRefs");
        let to = vec!["192.0.2.0/24".to_owned(), "2001:db8::/32".to_owned()];
        for node in ["a", "b"] {
            let told = plan.node_states[node].0.policies.iter().find(|policy| policy.name == "site").unwrap();
            let outside = OutsideSelectors { from: Vec::new(), to: to.clone() };
            assert_eq!((told.action, &told.gateways, &told.outside), (action, &vec![], &Some(outside)));
        }
        let part = |policy: &str, network: &str| PeerSelectors {
            policy: policy.into(),
            revision: None,
            from: vec![network.into()],
            to: Vec::new(),
        };
        assert!(plan.peers["a"].selectors.contains(&part("site", "10.244.1.0/24")));
        world.settle();
        assert_eq!(world.plan().policy("site", "Programmed"), "True Programmed: in the kernel of a, b");
    }
}

#[test]
fn protection_needs_a_gateway() {
    let mut world = world(|policy| policy.spec.action = Action::Protect);
    let accepted = world.plan().policy("site", "Accepted");
    assert!(accepted.starts_with("False Invalid: to: cidrs are networks outside the cluster"), "{accepted}");
}

#[test]
fn nothing_of_the_cluster_is_said() {
    let mut world = world(|policy| policy.spec.from = vec![cidrs(&["198.51.100.0/24"])]);
    assert_eq!(
        world.plan().policy("site", "ResolvedRefs"),
        "False NoMatch: from and to have networks outside the cluster only: write podCIDRs or nodes on one side"
    );
}

#[test]
fn what_contains_the_pods_contradicts_their_policy() {
    let said = |edit: fn(&mut IpsecPolicy)| world(edit).plan().policy("pods", "Conflicted");
    assert_eq!(said(|_| ()), "none");
    let all = |policy: &mut IpsecPolicy| policy.spec.to = vec![cidrs(&["0.0.0.0/0"])];
    assert_eq!(
        said(all),
        "True Conflicted: IpsecPolicy site has the same priority, 500, and action Discard, and covers some of the same \
         traffic (from 10.244.1.0/24 to 10.244.2.0/24): there Discard counts: write another priority in one of them; the \
         lower one counts"
    );
    assert_eq!(
        said(|policy| {
            policy.spec.to = vec![cidrs(&["0.0.0.0/0"])];
            policy.spec.priority = 501;
        }),
        "none"
    );
}
