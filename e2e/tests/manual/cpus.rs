//! SAs of single CPUs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Result, ensure};
use esplanade_e2e::capture::Payload;
use esplanade_e2e::lab::{Config, Lab};

use crate::cluster::{SOON, condition, kernel_can, remove, secret, with_esplanade};
use crate::wire::clear_echoes;

const SHARED: u32 = 0x4_0000;
const FIRST: u32 = 0x4_0001;
const SECOND: u32 = 0x4_0002;
const BACK: u32 = 0x4_0003;

fn manifests() -> String {
    let mut text = "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: cpus}\nspec:\n  \
         from: [{nodes: {}}]\n  traffic: [{protocol: ICMP}]\n  protection:\n    mode: Transport\n    \
         keying: {manual: {securityAssociations: [cpu-shared, cpu-first, cpu-second, cpu-back]}}\n"
        .to_owned();
    for (name, source, destination, spi, cpu) in [
        ("shared", "node-a", "node-b", SHARED, ""),
        ("first", "node-a", "node-b", FIRST, "  cpu: 0\n"),
        ("second", "node-a", "node-b", SECOND, "  cpu: 1\n"),
        ("back", "node-b", "node-a", BACK, ""),
    ] {
        let _ = write!(
            text,
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: cpu-{name}}}\nspec:\n  \
             source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  ipFamily: IPv4\n  spi: {spi}\n  \
             mode: Transport\n{cpu}  \
             encryption: {{algorithm: AES-CBC-256, keySecretRef: {{name: keys, key: encryption}}}}\n  \
             integrity: {{algorithm: HMAC-SHA2-256-128, keySecretRef: {{name: keys, key: integrity}}}}\n"
        );
    }
    text
}

/// The SPIs under which node-a sends what a program on this CPU says.
async fn spis(lab: &Lab, cpu: &str) -> Result<BTreeSet<u32>> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    let [from, to] = [a.addresses.both()[0], b.addresses.both()[0]];
    let wire = a.capture().await?;
    a.run(["taskset", "-c", cpu, "ping", "-c3", "-i0.2", "-W2", &to.to_string()]).await?.ok()?;
    let packets = wire.stop().await?;
    assert_eq!(clear_echoes(&packets), [] as [&_; 0]);
    let sent = packets.iter().filter_map(|packet| packet.ip()).filter(|ip| ip.is_between(from, to));
    Ok(sent
        .filter_map(|ip| if let Payload::Esp { spi, .. } = ip.payload { Some(spi) } else { None })
        .collect())
}

#[test]
fn each_cpu_sends_through_its_sa_where_the_kernel_can() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        let can = kernel_can(lab, "PerCPU").await?;
        lab.apply(&manifests()).await?;
        for what in ["ipsecsa/cpu-shared", "ipsecsa/cpu-back"] {
            lab.wait_condition(what, "Programmed", "True", SOON).await?;
        }
        if can {
            for what in ["ipsecsa/cpu-first", "ipsecsa/cpu-second", "ipsecpolicy/cpus"] {
                lab.wait_condition(what, "Programmed", "True", SOON).await?;
            }
            assert_eq!(spis(lab, "0").await?, [FIRST].into());
            assert_eq!(spis(lab, "1").await?, [SECOND].into());
            lab.delete(&one("second")).await?;
            lab.wait("an SA less", SOON, async || {
                let states = lab.node("node-a").xfrm().await?.states;
                ensure!(states.len() == 3, "{states:#?}");
                Ok(())
            })
            .await?;
            assert_eq!(spis(lab, "1").await?, [SHARED].into());
            lab.apply(&manifests()).await?;
        } else {
            for what in ["ipsecsa/cpu-first", "ipsecsa/cpu-second"] {
                lab.wait("the kernel's lack to be told", SOON, async || {
                    let (reason, message) = condition(&lab.get(what).await?, "Programmed")?;
                    ensure!(reason == "UnsupportedByKernel", "{reason}: {message}");
                    ensure!(message.contains(" has no SAs for single CPUs"), "{message}");
                    Ok(())
                })
                .await?;
            }
            assert_eq!(spis(lab, "0").await?, [SHARED].into());
        }
        remove(lab, &manifests()).await
    })
}

fn one(name: &str) -> String {
    format!("apiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: cpu-{name}}}\n")
}
