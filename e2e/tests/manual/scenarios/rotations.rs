//! Many rotations, one after the other, of all nodes at drawn moments.

use std::collections::BTreeSet;
use std::convert::Infallible;

use anyhow::{Result, ensure};
use esplanade_e2e::lab::Lab;
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Wires, any, at_rest, between_all, by_direction, nothing_lost, pause, scenario};
use crate::automatic::{all_keys, rotate};
use crate::cluster::kubectl;

/// The most SAs in a direction with a peer for a policy (S6).
const MOST: usize = 4;

/// Asks nodes for new keys at drawn moments, one or all at once, until there were so many in all.
async fn ask(lab: &Lab, rng: &mut StdRng, rotations: usize) -> Result<()> {
    let mut seen: Vec<BTreeSet<String>> = vec![BTreeSet::new(); lab.nodes().len()];
    loop {
        for (seen, keys) in seen.iter_mut().zip(all_keys(lab).await?) {
            ensure!((1..=2).contains(&keys.len()), "{keys:?}");
            seen.extend(keys);
        }
        if seen.iter().map(|keys| keys.len() - 1).sum::<usize>() >= rotations {
            return Ok(());
        }
        if rng.random_range(0..3) == 0 {
            rotate(lab).await?;
        } else {
            let node = any(lab, rng);
            let asked = format!("esplanade.dev/rotate-keys-before={}", k8s_openapi::jiff::Timestamp::now());
            kubectl(lab, &["annotate", "--overwrite", "ipsecnodestate", &node.name, &asked]).await?;
        }
        pause(rng, 3000).await;
    }
}

/// Looks at every node's SAs again and again. Returns only if there are too many.
async fn never_too_many(lab: &Lab, most: &mut usize) -> Result<Infallible> {
    loop {
        for node in lab.nodes() {
            let counts = by_direction(node).await?;
            let found = counts.values().copied().max().unwrap_or_default();
            *most = found.max(*most);
            ensure!(found <= MOST, "{}: {counts:?}", node.name);
        }
    }
}

fn lose_nothing(rotations: usize) -> Result<()> {
    scenario(async |lab, rng| {
        at_rest(lab).await?;
        let wires = Wires::capture(lab, lab.nodes()).await?;
        let traffic = between_all(lab).await?;
        let mut most = 0;
        tokio::select! {
            asked = ask(lab, rng, rotations) => asked?,
            many = never_too_many(lab, &mut most) => match many? {},
        }
        ensure!(most > 1, "nobody was seen to rotate");
        at_rest(lab).await?;
        nothing_lost(&traffic.stop(lab).await?)?;
        wires.are_clean().await.map(drop)
    })
}

#[test]
fn twenty_rotations_lose_nothing() -> Result<()> {
    lose_nothing(20)
}

mod long {
    #[test]
    fn two_hundred_rotations_lose_nothing() -> anyhow::Result<()> {
        super::lose_nothing(200)
    }
}
