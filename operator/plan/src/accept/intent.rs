//! What accepted objects ask for.

use std::fmt;
use std::net::IpAddr;

use esplanade_crds::{
    Action, AntiReplay, Compression, Enforcement, IpFamily, Iptfs, Lifetime, Mark, Mode, NodeAutomaticKeying,
    NodeSaSelector, Offload, Phase, Protocol, SecretKeyRef, TrafficSelector, UdpPorts,
};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Selector;

/// Puts objects in the order in which they came: by creation, then by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age {
    /// Objects that nobody has stored come last.
    unstored: bool,
    created: Option<k8s_openapi::jiff::Timestamp>,
    name: String,
}

impl Age {
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self { unstored: created.is_none(), created, name: metadata.name.clone().unwrap_or_default() }
    }
}

/// One end of an SA, or one who takes part in a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// A node of the cluster.
    Node(String),
    /// An address outside it.
    Address(IpAddr),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// An IpsecSA by itself.
#[derive(Debug, Clone)]
pub(crate) struct SaIntent {
    pub(crate) source: End,
    pub(crate) destination: End,
    pub(crate) family: Option<IpFamily>,
    /// At least 256; none for one that the kernel of `destination`, a node, chooses.
    pub(crate) spi: Option<u32>,
    pub(crate) protocol: Protocol,
    pub(crate) mode: Mode,
    /// With ESP.
    pub(crate) encryption: Option<KeyUse>,
    /// With AH, and with ESP unless encryption is an AEAD.
    pub(crate) integrity: Option<KeyUse>,
    pub(crate) anti_replay: AntiReplay,
    /// None for all traffic. With Transport of the SA's own family, with BEET from a host to a host.
    pub(crate) selector: Option<NodeSaSelector>,
    /// With ESP.
    pub(crate) udp: Option<UdpPorts>,
    /// 0 is none.
    pub(crate) interface_id: u32,
    /// None for one that never ends.
    pub(crate) lifetime: Option<Lifetime>,
    /// None for all packets.
    pub(crate) mark: Option<Mark>,
    pub(crate) output_mark: Option<Mark>,
    /// The sender's CPU; none for all that have no SA of their own. Only of a node.
    pub(crate) cpu: Option<u32>,
    /// With mode IPTFS.
    pub(crate) iptfs: Option<Iptfs>,
    /// The encryption algorithm, if RFC 8221 §3 forbids it with manual keys.
    pub(crate) insecure: Option<&'static str>,
}

/// An algorithm and the key it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyUse {
    /// Its name in the API.
    pub(crate) algorithm: &'static str,
    /// Length of its key, in bytes, salt included.
    pub(crate) key_len: usize,
    /// The last 4 bytes of the key are salt.
    pub(crate) salt: bool,
    /// Where the key is; none with NULL.
    pub(crate) secret: Option<SecretKeyRef>,
}

/// An IpsecPolicy by itself.
#[derive(Debug, Clone)]
pub(crate) struct PolicyIntent {
    /// Changes with selectors and algorithms.
    pub(crate) revision: String,
    pub(crate) priority: u16,
    pub(crate) action: Action,
    pub(crate) from: Vec<Endpoints>,
    /// The other side, where it isn't the same.
    pub(crate) to: Option<Vec<Endpoints>>,
    pub(crate) traffic: Vec<TrafficSelector>,
    /// None for all packets.
    pub(crate) mark: Option<Mark>,
    /// With `action: Protect`.
    pub(crate) protect: Option<Protect>,
}

/// How traffic is protected.
#[derive(Debug, Clone)]
pub(crate) struct Protect {
    pub(crate) mode: Mode,
    pub(crate) protocol: Protocol,
    /// With ESP.
    pub(crate) compression: Compression,
    pub(crate) enforcement: Enforcement,
    /// XFRM interface id; 0 is none.
    pub(crate) interface_id: u32,
    pub(crate) icmp_errors: bool,
    /// With ESP.
    pub(crate) offload: Offload,
    pub(crate) local_override: bool,
    /// Names of IpsecSAs, each once. None with automatic keys.
    pub(crate) security_associations: Vec<String>,
    /// With automatic keys; without its PPK, which is sealed to each node.
    pub(crate) automatic: Option<NodeAutomaticKeying>,
    /// Where the PPK of automatic keys is.
    pub(crate) ppk: Option<SecretKeyRef>,
}

impl PolicyIntent {
    /// Where its PPK is, if it wants one.
    pub(crate) fn ppk(&self) -> Option<&SecretKeyRef> {
        self.protect.as_ref()?.ppk.as_ref()
    }
}

impl Protect {
    /// How far it is to be switched on.
    pub(crate) fn target(&self) -> Phase {
        match self.enforcement {
            Enforcement::Strict => Phase::Enforce,
            Enforcement::Permissive => Phase::Encrypt,
        }
    }
}

/// Endpoints of one side of a policy.
#[derive(Debug, Clone)]
pub(crate) enum Endpoints {
    /// Pod CIDRs of these nodes.
    PodCidrs(Selector),
    /// Addresses of these nodes.
    Nodes(Selector),
    /// Networks outside the cluster, without host bits.
    Cidrs {
        /// Where protection ends on the way there. With Protect there is one.
        gateway: Option<End>,
        cidrs: Vec<IpNet>,
    },
}
