//! Which packets a policy covers between this node and another participant.

use std::collections::BTreeSet;

use esplanade_crds::{TrafficProtocol, TrafficSelector};
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
        for destination_port in destination_ports(one) {
            let mut selector = all;
            selector.protocol = protocol;
            selector.destination_port = destination_port;
            selectors.push(selector);
        }
    }
    selectors
}

/// The protocol's number, if it exists in the network's address family.
pub(crate) fn number(protocol: TrafficProtocol, network: IpNet) -> Option<u8> {
    match (protocol, network) {
        (TrafficProtocol::TCP, _) => Some(6),
        (TrafficProtocol::UDP, _) => Some(17),
        (TrafficProtocol::SCTP, _) => Some(132),
        (TrafficProtocol::ICMP, IpNet::V4(_)) => Some(1),
        (TrafficProtocol::ICMPv6, IpNet::V6(_)) => Some(ICMPV6),
        (TrafficProtocol::ICMP, IpNet::V6(_)) | (TrafficProtocol::ICMPv6, IpNet::V4(_)) => None,
    }
}

pub(crate) fn destination_ports(traffic: &TrafficSelector) -> Vec<Port> {
    match traffic.port {
        Some(first) => ports::blocks(first..=traffic.end_port.unwrap_or(first)),
        None => vec![Port::ANY],
    }
}

/// Neighbour discovery inside what a selector of outbound traffic covers, out and in: ICMPv6 of the types 133 to 137
/// (RFC 4861 §4), in both directions. A neighbour is found in the clear before anything can be sent to it.
pub(crate) fn neighbour_discovery(outbound: &Selector) -> Vec<(Selector, Selector)> {
    let covered = matches!(outbound.source(), IpNet::V6(_)) && [0, ICMPV6].contains(&outbound.protocol);
    if !covered {
        return Vec::new();
    }
    // The type stands where the source port does, in both directions.
    ports::blocks(133..=137)
        .into_iter()
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
