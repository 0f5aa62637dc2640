//! Addresses: 16 bytes, with the family elsewhere (`xfrm_address_t`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_xfrm::Address;
use netlink_packet_xfrm::constants::{AF_INET, AF_INET6};

pub(super) fn family(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

pub(super) fn encode(address: IpAddr) -> Address {
    Address::from_ip(&address)
}

/// None for a family that isn't IP.
pub(super) fn decode(address: &Address, family: u16) -> Option<IpAddr> {
    let [a, b, c, d, ..] = address.addr;
    match family {
        AF_INET => Some(Ipv4Addr::new(a, b, c, d).into()),
        AF_INET6 => Some(Ipv6Addr::from(address.addr).into()),
        _ => None,
    }
}
