//! `IpsecNodeState`: what one node should have in its kernel, and what its agent reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{AntiReplay, Mark, Mode, Protocol};
use crate::encapsulation::UdpPorts;
use crate::iptfs::Iptfs;
use crate::policy::{Action, Compression, Offload, Suite};
use crate::sa::Lifetime;
use crate::schema;
use crate::traffic::TrafficSelector;

/// What one node should have in its kernel (`spec`, written by the operator) and what its agent reports (`status`).
/// Named after its Node and owned by it. Not for users to write.
///
/// Together with every node's `IpsecPeer` it determines the kernel's SAs and policies.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "esplanade.dev",
    version = "v1alpha1",
    kind = "IpsecNodeState",
    plural = "ipsecnodestates",
    singular = "ipsecnodestate",
    shortname = "ipns",
    category = "esplanade",
    status = "IpsecNodeStateStatus",
    derive = "PartialEq",
    doc = "What one node should have in its kernel, and what its agent reports. Written by the operator and the node's \
           agent; not for users to write.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "SAs", type_ = "integer", json_path = ".status.counts.securityAssociations"),
    printcolumn(name = "Policies", type_ = "integer", json_path = ".status.counts.policies"),
    printcolumn(name = "Kernel", type_ = "string", json_path = ".status.kernel.release"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Degraded")].message"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct IpsecNodeStateSpec {
    // Both lists are sent when empty, and atomic: server-side apply makes a spec null when the last entry of its last
    // map-list goes.
    /// The policies that concern this node.
    #[serde(default)]
    pub policies: Vec<NodePolicy>,
    /// The manually keyed SAs that start or end at this node.
    #[serde(default)]
    pub security_associations: Vec<NodeSecurityAssociation>,
    /// Inbound SAs that other SPIs have taken the place of: kept until nothing more can come under them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retiring: Vec<RetiringSecurityAssociation>,
    /// Which of the node's own published keys its peers have acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<NodeKeys>,
    /// The node's pod CIDRs, where a policy concerns it. What goes between them and the node's own addresses never leaves the
    /// node, and isn't covered, though networks outside the cluster may contain them (0.0.0.0/0).
    #[serde(default, rename = "podCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<String>,
}

/// A policy as one node has to know it. Who is on which side stands in every node's IpsecPeer, under its name.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodePolicy {
    /// Name of the IpsecPolicy.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Changes when selectors or algorithms change; each revision walks the phases anew.
    pub revision: String,
    /// How far this node should go.
    pub phase: Phase,
    /// With automatic keys: how far the policy is to be switched on in the end. Below that a node doesn't go back, whatever
    /// `phase` says: it could be that of an older object.
    #[serde(default, skip_serializing_if = "PhaseTarget::is_enforce")]
    pub target: PhaseTarget,
    /// `spec.priority` of the IpsecPolicy.
    pub priority: u16,
    /// `spec.action` of the IpsecPolicy.
    pub action: Action,
    /// With Protect: the mode.
    pub mode: Mode,
    /// With Protect: the protocol.
    pub protocol: Protocol,
    /// With Protect: compression before it.
    #[serde(default, skip_serializing_if = "Compression::is_none")]
    pub compression: Compression,
    /// With Protect: XFRM interface id of the policies in the kernel; 0 is none.
    #[serde(default, skip_serializing_if = "crate::sa::is_zero")]
    pub interface_id: u32,
    /// `spec.mark` of the IpsecPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::unchecked)]
    pub mark: Option<Mark>,
    /// With Protect: ICMP errors about the traffic are protected as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub icmp_errors: bool,
    /// With Protect: work left to network devices.
    #[serde(default, skip_serializing_if = "Offload::is_none")]
    pub offload: Offload,
    /// With Protect: the flag `localok`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local_override: bool,
    /// `spec.traffic` of the IpsecPolicy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = schema::unchecked)]
    pub traffic: Vec<TrafficSelector>,
    /// Gateways outside the cluster, which have no IpsecPeer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewaySelectors>,
    /// Networks outside the cluster that no gateway is for. With Protect they have none any more, or not yet: what goes there
    /// and comes from there is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<OutsideSelectors>,
    /// With automatic keys: how its SAs are made. Left out: it has none, or IpsecSAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<NodeAutomaticKeying>,
}

/// How the SAs of a policy with automatic keys are made.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeAutomaticKeying {
    /// Algorithms.
    pub suite: Suite,
    /// Protection against replays.
    pub anti_replay: AntiReplay,
    /// Age at which a key is renewed, ± 10 %, in seconds.
    pub rotate_seconds: u32,
    /// Packets sent on one SA after which the key is renewed. Left out: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_packets: Option<i64>,
    /// Bytes sent on one SA after which the key is renewed. Left out: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<i64>,
    /// The post-quantum preshared key that the SAs' keys depend on. The revision changes with the version of its Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppk: Option<SealedKey>,
    /// SAs are made when the first packet wants one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_demand: bool,
}

/// How far a policy is switched on.
#[derive(
    Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
)]
pub enum Phase {
    /// Inbound SAs; inbound policies with an optional template: clear text is still sent and accepted.
    #[default]
    Prepare,
    /// What is sent is protected; clear text is still accepted.
    Encrypt,
    /// Clear text is dropped.
    Enforce,
}

