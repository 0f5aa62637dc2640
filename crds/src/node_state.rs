//! `IpsecNodeState`: what one node should have in its kernel, and what its agent reports.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod association;
mod policy;
mod sealed;
mod status;

pub use association::{
    NodeEncryption, NodeIntegrity, NodeSaSelector, NodeSecurityAssociation, ResolvedEndpoint,
    RetiringSecurityAssociation,
};
pub use policy::{
    GatewaySelectors, NodeAutomaticKeying, NodePolicy, OutsideSelectors, Phase, PhaseTarget, phase_from,
};
pub use sealed::{SealedKey, SecretVersion};
pub use status::{
    AllocatedSpi, Counts, IpsecNodeStateStatus, Kernel, PolicyInKernel, Problem, ProblemKind, SealingKey,
};

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
