//! ESP in UDP (RFC 3948).

use std::collections::BTreeMap;

use crate::{Wanted, WantedSa};

/// The UDP ports of an SA's packets (`xfrm_encap_tmpl` with `UDP_ENCAP_ESPINUDP`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpEncapsulation {
    /// Where packets come from. At the receiver: where they are expected from; others are accepted and told of
    /// (`XFRM_MSG_MAPPING`).
    pub source_port: u16,
    /// Where packets go to.
    pub destination_port: u16,
}

/// A UDP port of this node at which ESP arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpPort {
    /// Of IPv6, not of IPv4.
    pub v6: bool,
    /// Its number.
    pub number: u16,
}

impl Wanted {
    /// The UDP ports at which inbound SAs want ESP to arrive, each with the names of the IpsecSAs.
    pub fn udp_ports(&self) -> BTreeMap<UdpPort, Vec<String>> {
        let mut ports: BTreeMap<UdpPort, Vec<String>> = BTreeMap::new();
        for (name, wanted) in &self.sas {
            if let (WantedSa::Inbound(sa), Some(udp)) = (wanted, wanted.sa().encapsulation) {
                let port = UdpPort { v6: sa.0.destination.is_ipv6(), number: udp.destination_port };
                ports.entry(port).or_default().push(name.clone());
            }
        }
        ports
    }
}
