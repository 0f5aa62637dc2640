//! Packets told apart by their marks, and SAs that mark theirs.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Lab, Node};

use crate::cluster::{SOON, pair, remove, secret};
use crate::wire::{clear_echoes, ping, sequence};

const AB: u32 = 0x5_0001;
const BA: u32 = 0x5_0002;

fn manifests() -> String {
    [
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: marks}\nspec:\n  \
         from: [{podCIDRs: {}}]\n  mark: {value: 7, mask: 255}\n  protection:\n    \
         keying: {manual: {securityAssociations: [marks-ab, marks-ba]}}\n"
            .to_owned(),
        pair("marks", [AB, BA], "mark: {value: 7, mask: 15}\n  outputMark: {value: 256, mask: 65280}"),
    ]
    .concat()
}

/// IPv4 packets that come in by this device are marked with 7.
fn marking(device: &str) -> [String; 2] {
    [
        format!("tc qdisc add dev {device} ingress"),
        format!("tc filter add dev {device} ingress protocol ip matchall action skbedit mark 7"),
    ]
}

/// Packets with the output mark leave node-a by a device of their own.
const ANOTHER_WAY: [&str; 4] = [
    "ip link add link eth0 name other type macvlan mode bridge",
    "ip link set other up",
    "ip route add 192.0.2.12 dev other table 100",
    "ip rule add fwmark 0x100/0xff00 table 100",
];
const NO_OTHER_WAY: [&str; 2] = ["ip rule del table 100", "ip link delete other"];

async fn run(node: &Node, commands: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
    for command in commands {
        node.run(command.as_ref().split(' ')).await?.ok()?;
    }
    Ok(())
}

/// How many packets left by the device of their own.
async fn by_the_other_way(node: &Node) -> Result<u64> {
    let shown = node.run("ip -s -o link show other".split(' ')).await?.ok()?;
    // … TX: bytes packets …\ BYTES PACKETS …
    let sent = shown.split("TX:").nth(1).unwrap_or_default().split('\\').nth(1).unwrap_or_default();
    Ok(sent.split_whitespace().nth(1).unwrap_or_default().parse()?)
}

pub(crate) async fn check(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    let address = |node: &Node| -> IpAddr { node.addresses.v4.into() };
    secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
    lab.apply(&manifests()).await?;
    for what in ["ipsecsa/marks-ab", "ipsecsa/marks-ba", "ipsecpolicy/marks"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    let [v4, v6] = b.pod(0).addresses.both();

    // Nothing is marked: all is clear.
    let wire = a.capture().await?;
    ping(a.pod(0), v4).await?;
    assert_eq!(clear_echoes(&wire.packets().await?).len(), 6);

    for node in [a, b] {
        for device in ["pod0", "eth0"] {
            run(node, marking(device)).await?;
        }
    }
    let wire = a.capture().await?;
    ping(a.pod(0), v4).await?;
    ping(a.pod(0), v6).await?;
    let packets = wire.packets().await?;
    let clear = clear_echoes(&packets);
    ensure!(clear.iter().all(|packet| packet.ip().is_some_and(|ip| ip.source.is_ipv6())), "{clear:?}");
    assert_eq!(clear.len(), 6, "IPv6 has no mark");
    for (source, destination, spi) in [(a, b, AB), (b, a, BA)] {
        assert_eq!(sequence(&packets, address(source), address(destination), spi).len(), 3);
    }

    run(a, ANOTHER_WAY).await?;
    let before = by_the_other_way(a).await?;
    ping(a.pod(0), v4).await?;
    let sent = by_the_other_way(a).await? - before;
    ensure!(sent >= 3, "{sent} packets");
    let packets = wire.stop().await?;
    assert_eq!(sequence(&packets, address(a), address(b), AB).len(), 6);

    // The kernel deletes an SA, and a policy, by their marks.
    remove(lab, &manifests()).await?;
    run(a, NO_OTHER_WAY).await?;
    for node in [a, b] {
        run(node, ["pod0", "eth0"].map(|device| format!("tc qdisc del dev {device} ingress"))).await?;
    }
    Ok(())
}
