//! Nodes that are rebooted: what was protected is dropped until there are keys again.

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::{Config, Lab};
use esplanade_e2e::programs;

use crate::automatic::{POLICY, ready};
use crate::cluster::{SOON, remove, with_esplanade};
use crate::wire::clear_pod_packets;

const RECORD: &str = "/mnt/esplanade/policies-at-boot";

async fn reboot(lab: &Lab) -> Result<()> {
    lab.stop_agent("node-b").await?;
    lab.reboot("node-b").await
}

/// Whether node-b's pod gets an answer from node-a's, in either family; and what went over node-b's wire in the clear.
async fn pings(lab: &Lab) -> Result<(bool, usize)> {
    let (a, b) = (lab.node("node-a").pod(0).addresses, lab.node("node-b"));
    let wire = b.capture().await?;
    let mut answered = false;
    for to in [a.v4.to_string(), a.v6.to_string()] {
        answered |= b.pod(0).run(["ping", "-c", "3", "-i", "0.1", "-W", "1", &to]).await?.success();
    }
    let packets = wire.stop().await?;
    Ok((answered, clear_pod_packets(lab, &packets).len()))
}

async fn answers_again(lab: &Lab) -> Result<()> {
    lab.wait("answers", SOON, async || {
        let (answered, clear) = pings(lab).await?;
        ensure!(clear == 0, "{clear} packets in the clear");
        ensure!(answered, "none");
        Ok(())
    })
    .await?;
    ready(lab, "pods").await
}

#[test]
fn a_rebooted_node_drops_what_it_protected_until_it_is_told() -> Result<()> {
    with_esplanade(Config { nodes: 2, ..Config::default() }, async |lab| {
        lab.apply(POLICY).await?;
        ready(lab, "pods").await?;
        let b = lab.node("node-b");

        // Before its agent is there, nobody drops anything: unless the node's init does.
        reboot(lab).await?;
        let (_, clear) = pings(lab).await?;
        ensure!(clear > 0, "nothing went in the clear: this test shows nothing");
        let program = programs::find("esplanade-node-agent", "esplanade-node-agent")?;
        let program = program.to_str().context("the workspace's path isn't UTF-8")?;
        let close = [program, "close", "--boot-dir", "/mnt/esplanade"];
        b.run(close).await?.ok()?;
        assert_eq!(pings(lab).await?, (false, 0));
        // A second time there is nothing to do.
        let closed = b.xfrm().await?;
        b.run(close).await?.ok()?;
        assert_eq!(b.xfrm().await?, closed);
        lab.start_agent("node-b").await?;
        answers_again(lab).await?;

        // The agent does it by itself, and needs nobody for it.
        lab.stop_operator()?;
        lab.control_plane().stop_api_server();
        reboot(lab).await?;
        lab.start_agent("node-b").await?;
        lab.wait("the agent to have closed the node", SOON, async || {
            ensure!(b.xfrm().await? == closed, "not yet");
            Ok(())
        })
        .await?;
        assert_eq!(pings(lab).await?, (false, 0));
        lab.control_plane().start_api_server().await?;
        lab.start_operator()?;
        answers_again(lab).await?;

        // What isn't protected any more isn't dropped.
        remove(lab, POLICY).await?;
        assert_eq!(b.run(["cat", RECORD]).await?.ok()?, "");
        reboot(lab).await?;
        lab.start_agent("node-b").await?;
        lab.wait("answers in the clear", SOON, async || {
            ensure!(pings(lab).await?.0, "none");
            Ok(())
        })
        .await
    })
}
