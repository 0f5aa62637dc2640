//! Work for network devices: what is asked of nodes, and what no device takes.

use esplanade_crds::{EncapsulationType, IpsecPolicySpec, Offload, Protocol, SaEncapsulation};

use super::build::mk_policy;
use super::world::World;

fn offloading(edit: impl FnOnce(&mut World)) -> World {
    let mut world = World::settled();
    world.policy("pods").spec.protection.as_mut().unwrap().offload = Offload::Crypto;
    edit(&mut world);
    world
}

#[test]
fn nodes_are_told_to_ask_devices_and_only_those_of_the_policy() {
    let mut world = offloading(|_| {});
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "Accepted"), "True Accepted");
    assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    for node in ["a", "b"] {
        let (spec, _) = &plan.node_states[node];
        assert_eq!(spec.policies[0].offload, Offload::Crypto);
        let told: Vec<_> =
            spec.security_associations.iter().map(|sa| (sa.name.as_str(), sa.offload)).collect();
        assert_eq!(told, [("a-to-b", Offload::Crypto), ("b-to-a", Offload::Crypto)]);
    }
    let plan = World::settled().plan();
    let (spec, _) = &plan.node_states["a"];
    assert!(spec.security_associations.iter().all(|sa| sa.offload == Offload::None));
}

#[test]
fn a_device_takes_nothing_in_udp() {
    let udp = SaEncapsulation { type_: EncapsulationType::UDP, ..SaEncapsulation::default() };
    let mut world = offloading(|world| world.sa("a-to-b").spec.encapsulation = Some(udp));
    assert_eq!(
        world.plan().policy("pods", "ResolvedRefs"),
        "False SecurityAssociationMismatch: IpsecSA a-to-b is in UDP, whose work devices don't take: remove the policy's \
         offload; no IpsecSA from a to b: that traffic is dropped"
    );
    world.policy("pods").spec.protection.as_mut().unwrap().offload = Offload::None;
    assert_eq!(world.plan().policy("pods", "ResolvedRefs"), "True ResolvedRefs");
}

/// The condition Accepted of another policy.
fn accepted(edit: impl FnOnce(&mut IpsecPolicySpec)) -> String {
    let mut world = World::settled();
    let mut policy = mk_policy("new", &["x"]);
    policy.spec.protection.as_mut().unwrap().offload = Offload::Crypto;
    edit(&mut policy.spec);
    world.snapshot.policies.push(policy);
    world.plan().policy("new", "Accepted")
}

#[test]
fn what_no_device_takes_is_refused_in_words() {
    assert_eq!(accepted(|_| {}), "True Accepted");
    for protocol in [Protocol::AH, Protocol::IPComp] {
        assert_eq!(
            accepted(|spec| spec.protection.as_mut().unwrap().protocol = protocol),
            "False Invalid: devices take only ESP's work: write protocol: ESP, or remove offload"
        );
    }
    assert_eq!(
        accepted(|spec| spec.protection.as_mut().unwrap().keying.manual = None),
        "False NotImplemented: not implemented yet: offload with automatic keys: leave it out"
    );
}
