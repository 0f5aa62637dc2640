use serde_json::{Value, json};

use super::*;

fn conditions(conditions: &[(&str, &str, &str, &str)]) -> Value {
    let one = |(kind, status, reason, message): &(&str, &str, &str, &str)| {
        json!({"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    conditions.iter().map(one).collect()
}

fn policy(status: &Value) -> IpsecPolicy {
    serde_json::from_value(json!({
        "apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecPolicy",
        "metadata": {"name": "pods", "generation": 1}, "spec": {"from": [{"podCIDRs": {}}]}, "status": status,
    }))
    .unwrap()
}

fn sa(status: &Value) -> IpsecSA {
    serde_json::from_value(json!({
        "apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecSA", "metadata": {"name": "a-to-b", "generation": 1},
        "spec": {"source": {"node": "a"}, "destination": {"node": "b"}}, "status": status,
    }))
    .unwrap()
}

fn node(status: &Value) -> IpsecNodeState {
    serde_json::from_value(json!({
        "apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecNodeState", "metadata": {"name": "a", "generation": 1},
        "spec": {}, "status": status,
    }))
    .unwrap()
}

const FINE: [(&str, &str, &str, &str); 3] = [
    (ACCEPTED, "True", "Accepted", ""),
    (RESOLVED_REFS, "True", "ResolvedRefs", ""),
    (PROGRAMMED, "True", "Programmed", ""),
];

#[test]
fn what_is_as_it_should_be_takes_one_line() {
    let status = json!({"conditions": conditions(&FINE)});
    let ready =
        json!({"conditions": conditions(&[(READY, "True", "Ready", ""), (IN_SYNC, "True", "InSync", "")])});
    let report = report(&[policy(&status)], &[sa(&status), sa(&status)], &[node(&ready)]);
    assert_eq!(report.text, "1 policy, 2 SAs, 1 node: all as it should be\n");
    assert!(report.fine);
}

#[test]
fn each_condition_that_is_not_as_it_should_be_is_told_with_its_object() {
    let pending = json!({"conditions": conditions(&[
        (ACCEPTED, "True", "Accepted", ""),
        (PROGRAMMED, "False", "Pending", "node b has it to do"),
    ]), "problems": ["node b has it to do", "node c has no address"]});
    let insecure =
        json!({"conditions": conditions(&[(INSECURE_KEYING, "True", "Aead", "AEAD with a manual key")])});
    let report = report(&[policy(&pending)], &[sa(&insecure)], &[]);
    assert_eq!(
        report.text,
        "IpsecPolicy pods\n  Programmed is False (Pending): node b has it to do\n  node c has no address\n\
         IpsecSA a-to-b\n  InsecureKeying is True (Aead): AEAD with a manual key\n\
         1 of 1 policy, 1 of 1 SA, 0 nodes: see above\n"
    );
    assert!(!report.fine);
}

#[test]
fn a_nodes_problems_are_in_words() {
    let degraded = json!({
        "conditions": conditions(&[(READY, "True", "Ready", ""), (DEGRADED, "True", "KernelError", "1 problem")]),
        "problems": [{"kind": "IpsecSA", "name": "a-to-b", "category": "KernelError", "message": "Requested mode not found"}],
    });
    let report = report(&[], &[], &[node(&degraded)]);
    assert_eq!(
        report.text,
        "Node a\n  Degraded is True (KernelError): 1 problem\n  \
         IpsecSA a-to-b: Requested mode not found (KernelError)\n0 policies, 0 SAs, 1 of 1 node: see above\n"
    );
    assert!(!report.fine);
}

#[test]
fn nothing_written_yet_and_something_written_about_an_older_generation_are_told() {
    let silent = report(&[policy(&Value::Null)], &[], &[node(&Value::Null)]);
    assert!(
        silent.text.contains("IpsecPolicy pods\n  no conditions yet: is the operator running?"),
        "{}",
        silent.text
    );
    assert!(
        silent.text.contains("Node a\n  no conditions yet: is the node's agent running?"),
        "{}",
        silent.text
    );
    let mut changed = policy(&json!({"conditions": conditions(&FINE)}));
    changed.metadata.generation = Some(2);
    let report = report(&[changed], &[], &[]);
    assert!(report.text.contains("changed since the operator looked at it"), "{}", report.text);
    assert!(!report.fine);
}
