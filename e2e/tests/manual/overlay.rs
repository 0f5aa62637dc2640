//! Overlay networks: what VXLAN devices send between the nodes, with automatic keys in transport mode.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::capture::{Packet, Payload};
use esplanade_e2e::controlplane::binaries::workspace;
use esplanade_e2e::guest::Process;
use esplanade_e2e::lab::{Config, Lab, Node};

use crate::automatic::{all_keys, kill_agent, nothing_lost, pings, ready, rotate, rotated, spis};
use crate::cluster::{SOON, remove, with_esplanade};

/// Port of Linux's own VXLAN.
const PORT: u16 = 8472;

/// The pods of other nodes are reached through a VXLAN device for each family, IPv4 over IPv4 and IPv6 over IPv6: as
/// Flannel does it, without anything to be found out.
async fn overlay(lab: &Lab) -> Result<()> {
    for (own, node) in lab.nodes().iter().enumerate() {
        let mut lines = String::new();
        for (at, local) in node.addresses.both().iter().enumerate() {
            let device = format!("overlay{at}");
            let place =
                |number: usize| [format!("169.254.7.{number}"), format!("fe80::7:{number}")][at].clone();
            let hardware = |number: usize| format!("02:00:00:00:0{at}:{number:02x}");
            lines += &format!(
                "ip link add {device} address {} type vxlan id 4{at} dstport {PORT} local {local} dev eth0 nolearning\n\
                 ip link set {device} mtu 1360 up\nip addr add {} dev {device}\n",
                hardware(own),
                place(own),
            );
            for (number, other) in lab.nodes().iter().enumerate().filter(|(number, _)| *number != own) {
                let (cidr, remote) = (&other.pod_cidrs[at], other.addresses.both()[at]);
                let (via, to) = (place(number), hardware(number));
                lines += &format!(
                    "bridge fdb append {to} dev {device} dst {remote}\n\
                     ip neigh add {via} lladdr {to} dev {device} nud permanent\n\
                     ip route replace {cidr} via {via} dev {device} onlink\n",
                );
            }
        }
        node.run_with(["sh", "-e"], &lines).await?.ok().context("the overlay's devices")?;
    }
    Ok(())
}

/// VXLAN in the clear between two of these nodes.
fn clear<'a>(packets: &'a [Packet], nodes: &[&Node]) -> Vec<&'a Packet> {
    let addresses: Vec<IpAddr> = nodes.iter().flat_map(|node| node.addresses.both()).collect();
    let is_clear = |packet: &&Packet| {
        packet.ip().is_some_and(|ip| {
            let between = addresses.contains(&ip.source) && addresses.contains(&ip.destination);
            between && matches!(ip.payload, Payload::Udp { destination: PORT, .. })
        })
    };
    packets.iter().filter(is_clear).collect()
}

/// Protected packets of both families; of each.
fn esp(packets: &[Packet]) -> [usize; 2] {
    let protected =
        packets.iter().filter_map(Packet::ip).filter(|ip| matches!(ip.payload, Payload::Esp { .. }));
    let of = |v4: bool| protected.clone().filter(|ip| ip.source.is_ipv4() == v4).count();
    [of(true), of(false)]
}

/// Questions and answers, every 10 ms, between the first pods of these nodes, over both families.
async fn traffic(lab: &Lab, pairs: &[(&str, &str)]) -> Result<Vec<Process>> {
    let pairs = pairs.iter().map(|(from, to)| (lab.node(from).pod(0), lab.node(to).pod(0)));
    let pairs = pairs.flat_map(|(from, to)| to.addresses.both().map(|address| (&**from, address)));
    pings(lab, &pairs.collect::<Vec<_>>()).await
}

