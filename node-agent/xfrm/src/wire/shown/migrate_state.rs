//! `struct xfrm_user_migrate_state` (Linux 7.2), which netlink-packet-xfrm doesn't have.

use netlink_packet_xfrm::{Address, Mark, UserSaId, XFRM_SELECTOR_LEN};
use serde::Serialize;

use super::attributes::{MarkAndMask, number_u32};
use super::names;
use super::objects::{SaName, Selector};
use super::parts::{Flags, Hex, Place};
use crate::wire::migrate::MIGRATE_STATE_LEN;

/// One SA that moves, without its policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // The structure has them.
pub struct StateMove {
    #[serde(flatten)]
    pub name: SaName,
    pub new_source: Place,
    pub new_destination: Place,
    pub old_mark: MarkAndMask,
    pub new_selector: Selector,
    pub new_reqid: Hex,
    #[serde(skip_serializing_if = "Flags::is_empty")]
    pub flags: Flags,
}

impl StateMove {
    /// With its new family.
    pub(super) fn parse(body: &[u8]) -> Option<(Self, u16)> {
        let body = body.get(..MIGRATE_STATE_LEN)?;
        let (id, rest) = body.split_at(24);
        let (destination, rest) = rest.split_at(16);
        let (source, rest) = rest.split_at(16);
        let (mark, rest) = rest.split_at(8);
        let (selector, rest) = rest.split_at(XFRM_SELECTOR_LEN);
        let [reqid, flags, families] = [&rest[..4], &rest[4..8], &rest[8..10]];
        let family = u16::from_ne_bytes(families.try_into().ok()?);
        let place = |bytes: &[u8]| Some(Place::new(&Address { addr: bytes.try_into().ok()? }, family));
        let mark = Mark::parse(mark).ok()?;
        let moved = Self {
            name: SaName::new(&UserSaId::parse(id).ok()?),
            new_source: place(source)?,
            new_destination: place(destination)?,
            old_mark: MarkAndMask { value: Hex(mark.value), mask: Hex(mark.mask) },
            new_selector: Selector::new(&netlink_packet_xfrm::Selector::parse(selector).ok()?),
            new_reqid: Hex(number_u32(reqid)?),
            flags: Flags::of(number_u32(flags)?, &names::MIGRATE_STATE_FLAGS),
        };
        Some((moved, family))
    }
}
