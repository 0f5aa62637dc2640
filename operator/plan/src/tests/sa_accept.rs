//! What an IpsecSA is refused for.

use esplanade_crds::{
    AntiReplay, EncapsulationType, IpFamily, IpsecSASpec, Mark, Protocol, SaEncapsulation, SaEndpoint,
};

use super::build::{address_end, encryption, integrity, node_end};
use super::world::World;

/// The condition Accepted of a-to-b after the edit; whatever is wrong with it, b-to-a goes on.
fn accepted(edit: impl FnOnce(&mut IpsecSASpec)) -> String {
    let mut world = World::settled();
    edit(&mut world.sa("a-to-b").spec);
    let plan = world.plan();
    assert_eq!(plan.sa("b-to-a", "Programmed"), "True Programmed: in the kernel of a, b");
    let accepted = plan.sa("a-to-b", "Accepted");
    if accepted.starts_with("False") {
        assert_eq!(plan.installed_at("a"), ["b-to-a"]);
        assert_eq!(plan.installed_at("b"), ["b-to-a"]);
        assert_eq!(plan.sa("a-to-b", "Programmed"), "False NotReady: not accepted: see condition Accepted");
        assert_eq!(
            plan.sa("a-to-b", "ResolvedRefs"),
            "Unknown NotReady: not accepted: see condition Accepted"
        );
        assert_eq!(plan.sa_status["a-to-b"].spi, None);
        assert_eq!(
            plan.policy("pods", "ResolvedRefs"),
            "False SecurityAssociationNotReady: IpsecSA a-to-b isn't accepted: see its condition Accepted; \
             no IpsecSA from a to b: that traffic is dropped"
        );
    }
    accepted
}

#[test]
fn a_good_one_is_accepted() {
    assert_eq!(accepted(|_| {}), "True Accepted");
}

#[test]
fn what_is_not_implemented_is_named_with_what_to_write() {
    let prefix = "False NotImplemented: not implemented yet: ";
    let check = |edit: fn(&mut IpsecSASpec), what: &str| {
        assert_eq!(accepted(edit), format!("{prefix}{what}"));
    };
    check(|sa| sa.reqid = Some(1), "reqid: leave it out, the operator chooses one");
}

#[test]
fn several_unimplemented_fields_are_all_named() {
    let edit = |sa: &mut IpsecSASpec| {
        sa.reqid = Some(1);
    };
    assert_eq!(
        accepted(edit),
        "False NotImplemented: not implemented yet: reqid: leave it out, the operator chooses one"
    );
}

#[test]
fn marks_are_ones_that_packets_can_have() {
    let mark = |value, mask| Some(Mark { value, mask });
    assert_eq!(accepted(|sa| sa.output_mark = mark(0, 1)), "True Accepted");
    assert_eq!(
        accepted(|sa| sa.mark = mark(1, 0)),
        "False Invalid: mark: mask: 0 has no bits that count: leave mark out, or write them"
    );
    assert_eq!(
        accepted(|sa| sa.output_mark = mark(3, 1)),
        "False Invalid: outputMark: value 0x3 has bits outside mask 0x1, which no packet can have: write value: 1, or a \
         mask with them"
    );
}

#[test]
fn encapsulation_none_is_no_encapsulation() {
    let (accepted, told) = udp(|sa| sa.encapsulation = Some(SaEncapsulation::default()));
    assert_eq!((accepted.as_str(), told), ("True Accepted", None));
}

/// The condition Accepted after the edit, and what both nodes are told of UDP.
fn udp(edit: impl FnOnce(&mut IpsecSASpec)) -> (String, Option<(u16, u16)>) {
    let mut world = World::settled();
    edit(&mut world.sa("a-to-b").spec);
    let plan = world.plan();
    let told = ["a", "b"].map(|node| {
        let (spec, _) = &plan.node_states[node];
        let sa = spec.security_associations.iter().find(|sa| sa.name == "a-to-b")?;
        sa.udp.map(|ports| (ports.source, ports.destination))
    });
    assert_eq!(told[0], told[1]);
    (plan.sa("a-to-b", "Accepted"), told[0])
}

