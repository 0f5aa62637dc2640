//! A tunnel between one pod and another, whose addresses stay at home.

use std::net::IpAddr;

use anyhow::Result;
use esplanade_e2e::lab::{Config, Lab};

use crate::cluster::{SOON, remove, secret, with_esplanade};
use crate::wire::{answers, clear_pod_packets, ping};

const FIRST: u32 = 0x4_0000;

/// One SA for each direction and family of what is inside.
struct Way {
    nodes: [&'static str; 2],
    pods: [IpAddr; 2],
    spi: u32,
}

fn ways(lab: &Lab) -> Vec<Way> {
    let pods = ["node-a", "node-b"].map(|node| lab.node(node).pod(0).addresses.both());
    let [[a4, a6], [b4, b6]] = pods;
    let there = [[a4, b4], [a6, b6]].map(|pods| (["node-a", "node-b"], pods));
    let back = [[b4, a4], [b6, a6]].map(|pods| (["node-b", "node-a"], pods));
    there.into_iter().chain(back).zip(FIRST..).map(|((nodes, pods), spi)| Way { nodes, pods, spi }).collect()
}

fn manifests(ways: &[Way], outer: &str) -> String {
    let sa = |Way { nodes: [source, destination], pods: [from, to], spi }: &Way| {
        let length = if from.is_ipv4() { 32 } else { 128 };
        format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: beet-{spi}}}\nspec:\n  \
             source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  ipFamily: {outer}\n  spi: {spi}\n  \
             mode: BEET\n  selector: {{source: '{from}/{length}', destination: '{to}/{length}'}}\n  \
             encryption: {{algorithm: AES-CBC-256, keySecretRef: {{name: keys, key: encryption}}}}\n  \
             integrity: {{algorithm: HMAC-SHA2-256-128, keySecretRef: {{name: keys, key: integrity}}}}\n"
        )
    };
    let names: Vec<_> = ways.iter().map(|way| format!("beet-{}", way.spi)).collect();
    let policy = format!(
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: beet}}\nspec:\n  \
         from: [{{podCIDRs: {{}}}}]\n  protection:\n    mode: BEET\n    \
         keying: {{manual: {{securityAssociations: [{}]}}}}\n",
        names.join(", ")
    );
    [policy].into_iter().chain(ways.iter().map(sa)).collect()
}

/// Length of the frame around a ping's 64 bytes after the IP header: Ethernet, IP, ESP with IV, what is inside with
/// padding and trailer to whole blocks of AES, ICV. A tunnel has the inner IP header inside as well.
fn frame(outer: &str, inner_header: u32) -> u32 {
    let header = if outer == "IPv4" { 20 } else { 40 };
    14 + header + 8 + 16 + (inner_header + 64 + 2).next_multiple_of(16) + 16
}

/// The packets are shorter than a tunnel's by the inner header, and arrive as they were sent; what is of other hosts
/// finds no SA.
async fn check(lab: &Lab, outer: &str) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    let ways = ways(lab);
    let manifests = manifests(&ways, outer);
    lab.apply(&manifests).await?;
    for way in &ways {
        lab.wait_condition(&format!("ipsecsa/beet-{}", way.spi), "Programmed", "True", SOON).await?;
    }
    lab.wait_condition("ipsecpolicy/beet", "Programmed", "True", SOON).await?;
    let wire = a.capture().await?;
    for way in &ways {
        let from = if way.nodes[0] == "node-a" { a } else { b };
        ping(from.pod(0), way.pods[1]).await?;
    }
    assert!(!answers(a.pod(1), b.pod(0).addresses.both()[0]).await?, "no SA carries the other pod's packets");
    let packets = wire.stop().await?;
    assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
    for inner_header in [20, 40] {
        assert_ne!(frame(outer, 0), frame(outer, inner_header), "lengths tell the modes apart");
    }
    for Way { spi, .. } in ways {
        let lengths: Vec<u32> = packets
            .iter()
            .filter(|packet| packet.esp_spi() == Some(spi))
            .map(|packet| packet.length)
            .collect();
        assert_eq!(lengths, [frame(outer, 0); 6], "SPI {spi:#x}");
    }
    remove(lab, &manifests).await
}

#[test]
fn beet_sends_no_inner_addresses() -> Result<()> {
    with_esplanade(Config { pods: 2, ..Config::default() }, async |lab| {
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        for outer in ["IPv4", "IPv6"] {
            check(lab, outer).await.map_err(|error| error.context(outer))?;
        }
        Ok(())
    })
}
