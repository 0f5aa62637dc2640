//! Which packets a policy covers between this node and another participant.

use std::collections::BTreeSet;

use esplanade_crds::{IpFamily, TrafficProtocol, TrafficSelector};
use esplanade_model::{Port, Selector};
use ipnet::IpNet;

use crate::participant::Participant;
use crate::ports;

/// IP protocol number of ICMP for IPv6.
pub(crate) const ICMPV6: u8 = 58;

/// What leaves `me` for `other`, each selector once, in order. What arrives is the same, reversed: an answer from a
/// port belongs to the traffic to that port.
pub(crate) fn outbound(me: &Participant, other: &Participant, traffic: &[TrafficSelector]) -> Vec<Selector> {
    let mut selectors = BTreeSet::new();
    for mine in &me.from {
        for theirs in &other.to {
            selectors.extend(between(*mine, *theirs, traffic));
        }
    }
    for mine in &me.to {
        for theirs in &other.from {
            selectors.extend(between(*theirs, *mine, traffic).iter().map(Selector::reversed));
        }
    }
    selectors.into_iter().collect()
}

/// Packets from a network of the `from` side to one of the `to` side, whose ports count. Nothing between address
/// families.
fn between(from: IpNet, to: IpNet, traffic: &[TrafficSelector]) -> Vec<Selector> {
    let Ok(all) = Selector::new(from, to) else { return Vec::new() };
    if traffic.is_empty() {
        return vec![all];
    }
    let mut selectors = Vec::new();
    for one in traffic {
        let Some(protocol) = number(one.protocol, from) else { continue };
        for (source_port, destination_port) in ports(one) {
            let mut selector = all;
            selector.protocol = protocol;
            (selector.source_port, selector.destination_port) = (source_port, destination_port);
            selectors.push(selector);
        }
    }
    selectors
}

/// The protocol's number, if it exists in the network's address family.
pub(crate) fn number(protocol: TrafficProtocol, network: IpNet) -> Option<u8> {
    let exists = match protocol.family() {
        Some(IpFamily::IPv4) => matches!(network, IpNet::V4(_)),
        Some(IpFamily::IPv6) => matches!(network, IpNet::V6(_)),
        None => true,
    };
    exists.then_some(protocol.number())
}

/// What is to be where the source's and the destination's ports are: ports of the destination, or ICMP's type and code.
pub(crate) fn ports(traffic: &TrafficSelector) -> Vec<(Port, Port)> {
    let number = |number: u8| Port::exactly(number.into());
    match (traffic.icmp_type, traffic.port) {
        (Some(kind), _) => vec![(number(kind), traffic.icmp_code.map_or(Port::ANY, number))],
        (None, Some(first)) => {
            let blocks = ports::blocks(first..=traffic.end_port.unwrap_or(first));
            blocks.into_iter().map(|port| (Port::ANY, port)).collect()
        }
        (None, None) => vec![(Port::ANY, Port::ANY)],
    }
}

/// Neighbour discovery, where a selector of outbound traffic covers any of it, out and in: ICMPv6 of the types 133 to 137
/// (RFC 4861 §4), in both directions. A neighbour is found in the clear before anything can be sent to it.
pub(crate) fn neighbour_discovery(outbound: &Selector) -> Vec<(Selector, Selector)> {
    let covered = matches!(outbound.source(), IpNet::V6(_)) && [0, ICMPV6].contains(&outbound.protocol);
    if !covered {
        return Vec::new();
    }
    // The type stands where the source port does, in both directions.
    let kinds = ports::blocks(133..=137).into_iter();
    kinds
        .filter(|kind| kind.overlaps(outbound.source_port))
        .map(|kind| {
            let typed = |mut selector: Selector| {
                selector.protocol = ICMPV6;
                selector.source_port = kind;
                selector.destination_port = Port::ANY;
                selector
            };
            (typed(*outbound), typed(outbound.reversed()))
        })
        .collect()
}
