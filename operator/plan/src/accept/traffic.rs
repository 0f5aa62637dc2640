//! Traffic selectors.

use esplanade_crds::{TrafficProtocol, TrafficSelector};

use super::rule;
use crate::finding::Finding;

pub(super) fn check(traffic: &[TrafficSelector]) -> Result<(), Finding> {
    traffic.iter().try_for_each(|one| {
        let ports = match one.protocol {
            TrafficProtocol::TCP | TrafficProtocol::UDP | TrafficProtocol::SCTP => true,
            TrafficProtocol::ICMP | TrafficProtocol::ICMPv6 => false,
        };
        rule(
            one.port.is_none() || ports,
            "traffic: port needs a protocol with ports: write protocol: TCP, UDP or SCTP, or remove port",
        )?;
        rule(one.port != Some(0), "traffic: port must be 1 to 65535")?;
        rule(
            one.end_port.is_none() || one.port.is_some(),
            "traffic: endPort ends the range that port starts: write port as well",
        )?;
        rule(
            one.end_port.is_none_or(|end| one.port.is_none_or(|port| end >= port)),
            "traffic: endPort must not be lower than port",
        )
    })
}
