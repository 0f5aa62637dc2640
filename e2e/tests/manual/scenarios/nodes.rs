//! Nodes that are rebooted, die, leave and join; the others lose nothing.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Lab, Node};

use super::{Wires, at_rest, between_all, nothing_lost, scenario, traffic};
use crate::automatic::{all_keys, keys, kill_agent, ready, rotate};
use crate::cluster::SOON;
use crate::wire::clear_pod_packets;

/// The node that things happen to.
const IT: &str = "node-c";

fn others(lab: &Lab) -> Vec<&Node> {
    lab.nodes().iter().filter(|node| node.name != IT).collect()
}

/// The agent on it says that it is ready: from here on pods may be started.
async fn is_ready(lab: &Lab, since: &str) -> Result<()> {
    lab.wait("the node to be ready", SOON, async || {
        let state = lab.get(&format!("ipsecnodestate/{IT}")).await?;
        ensure!(state.metadata.uid.as_deref() != Some(since), "that is the one before");
        Ok(())
    })
    .await?;
    lab.wait_condition(&format!("ipsecnodestate/{IT}"), "Ready", "True", SOON).await.map(drop)
}

#[test]
fn a_node_that_is_rebooted_takes_nothing_from_the_others() -> Result<()> {
    scenario(async |lab, _| {
        let before = at_rest(lab).await?;
        let others = others(lab);
        let wires = Wires::capture(lab, &lab.nodes()[..2]).await?;
        let traffic = traffic(lab, &others).await?;
        // With a rotation of the others under way.
        rotate(lab).await?;
        lab.power_off(IT).await?;
        lab.power_on(IT).await?;
        lab.start_agent(IT).await?;
        lab.wait("other keys everywhere", SOON, async || {
            let now = all_keys(lab).await?;
            let all = now.iter().zip(&before).all(|(now, before)| now.len() == 1 && now != before);
            ensure!(all, "{now:?} after {before:?}");
            Ok(())
        })
        .await?;
        at_rest(lab).await?;
        ready(lab, "pods").await?;
        let with_it = between_all(lab).await?;
        nothing_lost(&with_it.stop(lab).await?)?;
        nothing_lost(&traffic.stop(lab).await?)?;
        wires.are_clean().await.map(drop)
    })
}

#[test]
fn a_node_that_dies_leaves_and_joins_takes_nothing_from_the_others() -> Result<()> {
    scenario(async |lab, _| {
        at_rest(lab).await?;
        let others = others(lab);
        let wires = Wires::capture(lab, &lab.nodes()[..2]).await?;
        let traffic = traffic(lab, &others).await?;

        // It dies in the middle of a rotation, and nobody says so.
        rotate(lab).await?;
        let state = lab.get(&format!("ipsecnodestate/{IT}")).await?;
        lab.power_off(IT).await?;
        kill_agent(lab, "node-a").await?;
        rotate(lab).await?;

        // Its Node is deleted: the others' keys don't wait for it any more.
        lab.leave(IT).await?;
        lab.wait("one key at each that is left", SOON, async || {
            for node in &others {
                let keys = keys(lab, &node.name).await?;
                ensure!(keys.len() == 1, "{}: {keys:?}", node.name);
            }
            Ok(())
        })
        .await?;

        // Another Node of its name joins. Its pods start when it is ready.
        lab.power_on(IT).await?;
        lab.join(IT).await?;
        is_ready(lab, state.metadata.uid.as_deref().unwrap_or_default()).await?;
        let wire = lab.node(IT).capture().await?;
        let with_it = between_all(lab).await?;
        at_rest(lab).await?;
        ready(lab, "pods").await?;
        nothing_lost(&with_it.stop(lab).await?)?;
        let packets = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        nothing_lost(&traffic.stop(lab).await?)?;
        wires.are_clean().await.map(drop)
    })
}
