//! The Node objects.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Lab, node};

impl Lab {
    /// Registers the nodes, ready, as kubelets and the cloud would.
    pub(super) async fn create_nodes(&self) -> Result<()> {
        let api: Api<Node> = Api::all(self.client());
        for node in self.nodes() {
            let object = serde_json::from_value(object(node)).context("a Node object")?;
            api.create(&PostParams::default(), &object).await.with_context(|| node.name.clone())?;
            let status = Patch::Merge(json!({"status": status(node)}));
            let patched = api.patch_status(&node.name, &PatchParams::default(), &status).await;
            patched.with_context(|| format!("the status of {}", node.name))?;
        }
        Ok(())
    }
}

fn object(node: &node::Node) -> Value {
    let labels = json!({"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"podCIDR": node.pod_cidrs[0], "podCIDRs": node.pod_cidrs},
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
