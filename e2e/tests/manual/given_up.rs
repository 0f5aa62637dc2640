//! A node that doesn't answer isn't waited for, and learns what it has missed.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Config, Lab};
use serde_json::{Value, json};

use crate::automatic::{POLICY, nothing_lost, pings, ready, traffic};
use crate::cluster::{SOON, kubectl, remove, with_esplanade};
use crate::wire::clear_pod_packets;

const IT: &str = "node-c";

/// Whether it is Ready, as the node lifecycle controller would say, for longer than anybody waits.
async fn is_ready(lab: &Lab, status: &str) -> Result<()> {
    let condition = json!({"type": "Ready", "status": status, "reason": "LabSays", "message": "for a test",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let patch = json!({"status": {"conditions": [condition]}}).to_string();
    let argv = ["patch", "node", IT, "--subresource=status", "--type=merge", "--patch", &patch];
    kubectl(lab, &argv).await.map(drop)
}

async fn policies(lab: &Lab, node: &str, part: &str) -> Result<Vec<Value>> {
    let state = lab.get(&format!("ipsecnodestate/{node}")).await?;
    Ok(state.data[part]["policies"].as_array().cloned().unwrap_or_default())
}

/// The nodes that answer are told of so many policies, and have them in force.
async fn others_have(lab: &Lab, count: usize) -> Result<()> {
    lab.wait(&format!("{count} policies at the nodes that answer"), SOON, async || {
        for node in lab.nodes().iter().filter(|node| node.name != IT) {
            for part in ["spec", "status"] {
                let found = policies(lab, &node.name, part).await?;
                let all = found.len() == count && found.iter().all(|one| one["phase"] == "Enforce");
                ensure!(all, "{} of {}: {found:?}", part, node.name);
            }
        }
        Ok(())
    })
    .await
}

#[test]
fn a_node_that_was_given_up_is_told_what_it_has_missed() -> Result<()> {
    with_esplanade(Config { nodes: 3, pods: 1 }, async |lab| {
        lab.apply(POLICY).await?;
        ready(lab, "pods").await?;
        let first = policies(lab, IT, "spec").await?;

        // It is away, and nobody waits for it.
        lab.stop_agent(IT).await?;
        is_ready(lab, "Unknown").await?;

        // Edited: the others follow alone. Deleted: they switch it off alone, and it is told so.
        let edit = json!({"spec": {"protection": {"suite": "CHACHA20-POLY1305"}}}).to_string();
        kubectl(lab, &["patch", "ipsecpolicy", "pods", "--type=merge", "--patch", &edit]).await?;
        lab.wait("the edit at the nodes that answer", SOON, async || {
            let told = policies(lab, "node-a", "status").await?;
            ensure!(told.len() == 1 && told[0]["revision"] != first[0]["revision"], "{told:?}");
            Ok(())
        })
        .await?;
        kubectl(lab, &["delete", "ipsecpolicy", "pods"]).await?;
        others_have(lab, 0).await?;
        let told = policies(lab, IT, "spec").await?;
        ensure!(!told.is_empty() && told.iter().all(|one| one["target"] == "Absent"), "{told:?}");

        // Another of its name doesn't wait for it.
        lab.apply(POLICY).await?;
        others_have(lab, 1).await?;
        let wire = lab.node("node-a").capture().await?;

        // Back, it has all that at once; nobody has to give anything up by hand, and nobody else begins anew.
        let (a, b) = (lab.node("node-a").pod(0), lab.node("node-b").pod(0));
        let between_others = pings(lab, &[(&**b, a.addresses.v4.into())]).await?;
        is_ready(lab, "True").await?;
        lab.start_agent(IT).await?;
        lab.wait("what it has missed", SOON, async || {
            let state = lab.get(&format!("ipsecnodestate/{IT}")).await?;
            let (spec, status) = (&state.data["spec"]["policies"], &state.data["status"]);
            ensure!(spec.as_array().is_some_and(|all| all.len() == 1), "{spec}");
            ensure!(status["policies"].as_array().is_some_and(|all| all.len() == 1), "{status}");
            ensure!(status["policies"][0]["phase"] == "Enforce", "{status}");
            ensure!(status["problems"].as_array().is_none_or(Vec::is_empty), "{status}");
            Ok(())
        })
        .await?;
        ready(lab, "pods").await?;
        others_have(lab, 1).await?;
        nothing_lost(between_others).await?;
        nothing_lost(traffic(lab).await?).await?;
        let packets = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        remove(lab, POLICY).await
    })
}
