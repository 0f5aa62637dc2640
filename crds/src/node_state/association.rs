//! The manually keyed SAs of one node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sealed::SealedKey;
use crate::common::{AntiReplay, Mark, Mode, Protocol};
use crate::encapsulation::UdpPorts;
use crate::iptfs::Iptfs;
use crate::policy::Offload;
use crate::sa::Lifetime;
use crate::schema;
use crate::traffic::TrafficSelector;

/// A manually keyed SA as one of its two ends has to know it.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeSecurityAssociation {
    /// Name of the IpsecSA.
    pub name: String,
    /// Name of the IpsecPolicy that names it, if any: decides the reqid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Where packets come from.
    pub source: ResolvedEndpoint,
    /// Where packets go to.
    pub destination: ResolvedEndpoint,
    /// Security Parameters Index, 256 to 4294967295. Left out, at the receiver only: its kernel chooses one, which its
    /// agent reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 256))]
    pub spi: Option<u32>,
    /// The protocol.
    pub protocol: Protocol,
    /// The mode.
    pub mode: Mode,
    /// Encryption, with ESP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<NodeEncryption>,
    /// Integrity, with AH, and with ESP where encryption isn't an AEAD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<NodeIntegrity>,
    /// Protection against replays.
    #[serde(default)]
    pub anti_replay: AntiReplay,
    /// ESP in UDP. Left out: not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<UdpPorts>,
    /// XFRM interface id; 0 is none.
    #[serde(default, skip_serializing_if = "crate::sa::is_zero")]
    pub interface_id: u32,
    /// The mark that packets have. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::unchecked)]
    pub mark: Option<Mark>,
    /// Bits that its packets' marks get. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::unchecked)]
    pub output_mark: Option<Mark>,
    /// Its policy's `icmpErrors`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub icmp_errors: bool,
    /// Its policy's `offload`.
    #[serde(default, skip_serializing_if = "Offload::is_none")]
    pub offload: Offload,
    /// CPU of the source node whose packets the SA carries. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// With mode IPTFS. Left out: the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iptfs: Option<Iptfs>,
    /// Traffic that the SA takes. Left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NodeSaSelector>,
    /// When it wears out. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Lifetime>,
    /// A hard lifetime ended it, at which node and how: it is in no kernel, and its keys are never used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<String>,
}

/// An inbound SA that another SPI has taken the place of.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
pub struct RetiringSecurityAssociation {
    /// The SA.
    pub association: NodeSecurityAssociation,
    /// When it goes: what was sent under it has arrived. Left out: its sender may still use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub until: Option<String>,
}

/// Traffic that an SA takes, of one address family.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
pub struct NodeSaSelector {
    /// Network that packets come from.
    pub source: String,
    /// Network that packets go to.
    pub destination: String,
    /// Protocol, and ports (those of the destination), which a value under a mask tells, or ICMP type and code. Left out:
    /// any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::unchecked)]
    pub traffic: Option<TrafficSelector>,
}

/// An end of an SA with its address.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
pub struct ResolvedEndpoint {
    /// The Node, unless it is outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its address.
    pub address: String,
}

/// Encryption with a sealed key.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeEncryption {
    /// As in `IpsecSA.spec.encryption.algorithm`.
    pub algorithm: String,
    /// The key (and salt); none with `NULL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SealedKey>,
}

/// Integrity with a sealed key.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeIntegrity {
    /// As in `IpsecSA.spec.integrity.algorithm`.
    pub algorithm: String,
    /// The key.
    pub key: SealedKey,
}
