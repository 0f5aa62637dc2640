//! Pods of the chart: what the scheduler and the kubelet would do for them.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Lab, Node};

/// Lifetime of a token, in seconds: a lab that somebody looks at may live for a day.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

impl Lab {
    /// A token of the Pod's service account, bound to the Pod and so to its node.
    pub async fn token_for_pod(&self, namespace: &str, pod: &str) -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        let pod = pods.get(pod).await.with_context(|| format!("Pod {namespace}/{pod}"))?;
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let bound_object_ref = Some(BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        });
        let spec = TokenRequestSpec {
            audiences: Vec::new(),
            bound_object_ref,
            expiration_seconds: Some(TOKEN_SECONDS),
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let account = account.unwrap_or_else(|| "default".to_owned());
        let made = accounts.create_token_request(&account, &PostParams::default(), &request).await;
        let status = made.with_context(|| format!("a token of {account}"))?.status;
        Ok(status.context("a token request without a token")?.token)
    }

    /// Binds the Pod to the node it must run on (any: the first) and returns both.
    pub(super) async fn bind(&self, pod: &Pod) -> Result<(Pod, &Node)> {
        let metadata = &pod.metadata;
        let (name, namespace) =
            metadata.name.clone().zip(metadata.namespace.clone()).context("a Pod's name")?;
        let api: Api<Pod> = Api::namespaced(self.client(), &namespace);
        let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let node = match bound.clone().or_else(|| required_node(pod)) {
            Some(node) => self.nodes().iter().find(|n| n.name == node),
            None => self.nodes().first(),
        };
        let node = node.with_context(|| format!("Pod {name} wants a node that the lab hasn't"))?;
        if bound.is_none() {
            let target = json!({"apiVersion": "v1", "kind": "Node", "name": node.name});
            let binding = json!({"metadata": {"name": name}, "target": target});
            let made: kube::Result<Status> =
                api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
            made.with_context(|| format!("binding {name} to {}", node.name))?;
        }
        Ok((api.get(&name).await.context("the bound Pod")?, node))
    }

    /// Says in the Pod's status that it runs: the lab has started its program.
    pub(super) async fn mark_running(&self, pod: &Pod, node: &Node) -> Result<()> {
        let metadata = &pod.metadata;
        let (name, namespace) =
            metadata.name.clone().zip(metadata.namespace.clone()).context("a Pod's name")?;
        let api: Api<Pod> = Api::namespaced(self.client(), &namespace);
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first()).context("a container")?;
        let patch = Patch::Merge(json!({"status": running(&container.name, node)}));
        api.patch_status(&name, &PatchParams::default(), &patch).await.context("the Pod's status")?;
        Ok(())
    }
}

/// The Pod of a DaemonSet is made for this node.
pub(super) fn is_of(pod: &Pod, node: &str) -> bool {
    required_node(pod).as_deref() == Some(node)
}

/// The node that a DaemonSet's Pod is made for.
fn required_node(pod: &Pod) -> Option<String> {
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let mut fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    fields.find(|field| field.key == "metadata.name")?.values.as_ref()?.first().cloned()
}

fn running(container: &str, node: &Node) -> Value {
    const SINCE: &str = "2026-01-01T00:00:00Z";
    let [v4, v6] = node.addresses.both();
    let condition = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": SINCE});
    let conditions = ["Initialized", "ContainersReady", "Ready"].map(condition);
    json!({
        "phase": "Running",
        "hostIP": v4, "hostIPs": [{"ip": v4}, {"ip": v6}],
        "podIP": v4, "podIPs": [{"ip": v4}, {"ip": v6}],
        "startTime": SINCE,
        "conditions": conditions,
        "containerStatuses": [{
            "name": container, "image": "", "imageID": "", "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": SINCE}},
        }],
    })
}

/// A field of the Pod, as the downward API gives it.
pub(super) fn field(pod: &Pod, node: &Node, path: &str) -> Result<String> {
    let spec = pod.spec.as_ref();
    let value = match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        "metadata.uid" => pod.metadata.uid.clone(),
        "spec.nodeName" => Some(node.name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" | "status.podIP" => Some(node.addresses.v4.to_string()),
        other => bail!("the lab doesn't know the Pod field {other}: add it to e2e/src/lab/pods.rs"),
    };
    value.with_context(|| format!("the Pod has no {path}"))
}
