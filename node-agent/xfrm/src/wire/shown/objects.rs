//! Structures as they are shown. What is zero and means nothing then isn't.

use netlink_packet_xfrm::{UserAcquire, UserMapping, UserMigrate};
use serde::Serialize;

use super::names;
use super::parts::{Hex, Name, Place};

mod lifetime;
mod policy;
mod sa;
mod selector;

pub(super) use lifetime::Used;
pub use policy::{Policy, PolicyName, Template};
pub use sa::{Sa, SaName};
pub use selector::Selector;

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
