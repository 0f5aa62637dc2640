//! Policies, and the SAs that they ask for.

use netlink_packet_xfrm::{UserPolicyId, UserPolicyInfo, UserTemplate};
use serde::Serialize;

use super::lifetime::{Limits, Used};
use super::sa::SaName;
use super::selector::Selector;
use crate::wire::shown::names;
use crate::wire::shown::parts::{Flags, Hex, Name, Place};

fn is_any(share: &Name) -> bool {
    share.number == 0
}

fn is_all(algorithms: &Hex) -> bool {
    algorithms.0 == u32::MAX
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
    pub(in crate::wire::shown) fn new(wire: &UserPolicyInfo) -> Self {
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
    pub(in crate::wire::shown) fn new(wire: &UserPolicyId) -> Self {
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
    pub(in crate::wire::shown) fn new(wire: &UserTemplate) -> Self {
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
