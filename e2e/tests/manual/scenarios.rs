//! Automatic keys while everything goes wrong that can, three nodes, numbered datagrams and a long stream in every direction,
//! all wires captured. What is drawn comes from a seed: `LAB_SEED` in the environment has another one drawn from.
//!
//! Tests in modules `long` are those of `make test-long`; `make test` has the same with fewer repeats.

mod flush;
mod kills;
mod moves;
mod nodes;
mod outage;
mod rotations;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::capture::{Capture, Packet, Payload};
use esplanade_e2e::lab::traffic::{Direction, Traffic};
use esplanade_e2e::lab::{Config, Lab, Node, Place};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::automatic::{POLICY, all_keys, esp, ready};
use crate::cluster::{SOON, with_values};
use crate::wire::clear_pod_packets;

const THREE: Config = Config { nodes: 3, pods: 1 };

/// Runs `body` in a lab of three nodes whose pods' traffic is protected, with the seed that is to be drawn from.
pub(crate) fn scenario(body: impl AsyncFnOnce(&Lab, &mut StdRng) -> Result<()> + Send) -> Result<()> {
    scenario_with("", body)
}

/// [`scenario`], the chart installed with values (YAML).
fn scenario_with(values: &str, body: impl AsyncFnOnce(&Lab, &mut StdRng) -> Result<()> + Send) -> Result<()> {
    let seed = match std::env::var("LAB_SEED") {
        Ok(seed) => seed.parse().context("LAB_SEED")?,
        Err(_) => 1,
    };
    let run = with_values(THREE, values, async |lab| {
        lab.apply(POLICY).await?;
        ready(lab, "pods").await?;
        body(lab, &mut StdRng::seed_from_u64(seed)).await
    });
    run.with_context(|| format!("LAB_SEED={seed}"))
}

/// Waits for a drawn time, up to so many milliseconds.
async fn pause(rng: &mut StdRng, at_most: u64) {
    // Not for anything to happen: the moment is what is drawn.
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..=at_most))).await;
}

/// One of the nodes.
fn any<'a>(lab: &'a Lab, rng: &mut StdRng) -> &'a Node {
    &lab.nodes()[rng.random_range(0..lab.nodes().len())]
}

/// The wires of some nodes.
pub(crate) struct Wires<'a> {
    lab: &'a Lab,
    all: Vec<(&'a str, Capture)>,
}

impl<'a> Wires<'a> {
    pub(crate) async fn capture(lab: &'a Lab, nodes: &'a [Node]) -> Result<Self> {
        let mut all = Vec::new();
        for node in nodes {
            all.push((node.name.as_str(), node.capture().await?));
        }
        Ok(Self { lab, all })
    }

    /// Nothing of a pod went in the clear, and no sequence number came twice under an SPI. What went.
    pub(crate) async fn are_clean(self) -> Result<Vec<Packet>> {
        let mut all = Vec::new();
        for (node, wire) in self.all {
            let packets = wire.stop().await?;
            let clear = clear_pod_packets(self.lab, &packets);
            ensure!(clear.is_empty(), "{} in the clear at {node}, as {:?}", clear.len(), clear[0]);
            // How much went is for the accounts of the traffic.
            ensure!(esp(&packets) > 0, "no ESP was captured at {node}");
            let twice = numbers_that_came_twice(&packets);
            ensure!(twice.is_empty(), "at {node}, (to, SPI, number): {twice:x?}");
            all.extend(packets);
        }
        Ok(all)
    }
}

/// Under which SPI to whom. One wire shows a packet once.
fn numbers_that_came_twice(packets: &[Packet]) -> Vec<(IpAddr, u32, u32)> {
    let mut seen = BTreeSet::new();
    let numbers = packets.iter().filter_map(Packet::ip).filter_map(|ip| match ip.payload {
        Payload::Esp { spi, seq } => Some((ip.destination, spi, seq)),
        _ => None,
    });
    numbers.filter(|number| !seen.insert(*number)).collect()
}

/// Datagrams and streams between the pods of these nodes.
async fn traffic(lab: &Lab, nodes: &[&Node]) -> Result<Traffic> {
    // Room for ESP, as network plugins leave it.
    for node in nodes {
        node.pod(0).run("ip link set dev eth0 mtu 1400".split(' ')).await?.ok()?;
    }
    let pods = nodes.iter().map(|node| (&**node.pod(0), node.pod(0).addresses.v4.into()));
    Traffic::start(lab, &pods.collect::<Vec<(&Place, IpAddr)>>()).await
}

pub(crate) async fn between_all(lab: &Lab) -> Result<Traffic> {
    traffic(lab, &lab.nodes().iter().collect::<Vec<_>>()).await
}

/// All of it has come, once.
pub(crate) fn nothing_lost(directions: &[Direction]) -> Result<()> {
    ensure!(!directions.is_empty(), "no traffic");
    directions.iter().try_for_each(Direction::is_whole)
}

/// How many SAs there are from one address to another in a node's kernel.
async fn by_direction(node: &Node) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for state in node.xfrm().await?.states {
        let ends = state.lines().next().unwrap_or_default().trim().to_owned();
        *counts.entry(ends).or_default() += 1;
    }
    Ok(counts)
}

/// One key at each of these nodes, and with each peer one SA in each direction.
pub(crate) async fn at_rest(lab: &Lab) -> Result<Vec<Vec<String>>> {
    lab.wait("all to be at rest", SOON, async || {
        let keys = all_keys(lab).await?;
        ensure!(keys.iter().all(|keys| keys.len() == 1), "{keys:?}");
        for node in lab.nodes() {
            let counts = by_direction(node).await?;
            let one_each = counts.len() == 2 * (keys.len() - 1) && counts.values().all(|count| *count == 1);
            ensure!(one_each, "{}: {counts:?}", node.name);
        }
        Ok(keys)
    })
    .await
}

#[test]
fn a_number_that_comes_twice_is_found() {
    let packet = |seq| {
        let address = IpAddr::from([192, 0, 2, 1]);
        let payload = Payload::Esp { spi: 4096, seq };
        let ip = esplanade_e2e::capture::Ip { source: address, destination: address, payload };
        Packet { at: 0, length: 0, frame: esplanade_e2e::capture::Frame::Ip(ip) }
    };
    assert_eq!(numbers_that_came_twice(&[1, 2, 5].map(packet)), []);
    assert_eq!(numbers_that_came_twice(&[1, 2, 1].map(packet)).len(), 1);
}
