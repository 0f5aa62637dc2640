//! The traffic that an SA carries.

use std::net::IpAddr;

use esplanade_crds::{IpFamily, IpsecSASpec, Mode, NodeSaSelector, SaSelector, TrafficSelector};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{End, invalid, rule, traffic};
use crate::finding::Finding;

/// What the SA between these ends carries, none for all; and the family that its own addresses must have for that, if
/// it matters.
pub(super) fn parse(
    spec: &IpsecSASpec,
    ends: [&End; 2],
) -> Result<(Option<NodeSaSelector>, Option<IpFamily>), Finding> {
    let of_hosts = |networks: [Option<IpNet>; 2]| {
        let is_host = |network: IpNet| network.prefix_len() == network.max_prefix_len();
        rule(
            spec.mode != Mode::BEET || networks.iter().all(|one| one.is_some_and(is_host)),
            "mode: BEET doesn't send the addresses inside, so that it is for one on each side: write selector: \
             {source: ADDRESS/32, destination: ADDRESS/32}, with IPv6 /128, or mode: Tunnel",
        )
    };
    let Some(selector) = spec.selector.as_ref().filter(|asked| **asked != SaSelector::default()) else {
        of_hosts([None, None])?;
        return Ok((None, None));
    };
    let source = network("source", selector.source.as_deref())?;
    let destination = network("destination", selector.destination.as_deref())?;
    of_hosts([source, destination])?;
    if let Some(traffic) = &selector.traffic {
        traffic::check(std::slice::from_ref(traffic))?;
        one_mask(traffic)?;
    }

    let named = [source, destination].into_iter().flatten().map(of_network);
    let mut families = named.chain(selector.traffic.as_ref().and_then(|traffic| traffic.protocol.family()));
    let first = families.next();
    rule(
        families.all(|family| Some(family) == first),
        "selector: source, destination and protocol are of different address families: write an IpsecSA for each \
         family",
    )?;
    let family = if spec.mode == Mode::Transport {
        // Nothing else fits inside.
        let own = spec.ip_family.or_else(|| ends.into_iter().find_map(of_end));
        if let (Some(own), Some(carried)) = (own, first)
            && own != carried
        {
            return Err(invalid(format!(
                "selector is of {carried:?}, and with mode: Transport the {own:?} SA carries {own:?} only: write \
                 networks of {own:?}, or ipFamily: {carried:?}"
            )));
        }
        first.or(own)
    } else {
        first
    };
    let family = family.ok_or_else(|| {
        let or = if spec.mode == Mode::Transport { "or ipFamily " } else { "" };
        invalid(format!(
            "selector is of one address family: write source or destination {or}as well, e.g. source: 0.0.0.0/0"
        ))
    })?;
    let any: IpNet = match family {
        IpFamily::IPv4 => Ipv4Net::default().into(),
        IpFamily::IPv6 => Ipv6Net::default().into(),
    };
    let written = |network: Option<IpNet>| network.unwrap_or(any).to_string();
    let selector = NodeSaSelector {
        source: written(source),
        destination: written(destination),
        traffic: selector.traffic.clone(),
    };
    Ok((Some(selector), (spec.mode == Mode::Transport).then_some(family)))
}

fn network(field: &str, text: Option<&str>) -> Result<Option<IpNet>, Finding> {
    let Some(text) = text else { return Ok(None) };
    match text.parse::<IpNet>() {
        Ok(network) if network.trunc() == network => Ok(Some(network)),
        _ => Err(invalid(format!(
            "selector.{field} must be a network with its prefix length and without host bits, e.g. 192.0.2.0/24; \
             {text:?} isn't"
        ))),
    }
}

/// An SA has one value and one mask for its ports.
fn one_mask(traffic: &TrafficSelector) -> Result<(), Finding> {
    let (Some(first), Some(last)) = (traffic.port, traffic.end_port) else { return Ok(()) };
    let (first, last) = (u32::from(first), u32::from(last));
    let length = last + 1 - first;
    rule(
        length.is_power_of_two() && first.is_multiple_of(length),
        "selector.traffic: an SA's range of ports must be as long as a power of two, and start at a multiple of its \
         length, e.g. port: 8080, endPort: 8095: write several IpsecSAs",
    )
}

fn of_network(network: IpNet) -> IpFamily {
    match network {
        IpNet::V4(_) => IpFamily::IPv4,
        IpNet::V6(_) => IpFamily::IPv6,
    }
}

fn of_end(end: &End) -> Option<IpFamily> {
    match end {
        End::Address(IpAddr::V4(_)) => Some(IpFamily::IPv4),
        End::Address(IpAddr::V6(_)) => Some(IpFamily::IPv6),
        End::Node(_) => None,
    }
}
