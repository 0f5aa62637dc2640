//! Packets that go together, and in pieces.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Config, Lab};

use crate::cluster::{SOON, condition, kernel_can, remove, secret, with_esplanade};
use crate::wire::{answers, clear_pod_packets, ping};

const THERE: u32 = 0x4_0010;
const BACK: u32 = 0x4_0011;
/// Length of the packets on the wire; of the header before them there; and at most of what the kernel doesn't count:
/// padding, trailer, ICV.
const PACKET: u32 = 400;
const ETHERNET: u32 = 14;
const TRAILER: u32 = 15 + 2 + 16;
/// Bytes that a long ping carries.
const LONG: &str = "1300";

fn manifests() -> String {
    let mut text =
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: iptfs}\nspec:\n  \
         from: [{podCIDRs: {}}]\n  protection:\n    mode: IPTFS\n    \
         keying: {manual: {securityAssociations: [iptfs-there, iptfs-back]}}\n"
            .to_owned();
    for (name, source, destination, spi) in
        [("there", "node-a", "node-b", THERE), ("back", "node-b", "node-a", BACK)]
    {
        text += &format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: iptfs-{name}}}\nspec:\n  \
             source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  ipFamily: IPv4\n  spi: {spi}\n  \
             mode: IPTFS\n  iptfs: {{packetSize: {PACKET}}}\n  \
             encryption: {{algorithm: AES-CBC-256, keySecretRef: {{name: keys, key: encryption}}}}\n  \
             integrity: {{algorithm: HMAC-SHA2-256-128, keySecretRef: {{name: keys, key: integrity}}}}\n"
        );
    }
    text
}

/// A long ping goes in several packets each way, all of one length, and comes back as it was.
async fn check(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    for what in ["ipsecsa/iptfs-there", "ipsecsa/iptfs-back", "ipsecpolicy/iptfs"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    let wire = a.capture().await?;
    for to in b.pod(0).addresses.both() {
        ping(a.pod(0), to).await?;
        a.pod(0).run(["ping", "-c1", "-s", LONG, "-W", "5", &to.to_string()]).await?.ok()?;
    }
    let packets = wire.stop().await?;
    assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
    for spi in [THERE, BACK] {
        let lengths =
            packets.iter().filter(|packet| packet.esp_spi() == Some(spi)).map(|packet| packet.length);
        let lengths: Vec<u32> = lengths.collect();
        // Three short and one long of each family.
        assert!(lengths.len() >= 2 * (3 + 1300 / PACKET as usize), "SPI {spi:#x}: {lengths:?}");
        assert!(
            lengths.iter().all(|length| *length <= ETHERNET + PACKET + TRAILER),
            "SPI {spi:#x}: {lengths:?}"
        );
    }
    Ok(())
}

#[test]
fn long_packets_go_in_pieces_where_the_kernel_can() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        let can = kernel_can(lab, "IPTFS").await?;
        lab.apply(&manifests()).await?;
        if can {
            check(lab).await?;
        } else {
            for what in ["ipsecsa/iptfs-there", "ipsecpolicy/iptfs"] {
                lab.wait("the kernel's lack to be told", SOON, async || {
                    let (reason, message) = condition(&lab.get(what).await?, "Programmed")?;
                    ensure!(reason == "UnsupportedByKernel", "{reason}: {message}");
                    ensure!(message.contains(" has no IPTFS"), "{message}");
                    ensure!(message.contains("write mode: Tunnel"), "{message}");
                    Ok(())
                })
                .await?;
            }
            let (a, b) = (lab.node("node-a").pod(0), lab.node("node-b").pod(0));
            assert!(!answers(a, b.addresses.both()[0]).await?, "what must be protected went in the clear");
        }
        remove(lab, &manifests()).await
    })
}
