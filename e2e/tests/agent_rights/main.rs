//! What the chart's ServiceAccounts may do, and what not: two agents with their Pods' tokens, a token that is bound to no
//! Pod, and the operator.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

#[allow(dead_code)] // each suite uses a part of it
#[path = "../installed/mod.rs"]
mod installed;
mod table;

use installed::{AGENT, API, Installed, NAMESPACE, OPERATOR, peer};
use table::Body::{self, Apply, Merge, Object};
use table::{Row, check};

const NOT_OWN_STATE: &str = "a node agent may only update its own node's status: this token belongs to node node-a, not to \
                             ipsecnodestates node-b";
const NOT_OWN_PEER: &str = "a node agent may only update its own node's status: this token belongs to node node-a, not to \
                            ipsecpeers node-b";
const NO_NODE: &str = "this token names no node: a node agent has to use the token of its own Pod";

/// IpsecNodeState and IpsecPeer of both nodes, as the operator would have made them.
async fn make_objects(installed: &Installed) -> Result<()> {
    for node in ["node-a", "node-b"] {
        installed.admin.apply(&format!("{API}/ipsecnodestates/{node}"), &state(node), "test").await?;
        installed.admin.apply(&format!("{API}/ipsecpeers/{node}"), &peer(node), "test").await?;
    }
    Ok(())
}

fn object(kind: &str, name: &str, field: &str, value: Value) -> Value {
    let mut object =
        json!({"apiVersion": "esplanade.dev/v1alpha1", "kind": kind, "metadata": {"name": name}});
    object[field] = value;
    object
}

fn state(name: &str) -> Value {
    object("IpsecNodeState", name, "spec", json!({}))
}

/// A report of an agent.
fn boot(id: &str) -> Value {
    json!({"status": {"bootID": id}})
}

#[test]
fn an_agent_writes_its_own_nodes_status_and_nothing_else() -> Result<()> {
    installed::run(async |installed| {
        make_objects(installed).await?;
        let agent = installed.agent("node-a").await?;
        let states = |rest: &str| format!("{API}/ipsecnodestates{rest}");
        let peers = |rest: &str| format!("{API}/ipsecpeers{rest}");
        let applied = |name| Apply(object("IpsecNodeState", name, "status", json!({"bootID": "2"})));
        let keys = || Merge(json!({"status": {"keys": []}}));
        let addresses = || Merge(json!({"spec": {"addresses": ["198.51.100.66"]}}));
        let rows: Vec<Row> = vec![
            ("GET", states(""), Body::None, None),
            ("GET", peers("/node-b"), Body::None, None),
            ("PATCH", states("/node-a/status"), Merge(boot("1")), None),
            ("PATCH", states("/node-a/status"), applied("node-a"), None),
            ("PATCH", peers("/node-a/status"), keys(), None),
            // Another node's.
            ("PATCH", states("/node-b/status"), Merge(boot("1")), Some(NOT_OWN_STATE)),
            ("PATCH", states("/node-b/status"), applied("node-b"), Some(NOT_OWN_STATE)),
            ("PATCH", peers("/node-b/status"), keys(), Some(NOT_OWN_PEER)),
            // Not status.
            (
                "PATCH",
                states("/node-a"),
                Merge(json!({"spec": {}})),
                Some("cannot patch resource \"ipsecnodestates\""),
            ),
            (
                "PATCH",
                states("/node-a"),
                Apply(state("node-a")),
                Some("cannot patch resource \"ipsecnodestates\""),
            ),
            ("PATCH", peers("/node-a"), addresses(), Some("cannot patch resource \"ipsecpeers\"")),
            ("POST", peers(""), Object(peer("node-c")), Some("cannot create resource \"ipsecpeers\"")),
            ("DELETE", peers("/node-a"), Body::None, Some("cannot delete resource \"ipsecpeers\"")),
            ("DELETE", states(""), Body::None, Some("cannot deletecollection resource \"ipsecnodestates\"")),
            // Not its objects.
            (
                "GET",
                format!("/api/v1/namespaces/{NAMESPACE}/secrets"),
                Body::None,
                Some("cannot list resource \"secrets\""),
            ),
            (
                "GET",
                format!("/api/v1/namespaces/{NAMESPACE}/secrets/k"),
                Body::None,
                Some("cannot get resource \"secrets\""),
            ),
            ("GET", "/api/v1/nodes".to_owned(), Body::None, Some("cannot list resource \"nodes\"")),
            (
                "GET",
                format!("{API}/ipsecpolicies"),
                Body::None,
                Some("cannot list resource \"ipsecpolicies\""),
            ),
            ("GET", format!("{API}/ipsecsas"), Body::None, Some("cannot list resource \"ipsecsas\"")),
            (
                "PATCH",
                format!("{API}/ipsecsas/x/status"),
                Merge(boot("1")),
                Some("cannot patch resource \"ipsecsas/status\""),
            ),
        ];
        check(&agent, "the agent of node-a", rows).await?;

        // An update of its status leaves everything else as it was.
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let mut own = agent.get(&peers("/node-a")).await?;
        let before = own.clone();
        own["spec"] = json!({"addresses": ["198.51.100.66"]});
        own["metadata"]["labels"] = json!({"a": "b"});
        own["status"] = json!({"keys": [{"id": "k", "publicKey": key, "createdAt": "2026-01-01T00:00:00Z"}]});
        agent.ask("PUT", &peers("/node-a/status"), "application/json", &own).await?;
        let now = installed.admin.get(&peers("/node-a")).await?;
        assert_eq!(now["status"], own["status"]);
        assert_eq!(now["spec"], before["spec"]);
        assert_eq!(now["metadata"]["labels"], before["metadata"]["labels"]);

        let other = installed.agent("node-b").await?;
        let rows: Vec<Row> = vec![
            ("PATCH", states("/node-b/status"), Merge(boot("1")), None),
            (
                "PATCH",
                states("/node-a/status"),
                Merge(boot("1")),
                Some("belongs to node node-b, not to ipsecnodestates node-a"),
            ),
        ];
        check(&other, "the agent of node-b", rows).await?;
        let unbound = installed.unbound(AGENT).await?;
        let rows: Vec<Row> = vec![
            ("PATCH", states("/node-a/status"), Merge(boot("1")), Some(NO_NODE)),
            ("PATCH", peers("/node-a/status"), keys(), Some(NO_NODE)),
        ];
        check(&unbound, "an agent's token that is bound to no Pod", rows).await
    })
}

