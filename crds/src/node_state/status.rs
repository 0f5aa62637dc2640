//! What a node's agent reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::Phase;
use crate::schema;

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
