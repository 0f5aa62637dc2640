//! What an IpsecPolicy names and isn't there, or doesn't fit. The policy stays with the nodes: the kernel
//! drops.

use esplanade_crds::{IpFamily, Mode, Protocol};

use super::build::{at, integrity, mk_node, mk_policy, mk_sa, node, nodes};
use super::world::World;

/// The condition ResolvedRefs of the policy `pods`.
fn resolved(edit: impl FnOnce(&mut World)) -> String {
    let mut world = World::settled();
    edit(&mut world);
    let plan = world.plan();
    let resolved = plan.policy("pods", "ResolvedRefs");
    if resolved.starts_with("False") {
        let status = &plan.policy_status["pods"];
        assert_eq!(plan.policy("pods", "Accepted"), "True Accepted");
        assert_eq!(
            plan.policy("pods", "Encrypted"),
            "False NotReady: something it names is missing: see condition ResolvedRefs"
        );
        assert_eq!(status.phase.as_deref(), Some("Degraded"));
        assert!(!status.problems.is_empty());
        for node in ["a", "b"] {
            let told = plan.policies_at(node);
            assert!(told == ["pods"] || plan.peers[node].selectors.is_empty(), "{node}: {told:?}");
        }
    }
    resolved
}

#[test]
fn all_there() {
    assert_eq!(resolved(|_| {}), "True ResolvedRefs");
}

#[test]
fn an_ipsec_sa_that_is_not_there() {
    assert_eq!(
        resolved(|world| {
            world.snapshot.sas.remove(1);
        }),
        "False SecurityAssociationNotFound: there is no IpsecSA b-to-a; no IpsecSA from b to a: that \
         traffic is dropped"
    );
}

#[test]
fn an_ipsec_sa_whose_own_references_are_broken() {
    assert_eq!(
        resolved(|world| world.snapshot.secrets.clear()),
        "False SecurityAssociationNotReady: IpsecSA a-to-b isn't complete (SecretNotFound): see its \
         condition ResolvedRefs; \
         IpsecSA b-to-a isn't complete (SecretNotFound): see its condition ResolvedRefs"
    );
}

#[test]
fn an_ipsec_sa_of_another_mode_or_protocol() {
    let rest = "; no IpsecSA from a to b: that traffic is dropped";
    assert_eq!(
        resolved(|world| world.sa("a-to-b").spec.mode = Mode::Transport),
        format!(
            "False SecurityAssociationMismatch: IpsecSA a-to-b has mode Transport, the policy Tunnel{rest}"
        )
    );
    assert_eq!(
        resolved(|world| {
            let spec = &mut world.sa("a-to-b").spec;
            (spec.protocol, spec.encryption) = (Protocol::AH, None);
            spec.integrity = integrity("HMAC-SHA2-256-128");
        }),
        format!("False SecurityAssociationMismatch: IpsecSA a-to-b has protocol AH, the policy ESP{rest}")
    );
    assert_eq!(
        resolved(|world| world.sa("a-to-b").spec.interface_id = 7),
        format!("False SecurityAssociationMismatch: IpsecSA a-to-b has interfaceId 7, the policy 0{rest}")
    );
    let mark = |value, mask| Some(esplanade_crds::Mark { value, mask });
    assert_eq!(
        resolved(|world| world.sa("a-to-b").spec.mark = mark(7, 0xff)),
        format!(
            "False SecurityAssociationMismatch: IpsecSA a-to-b has mark 0x7/0xff, which the policy's packets (mark none) \
             don't have{rest}"
        )
    );
    let marked = |value| {
        resolved(|world| {
            world.policy("pods").spec.mark = mark(0x17, 0xff);
            world.sa("a-to-b").spec.mark = mark(value, 0xf);
        })
    };
    assert_eq!(marked(7), "True ResolvedRefs");
    assert!(marked(8).contains("has mark 0x8/0xf, which the policy's packets (mark 0x17/0xff) don't have"));
}

#[test]
fn sas_of_single_cpus_need_one_beside_them() {
    let of_cpu = |cpu| {
        let mut sa = mk_sa(&format!("of-{cpu}"), "a", "b", 0x3001 + cpu);
        sa.spec.cpu = Some(cpu);
        sa
    };
    let with = |names: &[&str]| {
        let spec = mk_policy("pods", names).spec;
        resolved(|world| {
            world.snapshot.sas.extend([of_cpu(0), of_cpu(1)]);
            world.policy("pods").spec = spec;
        })
    };
    assert_eq!(with(&["a-to-b", "of-0", "of-1", "b-to-a"]), "True ResolvedRefs");
    assert_eq!(
        with(&["of-0", "of-1", "b-to-a"]),
        "False SecurityAssociationMissing: no IpsecSA from a to b without cpu: that traffic is dropped"
    );
}

