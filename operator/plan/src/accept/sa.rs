//! IpsecSAs by themselves.

use std::net::IpAddr;

use esplanade_crds::conditions::reason;
use esplanade_crds::{IpFamily, IpsecSASpec, Mode, Protocol, SaEndpoint};

use super::algorithm::{self, Encrypting};
use super::{End, KeyUse, SaIntent, invalid, lifetime, mark, not_implemented, rule, selector};
use crate::finding::Finding;

/// The largest anti-replay window, in packets (`XFRMA_REPLAY_ESN_MAX`).
const MAX_WINDOW: u32 = 4096;

/// The highest number that a CPU can have (`CONFIG_NR_CPUS`).
const MAX_CPU: u32 = 8191;

/// What the IpsecSA asks for.
pub(crate) fn sa(spec: &IpsecSASpec) -> Result<SaIntent, Finding> {
    not_implemented(&unimplemented(spec))?;
    let spi = spec.spi;
    rule(
        spi.is_none_or(|spi| spi >= 256),
        "spi: 0 to 255 are reserved (RFC 4303 §2.1): write 256 to 4294967295",
    )?;
    let (source, destination) = (end("source", &spec.source)?, end("destination", &spec.destination)?);
    rule(source != destination, "source and destination are the same: an SA goes from one end to another")?;
    rule(
        [&source, &destination].iter().any(|end| matches!(end, End::Node(_))),
        "one end must be a node of the cluster: write source: {node: NAME} or destination: {node: NAME}",
    )?;
    if spec.protocol == Protocol::IPComp {
        rule(
            spi.is_none_or(|spi| spi <= 0xffff),
            "spi: IPComp's index has 16 bits (RFC 3173 §3.3): write 256 to 65535",
        )?;
        rule(
            spec.encryption.is_none() && spec.integrity.is_none(),
            "IPComp only compresses: remove encryption and integrity, or write protocol: ESP",
        )?;
        rule(spec.anti_replay.is_none(), "IPComp has no sequence numbers: remove antiReplay")?;
        rule(spec.lifetime.is_none(), "IPComp has no keys that wear out: remove lifetime")?;
    }
    rule(
        spi.is_some() || matches!(destination, End::Node(_)),
        "the receiver's kernel chooses an spi that is left out, and destination isn't a node of the cluster: write spi: \
         256 to 4294967295, as the other end has it",
    )?;
    rule(
        spec.mode != Mode::BEET || spec.protocol == Protocol::ESP,
        "mode: BEET is ESP's (draft-nikander-esp-beet-mode): write protocol: ESP, or mode: Tunnel",
    )?;
    rule(
        spec.mode != Mode::IPTFS || spec.protocol == Protocol::ESP,
        "mode: IPTFS is ESP's (RFC 9347): write protocol: ESP, or mode: Tunnel",
    )?;
    rule(
        spec.iptfs.is_none() || spec.mode == Mode::IPTFS,
        "iptfs is for mode: IPTFS: write that, or remove iptfs",
    )?;
    rule(
        spec.cpu.is_none() || matches!(source, End::Node(_)),
        "cpu is one of the sender's, and source isn't a node of the cluster: remove cpu",
    )?;
    rule(spec.cpu.is_none_or(|cpu| cpu <= MAX_CPU), "cpu: write a CPU's number, from 0")?;
    let (selector, carried) = selector::parse(spec, [&source, &destination])?;
    for (side, end) in [("source", &source), ("destination", &destination)] {
        if let (End::Address(address), Some(family)) = (end, spec.ip_family) {
            let fits = address.is_ipv4() == (family == IpFamily::IPv4);
            rule(
                fits,
                &format!("ipFamily: {family:?} doesn't fit {side}.address {address}: leave ipFamily out"),
            )?;
        }
    }
    let anti_replay = spec.anti_replay.unwrap_or_default();
    rule(anti_replay.window <= MAX_WINDOW, "antiReplay.window: at most 4096 packets")?;
    rule(
        !anti_replay.extended_sequence_numbers || anti_replay.window > 0,
        "extendedSequenceNumbers needs an anti-replay window (RFC 4303 §3.3.3): write window: 64 or more",
    )?;
    let lifetime = lifetime::parse(spec.lifetime.as_ref())?;
    mark::check("mark", spec.mark)?;
    mark::check("outputMark", spec.output_mark)?;
    let udp = spec.encapsulation.and_then(|one| one.udp());
    rule(
        udp.is_none() || spec.protocol == Protocol::ESP,
        "encapsulation: only ESP goes in UDP (RFC 3948): write protocol: ESP, or remove encapsulation",
    )?;
    let ports = udp.map(|ports| [ports.source, ports.destination]);
    rule(!ports.iter().flatten().any(|port| *port == 0), "encapsulation: ports are 1 to 65535")?;
    if let Some(seconds) = udp.and_then(|ports| ports.keepalive_seconds) {
        rule(seconds > 0, "encapsulation.keepaliveSeconds: write 1 to 3600, or leave it out")?;
        rule(
            matches!(source, End::Node(_)),
            "the source sends keepalives, and it isn't a node of the cluster: remove keepaliveSeconds",
        )?;
    }
    if udp.is_some_and(|ports| ports.follow_mapping) {
        rule(
            matches!(source, End::Address(_)),
            "encapsulation.followMapping is for a source behind an address translation outside the cluster: write \
             source: {address: ADDRESS}, or remove followMapping",
        )?;
        rule(
            anti_replay.window > 0,
            "a packet that is sent again must not turn the SA elsewhere (RFC 7296 §2.23): write antiReplay: {window: \
             64} beside followMapping, or remove followMapping",
        )?;
    }
    let (encryption, integrity, insecure) = algorithms(spec)?;
    Ok(SaIntent {
        source,
        destination,
        family: spec.ip_family.or(carried),
        spi,
        protocol: spec.protocol,
        mode: spec.mode,
        encryption,
        integrity,
        anti_replay,
        selector,
        udp,
        interface_id: spec.interface_id,
        lifetime,
        mark: spec.mark,
        output_mark: spec.output_mark,
        cpu: spec.cpu,
        iptfs: spec.iptfs,
        insecure,
    })
}

