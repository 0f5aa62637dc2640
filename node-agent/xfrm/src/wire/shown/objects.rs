//! Structures as they are shown. What is zero and means nothing then isn't.

use netlink_packet_xfrm::{
    Lifetime, LifetimeConfig, UserAcquire, UserMapping, UserMigrate, UserPolicyId, UserPolicyInfo, UserSaId,
    UserSaInfo, UserTemplate,
};
use serde::Serialize;

use super::names;
use super::parts::{Flags, Hex, Name, Place};

/// A limit that isn't one (`XFRM_INF`).
const UNLIMITED: u64 = u64::MAX;

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_any(share: &Name) -> bool {
    share.number == 0
}

fn is_all(algorithms: &Hex) -> bool {
    algorithms.0 == u32::MAX
}

/// What names an SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SaName {
    /// Where it ends.
    pub destination: Place,
    /// ESP, AH, IPComp, or one of Mobile IPv6.
    pub protocol: Name,
    /// Its SPI; for IPComp the CPI.
    pub spi: Hex,
}

impl SaName {
    pub(super) fn new(wire: &UserSaId) -> Self {
        Self {
            destination: Place::new(&wire.daddr, wire.family),
            protocol: Name::protocol(wire.proto),
            spi: Hex(wire.spi),
        }
    }

    pub(super) fn of(wire: &netlink_packet_xfrm::Id, family: u16) -> Self {
        Self {
            destination: Place::new(&wire.daddr, family),
            protocol: Name::protocol(wire.proto),
            spi: Hex(wire.spi),
        }
    }
}

/// Packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// A network.
    pub source: String,
    /// A network.
    pub destination: String,
    /// Upper-layer protocol.
    pub protocol: Name,
    /// The port, or the ICMP type, and its mask unless that is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<String>,
    /// The port, or the ICMP code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<String>,
    /// Index of an interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<i32>,
    /// A user's number.
    #[serde(skip_serializing_if = "is_zero")]
    pub user: u32,
}

impl Selector {
    pub(super) fn new(wire: &netlink_packet_xfrm::Selector) -> Self {
        let network = |address, prefix: u8| match Place::new(address, wire.family) {
            place if place.ip().is_none() && prefix == 0 => place.to_string(),
            place => format!("{place}/{prefix}"),
        };
        let port = |port: u16, mask: u16| match mask {
            0 if port == 0 => None,
            0xffff => Some(port.to_string()),
            _ => Some(format!("{port:#x}/{mask:#x}")),
        };
        Self {
            source: network(&wire.saddr, wire.prefixlen_s),
            destination: network(&wire.daddr, wire.prefixlen_d),
            protocol: Name::protocol(wire.proto),
            source_port: port(wire.sport, wire.sport_mask),
            destination_port: port(wire.dport, wire.dport_mask),
            interface: (wire.ifindex != 0).then_some(wire.ifindex),
            user: wire.user,
        }
    }
}

/// Limits of a lifetime; seconds, bytes, packets. None is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // `struct xfrm_lifetime_cfg` has them.
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_use_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_use_seconds: Option<u64>,
}

impl Limits {
    fn new(wire: &LifetimeConfig) -> Self {
        let count = |limit: u64| (limit != UNLIMITED).then_some(limit);
        let time = |limit: u64| (limit != 0).then_some(limit);
        Self {
            soft_bytes: count(wire.soft_byte_limit),
            hard_bytes: count(wire.hard_byte_limit),
            soft_packets: count(wire.soft_packet_limit),
            hard_packets: count(wire.hard_packet_limit),
            soft_seconds: time(wire.soft_add_expires_seconds),
            hard_seconds: time(wire.hard_add_expires_seconds),
            soft_use_seconds: time(wire.soft_use_expires_seconds),
            hard_use_seconds: time(wire.hard_use_expires_seconds),
        }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        let counts = [self.soft_bytes, self.hard_bytes, self.soft_packets, self.hard_packets];
        let times = [self.soft_seconds, self.hard_seconds, self.soft_use_seconds, self.hard_use_seconds];
        counts.iter().chain(&times).all(Option::is_none)
    }
}