#[test]
fn an_ipsec_sa_that_does_not_fit_is_no_part_of_the_policy() {
    let mut world = World::settled();
    world.sa("a-to-b").spec.mode = Mode::Transport;
    let plan = world.plan();
    let of = |name: &str| {
        let sas = &plan.node_states["a"].0.security_associations;
        sas.iter().find(|sa| sa.name == name).unwrap().policy.clone()
    };
    assert_eq!(of("a-to-b"), None);
    assert_eq!(of("b-to-a").as_deref(), Some("pods"));
}

#[test]
fn an_ipsec_sa_whose_end_takes_no_part() {
    assert_eq!(
        resolved(|world| {
            world.snapshot.nodes.push(mk_node("c", &["10.0.0.3"], &[]));
            world.snapshot.sas.push(mk_sa("a-to-c", "a", "c", 0x3001));
            world.policy("pods").spec = mk_policy("pods", &["a-to-b", "b-to-a", "a-to-c"]).spec;
        }),
        "False SecurityAssociationMismatch: IpsecSA a-to-c has end c, which takes no part in the policy"
    );
}

#[test]
fn an_ipsec_sa_between_two_of_the_same_side() {
    let resolved = resolved(|world| {
        world.snapshot.nodes.push(mk_node("c", &["10.0.0.3"], &["10.244.3.0/24"]));
        let spec = &mut world.policy("pods").spec;
        spec.from[0].pod_cidrs = Some(node("c"));
        let mut both = super::build::pod_cidrs();
        both.pod_cidrs = Some(node("a"));
        spec.to = vec![both.clone()];
        both.pod_cidrs = Some(node("b"));
        spec.to.push(both);
    });
    assert_eq!(
        resolved,
        "False SecurityAssociationMismatch: IpsecSA a-to-b is from a to b, between which the policy covers \
         no traffic; \
         IpsecSA b-to-a is from b to a, between which the policy covers no traffic; no IpsecSA from a to c, \
         from b to c, from c to a and 1 more (4 in all): that traffic is dropped"
    );
}

#[test]
fn an_ipsec_sa_belongs_to_the_older_policy() {
    let mut world = World::settled();
    let mut other = mk_policy("a-newer", &["a-to-b", "b-to-a"]);
    other.metadata.creation_timestamp = Some(at(9));
    world.snapshot.policies.push(other);
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(
        plan.policy("a-newer", "ResolvedRefs"),
        "False SecurityAssociationMismatch: IpsecSA a-to-b is IpsecPolicy pods's already; IpsecSA b-to-a is \
         IpsecPolicy pods's already; no IpsecSA from a to b, from b to a: that traffic is dropped"
    );
    assert_eq!(plan.policies_at("a"), ["a-newer", "pods"]);

    world.policy("a-newer").metadata.creation_timestamp = Some(at(0));
    let plan = world.plan();
    assert_eq!(plan.policy("a-newer", "ResolvedRefs"), "True ResolvedRefs");
}

#[test]
fn two_tunnels_of_one_direction_are_of_one_address_family() {
    assert_eq!(
        resolved(|world| {
            let mut other = mk_sa("a-to-b-6", "a", "b", 0x3001);
            other.spec.ip_family = Some(IpFamily::IPv6);
            world.snapshot.sas.push(other);
            world.policy("pods").spec = mk_policy("pods", &["a-to-b-6", "a-to-b", "b-to-a"]).spec;
        }),
        "False SecurityAssociationMismatch: IpsecSA a-to-b-6 is IPv6, and IpsecSA a-to-b of the same \
         direction is IPv4: write ipFamily: IPv4"
    );
}

#[test]
fn two_ipsec_sas_of_one_direction_may_overlap_while_keys_change() {
    assert_eq!(
        resolved(|world| {
            world.snapshot.sas.push(mk_sa("a-to-b-2", "a", "b", 0x3001));
            world.policy("pods").spec = mk_policy("pods", &["a-to-b-2", "a-to-b", "b-to-a"]).spec;
        }),
        "True ResolvedRefs"
    );
}

