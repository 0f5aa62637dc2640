//! Which endpoints a policy is for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Endpoints of one side: exactly one of `podCIDRs`, `nodes`, `pods` and `cidrs`.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "[has(self.podCIDRs), has(self.nodes), has(self.pods), has(self.cidrs)].filter(x, x).size() == 1 || \
         (has(self.gateway) && !has(self.podCIDRs) && !has(self.nodes) && !has(self.pods))")
        .message("write exactly one of podCIDRs, nodes, pods and cidrs; further ones are entries of their own"),
    validation = Rule::new(
        "!has(self.gateway) || has(self.cidrs) || has(self.podCIDRs) || has(self.nodes) || has(self.pods)")
        .field_path(".cidrs")
        .reason(Reason::FieldValueRequired)
        .message("write the networks behind the gateway, e.g. cidrs: [192.0.2.0/24]"),
    validation = Rule::new(
        "!has(self.gateway) || has(self.cidrs) || !(has(self.podCIDRs) || has(self.nodes) || has(self.pods))")
        .field_path(".gateway")
        .reason(Reason::FieldValueForbidden)
        .message("a gateway goes with cidrs, networks outside the cluster: remove gateway"),
)]
pub struct Endpoints {
    /// The pod CIDRs of the nodes that the label selector matches; `{}` matches all nodes.
    #[schemars(schema_with = "schema::label_selector")]
    #[serde(default, rename = "podCIDRs", skip_serializing_if = "Option::is_none")]
    pub pod_cidrs: Option<LabelSelector>,
    /// The own addresses (InternalIP) of the nodes that the label selector matches; `{}` matches all nodes.
    #[schemars(schema_with = "schema::label_selector")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<LabelSelector>,
    /// Pods by their own and their namespace's labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodSelectors>,
    /// Networks outside the cluster, e.g. 192.0.2.0/24. 1 to 64. Where they contain addresses of nodes or pods, as 0.0.0.0/0
    /// does, these are covered as well: policies for them need a lower `priority`. What stays on one node never is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::networks")]
    pub cidrs: Option<Vec<String>>,
    /// The gateway in front of `cidrs`. With `action: Protect` there must be one. With `Bypass` and `Discard` all nodes of the
    /// other side treat what goes to and from `cidrs`; with a node as the gateway that one does too, for what it forwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
}

/// Pods by labels.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PodSelectors {
    /// Labels of the namespace. Left out or `{}`: all namespaces.
    #[schemars(schema_with = "schema::label_selector")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Labels of the pod. Left out or `{}`: all pods.
    #[schemars(schema_with = "schema::label_selector")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// Where protection ends on the way to networks outside the cluster: a node of the cluster, or a host outside it.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[x_kube(
    validation = Rule::new("has(self.node) != has(self.address)")
        .message("write either node: NAME, a node of the cluster, or address: ADDRESS, a host outside it"),
)]
pub struct Gateway {
    /// IPv4 or IPv6 address of an IPsec gateway outside the cluster; with manual keys only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::host_address")]
    pub address: Option<String>,
    /// Name of a Node that forwards between `cidrs` and the other nodes. What its own pods send to `cidrs` isn't touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub node: Option<String>,
}
