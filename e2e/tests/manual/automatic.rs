//! Automatic keys: six lines encrypt a cluster, and no packet is lost on the way there, at any rotation, or on the way back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use esplanade_e2e::capture::{Packet, Payload};
use esplanade_e2e::guest::Process;
use esplanade_e2e::lab::{Config, Lab, Place};
use nix::sys::signal::Signal;

use crate::cluster::{SOON, kubectl, remove, with_esplanade};
use crate::wire::clear_pod_packets;

pub(crate) const POLICY: &str = "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata:\n  name: pods\nspec:\n  \
                      from: [{podCIDRs: {}}]\n";

/// Questions and answers with numbers, every 10 ms, between the first pods of each two nodes.
pub(crate) async fn traffic(lab: &Lab) -> Result<Vec<Process>> {
    let nodes = lab.nodes();
    let pairs =
        nodes.iter().enumerate().flat_map(|(at, from)| nodes[at + 1..].iter().map(move |to| (from, to)));
    let pairs = pairs.map(|(from, to)| (&**from.pod(0), to.pod(0).addresses.v4.into()));
    pings(lab, &pairs.collect::<Vec<(&Place, IpAddr)>>()).await
}

/// Questions and answers with numbers, every 10 ms; each has been answered when this is over.
pub(crate) async fn pings(lab: &Lab, pairs: &[(&Place, IpAddr)]) -> Result<Vec<Process>> {
    pings_every("0.01", lab, pairs).await
}

/// The same, so many seconds after each other.
pub(crate) async fn pings_every(
    interval: &str,
    lab: &Lab,
    pairs: &[(&Place, IpAddr)],
) -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for (at, (from, to)) in pairs.iter().enumerate() {
        let ping = ["ping", "-i", interval, "-W", "5", &to.to_string()].map(str::to_owned);
        all.push(from.spawn(&format!("pings-{at}-{to}"), ping.iter().map(String::as_str)).await?);
    }
    for pings in &all {
        lab.wait("the first answers", SOON, async || {
            ensure!(pings.log().contains("icmp_seq=20 "), "not yet: {}", pings.log());
            Ok(())
        })
        .await?;
    }
    Ok(all)
}

/// Ends it, a moment after all that was done; fails if an answer is missing or came twice.
pub(crate) async fn nothing_lost(traffic: Vec<Process>) -> Result<()> {
    for pings in traffic {
        let more = answered(&pings.log()).last().map_or(20, |last| last + 20);
        let deadline = Instant::now() + SOON;
        while answered(&pings.log()).last() < Some(&more) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        pings.signal(Signal::SIGINT).await?;
        pings.wait().await?;
        let (sent, _) = all_answered(&pings.log())?;
        ensure!(sent >= more, "{sent} sent, and {more} should have been answered");
    }
    Ok(())
}

/// How many a ping that was told to sum up has sent and got answers to; fails if an answer is missing or came twice. The last
/// one may have been on its way.
pub(crate) fn all_answered(log: &str) -> Result<(u32, usize)> {
    let summary = log.lines().find(|line| line.contains("packet loss")).context("no summary")?;
    let sent: u32 = summary.split_whitespace().next().context("no number")?.parse()?;
    let answered = answered(log);
    let missing: Vec<u32> = (1..sent).filter(|number| !answered.contains(number)).take(20).collect();
    ensure!(missing.is_empty(), "{summary}\nnot answered: {missing:?}");
    ensure!(!log.contains("DUP!"), "an answer came twice");
    Ok((sent, answered.len()))
}

/// Numbers of the answers.
fn answered(log: &str) -> BTreeSet<u32> {
    let number = |line: &str| line.split_once("icmp_seq=")?.1.split_whitespace().next()?.parse().ok();
    log.lines().filter(|line| line.contains(" bytes from ")).filter_map(number).collect()
}

/// The ids of the keys that a node has published, oldest first.
pub(crate) async fn keys(lab: &Lab, node: &str) -> Result<Vec<String>> {
    let peer = lab.get(&format!("ipsecpeer/{node}")).await?;
    let keys = peer.data["status"]["keys"].as_array().cloned().unwrap_or_default();
    Ok(keys.iter().map(|key| key["id"].as_str().unwrap_or_default().to_owned()).collect())
}

/// The SPIs in a node's kernel.
pub(crate) async fn spis(lab: &Lab, node: &str) -> Result<BTreeSet<String>> {
    let states = lab.node(node).xfrm().await?.states;
    let spi = |state: &String| Some(state.split_once(" spi ")?.1.split_whitespace().next()?.to_owned());
    Ok(states.iter().filter_map(spi).collect())
}

/// Protected packets on the wire.
pub(crate) fn esp(packets: &[Packet]) -> usize {
    let is_esp = |packet: &&Packet| packet.ip().is_some_and(|ip| matches!(ip.payload, Payload::Esp { .. }));
    packets.iter().filter(is_esp).count()
}

pub(crate) async fn ready(lab: &Lab, policy: &str) -> Result<()> {
    let policy = format!("ipsecpolicy/{policy}");
    lab.wait_condition(&policy, "Programmed", "True", SOON).await?;
    lab.wait_condition(&policy, "Encrypted", "True", SOON).await?;
    Ok(())
}

