//! Objects that go missing, turn old, or can't be read take no policy out of force.

use anyhow::{Context, Result, ensure};
use esplanade_e2e::guest::Process;
use esplanade_e2e::lab::{Config, Lab};
use serde_json::{Value, json};

use crate::automatic::{POLICY, esp, kill_agent, nothing_lost, ready, traffic};
use crate::cluster::{SOON, condition, kubectl, remove, with_esplanade};
use crate::wire::clear_pod_packets;

/// What an IpsecNodeState says of the policy, in its spec and in its status.
async fn phases(lab: &Lab, node: &str) -> Result<[String; 2]> {
    let state = lab.get(&format!("ipsecnodestate/{node}")).await?;
    let phase = |part: &str| state.data[part]["policies"][0]["phase"].as_str().unwrap_or("none").to_owned();
    Ok([phase("spec"), phase("status")])
}

/// Every node is told to enforce, and does.
async fn enforced(lab: &Lab) -> Result<()> {
    lab.wait("phase Enforce everywhere", SOON, async || {
        for node in lab.nodes() {
            let found = phases(lab, &node.name).await?;
            ensure!(found == ["Enforce", "Enforce"], "{}: {found:?}", node.name);
        }
        Ok(())
    })
    .await?;
    ready(lab, "pods").await
}

/// So many more answers.
async fn answers(lab: &Lab, pings: &Process, more: usize) -> Result<()> {
    let count = || pings.log().lines().filter(|line| line.contains("icmp_seq=")).count();
    let before = count();
    lab.wait(&format!("{more} more answers"), SOON, async || {
        let now = count();
        ensure!(now >= before + more, "{now} after {before}");
        Ok(())
    })
    .await
}

/// Changes a node's IpsecNodeState behind the operator's back.
async fn patch(lab: &Lab, node: &str, path: &str, value: Value) -> Result<()> {
    let patch = json!([{"op": "replace", "path": path, "value": value}]).to_string();
    kubectl(lab, &["patch", "ipsecnodestate", node, "--type=json", "--patch", &patch]).await.map(drop)
}

#[test]
fn objects_that_are_deleted_or_turn_old_give_no_clear_text_back() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        lab.apply(POLICY).await?;
        enforced(lab).await?;
        let wire = lab.node("node-b").capture().await?;
        let traffic = traffic(lab).await?;

        kubectl(lab, &["delete", "ipsecnodestates", "--all"]).await?;
        enforced(lab).await?;
        // With nobody who makes them anew: for longer than an agent waits for that, which is 10 s.
        lab.stop_operator()?;
        kubectl(lab, &["delete", "ipsecnodestates", "--all"]).await?;
        answers(lab, &traffic[0], 1500).await?;
        lab.start_operator()?;
        enforced(lab).await?;

        // As from a backup: an earlier phase, and then from before the policy was made. Agents come and go meanwhile.
        lab.stop_operator()?;
        for node in lab.nodes() {
            patch(lab, &node.name, "/spec/policies/0/phase", json!("Prepare")).await?;
        }
        kill_agent(lab, "node-a").await?;
        answers(lab, &traffic[0], 200).await?;
        for node in lab.nodes() {
            patch(lab, &node.name, "/spec/policies", json!([])).await?;
        }
        kill_agent(lab, "node-b").await?;
        for node in lab.nodes() {
            lab.wait("what is kept to be told", SOON, async || {
                let state = lab.get(&format!("ipsecnodestate/{}", node.name)).await?;
                let problem = &state.data["status"]["problems"][0];
                ensure!(problem["category"] == "Kept", "{}", state.data["status"]);
                let message = problem["message"].as_str().context("no message")?;
                ensure!(message.contains("esplanade.dev/give-up-policies="), "{message}");
                ensure!(phases(lab, &node.name).await? == ["none", "Enforce"], "{}", state.data);
                Ok(())
            })
            .await?;
        }
        answers(lab, &traffic[0], 200).await?;
        lab.start_operator()?;
        enforced(lab).await?;
        nothing_lost(traffic).await?;

        // Without anybody's keys packets are lost; nothing goes in the clear.
        let traffic = self::traffic(lab).await?;
        kubectl(lab, &["delete", "ipsecpeers", "--all"]).await?;
        enforced(lab).await?;
        answers(lab, &traffic[0], 100).await?;
        let packets = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        ensure!(esp(&packets) > 1000, "hardly anything was sent: {}", esp(&packets));

        // Switched off by its user, it goes.
        remove(lab, POLICY).await
    })
}

#[test]
fn a_policy_that_nobody_can_read_stays_in_force() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        lab.apply(POLICY).await?;
        enforced(lab).await?;
        let wire = lab.node("node-b").capture().await?;
        let traffic = traffic(lab).await?;
        // The API server lets a value pass that this operator doesn't know.
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        let wider = json!([{"op": "remove", "path": format!("{spec}/properties/action/enum")}]).to_string();
        let crd = "ipsecpolicies.esplanade.dev";
        kubectl(lab, &["patch", "crd", crd, "--type=json", "--patch", &wider]).await?;
        let action = async |action: &str| {
            let patch = json!({"spec": {"action": action}}).to_string();
            kubectl(lab, &["patch", "ipsecpolicy", "pods", "--type=merge", "--patch", &patch]).await
        };
        lab.wait("the wider CRD", SOON, async || action("Scramble").await).await?;
        let policy = lab.wait_condition("ipsecpolicy/pods", "Accepted", "False", SOON).await?;
        let (_, message) = condition(&policy, "Accepted")?;
        ensure!(message.contains("can't read this object") && message.contains("nodes keep"), "{message}");
        // Also if another operator finds it like that.
        lab.stop_operator()?;
        lab.start_operator()?;
        answers(lab, &traffic[0], 500).await?;
        for node in lab.nodes() {
            ensure!(phases(lab, &node.name).await? == ["Enforce", "Enforce"], "{}", node.name);
        }
        action("Protect").await?;
        enforced(lab).await?;
        nothing_lost(traffic).await?;
        assert_eq!(clear_pod_packets(lab, &wire.stop().await?), [] as [&_; 0]);
        Ok(())
    })
}
