//! `IpsecPolicy`: which traffic is protected, how, and with which keys.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Mark;
use crate::traffic::TrafficSelector;

mod endpoints;
mod keying;
mod protection;

pub use endpoints::{Endpoints, Gateway, PodSelectors};
pub use keying::{AutomaticKeying, Keying, ManualKeying};
pub use protection::{Compression, Enforcement, Offload, Protection, Suite};

/// Which traffic between which endpoints is protected, let through or dropped (an entry of the Security Policy
/// Database, RFC 4301 §4.4.1), on every node that it concerns.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "esplanade.dev",
    version = "v1alpha1",
    kind = "IpsecPolicy",
    plural = "ipsecpolicies",
    singular = "ipsecpolicy",
    shortname = "ipp",
    category = "esplanade",
    status = "IpsecPolicyStatus",
    derive = "PartialEq",
    doc = "Which traffic between which endpoints is protected, let through or dropped (RFC 4301), on every node that \
           it concerns.",
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.protection.mode"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes.summary"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Programmed")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.action == 'Protect' || !has(self.protection)")
        .field_path(".protection")
        .reason(Reason::FieldValueForbidden)
        .message("protection is for action: Protect: remove protection, or write action: Protect"),
    validation = Rule::new("self.from.size() > 0")
        .field_path(".from")
        .reason(Reason::FieldValueRequired)
        .message("write at least one entry, e.g. from: [{podCIDRs: {}}] for the pods of all nodes"),
    validation = Rule::new(
        "self.from.size() == 0 || self.from.exists(e, !has(e.cidrs) || (has(e.gateway) && has(e.gateway.node))) || \
         (has(self.to) && self.to.exists(e, !has(e.cidrs) || (has(e.gateway) && has(e.gateway.node))))")
        .message("one side must be in the cluster: with cidrs in from, write podCIDRs, nodes or pods in to"),
    validation = Rule::new("self.action != 'Protect' || self.from.all(e, !has(e.cidrs) || has(e.gateway))")
        .field_path(".from")
        .reason(Reason::FieldValueRequired)
        .message("cidrs in from are protected as far as a gateway: write gateway: {node: NAME} beside them, a node of the \
                  cluster, or gateway: {address: ADDRESS}, a host outside it"),
    validation = Rule::new(
        "self.action != 'Protect' || !has(self.to) || self.to.all(e, !has(e.cidrs) || has(e.gateway))")
        .field_path(".to")
        .reason(Reason::FieldValueRequired)
        .message("cidrs in to are protected as far as a gateway: write gateway: {node: NAME} beside them, a node of the \
                  cluster, or gateway: {address: ADDRESS}, a host outside it"),
    validation = Rule::new(
        "!has(self.protection) || self.protection.mode != 'Transport' || \
         (self.from.all(e, has(e.nodes)) && (!has(self.to) || self.to.all(e, has(e.nodes))))")
        .field_path(".protection.mode")
        .message("mode: Transport protects traffic between the nodes' own addresses: \
                  write only nodes in from and to, e.g. from: [{nodes: {}}], or mode: Tunnel"),
)]
pub struct IpsecPolicySpec {
    /// Order among policies, 0 to 1000; the lowest that matches a packet counts. Of the same priority Discard comes
    /// first, then Protect, then Bypass, then the name. Default: 500.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: u16,
    /// `Protect`: IPsec. `Bypass`: let through in the clear. `Discard`: drop. Default: `Protect`.
    #[serde(default)]
    pub action: Action,
    /// One side of the traffic; each entry adds endpoints. 1 to 32 entries.
    #[schemars(length(max = 32), extend("default" = []))]
    // so that the rule's message is what a user reads
    pub from: Vec<Endpoints>,
    /// The other side; at most 32 entries. Left out or empty: the same as `from`, so that all its endpoints are covered
    /// among each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub to: Vec<Endpoints>,
    /// Traffic covered; each entry adds some. At most 64 entries. Left out or empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub traffic: Vec<TrafficSelector>,
    /// The mark of the packets covered, in every direction: what arrives has it only where something on the node sets it,
    /// e.g. nftables, or `outputMark` of the SA it came through. Left out: whatever their mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// How traffic is protected; with `action: Protect` only. Default: ESP in tunnel mode with automatic keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
}

fn default_priority() -> u16 {
    500
}

/// What happens to traffic that matches (RFC 4301 §4.4.1).
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Action {
    /// Dropped.
    Discard,
    /// Protected by IPsec.
    #[default]
    Protect,
    /// Let through in the clear.
    Bypass,
}

impl Action {
    /// Of two policies of the same priority that of the lower rank counts, 0 to 2.
    pub fn rank(self) -> u32 {
        match self {
            Self::Discard => 0,
            Self::Protect => 1,
            Self::Bypass => 2,
        }
    }
}

/// What became of an IpsecPolicy.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct IpsecPolicyStatus {
    /// In a word: `Pending`, `Prepare`, `Encrypt`, `Enforce` (what nodes have been told and confirmed), `Updating` (an
    /// edit of a policy in force is followed, step by step), `Ready` (confirmed everywhere), `Degraded` (something is wrong: see conditions) or `Rejected` (not accepted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub phase: Option<String>,
    /// How many nodes the policy concerns, and how many have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,
    /// The first few problems in words, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub problems: Vec<String>,
    /// Accepted, ResolvedRefs, Programmed, Encrypted; Conflicted while another policy contradicts this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// How far the nodes are.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeCounts {
    /// Nodes that the policy concerns.
    pub desired: u32,
    /// Of them, nodes whose kernel has it as it should be.
    pub ready: u32,
    /// `ready/desired`, for people.
    pub summary: String,
}
