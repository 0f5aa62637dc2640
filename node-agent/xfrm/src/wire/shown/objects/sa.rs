//! SAs.

use netlink_packet_xfrm::{UserSaId, UserSaInfo};
use serde::Serialize;

use super::lifetime::{Limits, Used};
use super::selector::Selector;
use crate::wire::shown::names;
use crate::wire::shown::parts::{Flags, Hex, Name, Place};

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
    pub(in crate::wire::shown) fn new(wire: &UserSaId) -> Self {
        Self {
            destination: Place::new(&wire.daddr, wire.family),
            protocol: Name::protocol(wire.proto),
            spi: Hex(wire.spi),
        }
    }

    pub(in crate::wire::shown) fn of(wire: &netlink_packet_xfrm::Id, family: u16) -> Self {
        Self {
            destination: Place::new(&wire.daddr, family),
            protocol: Name::protocol(wire.proto),
            spi: Hex(wire.spi),
        }
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
    pub(in crate::wire::shown) fn new(wire: &UserSaInfo) -> Self {
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