#[test]
fn an_overlay_is_encrypted_between_three_nodes_and_nothing_is_lost() -> Result<()> {
    with_esplanade(Config { nodes: 3, ..Config::default() }, async |lab| {
        overlay(lab).await?;
        let traffic = traffic(lab, &[("node-a", "node-b"), ("node-b", "node-c")]).await?;
        let nodes: Vec<&Node> = lab.nodes().iter().collect();
        let wire = lab.node("node-b").capture().await?;
        lab.wait("VXLAN in the clear", SOON, async || {
            ensure!(clear(&wire.packets().await?, &nodes).len() > 20, "not yet");
            Ok(())
        })
        .await?;
        wire.stop().await?;

        let manifest = std::fs::read_to_string(workspace().join("examples/overlay/policy.yaml"))?;
        lab.apply(&manifest).await?;
        ready(lab, "overlay").await?;

        // From here on nothing is in the clear. Each two nodes have two SAs in each direction, one for each family.
        let wire = lab.node("node-b").capture().await?;
        let before = all_keys(lab).await?;
        let at_a = spis(lab, "node-a").await?;
        assert_eq!(at_a.len(), 8, "{at_a:?}");

        // A restarted agent goes on with the keys that it has.
        kill_agent(lab, "node-a").await?;
        ready(lab, "overlay").await?;
        assert_eq!((spis(lab, "node-a").await?, all_keys(lab).await?), (at_a, before.clone()));

        rotate(lab).await?;
        rotated(lab, &before, 4).await?;
        ready(lab, "overlay").await?;

        let packets = wire.stop().await?;
        assert_eq!(clear(&packets, &nodes), [] as [&_; 0]);
        ensure!(
            esp(&packets).iter().all(|count| *count > 100),
            "hardly anything was sent: {:?}",
            esp(&packets)
        );

        // And back.
        remove(lab, &manifest).await?;
        let wire = lab.node("node-b").capture().await?;
        lab.wait("clear packets", SOON, async || {
            let packets = wire.packets().await?;
            ensure!(clear(&packets, &nodes).len() > 20 && esp(&packets) == [0, 0], "not yet");
            Ok(())
        })
        .await?;
        wire.stop().await?;
        nothing_lost(traffic).await
    })
}

/// One direction of an overlay's packets: those that node-a sends, or those that it gets.
fn one_side(name: &str, from: &str, to: &str) -> String {
    format!(
        "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         from: [{{nodes: {from}}}]\n  to: [{{nodes: {to}}}]\n  traffic: [{{protocol: UDP, port: {PORT}}}]\n  \
         protection: {{mode: Transport}}\n"
    )
}

#[test]
fn an_overlay_is_encrypted_from_one_node_to_the_others_and_not_between_those() -> Result<()> {
    with_esplanade(Config { nodes: 3, ..Config::default() }, async |lab| {
        overlay(lab).await?;
        let traffic = traffic(lab, &[("node-a", "node-b"), ("node-b", "node-c")]).await?;
        let (a, others) = (
            "{matchLabels: {kubernetes.io/hostname: node-a}}",
            "{matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [node-a]}]}",
        );
        let policies = [one_side("sent", a, others), one_side("received", others, a)].concat();
        lab.apply(&policies).await?;
        for policy in ["sent", "received"] {
            ready(lab, policy).await?;
        }
        let [a, b, c] = ["node-a", "node-b", "node-c"].map(|name| lab.node(name));
        let wire = b.capture().await?;
        lab.wait("packets of both kinds", SOON, async || {
            let packets = wire.packets().await?;
            ensure!(
                clear(&packets, &[b, c]).len() > 20 && esp(&packets).iter().all(|count| *count > 20),
                "not yet"
            );
            Ok(())
        })
        .await?;
        let packets = wire.stop().await?;
        assert_eq!(clear(&packets, &[a, b]), [] as [&_; 0]);
        let protected = packets.iter().filter(|packet| packet.esp_spi().is_some()).filter_map(Packet::ip);
        let of_c = protected.filter(|ip| c.addresses.both().contains(&ip.source)).count();
        assert_eq!(of_c, 0);
        remove(lab, &policies).await?;
        nothing_lost(traffic).await
    })
}
