//! Traffic selectors (`struct xfrm_selector`).

use esplanade_model::{Port, Selector};
use ipnet::IpNet;
use netlink_packet_xfrm::Selector as Wire;

use super::address;

pub(super) fn encode(selector: &Selector) -> Wire {
    let (source, destination) = (selector.source(), selector.destination());
    Wire {
        saddr: address::encode(source.addr()),
        daddr: address::encode(destination.addr()),
        prefixlen_s: source.prefix_len(),
        prefixlen_d: destination.prefix_len(),
        family: address::family(source.addr()),
        proto: selector.protocol,
        sport: selector.source_port.value(),
        sport_mask: selector.source_port.mask(),
        dport: selector.destination_port.value(),
        dport_mask: selector.destination_port.mask(),
        ifindex: selector.interface_index.cast_signed(),
        user: 0,
    }
}

/// None for one that isn't in normal form (host bits, bytes behind an IPv4 address, a user): to the kernel it
/// is another selector than any of ours.
pub(super) fn decode(wire: &Wire) -> Option<Selector> {
    let network = |bytes, prefix| IpNet::new(address::decode(bytes, wire.family)?, prefix).ok();
    let (source, destination) =
        (network(&wire.saddr, wire.prefixlen_s)?, network(&wire.daddr, wire.prefixlen_d)?);
    let mut selector = Selector::new(source, destination).ok()?;
    selector.protocol = wire.proto;
    selector.source_port = Port::masked(wire.sport, wire.sport_mask);
    selector.destination_port = Port::masked(wire.dport, wire.dport_mask);
    selector.interface_index = wire.ifindex.cast_unsigned();
    (encode(&selector) == *wire).then_some(selector)
}
