//! IPComp, alone and before ESP.

use esplanade_crds::{Compression, IpsecSA, Mode, Protocol};

use super::build::{integrity, mk_sa};
use super::world::World;

fn ipcomp(name: &str, source: &str, destination: &str, index: u32) -> IpsecSA {
    let mut sa = mk_sa(name, source, destination, index);
    let spec = &mut sa.spec;
    (spec.protocol, spec.encryption, spec.integrity) = (Protocol::IPComp, None, None);
    sa
}

/// The policy `pods` compresses, and names these IpsecSAs.
fn compressing(sas: &[&str]) -> World {
    let mut world = World::settled();
    world.snapshot.sas.push(ipcomp("comp-ab", "a", "b", 0x1001));
    world.snapshot.sas.push(ipcomp("comp-ba", "b", "a", 0x1002));
    let protection = world.policy("pods").spec.protection.as_mut().unwrap();
    protection.compression = Compression::Deflate;
    let manual = protection.keying.manual.as_mut().unwrap();
    manual.security_associations = sas.iter().map(|sa| (*sa).to_owned()).collect();
    world
}

#[test]
fn compression_takes_an_ipsec_sa_of_each_protocol() {
    let mut world = compressing(&["a-to-b", "b-to-a", "comp-ab", "comp-ba"]);
    world.settle();
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    assert!(plan.policy("pods", "Encrypted").starts_with("True"));
    let (spec, _) = &plan.node_states["a"];
    assert_eq!(spec.policies[0].compression, Compression::Deflate);
    let mut told: Vec<_> =
        spec.security_associations.iter().map(|sa| (sa.name.as_str(), sa.protocol, sa.mode)).collect();
    told.sort();
    // The tunnel is IPComp's.
    assert_eq!(
        told,
        [
            ("a-to-b", Protocol::ESP, Mode::Transport),
            ("b-to-a", Protocol::ESP, Mode::Transport),
            ("comp-ab", Protocol::IPComp, Mode::Tunnel),
            ("comp-ba", Protocol::IPComp, Mode::Tunnel),
        ]
    );
    let mut without = compressing(&["a-to-b", "b-to-a", "comp-ab"]);
    assert_eq!(
        without.plan().policy("pods", "ResolvedRefs"),
        "False SecurityAssociationMissing: no IpsecSA from b to a of IPComp: that traffic is dropped"
    );
    let mut without = compressing(&["comp-ab", "comp-ba"]);
    assert_eq!(
        without.plan().policy("pods", "ResolvedRefs"),
        "False SecurityAssociationMissing: no IpsecSA from a to b of ESP, from b to a of ESP: that traffic is dropped"
    );
}

/// The kernel takes ESP around a tunnel of IPComp for its own family alone.
#[test]
fn a_compressing_tunnel_carries_its_own_family() {
    let mut world = compressing(&["a-to-b", "b-to-a", "comp-ab", "comp-ba"]);
    for (node, cidr) in world.snapshot.nodes.iter_mut().zip(["fd00:1::/64", "fd00:2::/64"]) {
        node.pod_cidrs.push(cidr.parse().unwrap());
    }
    assert_eq!(
        world.plan().policy("pods", "ResolvedRefs"),
        "False SecurityAssociationMissing: no IpsecSA from a to b of IPComp and ESP (IPv6), from b to a of IPComp and \
         ESP (IPv6): that traffic is dropped"
    );
}

#[test]
fn without_compression_ipcomp_does_not_fit_esp() {
    let mut world = compressing(&["a-to-b", "b-to-a", "comp-ab"]);
    world.policy("pods").spec.protection.as_mut().unwrap().compression = Compression::None;
    assert_eq!(
        world.plan().policy("pods", "ResolvedRefs"),
        "False SecurityAssociationMismatch: IpsecSA comp-ab has protocol IPComp, the policy ESP"
    );
}

#[test]
fn ipcomp_alone_encrypts_nothing() {
    let mut world = compressing(&["comp-ab", "comp-ba"]);
    let protection = world.policy("pods").spec.protection.as_mut().unwrap();
    (protection.protocol, protection.compression) = (Protocol::IPComp, Compression::None);
    world.settle();
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(plan.sa("comp-ab", "Programmed"), "True Programmed: in the kernel of a, b");
    assert_eq!(
        plan.policy("pods", "Encrypted"),
        "False NotEncrypted: IPComp alone compresses and encrypts nothing: write protocol: ESP and compression: Deflate"
    );
}

#[test]
fn ipcomp_has_16_bits_no_keys_and_no_numbers() {
    let told = |edit: fn(&mut IpsecSA)| {
        let mut world = compressing(&["a-to-b", "b-to-a", "comp-ab", "comp-ba"]);
        edit(world.sa("comp-ab"));
        world.plan().sa("comp-ab", "Accepted")
    };
    assert_eq!(told(|_| {}), "True Accepted");
    assert_eq!(
        told(|sa| sa.spec.spi = Some(0x1_0000)),
        "False Invalid: spi: IPComp's index has 16 bits (RFC 3173 §3.3): write 256 to 65535"
    );
    assert_eq!(
        told(|sa| sa.spec.integrity = integrity("HMAC-SHA2-256-128")),
        "False Invalid: IPComp only compresses: remove encryption and integrity, or write protocol: ESP"
    );
    assert_eq!(
        told(|sa| sa.spec.anti_replay = Some(esplanade_crds::AntiReplay::default())),
        "False Invalid: IPComp has no sequence numbers: remove antiReplay"
    );
    assert_eq!(
        told(|sa| sa.spec.lifetime = Some(esplanade_crds::Lifetime::default())),
        "False Invalid: IPComp has no keys that wear out: remove lifetime"
    );
}
