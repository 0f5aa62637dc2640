//! From a user's manifests and Secrets to keys that only two nodes can read.

use std::process::Command;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use esplanade_e2e::programs;
use esplanade_seal::KeyPair;
use serde_json::json;

use crate::agent::Agent;
use crate::installed::{self, Installed, Operator, eventually};
use crate::{
    BOTH, PEERS, POLICY, SAS, STATES, apply_examples, condition, expected, programmed, write_secrets,
};

#[test]
fn manual_keys_reach_the_two_nodes_and_no_other_eye() -> Result<()> {
    installed::run(async |installed| {
        let operator = installed.start_operator("operator-0", &[]).await?;
        let result = the_life_of_manual_keys(installed, &operator).await;
        operator.explain(result)?;
        let log = operator.log();
        let objects = format!("{}{}", installed.admin.get(STATES).await?, installed.admin.get(SAS).await?);
        for version in ["1", "2"] {
            for (sa, encryption, integrity) in expected(version) {
                for key in [encryption, integrity] {
                    for form in [String::from_utf8(key.clone())?, STANDARD.encode(&key), format!("{key:?}")] {
                        assert!(!log.contains(&form), "a key of {sa} is in the log: {form}");
                        assert!(!objects.contains(&form), "a key of {sa} is in an object: {form}");
                    }
                }
            }
        }
        Ok(())
    })
}

async fn the_life_of_manual_keys(installed: &Installed, operator: &Operator) -> Result<()> {
    let (mut a, mut b) = (Agent::new(installed, "node-a").await?, Agent::new(installed, "node-b").await?);
    for agent in [&a, &b] {
        eventually("the node's objects", async || agent.report().await).await?;
    }
    let owner = &installed.admin.get(&format!("{PEERS}/node-a")).await?["metadata"]["ownerReferences"];
    assert_eq!((&owner[0]["kind"], &owner[0]["name"]), (&json!("Node"), &json!("node-a")));

    // The user's manifests, before the Secrets that they name.
    apply_examples(installed).await?;
    for sa in BOTH {
        let path = format!("{SAS}/{sa}");
        condition(installed, &path, "Accepted", "True", "Accepted").await?;
        condition(installed, &path, "ResolvedRefs", "False", "SecretNotFound").await?;
    }
    let (code, said) = plugin(installed)?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("IpsecSA b-to-a\n  ResolvedRefs is False (SecretNotFound): "), "{said}");
    let path = format!("{PEERS}/node-b");
    eventually("node-b's selectors", async || {
        let spec = installed.admin.get(&path).await?["spec"].clone();
        ensure!(spec["selectors"][0]["policy"] == "pods", "{spec}");
        assert_eq!(
            (&spec["addresses"], &spec["selectors"][0]["from"]),
            (&json!(["192.0.2.2"]), &json!(["10.244.2.0/24"]))
        );
        Ok(())
    })
    .await?;

    write_secrets(installed, "1").await?;
    for agent in [&a, &b] {
        eventually("sealed keys", async || is(&agent.opened().await?, &expected("1"))).await?;
    }
    for sa in BOTH {
        condition(installed, &format!("{SAS}/{sa}"), "ResolvedRefs", "True", "ResolvedRefs").await?;
    }
    condition(installed, POLICY, "Programmed", "False", "Pending").await?;
    programmed(installed, [&a, &b]).await?;
    let (code, said) = plugin(installed)?;
    assert_eq!((code, said.as_str()), (Some(0), "1 policy, 2 SAs, 2 nodes: all as it should be\n"));
    what_others_add_is_taken_out(installed).await?;
    programmed(installed, [&a, &b]).await?;

    // A node that lost its key gets the same keys, sealed to its new one; the other node isn't bothered.
    let before = installed.admin.get(&format!("{STATES}/node-a")).await?["spec"].clone();
    b.keys = KeyPair::generate(&mut rand::rng());
    b.report().await?;
    eventually("keys sealed anew", async || is(&b.opened().await?, &expected("1"))).await?;
    assert_eq!(installed.admin.get(&format!("{STATES}/node-a")).await?["spec"], before);

    write_secrets(installed, "2").await?;
    for agent in [&a, &b] {
        eventually("the new keys", async || is(&agent.opened().await?, &expected("2"))).await?;
    }
    programmed(installed, [&a, &b]).await?;

    installed.admin.delete("/api/v1/nodes/node-b").await?;
    for path in [format!("{STATES}/node-b"), format!("{PEERS}/node-b")] {
        eventually("node-b's objects to go", async || {
            let Err(error) = installed.admin.get(&path).await else { anyhow::bail!("{path} is still there") };
            ensure!(error.to_string().contains("not found"), "{error}");
            Ok(())
        })
        .await?;
    }
    for sa in BOTH {
        condition(installed, &format!("{SAS}/{sa}"), "ResolvedRefs", "False", "NodeNotFound").await?;
    }
    // A new node of the name starts from nothing.
    installed.add_node("node-b", 3).await?;
    a = Agent::new(installed, "node-a").await?;
    b = Agent::new(installed, "node-b").await?;
    for agent in [&a, &b] {
        eventually("keys for the new node", async || {
            agent.report().await?;
            is(&agent.opened().await?, &expected("2"))
        })
        .await?;
    }
    ensure!(!operator.log().contains("write failed"), "a write has failed");
    Ok(())
}

fn is<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<()> {
    ensure!(found == expected, "found {found:?}");
    Ok(())
}

/// What somebody adds beside what the operator wrote goes again.
async fn what_others_add_is_taken_out(installed: &Installed) -> Result<()> {
    let state = format!("{STATES}/node-a");
    let bypass = json!({"apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecNodeState", "metadata": {"name": "node-a"},
        "spec": {"policies": [{"name": "other", "uid": "u", "revision": "r", "phase": "Enforce", "priority": 0,
            "action": "Bypass", "mode": "Tunnel", "protocol": "ESP"}]}});
    installed.admin.apply(&state, &bypass, "other").await?;
    let other = json!({"apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecSA", "metadata": {"name": "a-to-b"},
        "status": {"conditions": [{"type": "Other", "status": "True", "reason": "Other", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let sa = format!("{SAS}/a-to-b");
    installed.admin.apply(&format!("{sa}/status"), &other, "other").await?;
    eventually("the additions to go", async || {
        let spec = installed.admin.get(&state).await?["spec"].clone();
        ensure!(!spec.to_string().contains("other"), "{spec}");
        let status = installed.admin.get(&sa).await?["status"].clone();
        ensure!(!status.to_string().contains("Other"), "{status}");
        Ok(())
    })
    .await
}

/// Exit code and output of `kubectl esplanade status`.
fn plugin(installed: &Installed) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(programs::find("kubectl-esplanade", "esplanade-cli")?);
    command.arg("status").env_clear();
    command.env("KUBECONFIG", installed.plane.kubeconfig("plugin", installed.plane.admin_token())?);
    let output = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout) + &text(&output.stderr)))
}
