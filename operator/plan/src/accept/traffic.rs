//! Traffic selectors.

use esplanade_crds::TrafficSelector;

use super::rule;
use crate::finding::Finding;

pub(super) fn check(traffic: &[TrafficSelector]) -> Result<(), Finding> {
    traffic.iter().try_for_each(|one| {
        rule(one.protocol.number() != 0, "traffic: a protocol's number must be 1 to 255")?;
        rule(
            one.port.is_none() || one.protocol.has_ports(),
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
        )?;
        rule(
            (one.icmp_type.is_none() && one.icmp_code.is_none()) || one.protocol.is_icmp(),
            "traffic: icmpType and icmpCode are for ICMP: write protocol: ICMP or ICMPv6, or remove them",
        )?;
        rule(
            one.icmp_code.is_none() || one.icmp_type.is_some(),
            "traffic: a code belongs to a type: write icmpType as well, e.g. icmpType: 3, icmpCode: 4",
        )
    })
}
