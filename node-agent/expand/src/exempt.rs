//! What passes whatever policies say: without it, nobody could tell the node anything any more.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use esplanade_model::{Action, Direction, OutboundSa, Policy, Port, Selector, WantedSa};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::priority;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Clients and servers of DHCP (RFC 2131 §4.1), and of DHCPv6 (RFC 8415 §7.2).
const DHCP: [(u16, u16); 2] = [(68, 67), (546, 547)];
/// Types under masks: 130 to 132 and 143, by which switches learn who listens to neighbour discovery (MLD, RFC 3810), and 133
/// to 137, which are it (RFC 4861).
const DISCOVERY: [(u16, u16); 4] = [(130, 0xfffe), (132, 0xfffc), (136, 0xfffe), (143, 0xffff)];

/// On a node that drops whatever no policy covers, policies that let pass: the API server's connections with these addresses, from and to this node; neighbour discovery;
/// DHCP of this node as a client; and what it sends to itself over IPv6, from each of its `own` addresses to the same. Of
/// IPv4, the kernel exempts that itself (`IN_DEV_NOPOLICY` of the loopback device).
pub fn exemptions(api_server: &BTreeSet<SocketAddr>, own: impl IntoIterator<Item = IpAddr>) -> Vec<Policy> {
    let mut made = connections(api_server);
    let nowhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    for (value, mask) in DISCOVERY {
        made.extend(selector(any(nowhere), any(nowhere), ICMPV6, Port::masked(value, mask), Port::ANY));
    }
    for ((client, server), everywhere) in DHCP.into_iter().zip([v4(), v6()]) {
        made.extend(selector(everywhere, everywhere, UDP, Port::exactly(client), Port::exactly(server)));
    }
    let own = own.into_iter().filter(IpAddr::is_ipv6).chain([IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    for address in own.collect::<BTreeSet<_>>() {
        made.extend(selector(address.into(), address.into(), 0, Port::ANY, Port::ANY));
    }
    made.into_iter().flat_map(both_ways).collect()
}

/// Policies that let the keepalives of SAs leave. The kernel looks them up as it does any packet (`nat_keepalive_send_ipv4`),
/// unlike the packets around what is protected. They arrive at a socket that takes everything.
pub fn keepalives(sas: &[(String, WantedSa)]) -> Vec<Policy> {
    let one = |(_, wanted): &(String, WantedSa)| {
        let WantedSa::Outbound(OutboundSa(sa)) = wanted else { return None };
        let (udp, _) = (sa.encapsulation?, sa.keepalive?);
        let (from, to) = (Port::exactly(udp.source_port), Port::exactly(udp.destination_port));
        let selector = selector(sa.source.into(), sa.destination.into(), UDP, from, to)?;
        Some(Policy::new(Direction::Out, selector, priority::EXEMPT, Action::Allow))
    };
    sas.iter().filter_map(one).collect()
}

/// Policies by which those who send learn what lengths a path takes: what tells this node at its `own` addresses that a packet
/// was too long (RFC 792, RFC 4443 §3.2), be it one around what is protected; and what this node tells those whose packets it
/// protects, behind it. Their packets would vanish else. Nothing of it goes to another node: such a message has the beginning
/// of the packet in it. Below all other policies, so that they decide first.
pub fn path_mtu(policies: &[(String, Policy)], own: &BTreeSet<IpAddr>) -> Vec<Policy> {
    let allow = |direction, to: IpNet| {
        let (protocol, kind, code) = match to {
            IpNet::V4(_) => (ICMP, Port::exactly(3), Port::exactly(4)),
            IpNet::V6(_) => (ICMPV6, Port::exactly(2), Port::ANY),
        };
        let selector = selector(any(to.addr()), to, protocol, kind, code)?;
        Some(Policy::new(direction, selector, priority::LAST, Action::Allow))
    };
    let protecting =
        policies.iter().filter(|(_, one)| one.direction == Direction::Out && !one.templates.is_empty());
    let behind: BTreeSet<IpNet> = protecting.map(|(_, one)| one.selector.source()).collect();
    let hears = own.iter().map(|address| (Direction::In, IpNet::from(*address)));
    let tells = behind.into_iter().filter(|net| !is_own(*net, own)).map(|net| (Direction::Out, net));
    hears.chain(tells).filter_map(|(direction, to)| allow(direction, to)).collect()
}

/// Where what no policy covers passes anyway: policies that let pass what these protect or drop of the API server's
/// connections with these addresses. An agent that has no keys yet, as after a reboot, can only get some over connections that
/// need none. Both ends have to let them pass, or neither: so for whomever the connection is, as long as it is covered.
///
/// Neighbour discovery has policies beside each that would cover it. DHCP needs some only where what goes to everyone is covered:
/// a node that can't reach its server, which would have to be another node, asks everyone (RFC 2131 §4.4.5), and that no policy
/// between nodes covers, but one for networks outside the cluster can.
pub fn uncovered(api_server: &BTreeSet<SocketAddr>, policies: &[(String, Policy)]) -> Vec<Policy> {
    let covering: Vec<&Policy> = covering(policies).collect();
    // Of pods, what comes back passes through.
    let made = connections(api_server).into_iter().map(|outbound| {
        let [out, back] = both_ways(outbound);
        [out, Policy { direction: Direction::Forward, ..back.clone() }, back]
    });
    // Every way as soon as one is covered: the others follow when the policy is switched on further.
    let covered =
        |ways: &[Policy; 3]| ways.iter().any(|exempt| covering.iter().any(|one| one.overlaps(exempt)));
    let connections = made.filter(covered).flatten();
    let (client, server) = (Port::exactly(68), Port::exactly(67));
    let asks_everyone = |one: &&&Policy| {
        let host = one.selector.source();
        let asking = selector(host, IpAddr::from(Ipv4Addr::BROADCAST).into(), UDP, client, server);
        let asking =
            asking.map(|asking| Policy::new(Direction::Out, asking, priority::EXEMPT, Action::Allow));
        is_host(host) && asking.is_some_and(|asking| one.overlaps(&asking))
    };
    let hosts: BTreeSet<IpNet> =
        covering.iter().filter(asks_everyone).map(|one| one.selector.source()).collect();
    // Both roles: the server's node is covered as well.
    let roles = hosts.into_iter().flat_map(|host| {
        let roles = [(client, server), (server, client)].into_iter();
        roles.filter_map(move |(from, to)| selector(host, v4(), UDP, from, to))
    });
    connections.chain(roles.flat_map(both_ways)).collect()
}

/// What protects packets or drops them.
fn covering(policies: &[(String, Policy)]) -> impl Iterator<Item = &Policy> {
    let all = policies.iter().map(|(_, policy)| policy);
    all.filter(|one| one.interface_id == 0 && (one.action == Action::Block || !one.templates.is_empty()))
}

/// Where what no policy covers passes anyway: policies that let pass what goes between the node's own networks, its addresses and
/// those of its pods, where networks outside the cluster contain them (0.0.0.0/0). It never leaves the node, so that nobody could
/// protect it, and no policy is for it. Not where somebody else has a part of an own network.
pub fn within(own: &BTreeSet<IpNet>, policies: &[(String, Policy)]) -> Vec<Policy> {
    let covering: Vec<&Policy> = covering(policies).collect();
    let far = |one: &Policy| match one.direction {
        Direction::Out => one.selector.destination(),
        Direction::In | Direction::Forward => one.selector.source(),
    };
    let shared = |net: &IpNet| covering.iter().any(|one| net.contains(&far(one)));
    let own: Vec<IpNet> = own.iter().copied().filter(|net| !shared(net)).collect();
    let pairs = own.iter().flat_map(|source| own.iter().map(move |destination| (*source, *destination)));
    let ways = pairs.filter_map(|(source, destination)| {
        let selector = Selector::new(source, destination).ok()?;
        let allow = |direction| Policy::new(direction, selector, priority::EXEMPT, Action::Allow);
        Some([Direction::Out, Direction::In, Direction::Forward].map(allow))
    });
    ways.flatten().filter(|exempt| covering.iter().any(|one| one.overlaps(exempt))).collect()
}

/// The connections of the API server, outbound.
fn connections(api_server: &BTreeSet<SocketAddr>) -> Vec<Selector> {
    let mut made = Vec::new();
    for address in api_server {
        let host = IpNet::from(address.ip());
        let port = Port::exactly(address.port());
        // This node asks it; and it runs on this node, and others ask it.
        made.extend(selector(any(address.ip()), host, TCP, Port::ANY, port));
        made.extend(selector(host, any(address.ip()), TCP, port, Port::ANY));
    }
    made
}

/// What passes through a node is looked up twice: as passing through, and then as leaving. A policy of ours is for one of
/// both: what is to be protected, when it leaves; what was, when it passes through. Where the kernel drops what no policy
/// covers, each that lets packets pass needs one beside it for the other look-up. Nothing passes by it that wouldn't
/// otherwise. Not for what starts at one of the node's `own` addresses.
pub fn passing_through(policies: &[(String, Policy)], own: &BTreeSet<IpAddr>) -> Vec<(String, Policy)> {
    let allowing = policies.iter().filter(|(_, policy)| policy.action == Action::Allow);
    let beside = allowing.filter_map(|(name, policy)| {
        let Policy { selector, mark, priority, .. } = *policy;
        let direction = match policy.direction {
            Direction::Out if !is_own(selector.source(), own) => Direction::Forward,
            Direction::Forward => Direction::Out,
            Direction::In | Direction::Out => return None,
        };
        // On that side it isn't at the XFRM interface.
        Some((name.clone(), Policy { mark, ..Policy::new(direction, selector, priority, Action::Allow) }))
    });
    beside.collect()
}

/// One of the node's own addresses.
fn is_own(net: IpNet, own: &BTreeSet<IpAddr>) -> bool {
    is_host(net) && own.contains(&net.addr())
}

/// A single address.
fn is_host(net: IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

fn both_ways(outbound: Selector) -> [Policy; 2] {
    let allow = |direction, selector| Policy::new(direction, selector, priority::EXEMPT, Action::Allow);
    [allow(Direction::Out, outbound), allow(Direction::In, outbound.reversed())]
}

fn selector(source: IpNet, destination: IpNet, protocol: u8, from: Port, to: Port) -> Option<Selector> {
    let mut selector = Selector::new(source, destination).ok()?;
    (selector.protocol, selector.source_port, selector.destination_port) = (protocol, from, to);
    Some(selector)
}

/// Every address of the same family.
fn any(like: IpAddr) -> IpNet {
    if like.is_ipv4() { v4() } else { v6() }
}

fn v4() -> IpNet {
    IpNet::V4(Ipv4Net::default())
}

fn v6() -> IpNet {
    IpNet::V6(Ipv6Net::default())
}

#[cfg(test)]
mod tests;
