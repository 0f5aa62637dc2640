//! Which feature asks for which capability: the one place that says so.

use super::Capability;
use crate::{Crypto, Mode, Policy, Protocol, Sa, WantedSa};

/// What an SA asks for, what is most likely to be missing first.
pub(super) fn of_sa(sa: &WantedSa) -> Vec<Capability> {
    let Sa {
        destination, crypto, interface_id, direction, cpu, mode, encapsulation, keepalive, offload, ..
    } = sa.sa();
    let mut needs = Vec::new();
    if *interface_id != 0 {
        needs.push(Capability::Interfaces);
    }
    if *mode == Mode::Iptfs {
        needs.push(Capability::Iptfs);
    }
    if offload.is_some() {
        needs.push(Capability::CryptoOffload);
    }
    if cpu.is_some() {
        needs.push(Capability::PerCpu);
    }
    if keepalive.is_some() {
        needs.push(Capability::NatKeepalive);
    }
    if direction.is_some() {
        needs.push(Capability::Direction);
    }
    needs.push(match (crypto.protocol(), destination.is_ipv4()) {
        (Protocol::Esp, true) => Capability::EspOverIpv4,
        (Protocol::Esp, false) => Capability::EspOverIpv6,
        (Protocol::Ah, true) => Capability::AhOverIpv4,
        (Protocol::Ah, false) => Capability::AhOverIpv6,
        (Protocol::IpComp, _) => Capability::CompressionDeflate,
    });
    if encapsulation.is_some() {
        needs.push(Capability::UdpEncapsulation);
    }
    match crypto {
        Crypto::Aead(aead, _) => needs.push(Capability::Aead(*aead)),
        Crypto::Authenticate(authentication, _) => needs.push(Capability::Authentication(*authentication)),
        Crypto::EncryptThenAuthenticate { cipher, authentication, .. } => {
            needs.extend([Capability::Cipher(*cipher), Capability::Authentication(*authentication)]);
        }
        Crypto::Deflate => {}
    }
    needs
}

/// What a policy asks for.
pub(super) fn of_policy(policy: &Policy) -> Vec<Capability> {
    // Nothing goes through an interface that can't be made: the policy would cover nothing, and nobody would notice.
    let mut needs = Vec::new();
    if policy.interface_id != 0 {
        needs.push(Capability::Interfaces);
    }
    if policy.templates.iter().any(|template| template.mode == Mode::Iptfs) {
        needs.push(Capability::Iptfs);
    }
    needs
}

/// What to do with the field that asks for it, as the beginning of a sentence.
pub(super) fn field(capability: Capability) -> Option<&'static str> {
    Some(match capability {
        Capability::EspOverIpv6 | Capability::AhOverIpv6 => "use IPv4 addresses for source and destination",
        Capability::AhOverIpv4 => "write protocol: ESP",
        Capability::CompressionDeflate => "remove compression",
        Capability::UdpEncapsulation => "remove encapsulation",
        Capability::NatKeepalive => "remove keepaliveSeconds",
        Capability::Iptfs => "write mode: Tunnel",
        Capability::PerCpu => "remove cpu",
        Capability::CryptoOffload | Capability::PacketOffload => "remove offload",
        Capability::Interfaces => "remove interfaceId",
        _ => return None,
    })
}
