//! What the planner looks at.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use esplanade_crds::{IpsecNodeState, IpsecPeer, IpsecPolicy, IpsecSA};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::jiff::Timestamp;
use zeroize::Zeroizing;

/// Everything of the cluster that the plan depends on. The order of the objects doesn't matter.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The operator's own namespace, where Secrets are.
    pub namespace: String,
    /// Every Node.
    pub nodes: Vec<NodeView>,
    /// Every IpsecPolicy.
    pub policies: Vec<IpsecPolicy>,
    /// IpsecPolicies that can't be read, by name, with their UIDs: the nodes keep what they have of them.
    pub unreadable: BTreeMap<String, String>,
    /// Every IpsecSA.
    pub sas: Vec<IpsecSA>,
    /// The Secrets that [`secrets_wanted`](crate::secrets_wanted) names, as far as they are there, by name.
    pub secrets: BTreeMap<String, SecretView>,
    /// Every IpsecNodeState.
    pub node_states: Vec<IpsecNodeState>,
    /// Every IpsecPeer.
    pub peers: Vec<IpsecPeer>,
}

/// What of a Node counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeView {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `status.addresses` of type InternalIP, in order.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`, in order, without host bits.
    pub pod_cidrs: Vec<IpNet>,
    /// Since when its condition Ready isn't True; none if it is, or if nobody says.
    pub not_ready_since: Option<Timestamp>,
}

impl From<&Node> for NodeView {
    fn from(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = conditions.filter(|one| one.type_ == "Ready" && one.status != "True");
        let mut cidrs: Vec<&String> = spec.iter().flat_map(|spec| spec.pod_cidrs.iter().flatten()).collect();
        if cidrs.is_empty() {
            cidrs.extend(spec.and_then(|spec| spec.pod_cidr.as_ref()));
        }
        // The API server has validated both; what can't be read isn't an address that packets could go to.
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            addresses: addresses
                .filter(|address| address.type_ == "InternalIP")
                .filter_map(|address| address.address.parse().ok())
                .collect(),
            pod_cidrs: cidrs
                .iter()
                .filter_map(|cidr| cidr.parse().ok())
                .map(|cidr: IpNet| cidr.trunc())
                .collect(),
            not_ready_since: ready.filter_map(|one| one.last_transition_time.as_ref()).map(|at| at.0).next(),
        }
    }
}

/// What of a Secret counts. Its values are wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretView {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `data`, decoded.
    pub data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl From<&Secret> for SecretView {
    fn from(secret: &Secret) -> Self {
        let data = secret.data.iter().flatten();
        Self {
            uid: secret.metadata.uid.clone().unwrap_or_default(),
            resource_version: secret.metadata.resource_version.clone().unwrap_or_default(),
            data: data.map(|(key, value)| (key.clone(), Zeroizing::new(value.0.clone()))).collect(),
        }
    }
}

impl fmt::Debug for SecretView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretView")
            .field("uid", &self.uid)
            .field("resource_version", &self.resource_version)
            .field("keys", &self.data.keys().collect::<Vec<_>>())
            .finish()
    }
}