/// What was used of a lifetime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Used {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// When it was added, in seconds since 1970.
    pub added: u64,
    /// When it was first used, in seconds since 1970; 0 is never.
    pub first_used: u64,
}

impl Used {
    pub(super) fn new(wire: &Lifetime) -> Self {
        let Lifetime { bytes, packets, add_time: added, use_time: first_used } = *wire;
        Self { bytes, packets, added, first_used }
    }
}

/// What was wrong with packets that arrived for an SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Errors {
    /// Older than the replay window.
    pub replay_window: u32,
    /// Seen before.
    pub replay: u32,
    /// Not what was sent.
    pub integrity_failed: u32,
}

impl Errors {
    /// There were none.
    pub fn is_empty(&self) -> bool {
        (self.replay_window, self.replay, self.integrity_failed) == (0, 0, 0)
    }
}

/// An SA (`struct xfrm_usersa_info`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sa {
    /// Where it begins.
    pub source: Place,
    /// What names it.
    #[serde(flatten)]
    pub name: SaName,
    /// Transport, tunnel …
    pub mode: Name,
    /// What templates find it by.
    pub reqid: Hex,
    /// The number of the acquire it answers, or its owner's tag.
    pub seq: Hex,
    /// Packets that it carries.
    pub selector: Selector,
    /// The legacy window, in packets.
    pub replay_window: u8,
    /// `XFRM_STATE_…`
    #[serde(skip_serializing_if = "Flags::is_empty")]
    pub flags: Flags,
    /// When it ends.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// How much of that was used.
    pub used: Used,
    /// Packets that were refused.
    #[serde(skip_serializing_if = "Errors::is_empty")]
    pub errors: Errors,
}

impl Sa {
    pub(super) fn new(wire: &UserSaInfo) -> Self {
        Self {
            source: Place::new(&wire.saddr, wire.family),
            name: SaName::of(&wire.id, wire.family),
            mode: Name::of(wire.mode, &names::MODES),
            reqid: Hex(wire.reqid),
            seq: Hex(wire.seq),
            selector: Selector::new(&wire.selector),
            replay_window: wire.replay_window,
            flags: Flags::of(wire.flags, &names::SA_FLAGS),
            limits: Limits::new(&wire.lifetime_cfg),
            used: Used::new(&wire.lifetime_cur),
            errors: Errors {
                replay_window: wire.stats.replay_window,
                replay: wire.stats.replay,
                integrity_failed: wire.stats.integrity_failed,
            },
        }
    }
}

/// A policy (`struct xfrm_userpolicy_info`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// In, out, or forward; any other belongs to a socket.
    pub direction: Name,
    /// The packets.
    pub selector: Selector,
    /// Allow or block.
    pub action: Name,
    /// The lower one counts.
    pub priority: u32,
    /// The kernel's number for it.
    pub index: Hex,
    /// `XFRM_POLICY_…`
    #[serde(skip_serializing_if = "Flags::is_empty")]
    pub flags: Flags,
    /// Whether SAs may be shared.
    #[serde(skip_serializing_if = "is_any")]
    pub share: Name,
    /// When it ends.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// How much of that was used.
    pub used: Used,
}

impl Policy {
    pub(super) fn new(wire: &UserPolicyInfo) -> Self {
        Self {
            direction: Name::of(wire.direction, &names::DIRECTIONS),
            selector: Selector::new(&wire.selector),
            action: Name::of(wire.action, &names::ACTIONS),
            priority: wire.priority,
            index: Hex(wire.index),
            flags: Flags::of(wire.flags, &names::POLICY_FLAGS),
            share: Name::of(wire.share, &names::SHARES),
            limits: Limits::new(&wire.lifetime_cfg),
            used: Used::new(&wire.lifetime_cur),
        }
    }
}

/// What names a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyName {
    /// In, out, or forward.
    pub direction: Name,
    /// The packets.
    pub selector: Selector,
    /// The kernel's number for it.
    pub index: Hex,
}

impl PolicyName {
    pub(super) fn new(wire: &UserPolicyId) -> Self {
        Self {
            direction: Name::of(wire.direction, &names::DIRECTIONS),
            selector: Selector::new(&wire.selector),
            index: Hex(wire.index),
        }
    }
}

