//! Which packets a selector covers besides their addresses.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::common::IpFamily;
use crate::schema;

/// A protocol inside IP.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficProtocol {
    /// Transmission Control Protocol (6).
    TCP,
    /// User Datagram Protocol (17).
    UDP,
    /// Stream Control Transmission Protocol (132).
    SCTP,
    /// Internet Control Message Protocol (1); IPv4 only.
    ICMP,
    /// ICMP for IPv6 (58); IPv6 only.
    ICMPv6,
    /// Any, by its IANA number.
    #[serde(untagged)]
    Number(u8),
}

impl TrafficProtocol {
    /// Its IANA number.
    pub fn number(self) -> u8 {
        match self {
            Self::TCP => 6,
            Self::UDP => 17,
            Self::SCTP => 132,
            Self::ICMP => 1,
            Self::ICMPv6 => 58,
            Self::Number(number) => number,
        }
    }

    /// Packets have ports that every kernel reads (`decode_session4`): UDP-Lite's and DCCP's are gone from newer ones.
    pub fn has_ports(self) -> bool {
        [Self::TCP, Self::UDP, Self::SCTP].iter().any(|one| one.number() == self.number())
    }

    /// Packets have a type and a code.
    pub fn is_icmp(self) -> bool {
        self.family().is_some()
    }

    /// The only address family that it exists in; none for either.
    pub fn family(self) -> Option<IpFamily> {
        match self.number() {
            1 => Some(IpFamily::IPv4),
            58 => Some(IpFamily::IPv6),
            _ => None,
        }
    }
}

/// Traffic that a policy covers. Ports are those of the policy's `to` side.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!has(self.port) || self.protocol in ['TCP', 'UDP', 'SCTP'] || self.protocol in [6, 17, 132]")
        .field_path(".port")
        .reason(Reason::FieldValueForbidden)
        .message("port needs a protocol with ports: write protocol: TCP, UDP or SCTP, or remove port"),
    validation = Rule::new("!has(self.endPort) || has(self.port)")
        .field_path(".port")
        .reason(Reason::FieldValueRequired)
        .message("endPort ends the range that port starts: write port as well"),
    validation = Rule::new("!has(self.endPort) || !has(self.port) || self.endPort >= self.port")
        .field_path(".endPort")
        .message("endPort must not be lower than port: write the lower one as port"),
    validation = Rule::new(
        "!(has(self.icmpType) || has(self.icmpCode)) || \
         self.protocol in ['ICMP', 'ICMPv6'] || self.protocol in [1, 58]")
        .field_path(".protocol")
        .message("icmpType and icmpCode are for ICMP: write protocol: ICMP or ICMPv6, or remove them"),
    validation = Rule::new("!has(self.icmpCode) || has(self.icmpType)")
        .field_path(".icmpType")
        .reason(Reason::FieldValueRequired)
        .message("a code belongs to a type: write icmpType as well, e.g. icmpType: 3, icmpCode: 4"),
)]
pub struct TrafficSelector {
    /// The protocol inside IP: `TCP`, `UDP`, `SCTP`, `ICMP` (IPv4 only), `ICMPv6` (IPv6 only), or any by its IANA
    /// number, 1 to 255, e.g. 47 for GRE.
    #[schemars(schema_with = "schema::traffic_protocol")]
    pub protocol: TrafficProtocol,
    /// A port, or the first of a range, 1 to 65535; with TCP, UDP and SCTP. Left out: all ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The last port of the range, 1 to 65535. Left out: just `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub end_port: Option<u16>,
    /// The messages' type, 0 to 255, with ICMP and ICMPv6, e.g. 8 for ICMP's echo requests. Messages of this type are
    /// covered both ways; an answer has a type of its own, and is covered only where that is written as well. Left out:
    /// all types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub icmp_type: Option<u8>,
    /// The messages' code, 0 to 255. Left out: all codes of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub icmp_code: Option<u8>,
}

impl TrafficSelector {
    /// All packets of a protocol.
    pub fn all_of(protocol: TrafficProtocol) -> Self {
        Self { protocol, port: None, end_port: None, icmp_type: None, icmp_code: None }
    }
}
