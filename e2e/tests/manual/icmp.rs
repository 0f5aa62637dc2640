//! Policies for types of ICMP messages, and for protocols by their numbers.

use std::net::IpAddr;

use anyhow::Result;
use esplanade_e2e::capture::{Packet, Payload};
use esplanade_e2e::lab::{Lab, Node};

use crate::cluster::{SOON, pair, remove, secret};
use crate::wire::{ping, sequence};

const AB: u32 = 0x4_0001;
const BA: u32 = 0x4_0002;
const GRE: u8 = 47;

/// The policy for this traffic, and its SAs; what one of them carries is said besides.
fn manifests(traffic: &str, selector: &str) -> String {
    [
        format!(
            "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: types}}\nspec:\n  \
             from: [{{podCIDRs: {{}}}}]\n  traffic: {traffic}\n  protection:\n    \
             keying: {{manual: {{securityAssociations: [types-ab, types-ba]}}}}\n"
        ),
        pair("types", [AB, BA], &format!("selector: {selector}")),
    ]
    .concat()
}

/// How many echo requests and replies are there in the clear, over IPv4 and IPv6.
fn clear_echoes(packets: &[Packet]) -> [[usize; 2]; 2] {
    let count = |v4: bool, wanted: u8| {
        let is_it = |packet: &&Packet| {
            packet.ip().is_some_and(|ip| {
                ip.source.is_ipv4() == v4 && matches!(ip.payload, Payload::Icmp { kind } if kind == wanted)
            })
        };
        packets.iter().filter(is_it).count()
    };
    [[count(true, 8), count(true, 0)], [count(false, 128), count(false, 129)]]
}

pub(crate) async fn check(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    let address = |node: &Node| -> IpAddr { node.addresses.v4.into() };
    let [v4, v6] = b.pod(0).addresses.both();
    secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;

    // A question's type: the answer is none of it, and goes in the clear. Neither is anything of IPv6.
    let questions =
        manifests("[{protocol: ICMP, icmpType: 8, icmpCode: 0}]", "{traffic: {protocol: 1, icmpType: 8}}");
    lab.apply(&questions).await?;
    lab.wait_condition("ipsecpolicy/types", "Programmed", "True", SOON).await?;
    let wire = a.capture().await?;
    ping(a.pod(0), v4).await?;
    ping(a.pod(0), v6).await?;
    ping(b.pod(0), a.pod(0).addresses.v4.into()).await?;
    let packets = wire.packets().await?;
    assert_eq!(clear_echoes(&packets), [[0, 6], [3, 3]]);
    for (source, destination, spi) in [(a, b, AB), (b, a, BA)] {
        assert_eq!(sequence(&packets, address(source), address(destination), spi).len(), 3);
    }

    // Both types, and a protocol that has no name here.
    let both = manifests(
        "[{protocol: 1, icmpType: 8}, {protocol: ICMP, icmpType: 0}, {protocol: 47}]",
        "{source: 0.0.0.0/0}",
    );
    lab.apply(&both).await?;
    lab.wait("the new revision", SOON, async || {
        let policies = a.xfrm().await?.policies;
        anyhow::ensure!(policies.iter().any(|policy| policy.contains("proto gre")), "{policies:#?}");
        Ok(())
    })
    .await?;
    lab.wait_condition("ipsecpolicy/types", "Programmed", "True", SOON).await?;
    let wire = a.capture().await?;
    ping(a.pod(0), v4).await?;
    tunnel_through(lab).await?;
    let packets = wire.stop().await?;
    assert_eq!(clear_echoes(&packets)[0], [0, 0]);
    let of_gre = |packet: &&Packet| packet.ip().is_some_and(|ip| ip.payload == Payload::Other(GRE));
    assert_eq!(packets.iter().filter(of_gre).count(), 0);
    for (source, destination, spi) in [(a, b, AB), (b, a, BA)] {
        let numbers = sequence(&packets, address(source), address(destination), spi);
        assert_eq!(numbers.len(), 6, "3 pings and 3 in GRE: {numbers:?}");
    }
    remove(lab, &both).await
}

/// Pings through a GRE tunnel between the first pods of node-a and node-b.
async fn tunnel_through(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.node("node-a").pod(0), lab.node("node-b").pod(0));
    for (here, there, own) in [(a, b, 1), (b, a, 2)] {
        let (local, remote) = (here.addresses.v4, there.addresses.v4);
        for command in [
            format!("ip link add tunnel type gre local {local} remote {remote}"),
            format!("ip address add 198.51.100.{own}/30 dev tunnel"),
            "ip link set tunnel up".to_owned(),
        ] {
            here.run(command.split(' ')).await?.ok()?;
        }
    }
    ping(a, "198.51.100.2".parse()?).await?;
    for pod in [a, b] {
        pod.run("ip link delete tunnel".split(' ')).await?.ok()?;
    }
    Ok(())
}
