//! The packets that an SA carries.

use std::net::IpAddr;

use esplanade_crds::NodeSaSelector;
use esplanade_model::{Mode, Selector};
use ipnet::IpNet;

use crate::error::SaError;
use crate::selectors::{number, ports};

/// The selector of an SA with that source address; none for all packets.
pub(crate) fn parse(
    asked: Option<&NodeSaSelector>,
    mode: Mode,
    outer: IpAddr,
) -> Result<Option<Selector>, SaError> {
    let no_hosts = || SaError::Combination("mode BEET needs a selector with a single host on each side");
    let Some(asked) = asked else { return if mode == Mode::Beet { Err(no_hosts()) } else { Ok(None) } };
    let network = |text: &str| text.parse::<IpNet>().map_err(|_| SaError::Network(text.to_owned()));
    let mixed = || SaError::MixedSelector(format!("from {} to {}", asked.source, asked.destination));
    let (source, destination) = (network(&asked.source)?, network(&asked.destination)?);
    let mut selector = Selector::new(source, destination).map_err(|_| mixed())?;
    if let Some(traffic) = &asked.traffic {
        selector.protocol = number(traffic.protocol, source).ok_or_else(mixed)?;
        (selector.source_port, selector.destination_port) = match ports(traffic).as_slice() {
            [one] => *one,
            _ => {
                let first = traffic.port.unwrap_or_default();
                return Err(SaError::Ports(first, traffic.end_port.unwrap_or(first)));
            }
        };
    }
    if mode == Mode::Beet && !selector.is_of_hosts() {
        return Err(no_hosts());
    }
    if mode.is_tunnel() {
        return Ok(Some(selector));
    }
    if selector.source().addr().is_ipv4() != outer.is_ipv4() {
        return Err(SaError::ForeignSelector);
    }
    Ok((!selector.is_everything()).then_some(selector))
}
