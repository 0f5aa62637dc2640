//! The operator and the API server are gone for several times as long as a key lasts.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::Lab;

use super::{Wires, between_all, nothing_lost, scenario};
use crate::automatic::{all_keys, ready};
use crate::cluster::{SOON, remove};

/// The shortest there is.
const PERIOD: Duration = Duration::from_secs(30);
const POLICY: &str = "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: often}\nspec:\n  \
                      from: [{podCIDRs: {}}]\n  protection: {keying: {automatic: {rotateEvery: 30s}}}\n";

/// When each node's newest key was made.
async fn newest(lab: &Lab) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for node in lab.nodes() {
        let peer = lab.get(&format!("ipsecpeer/{}", node.name)).await?;
        let keys = peer.data["status"]["keys"].as_array().cloned().unwrap_or_default();
        let made = keys.last().and_then(|key| key["createdAt"].as_str()).context("no key")?;
        all.push(made.to_owned());
    }
    Ok(all)
}

fn nobody_answers(periods: u32) -> Result<()> {
    scenario(async |lab, _| {
        remove(lab, crate::automatic::POLICY).await?;
        lab.apply(POLICY).await?;
        ready(lab, "often").await?;
        let wires = Wires::capture(lab, lab.nodes()).await?;
        let traffic = between_all(lab).await?;
        let before = (all_keys(lab).await?, newest(lab).await?);
        lab.stop_operator()?;
        lab.control_plane().stop_api_server();
        // Nobody can be asked how far they are: the time itself is what is to pass.
        tokio::time::sleep(PERIOD * periods).await;
        lab.control_plane().start_api_server().await?;
        lab.start_operator()?;
        // Each by itself: they go on to rotate every 30 s, in turns that may never leave all with one key.
        for (at, node) in lab.nodes().iter().enumerate() {
            lab.wait("one key, newer than before", SOON, async || {
                let (keys, made) = (all_keys(lab).await?, newest(lab).await?);
                let (keys, made) = (&keys[at], &made[at]);
                let newer = keys.len() == 1 && made > &before.1[at] && !before.0[at].contains(&keys[0]);
                ensure!(
                    newer,
                    "{}: {keys:?} of {made} after {:?} of {}",
                    node.name,
                    before.0[at],
                    before.1[at]
                );
                Ok(())
            })
            .await?;
        }
        ready(lab, "often").await?;
        nothing_lost(&traffic.stop(lab).await?)?;
        wires.are_clean().await.map(drop)
    })
}

#[test]
fn traffic_goes_on_without_operator_and_api_server() -> Result<()> {
    nobody_answers(2)
}

mod long {
    #[test]
    fn traffic_goes_on_for_ten_rotation_periods_without_operator_and_api_server() -> anyhow::Result<()> {
        super::nobody_answers(10)
    }
}
