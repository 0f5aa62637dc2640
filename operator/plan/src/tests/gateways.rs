//! Networks outside the cluster.

use esplanade_crds::{Action, Endpoints, Gateway, GatewaySelectors, PeerSelectors};

use super::build::{address_end, mk_policy, mk_sa};
use super::world::World;

pub(super) fn behind(address: &str, cidrs: &[&str]) -> Endpoints {
    Endpoints {
        cidrs: Some(cidrs.iter().map(|cidr| (*cidr).to_owned()).collect()),
        gateway: Some(Gateway { address: Some(address.into()), node: None }),
        ..Default::default()
    }
}

/// Pods of a and b to networks behind a gateway, with IpsecSAs for a only.
fn world() -> World {
    let mut world = World::settled();
    let mut out = mk_sa("out", "a", "b", 0x4001);
    out.spec.destination = address_end("198.51.100.7");
    let mut back = mk_sa("back", "b", "a", 0x4002);
    back.spec.source = address_end("198.51.100.7");
    world.snapshot.sas.extend([out, back]);
    let mut policy = mk_policy("site", &["out", "back"]);
    policy.spec.to =
        vec![behind("198.51.100.7", &["192.0.2.0/25"]), behind("198.51.100.7", &["192.0.2.128/25"])];
    world.snapshot.policies.push(policy);
    world
}

#[test]
fn a_gateway_stands_in_the_node_states_and_the_nodes_in_their_peers() {
    let plan = world().plan();
    let policy = plan.node_states["a"].0.policies.iter().find(|policy| policy.name == "site").unwrap();
    let gateway = GatewaySelectors {
        address: "198.51.100.7".into(),
        from: Vec::new(),
        to: vec!["192.0.2.0/25".into(), "192.0.2.128/25".into()],
    };
    assert_eq!(policy.gateways, [gateway]);
    let selectors = PeerSelectors {
        policy: "site".into(),
        revision: None,
        from: vec!["10.244.1.0/24".into()],
        to: Vec::new(),
    };
    assert!(plan.peers["a"].selectors.contains(&selectors));
}

#[test]
fn only_the_nodes_end_is_installed() {
    let plan = world().plan();
    assert_eq!(plan.installed_at("a"), ["a-to-b", "b-to-a", "back", "out"]);
    assert_eq!(plan.installed_at("b"), ["a-to-b", "b-to-a"]);
    let out = plan.node_states["a"].0.security_associations.iter().find(|sa| sa.name == "out").unwrap();
    assert_eq!(out.policy.as_deref(), Some("site"));
    assert_eq!(out.destination.node, None);
    assert_eq!(out.destination.address, "198.51.100.7");
}

#[test]
fn a_node_without_ipsec_sas_to_the_gateway_is_named() {
    let mut world = world();
    assert_eq!(
        world.plan().policy("site", "ResolvedRefs"),
        "False SecurityAssociationMissing: no IpsecSA from b to 198.51.100.7, from 198.51.100.7 to b: that \
         traffic is dropped"
    );
    world.policy("site").spec.from[0].pod_cidrs = Some(super::build::node("a"));
    assert_eq!(world.plan().policy("site", "ResolvedRefs"), "True ResolvedRefs");
}

#[test]
fn an_ipsec_sa_to_another_gateway_does_not_fit() {
    let mut world = world();
    world.policy("site").spec.from[0].pod_cidrs = Some(super::build::node("a"));
    world.sa("out").spec.destination = address_end("198.51.100.8");
    assert_eq!(
        world.plan().policy("site", "ResolvedRefs"),
        "False SecurityAssociationMismatch: IpsecSA out has end 198.51.100.8, which takes no part in the \
         policy; no IpsecSA from a to 198.51.100.7: that traffic is dropped"
    );
}

#[test]
fn the_address_of_a_node_is_no_gateways() {
    let mut world = world();
    world.policy("site").spec.to = vec![behind("10.0.0.2", &["192.0.2.0/24"])];
    let resolved = world.plan().policy("site", "ResolvedRefs");
    assert!(
        resolved
            .starts_with("False Invalid: to: gateway.address 10.0.0.2 is Node b's: write gateway: {node: b}"),
        "{resolved}"
    );
}

#[test]
fn discard_and_bypass_need_no_ipsec_sas() {
    let mut world = world();
    for action in [Action::Discard, Action::Bypass] {
        let spec = &mut world.policy("site").spec;
        (spec.action, spec.protection) = (action, None);
        let plan = world.plan();
        assert_eq!(plan.policy("site", "ResolvedRefs"), "True ResolvedRefs");
        assert_eq!(plan.policy("site", "Encrypted"), "none");
        let policy = plan.node_states["b"].0.policies.iter().find(|policy| policy.name == "site").unwrap();
        assert_eq!(policy.action, action);
        assert_eq!(policy.gateways.len(), 1);
    }
}

#[test]
fn gateways_alone_concern_no_node() {
    let mut world = world();
    world.policy("site").spec.from = vec![behind("198.51.100.9", &["203.0.113.0/24"])];
    (world.policy("site").spec.action, world.policy("site").spec.protection) = (Action::Bypass, None);
    let plan = world.plan();
    assert_eq!(
        plan.policy("site", "Programmed"),
        "False NotReady: the policy concerns no Node: see condition ResolvedRefs"
    );
    assert_eq!(
        plan.policy("site", "ResolvedRefs"),
        "False NoMatch: from and to have networks outside the cluster only: write podCIDRs or nodes on one side"
    );
}
