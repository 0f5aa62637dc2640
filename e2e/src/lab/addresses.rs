//! The lab's address plan. Documentation prefixes (RFC 5737, RFC 3849) and private ones (RFC 1918, RFC 4193).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The API server's port.
const API_PORT: u16 = 6443;
/// The helper's port.
const GUEST_PORT: u16 = 7000;

/// The IPv4 and the IPv6 address of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4.
    pub v4: Ipv4Addr,
    /// IPv6.
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// Both.
    #[must_use]
    pub fn both(self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

/// An address on the wire between the nodes: 192.0.2.0/24, 2001:db8::/64.
fn on_wire(host: u8) -> Addresses {
    Addresses {
        v4: Ipv4Addr::new(192, 0, 2, host),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, decimal_as_hex(host)),
    }
}

/// 12 becomes 0x12, so that both families show the same digits.
fn decimal_as_hex(n: u8) -> u16 {
    let n = u16::from(n);
    n / 100 * 0x100 + n / 10 % 10 * 0x10 + n % 10
}

/// The control plane's addresses.
#[must_use]
pub fn control_plane() -> Addresses {
    on_wire(1)
}

/// The API server.
#[must_use]
pub fn api_server() -> SocketAddr {
    (control_plane().v4, API_PORT).into()
}

/// Where the helper listens: on loopback when the nodes are on the lab's own kernel, else on the nodes' bridge.
#[must_use]
pub fn guest(native: bool) -> SocketAddr {
    if native { (Ipv4Addr::LOCALHOST, GUEST_PORT).into() } else { (bridge().v4, GUEST_PORT).into() }
}

/// With the prefix length of the wire's networks.
#[must_use]
pub fn wire_prefixes(addresses: Addresses) -> [String; 2] {
    [format!("{}/24", addresses.v4), format!("{}/64", addresses.v6)]
}

/// The nodes' bridge.
#[must_use]
pub fn bridge() -> Addresses {
    on_wire(2)
}

/// A node by its number, from 0: node-a, node-b …
#[must_use]
pub fn node_name(node: u8) -> String {
    format!("node-{}", char::from(b'a' + node % 26))
}

/// The node's addresses on the wire.
#[must_use]
pub fn node(node: u8) -> Addresses {
    on_wire(11 + node)
}

/// The node's pod CIDRs.
#[must_use]
pub fn pod_cidrs(node: u8) -> [String; 2] {
    let (a, n) = (node + 1, decimal_as_hex(node + 1));
    [format!("10.244.{a}.0/24"), format!("fd00:10:244:{n:x}::/64")]
}

/// The addresses of a pod, by its number from 0.
#[must_use]
pub fn pod(node: u8, pod: u8) -> Addresses {
    let host = pod + 2;
    Addresses {
        v4: Ipv4Addr::new(10, 244, node + 1, host),
        v6: Ipv6Addr::new(0xfd00, 0x10, 0x244, decimal_as_hex(node + 1), 0, 0, 0, decimal_as_hex(host)),
    }
}

/// The networks outside the cluster that lie behind one of its nodes.
pub const OUTSIDE: [&str; 2] = ["198.51.100.0/24", "2001:db8:7::/64"];

/// An address in [`OUTSIDE`].
#[must_use]
pub fn outside(host: u8) -> Addresses {
    Addresses {
        v4: Ipv4Addr::new(198, 51, 100, host),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, decimal_as_hex(host)),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_families_show_the_same_digits() {
        assert_eq!(super::node(1).both().map(|a| a.to_string()), ["192.0.2.12", "2001:db8::12"]);
        assert_eq!(super::pod(1, 0).both().map(|a| a.to_string()), ["10.244.2.2", "fd00:10:244:2::2"]);
        assert_eq!(super::pod_cidrs(9), ["10.244.10.0/24", "fd00:10:244:10::/64"]);
        assert_eq!(super::node_name(1), "node-b");
    }
}
