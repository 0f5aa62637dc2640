//! An expansion as text, a line for each thing.

use std::fmt::Write;

use esplanade_expand::Expansion;
use esplanade_model::{
    Crypto, Iptfs, Key, Lifetime, Limits, Mark, Policy, PolicyFlags, Port, Sa, Selector, Template,
    UdpEncapsulation, WantedSa,
};

pub(crate) fn expansion(expansion: &Expansion) -> String {
    let mut text = String::new();
    for (name, wanted) in &expansion.wanted.sas {
        let way = match wanted {
            WantedSa::Inbound(_) => "in",
            WantedSa::Outbound(_) => "out",
        };
        writeln!(text, "sa {name} {way} {}", sa(wanted.sa())).unwrap();
    }
    for id in &expansion.wanted.hold {
        writeln!(text, "hold {id}").unwrap();
    }
    for (name, one) in &expansion.wanted.policies {
        writeln!(text, "policy {name} {}", policy(one)).unwrap();
    }
    for problem in &expansion.problems {
        let (kind, name) = (problem.kind, &problem.name);
        writeln!(text, "problem {kind:?} {name} {}: {}", problem.category, problem.message).unwrap();
    }
    text
}

fn sa(sa: &Sa) -> String {
    let Sa {
        source,
        destination,
        spi,
        mode,
        reqid,
        crypto,
        replay,
        selector: packets,
        interface_id,
        encapsulation,
        lifetime,
        direction,
        mark: own_mark,
        output_mark,
        icmp_errors,
        cpu,
        iptfs,
        keepalive,
        offload,
    } = sa;
    let undirected = if direction.is_none() { " undirected" } else { "" };
    let crypto = match crypto {
        Crypto::Aead(aead, one) => format!("{} {}", aead.name(), key(one)),
        Crypto::EncryptThenAuthenticate { cipher, cipher_key, authentication, authentication_key } => {
            let (cipher, authentication) = (cipher.name(), authentication.name());
            format!("{cipher} {} {authentication} {}", key(cipher_key), key(authentication_key))
        }
        Crypto::Deflate => "Deflate".to_owned(),
        Crypto::Authenticate(authentication, one) => format!("{} {}", authentication.name(), key(one)),
    };
    let esn = if replay.extended_sequence_numbers { " esn" } else { "" };
    let (reqid, window) = (reqid.get(), replay.window);
    let packets = packets.as_ref().map(|packets| format!(" for {}", selector(packets))).unwrap_or_default();
    format!(
        "{source} > {destination} spi {spi} {mode:?} reqid {reqid:#x} {crypto} window {window}{esn}{packets}{}{}{}{}{}{}{}{}{}{}{undirected}",
        interface(*interface_id),
        encapsulation.map(udp).unwrap_or_default(),
        keepalive.map(|seconds| format!(" kept alive every {seconds} s")).unwrap_or_default(),
        if offload.is_some() { " by a device" } else { "" },
        mark(" mark", *own_mark),
        mark(" output mark", *output_mark),
        if *icmp_errors { " icmp" } else { "" },
        cpu.map(|cpu| format!(" of CPU {cpu}")).unwrap_or_default(),
        if *iptfs == Iptfs::default() { String::new() } else { format!(" {iptfs:?}") },
        worn_by(lifetime)
    )
}

/// What wears an SA out: seconds, bytes, packets, the soft limits first.
fn worn_by(lifetime: &Lifetime) -> String {
    let limits = |name: &str, limits: &Limits| {
        let limit = |unit: &str, limit: Option<std::num::NonZeroU64>| {
            limit.map(|limit| format!(" {limit}{unit}")).unwrap_or_default()
        };
        let Limits { time, bytes, packets } = *limits;
        if limits.is_none() {
            String::new()
        } else {
            format!(" {name}{}{}{}", limit("s", time), limit("B", bytes), limit("P", packets))
        }
    };
    format!("{}{}", limits("soft", &lifetime.soft), limits("hard", &lifetime.hard))
}

fn udp(UdpEncapsulation { source_port, destination_port }: UdpEncapsulation) -> String {
    format!(" in UDP {source_port} > {destination_port}")
}

/// A key by its first bytes and its length.
fn key(key: &Key) -> String {
    let first: String = key.expose().iter().take(2).map(|byte| format!("{byte:02x}")).collect();
    format!("{first}…*{}", key.len())
}

fn policy(policy: &Policy) -> String {
    let Policy {
        direction,
        selector: packets,
        interface_id,
        mark: packets_mark,
        priority,
        action,
        templates,
        flags,
    } = policy;
    let PolicyFlags { icmp_errors, local_override } = flags;
    let flags = [(icmp_errors, " icmp"), (local_override, " localok")];
    let flags: String = flags.into_iter().filter(|(set, _)| **set).map(|(_, name)| name).collect();
    let templates: Vec<_> = templates.iter().map(template).collect();
    let templates = if templates.is_empty() { "-".to_owned() } else { templates.join(", ") };
    let direction = format!("{direction:?}").to_lowercase();
    format!(
        "{direction:7} {priority} {}{}{} {action:?} {templates}{flags}",
        selector(packets),
        interface(*interface_id),
        mark(" mark", *packets_mark),
    )
}

fn mark(name: &str, mark: Mark) -> String {
    if mark == Mark::NONE { String::new() } else { format!("{name} {:#x}/{:#x}", mark.value(), mark.mask()) }
}

fn interface(id: u32) -> String {
    if id == 0 { String::new() } else { format!(" interface {id}") }
}

fn selector(selector: &Selector) -> String {
    let mut text = format!("{} > {}", selector.source(), selector.destination());
    if selector.protocol != 0 {
        write!(text, " proto {}", selector.protocol).unwrap();
    }
    for (name, port) in [("sport", selector.source_port), ("dport", selector.destination_port)] {
        if port != Port::ANY {
            write!(text, " {name} {}/{:#x}", port.value(), port.mask()).unwrap();
        }
    }
    text
}

fn template(template: &Template) -> String {
    let Template { protocol, mode, reqid, tunnel, optional } = template;
    let reqid = reqid.map_or("any".to_owned(), |reqid| format!("{:#x}", reqid.get()));
    let mut text = format!("{protocol:?} {mode:?} reqid {reqid}");
    if let Some((source, destination)) = tunnel {
        write!(text, " {source} > {destination}").unwrap();
    }
    if *optional {
        text.push_str(" optional");
    }
    text
}
