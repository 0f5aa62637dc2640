//! SAs that are made when the first packet wants one.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Config, Lab};

use crate::automatic::{POLICY, all_keys, esp, nothing_lost, pings_every, ready, rotate, spis};
use crate::cluster::{SOON, with_esplanade};
use crate::wire::clear_pod_packets;

/// Seconds. A kernel keeps up to 100 packets of a flow that wait for their SA (`XFRM_MAX_QUEUE_LEN`).
const SLOWLY: &str = "0.1";

/// How many SAs each node has, in the nodes' order.
async fn counts(lab: &Lab) -> Result<Vec<usize>> {
    let mut counts = Vec::new();
    for node in lab.nodes() {
        counts.push(spis(lab, &node.name).await?.len());
    }
    Ok(counts)
}

async fn come_to(lab: &Lab, expected: [usize; 3]) -> Result<()> {
    lab.wait("so many SAs", SOON, async || {
        let counts = counts(lab).await?;
        ensure!(counts == expected, "{counts:?} instead of {expected:?}");
        Ok(())
    })
    .await
}

#[test]
fn who_is_not_spoken_to_costs_nothing_and_no_packet_is_lost() -> Result<()> {
    with_esplanade(Config { nodes: 3, ..Config::default() }, async |lab| {
        for node in lab.nodes() {
            // Packets wait for their SA, as docs/keying.md asks for.
            node.run(["sh", "-c", "echo 0 >/proc/sys/net/core/xfrm_larval_drop"]).await?.ok()?;
        }
        let [a, b, c] = lab.nodes() else { unreachable!("three nodes") };
        let traffic = pings_every(SLOWLY, lab, &[(&**a.pod(0), b.pod(0).addresses.v4.into())]).await?;
        let protection = "  protection: {keying: {automatic: {onDemand: true}}}\n";
        lab.apply(&format!("{POLICY}{protection}")).await?;
        ready(lab, "pods").await?;
        let wire = lab.node("node-b").capture().await?;
        // Each receives from both others, and sends to whom it speaks to.
        come_to(lab, [3, 3, 2]).await?;

        // What is there is renewed, and nothing else made.
        let before = all_keys(lab).await?;
        rotate(lab).await?;
        lab.wait("one new key at each node", SOON, async || {
            let now = all_keys(lab).await?;
            ensure!(now.iter().all(|keys| keys.len() == 1), "{now:?}");
            ensure!(now.iter().zip(&before).all(|(now, before)| now != before), "{now:?} after {before:?}");
            Ok(())
        })
        .await?;
        come_to(lab, [3, 3, 2]).await?;

        // A restarted agent goes on with what is there, and listens again.
        lab.stop_agent("node-c").await?;
        lab.start_agent("node-c").await?;
        ready(lab, "pods").await?;
        let more = pings_every(SLOWLY, lab, &[(&**c.pod(0), a.pod(0).addresses.v4.into())]).await?;
        come_to(lab, [4, 3, 3]).await?;
        nothing_lost(more).await?;
        nothing_lost(traffic).await?;
        let packets = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        ensure!(esp(&packets) > 100, "hardly anything was sent: {}", esp(&packets));
        Ok(())
    })
}
