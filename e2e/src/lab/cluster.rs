//! The Node objects.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Lab, node};

impl Lab {
    /// Registers the nodes, ready, as kubelets and the cloud would.
    pub(super) async fn create_nodes(&self) -> Result<()> {
        for node in self.nodes() {
            self.register(node, &node.pod_cidrs).await?;
        }
        Ok(())
    }

    async fn register(&self, node: &node::Node, pod_cidrs: &[String; 2]) -> Result<()> {
        let api: Api<Node> = Api::all(self.client());
        let object = serde_json::from_value(object(node, pod_cidrs)).context("a Node object")?;
        api.create(&PostParams::default(), &object).await.with_context(|| node.name.clone())?;
        let status = Patch::Merge(json!({"status": status(node)}));
        let patched = api.patch_status(&node.name, &PatchParams::default(), &status).await;
        patched.with_context(|| format!("the status of {}", node.name)).map(drop)
    }

    /// Takes a node whose agent has ended out of the cluster: its Node object and its Pods.
    pub async fn leave(&self, node: &str) -> Result<()> {
        let api: Api<Node> = Api::all(self.client());
        api.delete(node, &DeleteParams::default()).await.with_context(|| format!("deleting {node}"))?;
        self.forget_pods(node).await
    }

    /// A node that is powered on joins the cluster, as another Node than any before; its Pods are started.
    pub async fn join(&self, node: &str) -> Result<()> {
        self.join_with(node, &self.node(node).pod_cidrs).await
    }

    /// [`Lab::join`] with other pod CIDRs, which somebody else has to route.
    pub async fn join_with(&self, node: &str, pod_cidrs: &[String; 2]) -> Result<()> {
        self.register(self.node(node), pod_cidrs).await?;
        self.start_pods(node).await
    }
}

fn object(node: &node::Node, pod_cidrs: &[String; 2]) -> Value {
    let labels = json!({"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"podCIDR": pod_cidrs[0], "podCIDRs": pod_cidrs},
    })
}

fn status(node: &node::Node) -> Value {
    let mut addresses: Vec<Value> = vec![json!({"type": "Hostname", "address": node.name})];
    addresses.extend(node.addresses.both().map(|address| json!({"type": "InternalIP", "address": address})));
    json!({
        "addresses": addresses,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "LabReady", "message": "the node's network is there",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        }],
    })
}