/// An SA that a policy asks for (`struct xfrm_user_tmpl`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Where it begins.
    pub source: Place,
    /// What names it; an SPI of 0 is any.
    #[serde(flatten)]
    pub name: SaName,
    /// Transport, tunnel …
    pub mode: Name,
    /// That of the SA.
    pub reqid: Hex,
    /// Without it packets pass too.
    pub optional: bool,
    /// Whether SAs may be shared.
    #[serde(skip_serializing_if = "is_any")]
    pub share: Name,
    /// Authentication algorithms allowed, by their number in the kernel.
    #[serde(skip_serializing_if = "is_all")]
    pub authentication_algorithms: Hex,
    /// Encryption algorithms.
    #[serde(skip_serializing_if = "is_all")]
    pub encryption_algorithms: Hex,
    /// Compression algorithms.
    #[serde(skip_serializing_if = "is_all")]
    pub compression_algorithms: Hex,
}

impl Template {
    pub(super) fn new(wire: &UserTemplate) -> Self {
        Self {
            source: Place::new(&wire.saddr, wire.family),
            name: SaName::of(&wire.id, wire.family),
            mode: Name::of(wire.mode, &names::MODES),
            reqid: Hex(wire.reqid),
            optional: wire.optional != 0,
            share: Name::of(wire.share, &names::SHARES),
            authentication_algorithms: Hex(wire.aalgos),
            encryption_algorithms: Hex(wire.ealgos),
            compression_algorithms: Hex(wire.calgos),
        }
    }
}

/// An SA that is missing (`struct xfrm_user_acquire`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acquire {
    /// Where it would begin.
    pub source: Place,
    /// What would name it; its SPI is 0.
    #[serde(flatten)]
    pub name: SaName,
    /// What the answer must bring back.
    pub seq: Hex,
    /// The packet that asked for it.
    pub selector: Selector,
    /// The policy that asks for it.
    pub policy: Policy,
}

impl Acquire {
    /// `family`: that of the SA's addresses.
    pub(super) fn new(wire: &UserAcquire, family: u16) -> Self {
        Self {
            source: Place::new(&wire.saddr, family),
            name: SaName::of(&wire.id, family),
            seq: Hex(wire.seq),
            selector: Selector::new(&wire.selector),
            policy: Policy::new(&wire.policy),
        }
    }
}

/// A peer's NAT mapping changed (`struct xfrm_user_mapping`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    /// The SA that it sends through.
    #[serde(flatten)]
    pub name: SaName,
    /// Its reqid.
    pub reqid: Hex,
    /// Where its packets came from.
    pub old_source: Place,
    /// UDP port.
    pub old_port: u16,
    /// Where they come from now.
    pub new_source: Place,
    /// UDP port.
    pub new_port: u16,
}

impl Mapping {
    pub(super) fn new(wire: &UserMapping) -> Self {
        Self {
            name: SaName::new(&wire.id),
            reqid: Hex(wire.reqid),
            old_source: Place::new(&wire.old_saddr, wire.id.family),
            old_port: wire.old_sport,
            new_source: Place::new(&wire.new_saddr, wire.id.family),
            new_port: wire.new_sport,
        }
    }
}

/// SAs and templates that move (`struct xfrm_user_migrate`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // The structure has them.
pub struct Move {
    pub old_source: Place,
    pub old_destination: Place,
    pub new_source: Place,
    pub new_destination: Place,
    pub protocol: Name,
    pub mode: Name,
    pub reqid: Hex,
}

impl Move {
    pub(super) fn new(wire: &UserMigrate) -> Self {
        Self {
            old_source: Place::new(&wire.old_saddr, wire.old_family),
            old_destination: Place::new(&wire.old_daddr, wire.old_family),
            new_source: Place::new(&wire.new_saddr, wire.new_family),
            new_destination: Place::new(&wire.new_daddr, wire.new_family),
            protocol: Name::protocol(wire.proto),
            mode: Name::of(wire.mode, &names::MODES),
            reqid: Hex(wire.reqid),
        }
    }
}