#[test]
fn a_pair_without_ipsec_sas() {
    assert_eq!(
        resolved(|world| {
            world.snapshot.nodes.push(mk_node("c", &["10.0.0.3"], &["10.244.3.0/24"]));
        }),
        "False SecurityAssociationMissing: no IpsecSA from a to c, from b to c, from c to a and 1 more (4 \
         in all): that traffic is dropped"
    );
}

#[test]
fn pairs_without_traffic_in_common_need_none() {
    assert_eq!(
        resolved(|world| {
            world.snapshot.nodes.push(mk_node("c", &["fd00::3"], &["fd00:3::/64"]));
        }),
        "True ResolvedRefs"
    );
}

fn transport(sas: &[&str]) -> World {
    let mut world = World::settled();
    for sa in ["a-to-b", "b-to-a"] {
        world.sa(sa).spec.mode = Mode::Transport;
        let mut six = world.sa(sa).clone();
        six.metadata.name = Some(format!("{sa}-6"));
        six.spec.ip_family = Some(IpFamily::IPv6);
        world.snapshot.sas.push(six);
    }
    let mut policy = mk_policy("pods", sas);
    policy.spec.from = vec![nodes()];
    policy.spec.protection.as_mut().unwrap().mode = Mode::Transport;
    *world.policy("pods") = policy;
    world
}

#[test]
fn transport_mode_needs_ipsec_sas_of_every_family_that_nodes_have() {
    let resolved = |sas: &[&str]| transport(sas).plan().policy("pods", "ResolvedRefs");
    assert_eq!(resolved(&["a-to-b", "b-to-a", "a-to-b-6", "b-to-a-6"]), "True ResolvedRefs");
    assert_eq!(
        resolved(&["a-to-b", "b-to-a", "a-to-b-6"]),
        "False SecurityAssociationMissing: no IpsecSA from b to a (IPv6): that traffic is dropped"
    );
    assert_eq!(
        resolved(&["a-to-b", "b-to-a"]),
        "False SecurityAssociationMissing: no IpsecSA from a to b (IPv6), from b to a (IPv6): that traffic \
         is dropped"
    );
}

#[test]
fn transport_mode_needs_ipsec_sas_of_the_family_of_its_traffic() {
    let mut world = transport(&["a-to-b", "b-to-a", "a-to-b-6"]);
    // By name or number.
    for protocol in [esplanade_crds::TrafficProtocol::ICMP, esplanade_crds::TrafficProtocol::Number(1)] {
        world.policy("pods").spec.traffic = vec![esplanade_crds::TrafficSelector::all_of(protocol)];
        assert_eq!(
            world.plan().policy("pods", "ResolvedRefs"),
            "False SecurityAssociationMismatch: IpsecSA a-to-b-6 is IPv6, the policy covers IPv4 only between a \
             and b"
        );
    }
}

#[test]
fn selectors_that_match_nothing() {
    let mut world = World::settled();
    world.policy("pods").spec.from[0].pod_cidrs = Some(node("z"));
    let plan = world.plan();
    assert_eq!(
        plan.policy("pods", "ResolvedRefs"),
        "False SecurityAssociationMismatch: IpsecSA a-to-b has end a, which takes no part in the policy; \
         IpsecSA b-to-a \
         has end b, which takes no part in the policy; from matches no Node: correct its label selectors"
    );
    assert_eq!(
        plan.policy("pods", "Programmed"),
        "False NotReady: the policy concerns no Node: see condition ResolvedRefs"
    );
    assert_eq!(plan.policy_status["pods"].nodes.as_ref().unwrap().summary, "0/0");
    assert!(plan.policies_at("a").is_empty());
}

#[test]
fn a_side_that_matches_nothing() {
    let mut world = World::settled();
    let mut to = nodes();
    to.nodes = Some(node("z"));
    let spec = &mut world.policy("pods").spec;
    (spec.to, spec.action, spec.protection) = (vec![to], esplanade_crds::Action::Bypass, None);
    assert_eq!(
        world.plan().policy("pods", "ResolvedRefs"),
        "False NoMatch: to matches no Node: correct its label selectors"
    );
}

#[test]
fn nodes_without_pod_cidrs() {
    let mut world = World::settled();
    world.snapshot.nodes.iter_mut().for_each(|node| node.pod_cidrs.clear());
    world.policy("pods").spec.action = esplanade_crds::Action::Discard;
    world.policy("pods").spec.protection = None;
    assert_eq!(
        world.plan().policy("pods", "ResolvedRefs"),
        "False NoMatch: from: podCIDRs matches Nodes without pod CIDRs (spec.podCIDRs): a, b"
    );
}
