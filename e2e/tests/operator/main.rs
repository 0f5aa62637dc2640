//! The operator against a real API server, with its ServiceAccount's rights. The nodes' agents are played by the test,
//! with an agent's rights: they publish a sealing key, open what is sealed to it, and report.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

mod agent;
#[allow(dead_code)] // each suite uses a part of it
#[path = "../installed/mod.rs"]
mod installed;
mod keys;
mod schema;

use agent::Agent;
use installed::{API, Installed, NAMESPACE, eventually};

const STATES: &str = "/apis/esplanade.dev/v1alpha1/ipsecnodestates";
const PEERS: &str = "/apis/esplanade.dev/v1alpha1/ipsecpeers";
const SAS: &str = "/apis/esplanade.dev/v1alpha1/ipsecsas";
const POLICY: &str = "/apis/esplanade.dev/v1alpha1/ipsecpolicies/pods";
const BOTH: [&str; 2] = ["a-to-b", "b-to-a"];

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"))
}

/// The keys of one IpsecSA: 32 bytes that tell which.
fn key(sa: &str, usage: &str, version: &str) -> Vec<u8> {
    let mut bytes = format!("{sa} {usage} {version}").into_bytes();
    bytes.resize(32, b'.');
    bytes
}

fn expected(version: &str) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let one = |sa: &str| (sa.to_owned(), key(sa, "encryption", version), key(sa, "integrity", version));
    BOTH.map(one).to_vec()
}

async fn write_secrets(installed: &Installed, version: &str) -> Result<()> {
    for sa in BOTH {
        let name = format!("ipsec-{sa}");
        let encode = |usage| STANDARD.encode(key(sa, usage, version));
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "data": {"encryption": encode("encryption"), "integrity": encode("integrity")}});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}");
        installed.admin.apply(&path, &secret, "test").await?;
    }
    Ok(())
}

/// Applies the user's manifests.
async fn apply_examples(installed: &Installed) -> Result<()> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/manual");
    let examples = examples.to_str().context("the examples' path is not UTF-8")?;
    installed.plane.kubectl(&["apply", "--filename", examples]).await?.ok().map(drop)
}

/// Waits for a condition with its reason that is about the object as it is now.
async fn condition(installed: &Installed, path: &str, kind: &str, status: &str, reason: &str) -> Result<()> {
    eventually(&format!("{kind}={status} ({reason}) of {path}"), async || {
        check(&installed.admin.get(path).await?, kind, status, reason)
    })
    .await
}

fn check(object: &Value, kind: &str, status: &str, reason: &str) -> Result<()> {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().any(|c| {
        c["type"] == kind
            && c["status"] == status
            && c["reason"] == reason
            && c["observedGeneration"] == object["metadata"]["generation"]
    });
    ensure!(found, "its conditions are {conditions:#?}");
    Ok(())
}

/// Reports for both until everything is programmed.
async fn programmed(installed: &Installed, agents: [&Agent; 2]) -> Result<()> {
    let paths = BOTH.map(|sa| format!("{SAS}/{sa}"));
    eventually("Programmed=True", async || {
        for agent in agents {
            agent.report().await?;
        }
        for path in paths.iter().map(String::as_str).chain([POLICY]) {
            check(&installed.admin.get(path).await?, "Programmed", "True", "Programmed")?;
        }
        Ok(())
    })
    .await
}

/// Every object that the operator writes to, without what changes by itself.
async fn written(installed: &Installed) -> Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for path in [STATES, PEERS, SAS, "/apis/esplanade.dev/v1alpha1/ipsecpolicies"] {
        for object in installed.admin.get(path).await?["items"].as_array().into_iter().flatten() {
            let name = text(&object["metadata"]["name"])?;
            all.push((format!("{path}/{name}"), object["metadata"]["resourceVersion"].clone()));
        }
    }
    Ok(all)
}

#[test]
fn a_restart_writes_nothing() -> Result<()> {
    installed::run(async |installed| {
        let mut operator = installed.start_operator("operator-0", &[]).await?;
        let (a, b) = (Agent::new(installed, "node-a").await?, Agent::new(installed, "node-b").await?);
        write_secrets(installed, "1").await?;
        apply_examples(installed).await?;
        operator.explain(programmed(installed, [&a, &b]).await)?;
        operator.process.stop();
        let before = written(installed).await?;

        let operator = installed.start_operator("operator-1", &[]).await?;
        // When this has its condition, everything else has been compared.
        let marker = json!({"apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecSA", "metadata": {"name": "z-marker"},
            "spec": {"source": {"node": "nowhere"}, "destination": {"node": "node-a"}, "spi": 300,
                "encryption": {"algorithm": "NULL"},
                "integrity": {"algorithm": "HMAC-SHA2-256-128", "keySecretRef": {"name": "none", "key": "none"}}}});
        installed.admin.create(SAS, &marker).await?;
        let path = format!("{SAS}/z-marker");
        operator.explain(condition(installed, &path, "Accepted", "True", "Accepted").await)?;
        let mut after = written(installed).await?;
        after.retain(|(name, _)| *name != path);
        assert_eq!(after, before);
        Ok(())
    })
}

/// Long enough for a busy machine to renew it in time.
const SHORT: &str = "--lease-duration=6";

#[test]
fn one_operator_leads_at_a_time() -> Result<()> {
    installed::run(async |installed| {
        let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/esplanade-operator");
        let held_by = async |holder: &str| {
            eventually(&format!("{holder} to lead"), async || {
                let spec = installed.admin.get(&lease).await?["spec"].clone();
                ensure!(spec["holderIdentity"] == holder, "{spec}");
                Ok(())
            })
            .await
        };
        let mut first = installed.start_operator("operator-0", &[SHORT]).await?;
        first.explain(held_by("operator-0").await)?;
        let events = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
        eventually("an event", async || {
            let events = installed.admin.get(&events).await?.to_string();
            ensure!(events.contains("operator-0 became leader"), "{events}");
            Ok(())
        })
        .await?;
        let mut second = installed.start_operator("operator-1", &[SHORT]).await?;
        eventually("the second to stand by", async || {
            ensure!(second.log().contains("standing by"), "{}", second.log());
            Ok(())
        })
        .await?;

        // Asked to end, the first gives the Lease back; a leader that dies is replaced as well.
        first.process.stop();
        second.explain(held_by("operator-1").await)?;
        let third = installed.start_operator("operator-2", &[SHORT]).await?;
        second.process.kill();
        third.explain(held_by("operator-2").await)?;
        // The leaders before may have ended before they had written it.
        eventually("something to undo", async || installed.admin.get(&format!("{PEERS}/node-a")).await)
            .await?;
        installed.admin.delete(&format!("{PEERS}/node-a")).await?;
        eventually("the new leader's work", async || installed.admin.get(&format!("{PEERS}/node-a")).await)
            .await?;

        // One that finds its Lease in other hands ends.
        let mut third = third;
        let stolen = json!({"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 3600}});
        installed.admin.merge(&lease, &stolen).await?;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let status = loop {
            if let Some(status) = third.process.try_wait()? {
                break status;
            }
            ensure!(std::time::Instant::now() < deadline, "it goes on: {}", third.log());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert_eq!(status.code(), Some(1), "{}", third.log());
        assert!(third.log().contains("now held by somebody"), "{}", third.log());
        let other = format!("{API}/ipsecpeers/node-b");
        installed.admin.get(&other).await.map(drop)
    })
}
