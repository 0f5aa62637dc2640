//! ESP in UDP (RFC 3948).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::EncapsulationType;

/// What UDP packets with ESP in them are sent to (RFC 3948 §2.1).
pub const ESP_IN_UDP: u16 = 4500;

/// Encapsulation around one manually keyed SA.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "self.type == 'UDP' || !(has(self.port) || has(self.sourcePort) || has(self.destinationPort))")
        .field_path(".type")
        .message("ports are UDP's: write type: UDP, or remove port, sourcePort and destinationPort"),
    validation = Rule::new("self.type == 'UDP' || !(has(self.followMapping) && self.followMapping)")
        .field_path(".followMapping")
        .reason(Reason::FieldValueForbidden)
        .message("followMapping is about UDP ports: write type: UDP, or remove followMapping"),
    validation = Rule::new("self.type == 'UDP' || !has(self.keepaliveSeconds)")
        .field_path(".keepaliveSeconds")
        .reason(Reason::FieldValueForbidden)
        .message("keepaliveSeconds is about UDP ports: write type: UDP, or remove keepaliveSeconds"),
)]
pub struct SaEncapsulation {
    /// `None` or `UDP`. Default: `None`.
    #[serde(default, rename = "type")]
    pub type_: EncapsulationType,
    /// The UDP port on both ends, 1 to 65535. The receiving node's agent has to open it, which takes 1024 or more.
    /// Default with `type: UDP`: 4500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The source's port, as the destination sees it behind an address translation, 1 to 65535. Default: `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub source_port: Option<u16>,
    /// The destination's port, as the source sees it in front of an address translation, 1 to 65535. Default: `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub destination_port: Option<u16>,
    /// With a source outside the cluster, behind an address translation: where its packets come from now counts as its
    /// address and port, and what goes to it goes there, through every SA to the address and port that are written here.
    /// Needs `antiReplay` with a window, since a packet sent again could turn the SA elsewhere (RFC 7296 §2.23). In mode
    /// `Transport` only the port is followed. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow_mapping: bool,
    /// After so many seconds without a packet the source's kernel sends one of a single byte, so that an address
    /// translation that the source is behind keeps its mapping (RFC 3948 §4, which says 20), 1 to 3600; where that node's
    /// kernel can. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub keepalive_seconds: Option<u16>,
}

impl SaEncapsulation {
    /// The ports; none without UDP.
    pub fn udp(&self) -> Option<UdpPorts> {
        let port = self.port.unwrap_or(ESP_IN_UDP);
        match self.type_ {
            EncapsulationType::None => None,
            EncapsulationType::UDP => Some(UdpPorts {
                source: self.source_port.unwrap_or(port),
                destination: self.destination_port.unwrap_or(port),
                follow_mapping: self.follow_mapping,
                keepalive_seconds: self.keepalive_seconds,
            }),
        }
    }
}

/// The UDP ports of an SA's packets.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UdpPorts {
    /// Where packets come from.
    pub source: u16,
    /// Where packets go to.
    pub destination: u16,
    /// At the receiver: the sender may come from elsewhere, and is followed there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow_mapping: bool,
    /// At the sender: after so many seconds without a packet it sends one that keeps mappings. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_seconds: Option<u16>,
}