fn unimplemented(spec: &IpsecSASpec) -> Vec<String> {
    let fields = [(spec.reqid.is_some(), "reqid: leave it out, the operator chooses one")];
    fields.iter().filter(|(asked, _)| *asked).map(|(_, field)| (*field).to_owned()).collect()
}

fn end(side: &str, end: &SaEndpoint) -> Result<End, Finding> {
    match (&end.node, &end.address) {
        (Some(node), None) => Ok(End::Node(node.clone())),
        (None, Some(address)) => match address.parse::<IpAddr>() {
            Ok(address) if !address.is_unspecified() => Ok(End::Address(address)),
            _ => Err(invalid(format!(
                "{side}.address must be the IPv4 or IPv6 address of the other end, without a prefix length"
            ))),
        },
        _ => Err(invalid(format!(
            "{side}: write either node: NAME (a node of the cluster) or address: an IP address outside it"
        ))),
    }
}

type Algorithms = (Option<KeyUse>, Option<KeyUse>, Option<&'static str>);

/// In the combinations that RFC 8221 §3 and §4 leave.
fn algorithms(spec: &IpsecSASpec) -> Result<Algorithms, Finding> {
    if spec.protocol == Protocol::IPComp {
        return Ok((None, None, None));
    }
    const INTEGRITY: &str = "integrity: {algorithm: HMAC-SHA2-256-128, keySecretRef: {name: …, key: …}}";
    let integrity = spec.integrity.as_ref().map(algorithm::integrity).transpose()?;
    let Some(encryption) = spec.encryption.as_ref().map(algorithm::encryption).transpose()? else {
        rule(
            spec.protocol != Protocol::ESP,
            "ESP needs encryption: write encryption: {algorithm: AES-CBC-256, keySecretRef: {name: …, key: \
             …}}",
        )?;
        rule(integrity.is_some(), &format!("AH needs integrity: write {INTEGRITY}"))?;
        return Ok((None, integrity, None));
    };
    rule(spec.protocol == Protocol::ESP, "AH doesn't encrypt: remove encryption, or write protocol: ESP")?;
    match encryption {
        Encrypting::Cipher(cipher) => {
            let missing =
                format!("encryption without integrity is forbidden (RFC 8221 §4): write {INTEGRITY}");
            rule(integrity.is_some(), &missing)?;
            Ok((Some(cipher), integrity, None))
        }
        Encrypting::Aead(aead, name) => {
            rule(integrity.is_none(), "this encryption authenticates by itself (AEAD): remove integrity")?;
            if !spec.allow_insecure_manual_aead {
                return Err(Finding::new(
                    reason::INSECURE_ALGORITHM,
                    format!(
                        "{name} must not be used with manual keys (RFC 8221 §3): write AES-CBC-256 with \
                         integrity, or set allowInsecureManualAead: true if you know why"
                    ),
                ));
            }
            Ok((Some(aead), None, Some(name)))
        }
    }
}