/// Each node has one key, another one than before, and all SAs are of it, so many with each peer.
pub(crate) async fn rotated(lab: &Lab, before: &[Vec<String>], with_each: usize) -> Result<()> {
    lab.wait("one new key at each node", SOON, async || {
        for (node, before) in lab.nodes().iter().zip(before) {
            let now = keys(lab, &node.name).await?;
            ensure!(now.len() == 1 && now != *before, "{}: {now:?} after {before:?}", node.name);
            let spis = spis(lab, &node.name).await?;
            let peers = lab.nodes().len() - 1;
            ensure!(spis.len() == with_each * peers, "{}: {spis:?}", node.name);
        }
        Ok(())
    })
    .await
}

pub(crate) async fn all_keys(lab: &Lab) -> Result<Vec<Vec<String>>> {
    let mut all = Vec::new();
    for node in lab.nodes() {
        all.push(keys(lab, &node.name).await?);
    }
    Ok(all)
}

#[test]
fn six_lines_encrypt_three_nodes_and_nothing_is_lost() -> Result<()> {
    with_esplanade(Config { nodes: 3, ..Config::default() }, async |lab| {
        let traffic = traffic(lab).await?;
        lab.apply(POLICY).await?;
        ready(lab, "pods").await?;

        // From here on nothing is in the clear.
        let wire = lab.node("node-b").capture().await?;
        let before = all_keys(lab).await?;
        ensure!(before.iter().all(|keys| keys.len() == 1), "{before:?}");

        // A restarted agent goes on with the keys that it has.
        let at_a = spis(lab, "node-a").await?;
        lab.stop_agent("node-a").await?;
        lab.start_agent("node-a").await?;
        ready(lab, "pods").await?;
        assert_eq!((spis(lab, "node-a").await?, all_keys(lab).await?), (at_a, before.clone()));

        // All rotate at once.
        rotate(lab).await?;
        rotated(lab, &before, 2).await?;
        ready(lab, "pods").await?;

        let packets = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        ensure!(esp(&packets) > 100, "hardly anything was sent: {}", esp(&packets));

        // And back.
        remove(lab, POLICY).await?;
        let wire = lab.node("node-b").capture().await?;
        lab.wait("clear packets", SOON, async || {
            let packets = wire.packets().await?;
            ensure!(clear_pod_packets(lab, &packets).len() > 20 && esp(&packets) == 0, "not yet");
            Ok(())
        })
        .await?;
        wire.stop().await?;
        nothing_lost(traffic).await
    })
}

/// Ends the node's agent as it is, and starts it anew.
pub(crate) async fn kill_agent(lab: &Lab, node: &str) -> Result<()> {
    let agent = lab.agent(node)?;
    agent.signal(Signal::SIGKILL).await?;
    agent.wait().await?;
    lab.start_agent(node).await?;
    Ok(())
}

/// Asks all nodes for new keys.
pub(crate) async fn rotate(lab: &Lab) -> Result<()> {
    let asked = format!("esplanade.dev/rotate-keys-before={}", k8s_openapi::jiff::Timestamp::now());
    kubectl(lab, &["annotate", "--overwrite", "ipsecnodestates", "--all", &asked]).await?;
    Ok(())
}

/// The sequence numbers under each SPI, in the order of the wire.
fn sequences(packets: &[Packet]) -> BTreeMap<(IpAddr, u32), Vec<u32>> {
    let mut all: BTreeMap<(IpAddr, u32), Vec<u32>> = BTreeMap::new();
    for ip in packets.iter().filter_map(|packet| packet.ip()) {
        if let Payload::Esp { spi, seq } = ip.payload {
            all.entry((ip.destination, spi)).or_default().push(seq);
        }
    }
    all
}

#[test]
fn agents_and_the_operator_die_and_nothing_is_lost() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        let traffic = traffic(lab).await?;
        let everything = lab.node("node-b").capture().await?;
        lab.apply(POLICY).await?;
        // In the middle of being switched on.
        kill_agent(lab, "node-b").await?;
        lab.stop_operator()?;
        lab.start_operator()?;
        kill_agent(lab, "node-a").await?;
        ready(lab, "pods").await?;

        let wire = lab.node("node-b").capture().await?;
        for node in ["node-a", "node-b", "node-a"] {
            let before = all_keys(lab).await?;
            rotate(lab).await?;
            // While one rotates.
            lab.wait("a second key", SOON, async || {
                ensure!(all_keys(lab).await?.iter().any(|keys| keys.len() > 1), "not yet");
                Ok(())
            })
            .await?;
            kill_agent(lab, node).await?;
            rotated(lab, &before, 2).await?;
        }
        nothing_lost(traffic).await?;

        // Somebody takes all SAs away. Packets are lost; nothing is sent in the clear, and no number twice.
        let (before, at_a) = (all_keys(lab).await?, lab.node("node-a"));
        let traffic = self::traffic(lab).await?;
        at_a.run("ip xfrm state flush".split(' ')).await?.ok()?;
        lab.wait("other keys at node-a", SOON, async || {
            let now = keys(lab, "node-a").await?;
            ensure!(now.len() == 1 && now != before[0], "{now:?} after {before:?}");
            Ok(())
        })
        .await?;
        let log = traffic[0].log();
        let last = log.lines().filter(|line| line.contains("icmp_seq=")).count();
        lab.wait("answers", SOON, async || {
            let now = traffic[0].log().lines().filter(|line| line.contains("icmp_seq=")).count();
            ensure!(now > last + 50, "{now} after {last}");
            Ok(())
        })
        .await?;
        let clear = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &clear), [] as [&_; 0]);
        for (sa, numbers) in sequences(&everything.stop().await?) {
            assert!(numbers.is_sorted_by(|one, next| one < next), "{sa:x?}: {numbers:?}");
        }
        Ok(())
    })
}
