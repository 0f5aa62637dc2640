//! Agents that are killed at drawn moments.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use esplanade_e2e::lab::Lab;
use rand::RngExt as _;

use super::{Wires, any, at_rest, between_all, nothing_lost, pause, scenario};
use crate::automatic::{all_keys, kill_agent, ready, rotate, spis};

async fn all_spis(lab: &Lab) -> Result<Vec<BTreeSet<String>>> {
    let mut all = Vec::new();
    for node in lab.nodes() {
        all.push(spis(lab, &node.name).await?);
    }
    Ok(all)
}

fn lose_nothing(kills: usize) -> Result<()> {
    scenario(async |lab, rng| {
        let before = (at_rest(lab).await?, all_spis(lab).await?);
        let wires = Wires::capture(lab, lab.nodes()).await?;
        let traffic = between_all(lab).await?;

        // Half of them while nothing else goes on: the keys stay, and so do the SAs.
        for _ in 0..kills / 2 {
            kill_agent(lab, &any(lab, rng).name).await?;
            // Often before it has done anything.
            pause(rng, 1500).await;
        }
        ready(lab, "pods").await?;
        assert_eq!((all_keys(lab).await?, all_spis(lab).await?), before);

        // The others while nodes rotate.
        for _ in kills / 2..kills {
            if rng.random_range(0..2) == 0 {
                rotate(lab).await?;
            }
            pause(rng, 3000).await;
            kill_agent(lab, &any(lab, rng).name).await?;
        }
        rotate(lab).await?;
        let after = at_rest(lab).await?;
        ensure!(after.iter().zip(&before.0).all(|(after, before)| after != before), "{after:?}, {before:?}");
        ready(lab, "pods").await?;
        nothing_lost(&traffic.stop(lab).await?)?;
        wires.are_clean().await.map(drop)
    })
}

#[test]
fn ten_kills_lose_nothing() -> Result<()> {
    lose_nothing(10)
}

mod long {
    #[test]
    fn fifty_kills_lose_nothing() -> anyhow::Result<()> {
        super::lose_nothing(50)
    }
}
