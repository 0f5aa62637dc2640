//! Lifetimes.

use netlink_packet_xfrm::{Lifetime, LifetimeConfig};
use serde::Serialize;

/// A limit that isn't one (`XFRM_INF`).
const UNLIMITED: u64 = u64::MAX;

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
    pub(in crate::wire::shown) fn new(wire: &LifetimeConfig) -> Self {
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
    pub(in crate::wire::shown) fn new(wire: &Lifetime) -> Self {
        let Lifetime { bytes, packets, add_time: added, use_time: first_used } = *wire;
        Self { bytes, packets, added, first_used }
    }
}
