//! No sequence number twice with one key: seen on the wire while others flush the SAs under running traffic.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::capture::Capture;
use esplanade_e2e::controlplane::binaries::workspace;
use esplanade_e2e::lab::{Config, Lab, Node};
use nix::sys::signal::Signal;

use crate::cluster::{SOON, secret, with_values};
use crate::wire::{clear_pod_packets, ping, sequence};

const A_TO_B: u32 = 4097;
const B_TO_A: u32 = 4098;
/// Packets each way before and after each flush.
const PACKETS: usize = 100;

/// The example with this replay protection on both SAs, and a name of its own.
async fn apply(lab: &Lab, anti_replay: &str) -> Result<()> {
    for name in ["ipsec-a-to-b", "ipsec-b-to-a"] {
        secret(lab, name, &[("encryption", 32), ("integrity", 32)]).await?;
    }
    for file in ["policy.yaml", "sas.yaml"] {
        let file = workspace().join("examples/manual").join(file);
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        lab.apply(&text.replace("  spi: ", &format!("  antiReplay: {anti_replay}\n  spi: "))).await?;
    }
    for what in ["ipsecsa/a-to-b", "ipsecsa/b-to-a", "ipsecpolicy/pods"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    Ok(())
}

/// The sequence numbers so far, of a to b and of b to a.
async fn numbers(lab: &Lab, wire: &Capture) -> Result<[Vec<u32>; 2]> {
    let packets = wire.packets().await?;
    let (a, b): (IpAddr, IpAddr) =
        (lab.node("node-a").addresses.v4.into(), lab.node("node-b").addresses.v4.into());
    Ok([sequence(&packets, a, b, A_TO_B), sequence(&packets, b, a, B_TO_A)])
}

/// Waits for more packets both ways.
async fn more(lab: &Lab, wire: &Capture) -> Result<()> {
    let before = numbers(lab, wire).await?;
    lab.wait("packets both ways", SOON, async || {
        let now = numbers(lab, wire).await?;
        for (before, now) in before.iter().zip(&now) {
            ensure!(now.len() >= before.len() + PACKETS, "{} since {}", now.len(), before.len());
        }
        Ok(())
    })
    .await
}

async fn flush(node: &Node) -> Result<()> {
    node.run(["ip", "xfrm", "state", "flush"]).await?.ok().map(drop)
}

async fn no_number_twice(lab: &Lab, anti_replay: &str) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    apply(lab, anti_replay).await?;
    lab.stop_operator()?;
    let whole = [a.xfrm().await?, b.xfrm().await?];
    let (target, wire) = (IpAddr::from(b.pod(0).addresses.v4), a.capture().await?);
    let flood = a.pod(0).spawn("flood", ["ping", "-n", "-q", "-i", "0.005", &target.to_string()]).await?;
    more(lab, &wire).await?;
    for (node, which) in [(a, 0), (b, 1), (a, 0), (b, 1)] {
        flush(node).await?;
        lab.wait("the SAs to be back", SOON, async || {
            let now = node.xfrm().await?;
            ensure!(now == whole[which], "{now:#?}");
            Ok(())
        })
        .await?;
        // Every single one is answered.
        ping(a.pod(0), target).await?;
        ping(b.pod(0), a.pod(0).addresses.v4.into()).await?;
        more(lab, &wire).await?;
    }
    flood.signal(Signal::SIGINT).await?;
    flood.wait().await?;
    let seen = numbers(lab, &wire).await?;
    for (way, numbers) in ["a to b", "b to a"].into_iter().zip(&seen) {
        assert!(numbers.is_sorted_by(|before, after| before < after), "{anti_replay}, {way}: {numbers:?}");
        let steps = numbers.windows(2).filter(|pair| pair[1] - pair[0] > 1 << 20).count();
        assert_eq!(steps, 2, "{anti_replay}, {way}: as many steps as flushes of the sender: {numbers:?}");
    }
    let packets = wire.stop().await?;
    assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
    for node in [a, b] {
        let stat = node.xfrm_stat().await?;
        for counter in
            ["XfrmInStateSeqError", "XfrmInStateProtoError", "XfrmOutStateSeqError", "XfrmInTmplMismatch"]
        {
            assert_eq!(stat[counter], 0, "{anti_replay}: {counter} of {}", node.name);
        }
    }
    Ok(())
}

#[test]
fn no_number_twice_after_flushes_without_a_window() -> Result<()> {
    with_values(Config::default(), "", async |lab| no_number_twice(lab, "{window: 0}").await)
}

#[test]
fn no_number_twice_after_flushes_with_a_window() -> Result<()> {
    with_values(Config::default(), "", async |lab| no_number_twice(lab, "{window: 32}").await)
}

#[test]
fn no_number_twice_after_flushes_with_extended_numbers() -> Result<()> {
    let anti_replay = "{window: 128, extendedSequenceNumbers: true}";
    with_values(Config::default(), "", async |lab| no_number_twice(lab, anti_replay).await)
}