#[test]
fn udp_has_a_port_for_both_ends_unless_an_end_has_its_own() {
    const UDP: SaEncapsulation = SaEncapsulation {
        type_: EncapsulationType::UDP,
        port: None,
        source_port: None,
        destination_port: None,
        follow_mapping: false,
        keepalive_seconds: None,
    };
    for (asked, ports) in [
        (UDP, (4500, 4500)),
        (SaEncapsulation { port: Some(4501), ..UDP }, (4501, 4501)),
        (SaEncapsulation { source_port: Some(40_000), ..UDP }, (40_000, 4500)),
        (SaEncapsulation { port: Some(4501), destination_port: Some(40_000), ..UDP }, (4501, 40_000)),
    ] {
        let (accepted, told) = udp(|sa| sa.encapsulation = Some(asked));
        assert_eq!((accepted.as_str(), told), ("True Accepted", Some(ports)));
    }
    let ah = udp(|sa| {
        (sa.protocol, sa.encryption) = (Protocol::AH, None);
        sa.encapsulation = Some(UDP);
    });
    let words = "False Invalid: encapsulation: only ESP goes in UDP (RFC 3948): write protocol: ESP, or remove \
                 encapsulation";
    assert_eq!(ah, (words.to_owned(), None));
    let zero = udp(|sa| sa.encapsulation = Some(SaEncapsulation { port: Some(0), ..UDP }));
    assert_eq!(zero, ("False Invalid: encapsulation: ports are 1 to 65535".to_owned(), None));
}

/// The condition Accepted of an SA in UDP from this end with this window, and whether both nodes are told of what was asked.
fn from(source: SaEndpoint, window: u32, asked: SaEncapsulation) -> (String, Option<(bool, Option<u16>)>) {
    let mut world = World::settled();
    let sa = &mut world.sa("a-to-b").spec;
    sa.source = source;
    sa.anti_replay = Some(AntiReplay { window, extended_sequence_numbers: false });
    sa.encapsulation = Some(SaEncapsulation { type_: EncapsulationType::UDP, ..asked });
    let plan = world.plan();
    let (spec, _) = &plan.node_states["b"];
    let told = spec.security_associations.iter().find(|sa| sa.name == "a-to-b");
    let told = told.and_then(|sa| sa.udp).map(|udp| (udp.follow_mapping, udp.keepalive_seconds));
    (plan.sa("a-to-b", "Accepted"), told)
}

#[test]
fn a_sender_outside_the_cluster_may_be_followed() {
    let follow = || SaEncapsulation { follow_mapping: true, ..SaEncapsulation::default() };
    assert_eq!(
        from(address_end("203.0.113.7"), 64, follow()),
        ("True Accepted".to_owned(), Some((true, None)))
    );
    assert_eq!(
        from(node_end("a"), 64, follow()).0,
        "False Invalid: encapsulation.followMapping is for a source behind an address translation outside the cluster: \
         write source: {address: ADDRESS}, or remove followMapping"
    );
    assert_eq!(
        from(address_end("203.0.113.7"), 0, follow()).0,
        "False Invalid: a packet that is sent again must not turn the SA elsewhere (RFC 7296 §2.23): write antiReplay: \
         {window: 64} beside followMapping, or remove followMapping"
    );
}

#[test]
fn a_node_may_send_keepalives() {
    let every = |seconds| SaEncapsulation { keepalive_seconds: Some(seconds), ..SaEncapsulation::default() };
    assert_eq!(from(node_end("a"), 0, every(20)), ("True Accepted".to_owned(), Some((false, Some(20)))));
    assert_eq!(
        from(address_end("203.0.113.7"), 0, every(20)).0,
        "False Invalid: the source sends keepalives, and it isn't a node of the cluster: remove keepaliveSeconds"
    );
    assert_eq!(
        from(node_end("a"), 0, every(0)).0,
        "False Invalid: encapsulation.keepaliveSeconds: write 1 to 3600, or leave it out"
    );
}

#[test]
fn algorithms_that_rfc_8221_forbids_are_refused() {
    assert_eq!(
        accepted(|sa| sa.encryption = encryption("3DES-CBC")),
        "False InsecureAlgorithm: encryption.algorithm: RFC 8221 forbids or discourages 3DES-CBC (§5): \
         write AES-CBC-128 or AES-CBC-256"
    );
    assert_eq!(
        accepted(|sa| sa.integrity = integrity("HMAC-SHA1-96")),
        "False InsecureAlgorithm: integrity.algorithm: RFC 8221 forbids or discourages HMAC-SHA1-96 (§6): \
         write HMAC-SHA2-256-128 or HMAC-SHA2-512-256"
    );
    let aead = |sa: &mut IpsecSASpec| {
        sa.encryption = encryption("AES-GCM-16-256");
        sa.integrity = None;
    };
    assert_eq!(
        accepted(aead),
        "False InsecureAlgorithm: AES-GCM-16-256 must not be used with manual keys (RFC 8221 §3): write \
         AES-CBC-256 with integrity, or set allowInsecureManualAead: true if you know why"
    );
}

