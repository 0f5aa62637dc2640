//! Ours come, change and go between theirs.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use esplanade_e2e::controlplane::binaries::workspace;
use esplanade_e2e::lab::{Config, Lab};

use crate::cluster::{SOON, example, kubectl, remove_example, secret, with_esplanade};
use crate::theirs::theirs;
use crate::wire::ping_pods;
use crate::{hand_made, libreswan, strongswan};

/// Both daemons with SAs between node-a and node-b, and hand-made SAs and policies on node-a.
async fn others(lab: &Lab, [libreswan, strongswan]: [&Path; 2]) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    // The first to start: it flushes.
    let libreswans =
        [libreswan::start(lab, libreswan, a, b).await?, libreswan::start(lab, libreswan, b, a).await?];
    let strongswans =
        [strongswan::start(lab, strongswan, a, b).await?, strongswan::start(lab, strongswan, b, a).await?];
    libreswan::connect(lab, [(a, &libreswans[0]), (b, &libreswans[1])]).await?;
    strongswan::connect(lab, [(a, &strongswans[0]), (b, &strongswans[1])]).await?;
    hand_made::make(a).await?;
    lab.wait("two SAs of each daemon, and five made by hand", SOON, async || {
        for (node, number) in [(a, 9), (b, 4)] {
            let states = node.xfrm().await?.states;
            ensure!(states.len() == number, "{} has {states:#?}", node.name);
        }
        Ok(())
    })
    .await
}

async fn programmed(lab: &Lab) -> Result<()> {
    for what in ["ipsecsa/a-to-b", "ipsecsa/b-to-a", "ipsecpolicy/pods"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    ping_pods(lab).await
}

/// Waits for node-a's kernel to show a text in one of its SAs.
async fn shown(lab: &Lab, text: &str) -> Result<()> {
    lab.wait(text, SOON, async || {
        let states = lab.node("node-a").xfrm().await?.states;
        ensure!(states.iter().any(|state| state.contains(text)), "{states:#?}");
        Ok(())
    })
    .await
}

#[test]
fn theirs_stay_bit_for_bit_while_ours_come_change_and_go() -> Result<()> {
    let packages = [libreswan::packages()?, strongswan::packages()?];
    with_esplanade(Config::default(), async |lab| {
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        others(lab, packages.each_ref().map(PathBuf::as_path)).await?;
        let before = [theirs(a).await?, theirs(b).await?];
        let all = [a.xfrm().await?, b.xfrm().await?];
        let same = async |after: &str| {
            let now = [theirs(a).await?, theirs(b).await?];
            for (now, before) in now.iter().zip(&before) {
                let come = now.iter().filter(|entry| !before.contains(entry)).collect::<Vec<_>>();
                let gone = before.iter().filter(|entry| !now.contains(entry)).collect::<Vec<_>>();
                ensure!(now == before, "after {after} there is {come:#?}\ninstead of\n{gone:#?}");
            }
            Ok(())
        };

        example(lab).await?;
        programmed(lab).await?;
        same("the first of ours").await?;
        let ours = a.xfrm().await?.states.len() - all[0].states.len();
        assert_eq!(ours, 2);

        let generation = lab.get("ipsecnodestate/node-a").await?.metadata.generation;
        secret(lab, "ipsec-a-to-b", &[("encryption", 32), ("integrity", 32)]).await?;
        lab.wait("the new keys", SOON, async || {
            let now = lab.get("ipsecnodestate/node-a").await?.metadata.generation;
            ensure!(now > generation, "the old ones");
            Ok(())
        })
        .await?;
        programmed(lab).await?;
        same("new keys").await?;

        let sas = std::fs::read_to_string(workspace().join("examples/manual/sas.yaml"))?;
        let other = sas.replace("spi: 4097", "spi: 0x1105\n  antiReplay: {window: 64}");
        lab.apply(&other).await?;
        shown(lab, "spi 0x00001105").await?;
        programmed(lab).await?;
        same("another SPI").await?;

        let patch = r#"{"spec": {"traffic": [{"protocol": "ICMP"}]}}"#;
        kubectl(lab, &["patch", "ipsecpolicy", "pods", "--type=merge", "--patch", patch]).await?;
        programmed(lab).await?;
        lab.wait("other selectors", SOON, async || {
            let policies = a.xfrm().await?.policies;
            let ours = policies
                .iter()
                .any(|policy| policy.contains("10.244.1.0/24") && policy.contains("proto icmp"));
            ensure!(ours, "{policies:#?}");
            Ok(())
        })
        .await?;
        same("other selectors").await?;

        let full = a.xfrm().await?;
        for command in [
            "ip xfrm state delete src 192.0.2.11 dst 192.0.2.12 proto esp spi 0x1105",
            "ip xfrm policy delete src 10.244.1.0/24 dst 10.244.2.0/24 proto icmp dir out",
        ] {
            a.run(command.split_whitespace()).await?.ok()?;
            lab.wait("what was deleted to come back", SOON, async || {
                let now = a.xfrm().await?;
                ensure!(now == full, "{now:#?}\ninstead of\n{full:#?}");
                Ok(())
            })
            .await?;
            same(command).await?;
        }

        lab.stop_agent("node-a").await?;
        lab.start_agent("node-a").await?;
        remove_example(lab).await?;
        lab.wait("ours to go", SOON, async || {
            let now = [a.xfrm().await?, b.xfrm().await?];
            ensure!(now == all, "{now:#?}\ninstead of\n{all:#?}");
            Ok(())
        })
        .await?;
        same("the last of ours").await
    })
}
