//! `IpsecPeer`: what every node has to know of one node.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What every node has to know of one node: its addresses and selectors (`spec`, written by the operator) and its
/// public keys (`status`, written by its agent). Named after its Node and owned by it. Not for users to write.
///
/// Every agent watches all of them, so they are small and change rarely.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "esplanade.dev",
    version = "v1alpha1",
    kind = "IpsecPeer",
    plural = "ipsecpeers",
    singular = "ipsecpeer",
    shortname = "ippeer",
    category = "esplanade",
    status = "IpsecPeerStatus",
    derive = "PartialEq",
    doc = "What every node has to know of one node: addresses, selectors and public keys. Written by the operator and \
           the node's agent; not for users to write.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.addresses[0]"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct IpsecPeerSpec {
    /// The node's own addresses (InternalIP), the primary one first; at most 16.
    #[serde(default)] // sent when empty too, as in IpsecNodeStateSpec
    #[schemars(length(max = 16), inner(length(max = 45)))]
    #[x_kube(validation = Rule::new("self.all(a, isIP(a))").message("write IPv4 or IPv6 addresses"))]
    pub addresses: Vec<String>,
    /// What of each policy lies at this node.
    #[serde(default)] // sent when empty too, as in IpsecNodeStateSpec
    pub selectors: Vec<PeerSelectors>,
}

impl IpsecPeerSpec {
    /// What of a policy in this revision lies here.
    pub fn selectors_of(&self, policy: &str, revision: &str) -> Option<&PeerSelectors> {
        let of_policy = || self.selectors.iter().filter(|one| one.policy == policy);
        let exactly = of_policy().find(|one| one.revision.as_deref() == Some(revision));
        exactly.or_else(|| of_policy().find(|one| one.revision.is_none()))
    }
}

/// What of one policy lies at one node, as networks (a host is a network of full prefix length).
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
pub struct PeerSelectors {
    /// Name of the IpsecPolicy.
    pub policy: String,
    /// The revision that this is about (`IpsecNodeState.spec.policies[].revision`), while an edit changes what lies here.
    /// Left out: every revision that nothing else is said of here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Networks on the policy's `from` side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Networks on the policy's `to` side (the same as `from` where the policy has no `to`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

/// What a node's agent tells all peers.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
pub struct IpsecPeerStatus {
    /// The node's live public keys, oldest first; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".to_owned()]))]
    #[schemars(length(max = 8))]
    pub keys: Vec<PublishedKey>,
}

/// A node's public key.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PublishedKey {
    /// Names the key among the node's keys; at most 64 characters.
    #[schemars(length(max = 64))]
    pub id: String,
    /// X25519 public key, 32 bytes, base64.
    #[schemars(schema_with = "schema::public_key")]
    pub public_key: String,
    /// When the node made it (RFC 3339).
    #[schemars(schema_with = "schema::time")]
    pub created_at: String,
}
