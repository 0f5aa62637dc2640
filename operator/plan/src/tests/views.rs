//! Nodes and Secrets as the API server has them.

use k8s_openapi::api::core::v1::{Node, Secret};
use serde_json::json;

use crate::{NodeView, SecretView};

#[test]
fn a_nodes_internal_addresses_in_order_and_its_pod_cidrs() {
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "a", "uid": "u", "labels": {"x": "y"}},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]},
        "status": {"addresses": [
            {"type": "Hostname", "address": "a"},
            {"type": "ExternalIP", "address": "203.0.113.1"},
            {"type": "InternalIP", "address": "fd00::1"},
            {"type": "InternalIP", "address": "10.0.0.1"},
        ]},
    }))
    .unwrap();
    let view = NodeView::from(&node);
    assert_eq!((view.name.as_str(), view.uid.as_str(), view.labels["x"].as_str()), ("a", "u", "y"));
    assert_eq!(view.addresses, ["fd00::1".parse::<std::net::IpAddr>().unwrap(), "10.0.0.1".parse().unwrap()]);
    assert_eq!(view.pod_cidrs, ["10.244.1.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()]);
}

#[test]
fn a_single_pod_cidr_counts_where_there_is_no_list() {
    let node: Node = serde_json::from_value(json!({"spec": {"podCIDR": "10.244.1.0/24"}})).unwrap();
    assert_eq!(NodeView::from(&node).pod_cidrs, ["10.244.1.0/24".parse().unwrap()]);
    assert_eq!(NodeView::from(&Node::default()), NodeView::default());
}

#[test]
fn a_secrets_values_are_decoded() {
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"uid": "u", "resourceVersion": "5"},
        "data": {"enc": "AAEC"},
    }))
    .unwrap();
    let view = SecretView::from(&secret);
    assert_eq!((view.uid.as_str(), view.resource_version.as_str()), ("u", "5"));
    assert_eq!(view.data["enc"].as_slice(), [0, 1, 2]);
    assert_eq!(format!("{view:?}"), "SecretView { uid: \"u\", resource_version: \"5\", keys: [\"enc\"] }");
}
