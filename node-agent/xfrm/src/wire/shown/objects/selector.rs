//! Packets.

use serde::Serialize;

use crate::wire::shown::parts::{Name, Place};

fn is_zero(number: &u32) -> bool {
    *number == 0
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
    pub(in crate::wire::shown) fn new(wire: &netlink_packet_xfrm::Selector) -> Self {
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