#[test]
fn unknown_algorithms_are_refused_with_those_that_are_known() {
    assert_eq!(
        accepted(|sa| sa.encryption = encryption("ROT13")),
        "False UnknownAlgorithm: unknown encryption algorithm \"ROT13\": write one of NULL, AES-CBC-128, \
         AES-CBC-192, \
         AES-CBC-256, or with allowInsecureManualAead one of AES-GCM-16-128, AES-GCM-16-192, AES-GCM-16-256, \
         CHACHA20-POLY1305"
    );
    assert_eq!(
        accepted(|sa| sa.integrity = integrity("CRC32")),
        "False UnknownAlgorithm: unknown integrity algorithm \"CRC32\": write one of HMAC-SHA2-256-128, \
         HMAC-SHA2-384-192, HMAC-SHA2-512-256"
    );
}

#[test]
fn stored_objects_older_than_the_api_servers_rules_are_checked_again() {
    let check = |edit: fn(&mut IpsecSASpec), message: &str| {
        assert_eq!(accepted(edit), format!("False Invalid: {message}"));
    };
    check(|sa| sa.spi = Some(255), "spi: 0 to 255 are reserved (RFC 4303 §2.1): write 256 to 4294967295");
    check(
        |sa| sa.destination = node_end("a"),
        "source and destination are the same: an SA goes from one end to another",
    );
    check(
        |sa| (sa.source, sa.destination) = (address_end("192.0.2.1"), address_end("192.0.2.2")),
        "one end must be a node of the cluster: write source: {node: NAME} or destination: {node: NAME}",
    );
    check(
        |sa| sa.source.address = Some("192.0.2.1".into()),
        "source: write either node: NAME (a node of the cluster) or address: an IP address outside it",
    );
    check(
        |sa| sa.destination = address_end("192.0.2.0/24"),
        "destination.address must be the IPv4 or IPv6 address of the other end, without a prefix length",
    );
    check(
        |sa| (sa.destination, sa.ip_family) = (address_end("192.0.2.1"), Some(IpFamily::IPv6)),
        "ipFamily: IPv6 doesn't fit destination.address 192.0.2.1: leave ipFamily out",
    );
    check(
        |sa| sa.anti_replay = Some(AntiReplay { window: 4097, extended_sequence_numbers: false }),
        "antiReplay.window: at most 4096 packets",
    );
    check(
        |sa| sa.anti_replay = Some(AntiReplay { window: 0, extended_sequence_numbers: true }),
        "extendedSequenceNumbers needs an anti-replay window (RFC 4303 §3.3.3): write window: 64 or more",
    );
}

#[test]
fn algorithms_in_combinations_that_make_no_sense_are_refused() {
    let check = |edit: fn(&mut IpsecSASpec), message: &str| {
        assert_eq!(accepted(edit), format!("False Invalid: {message}"));
    };
    check(
        |sa| sa.encryption = None,
        "ESP needs encryption: write encryption: {algorithm: AES-CBC-256, keySecretRef: {name: …, key: …}}",
    );
    check(
        |sa| sa.integrity = None,
        "encryption without integrity is forbidden (RFC 8221 §4): write integrity: {algorithm: \
         HMAC-SHA2-256-128, keySecretRef: {name: …, key: …}}",
    );
    check(|sa| sa.protocol = Protocol::AH, "AH doesn't encrypt: remove encryption, or write protocol: ESP");
    check(
        |sa| (sa.protocol, sa.encryption, sa.integrity) = (Protocol::AH, None, None),
        "AH needs integrity: write integrity: {algorithm: HMAC-SHA2-256-128, keySecretRef: {name: …, key: \
         …}}",
    );
    check(
        |sa| {
            sa.encryption = encryption("CHACHA20-POLY1305");
            sa.allow_insecure_manual_aead = true;
        },
        "this encryption authenticates by itself (AEAD): remove integrity",
    );
    const KEY: &str = "encryption.keySecretRef: {name, key} names the Secret with the key; leave it out \
     only with algorithm: NULL";
    check(|sa| sa.encryption = encryption("NULL"), KEY);
    check(
        |sa| {
            if let Some(one) = &mut sa.encryption {
                one.key_secret_ref = None;
            }
        },
        KEY,
    );
}