/// The admission policy stands by itself: a role with more rights doesn't undo it.
#[test]
fn an_agent_with_more_rights_still_writes_only_its_own_nodes_status() -> Result<()> {
    installed::run(async |installed| {
        make_objects(installed).await?;
        let rights = ["create", "clusterrolebinding", "too-much", "--clusterrole=cluster-admin"];
        let account = format!("--serviceaccount={NAMESPACE}:{AGENT}");
        let args: Vec<&str> = rights.into_iter().chain([account.as_str()]).collect();
        installed.plane.kubectl(&args).await?.ok()?;
        let agent = installed.agent("node-a").await?;
        let only = "a node agent may only update status; this was";
        let rows: Vec<Row> = vec![
            (
                "PATCH",
                format!("{API}/ipsecpeers/node-a/status"),
                Merge(json!({"status": {"keys": []}})),
                None,
            ),
            (
                "PATCH",
                format!("{API}/ipsecpeers/node-b/status"),
                Merge(json!({"status": {"keys": []}})),
                Some(NOT_OWN_PEER),
            ),
            (
                "PATCH",
                format!("{API}/ipsecpeers/node-a"),
                Merge(json!({"spec": {"addresses": ["198.51.100.6"]}})),
                Some(only),
            ),
            ("PATCH", format!("{API}/ipsecpeers/node-c"), Apply(peer("node-c")), Some(only)),
            (
                "POST",
                format!("{API}/ipsecnodestates"),
                Object(state("node-c")),
                Some("this was CREATE of ipsecnodestates node-c"),
            ),
            (
                "DELETE",
                format!("{API}/ipsecnodestates/node-a"),
                Body::None,
                Some("this was DELETE of ipsecnodestates node-a"),
            ),
            ("DELETE", format!("{API}/ipsecpeers"), Body::None, Some(only)),
        ];
        check(&agent, "an agent with too many rights", rows).await
    })
}

