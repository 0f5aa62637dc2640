use serde_json::json;

use super::*;

fn read_node(version: &str, status: &serde_json::Value) -> Seen<NodeView> {
    node(
        serde_json::from_value(json!({
            "metadata": {"name": "n", "uid": "u", "resourceVersion": version, "labels": {"a": "b"},
                "annotations": {"x": version}, "managedFields": [{"manager": "kubelet"}]},
            "spec": {"podCIDRs": ["10.244.0.0/24"], "taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": status,
        }))
        .unwrap(),
    )
}

#[test]
fn a_nodes_heartbeat_changes_nothing() {
    let addresses = json!([{"type": "InternalIP", "address": "192.0.2.1"}]);
    let beat = |time: &str| {
        json!({"addresses": addresses, "images": [], "conditions": [
        {"type": "Ready", "status": "True", "lastHeartbeatTime": time}]})
    };
    let (first, second) =
        (read_node("1", &beat("2026-01-01T00:00:00Z")), read_node("2", &beat("2026-01-01T00:00:10Z")));
    assert_eq!((first.version, second.version), (Some(1), Some(2)));
    assert_eq!(first.object, second.object);
    let moved = read_node("3", &json!({"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]}));
    assert_ne!(second.object, moved.object);
}

#[test]
fn what_cant_be_read_keeps_its_name_and_says_why() {
    let seen = object::<IpsecPolicy>(
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u", "generation": 3, "resourceVersion": "7"},
            "spec": {"from": [{"nodes": {}}], "action": "Encrypt"},
        }))
        .unwrap(),
    );
    assert_eq!((seen.name.as_str(), seen.version), ("p", Some(7)));
    let error = seen.object.unwrap_err();
    assert_eq!((error.uid.as_str(), error.generation), ("u", Some(3)));
    assert!(error.error.contains("Encrypt"), "{}", error.error);
}