/// How far a policy is to be switched on in the end.
#[derive(
    Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
)]
pub enum PhaseTarget {
    /// It is being switched off. (Not `Off`, which is `false` in YAML 1.1.)
    Absent,
    /// As with `enforcement: Permissive`.
    Encrypt,
    /// As with `enforcement: Strict`.
    #[default]
    Enforce,
}

impl PhaseTarget {
    #[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
    fn is_enforce(&self) -> bool {
        *self == Self::Enforce
    }

    /// The phase that it ends at; none for `Absent`.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::Absent => None,
            Self::Encrypt => Some(Phase::Encrypt),
            Self::Enforce => Some(Phase::Enforce),
        }
    }
}

impl From<Phase> for PhaseTarget {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Prepare => Self::Absent,
            Phase::Encrypt => Self::Encrypt,
            Phase::Enforce => Self::Enforce,
        }
    }
}

impl NodePolicy {
    /// The phase that a node which has `reached` one is to be in: as told, but not lower than it has come on the way to
    /// `target`. Only who says that a policy is switched off can have clear text back.
    pub fn phase_from(&self, reached: Option<Phase>) -> Phase {
        self.target.phase().min(reached).map_or(self.phase, |least| least.max(self.phase))
    }
}

/// A gateway's networks in a policy.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
pub struct GatewaySelectors {
    /// The gateway's address.
    pub address: String,
    /// Its networks on the policy's `from` side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Its networks on the policy's `to` side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

/// Networks outside the cluster in a policy, whoever they are behind.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Default)]
pub struct OutsideSelectors {
    /// Those on the policy's `from` side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Those on the policy's `to` side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

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

/// A key that only one node's agent can open (HPKE, RFC 9180).
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SealedKey {
    /// `id` of the sealing key it is sealed to.
    pub recipient: String,
    /// HPKE's encapsulated key, then the ciphertext, base64.
    pub sealed: String,
    /// The version of the Secret that it was read from.
    pub source: SecretVersion,
}

/// A version of a Secret.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretVersion {
    /// `metadata.uid` of the Secret.
    pub uid: String,
    /// `metadata.resourceVersion` of the Secret.
    pub resource_version: String,
    /// The key in its `data`.
    pub key: String,
}

/// Which of the node's own published keys its peers have acknowledged.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeKeys {
    /// Id of the newest key that every peer but the pending ones has acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<String>,
    /// Peers that haven't yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
}

/// What a node's agent reports.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct IpsecNodeStateStatus {
    /// The `metadata.generation` that the kernel was last made to match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The highest resourceVersion such that every IpsecPeer event up to it is in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub peers_applied_through: Option<String>,
    /// Where keys for this node are sealed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<SealingKey>,
    /// The kernel's boot id.
    #[serde(default, rename = "bootID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub boot_id: Option<String>,
    /// What the kernel can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// What is in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// SPIs that the kernel chose, for the SAs of `spec` that come in here without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allocated: Vec<AllocatedSpi>,
    /// The policies with automatic keys in the kernel, also such as `spec` doesn't name, and how far each is switched on
    /// there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyInKernel>,
    /// What could not be done, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub problems: Vec<Problem>,
    /// Ready, InSync, Degraded; Restored once somebody else has deleted SAs or policies of the agent's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// A policy with automatic keys in a kernel.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyInKernel {
    /// Name of the IpsecPolicy.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// As in `spec.policies[].revision`.
    #[schemars(length(max = 64))]
    pub revision: String,
    /// How far it is switched on.
    pub phase: Phase,
}

/// An SPI that the kernel chose.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllocatedSpi {
    /// Name of the IpsecSA.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The SPI, 256 to 4294967295.
    #[schemars(range(min = 256))]
    pub spi: u32,
}

/// A node's public key for sealed keys.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SealingKey {
    /// Names the key: changes with it. At most 64 characters.
    #[schemars(length(max = 64))]
    pub id: String,
    /// X25519 public key, 32 bytes, base64.
    #[schemars(schema_with = "schema::public_key")]
    pub public_key: String,
}

/// What a kernel can do.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Default)]
pub struct Kernel {
    /// As `uname -r` says.
    #[schemars(length(max = 64))]
    pub release: String,
    /// What probing found when the agent started: algorithms by their names in `IpsecSA`, and e.g. `SADirection`,
    /// `PerCPU`, `Migrate`, `IPTFS`, `XFRMInterfaces`. What isn't listed, the kernel hasn't.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 64)))]
    pub capabilities: Vec<String>,
}

/// Numbers of entries in the kernel's databases.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// SAs that are ours.
    pub security_associations: u32,
    /// Policies that are ours.
    pub policies: u32,
    /// SAs of others, left alone.
    pub foreign_security_associations: u32,
    /// Policies of others, left alone.
    pub foreign_policies: u32,
}

/// Something that could not be done on a node.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kind of the object it concerns.
    pub kind: ProblemKind,
    /// The object's name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// A stable word for the step that failed: a condition's reason.
    #[schemars(length(max = 64))]
    pub category: String,
    /// What happened; the kernel's own words where it said some. At most 32768 bytes.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// What a problem concerns.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// An IpsecPolicy.
    IpsecPolicy,
    /// An IpsecSA.
    IpsecSA,
    /// The node as a whole.
    Node,
}