#[test]
fn the_admission_policys_expressions_fit_the_types() -> Result<()> {
    installed::run(async |installed| {
        let path =
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/esplanade-node-agent-own-node";
        let status = installed::eventually("the type check", async || {
            let policy = installed.admin.get(path).await?;
            ensure!(policy["status"]["observedGeneration"] == policy["metadata"]["generation"], "{policy}");
            Ok(policy["status"].clone())
        })
        .await?;
        let warnings = &status["typeChecking"]["expressionWarnings"];
        ensure!(warnings.is_null(), "{warnings}");
        Ok(())
    })
}

#[test]
fn the_operator_writes_what_is_its_own_and_reads_secrets_of_its_namespace_only() -> Result<()> {
    installed::run(async |installed| {
        make_objects(installed).await?;
        let sa = object(
            "IpsecSA",
            "x",
            "spec",
            json!({"source": {"node": "a"}, "destination": {"node": "b"},
            "encryption": {"algorithm": "AES-CBC-256", "keySecretRef": {"name": "k", "key": "k"}},
            "integrity": {"algorithm": "HMAC-SHA2-256-128", "keySecretRef": {"name": "k", "key": "k"}}}),
        );
        installed.admin.create(&format!("{API}/ipsecsas"), &sa).await?;
        let secrets = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets");
        let leases = |namespace: &str, rest: &str| {
            format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases{rest}")
        };
        let lease = |name: &str| {
            Object(
                json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}}),
            )
        };
        let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ipsecpeers.esplanade.dev";
        let binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        let label = || Merge(json!({"metadata": {"labels": {"a": "b"}}}));
        let rows: Vec<Row> = vec![
            ("GET", secrets(NAMESPACE), Body::None, None),
            ("GET", secrets("default"), Body::None, Some("cannot list resource \"secrets\"")),
            ("GET", secrets("kube-system") + "/any", Body::None, Some("cannot get resource \"secrets\"")),
            ("GET", "/api/v1/secrets".to_owned(), Body::None, Some("cannot list resource \"secrets\"")),
            ("PATCH", secrets(NAMESPACE) + "/k", label(), Some("cannot patch resource \"secrets\"")),
            ("PATCH", format!("{API}/ipsecpeers/node-c"), Apply(peer("node-c")), None),
            ("DELETE", format!("{API}/ipsecpeers/node-c"), Body::None, None),
            (
                "PATCH",
                format!("{API}/ipsecpeers/node-a/status"),
                label(),
                Some("cannot patch resource \"ipsecpeers/status\""),
            ),
            (
                "PATCH",
                format!("{API}/ipsecnodestates/node-a/status"),
                label(),
                Some("cannot patch resource \"ipsecnodestates/status\""),
            ),
            ("PATCH", format!("{API}/ipsecsas/x/status"), Merge(json!({"status": {"spi": 256}})), None),
            ("PATCH", format!("{API}/ipsecsas/x"), label(), Some("cannot patch resource \"ipsecsas\"")),
            ("DELETE", format!("{API}/ipsecsas/x"), Body::None, Some("cannot delete resource \"ipsecsas\"")),
            ("GET", "/api/v1/nodes".to_owned(), Body::None, None),
            ("PATCH", "/api/v1/nodes/node-a".to_owned(), label(), Some("cannot patch resource \"nodes\"")),
            ("POST", leases(NAMESPACE, ""), lease(OPERATOR), None),
            ("GET", leases(NAMESPACE, "/esplanade-operator"), Body::None, None),
            ("GET", leases(NAMESPACE, "/other"), Body::None, Some("cannot get resource \"leases\"")),
            ("POST", leases("default", ""), lease(OPERATOR), Some("cannot create resource \"leases\"")),
            ("PATCH", crd.to_owned(), label(), Some("cannot patch resource \"customresourcedefinitions\"")),
            (
                "POST",
                binding.to_owned(),
                Object(json!({})),
                Some("cannot create resource \"clusterrolebindings\""),
            ),
        ];
        check(&installed.unbound(OPERATOR).await?, "the operator", rows).await
    })
}
