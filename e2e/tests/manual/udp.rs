//! ESP in UDP: every mode and family, and agents that are restarted under traffic.

use anyhow::{Result, ensure};
use esplanade_e2e::capture::{Packet, Payload};
use esplanade_e2e::lab::{Config, Lab, Node};

use crate::cluster::{SOON, condition, kernel_can, remove, secret, with_esplanade, with_values};
use crate::wire::{answers, clear_echoes, ping_nodes, ping_pods};

const AB: u32 = 0x5_0001;
const BA: u32 = 0x5_0002;

pub(crate) struct Variant {
    pub(crate) name: &'static str,
    mode: &'static str,
    family: &'static str,
    side: &'static str,
}

/// Between the nodes' own addresses all traffic is covered: the packets around ESP as well.
#[rustfmt::skip]
pub(crate) const VARIANTS: &[Variant] = &[
    Variant { name: "udp-tunnel-v4", mode: "Tunnel", family: "IPv4", side: "podCIDRs" },
    Variant { name: "udp-tunnel-v6", mode: "Tunnel", family: "IPv6", side: "podCIDRs" },
    Variant { name: "udp-transport-v4", mode: "Transport", family: "IPv4", side: "nodes" },
    Variant { name: "udp-transport-v6", mode: "Transport", family: "IPv6", side: "nodes" },
];

impl Variant {
    pub(crate) fn manifests(&self) -> String {
        let Self { name, mode, family, side } = self;
        let sa = |sa: &str, source: &str, destination: &str, spi: u32| {
            format!(
                "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}-{sa}}}\nspec:\n  \
                 source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  ipFamily: {family}\n  \
                 spi: {spi}\n  mode: {mode}\n  encapsulation: {{type: UDP}}\n  \
                 encryption: {{algorithm: AES-CBC-256, keySecretRef: {{name: keys, key: encryption}}}}\n  \
                 integrity: {{algorithm: HMAC-SHA2-256-128, keySecretRef: {{name: keys, key: integrity}}}}\n"
            )
        };
        // In transport mode, over IPv6: without neighbour discovery, which is let through anyway.
        format!(
            "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
             from: [{{{side}: {{}}}}]\n  protection:\n    mode: {mode}\n    \
             keying: {{manual: {{securityAssociations: [{name}-ab, {name}-ba]}}}}\n{}{}",
            sa("ab", "node-a", "node-b", AB),
            sa("ba", "node-b", "node-a", BA),
        )
    }

    async fn install(&self, lab: &Lab) -> Result<()> {
        lab.apply(&self.manifests()).await?;
        for what in [format!("ipsecsa/{}-ab", self.name), format!("ipsecsa/{}-ba", self.name)] {
            lab.wait_condition(&what, "Programmed", "True", SOON).await?;
        }
        Ok(())
    }

    async fn check(&self, lab: &Lab) -> Result<()> {
        self.carries(lab).await?;
        remove(lab, &self.manifests()).await?;
        for node in lab.nodes() {
            lab.wait("the ports to be closed", SOON, async || {
                let open = ports(node).await?;
                ensure!(open.is_empty(), "{open}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Both ways, all of it in UDP and nothing in the clear.
    pub(crate) async fn carries(&self, lab: &Lab) -> Result<()> {
        self.install(lab).await?;
        let wire = lab.node("node-a").capture().await?;
        let v4 = self.family == "IPv4";
        let pings = if self.side == "podCIDRs" {
            ping_pods(lab).await?;
            12
        } else {
            ping_nodes(lab, v4).await?;
            6
        };
        let packets = wire.stop().await?;
        assert_eq!(clear_echoes(&packets), [] as [&_; 0]);
        for spi in [AB, BA] {
            let all: Vec<_> = packets.iter().filter(|packet| packet.esp_spi() == Some(spi)).collect();
            assert!(all.len() >= pings, "SPI {spi:#x}: {} of {pings} packets", all.len());
            for packet in all {
                let in_udp = packet.ip().is_some_and(|ip| {
                    ip.source.is_ipv4() == v4
                        && matches!(ip.payload, Payload::EspInUdp { source: 4500, destination: 4500, .. })
                });
                assert!(in_udp, "{packet}");
            }
        }
        Ok(())
    }
}

/// The node's sockets on UDP port 4500.
async fn ports(node: &Node) -> Result<String> {
    node.run(["ss", "-Hlun", "sport = :4500"]).await?.ok()
}

fn is_unreachable(packet: &&Packet) -> bool {
    packet
        .ip()
        .is_some_and(|ip| ip.payload == Payload::Icmp { kind: if ip.source.is_ipv4() { 3 } else { 1 } })
}

#[test]
fn esp_in_udp_in_every_mode_and_family() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        for variant in VARIANTS {
            variant.check(lab).await.map_err(|error| error.context(variant.name))?;
        }
        Ok(())
    })
}

/// Agents end and begin, holders are replaced, and no packet is lost: the ports stay open.
#[test]
fn agents_and_holders_come_and_go_without_a_lost_packet() -> Result<()> {
    const COUNT: &str = "1500";
    with_esplanade(Config::default(), async |lab| {
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        let [variant, ..] = VARIANTS else { anyhow::bail!("no variants") };
        variant.install(lab).await?;
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let wire = b.capture().await?;
        let to = b.pod(0).addresses.v4.to_string();
        let pings =
            a.pod(0).spawn("pings", ["ping", "-q", "-i", "0.01", "-c", COUNT, "-W", "2", &to]).await?;
        for node in ["node-a", "node-b"] {
            lab.stop_agent(node).await?;
            assert_ne!(ports(lab.node(node)).await?, "", "the holder has them");
            lab.start_agent(node).await?;
            lab.wait("the agent to find the sockets", SOON, async || {
                let log = lab.agent(node)?.log();
                ensure!(log.contains("UDP ports for ESP were held open"), "{log}");
                Ok(())
            })
            .await?;
            lab.replace_socket_holder(node).await?;
        }
        // Killed, not told to end; and without it a while.
        lab.agent("node-b")?.signal(nix::sys::signal::Signal::SIGKILL).await?;
        lab.agent("node-b")?.wait().await?;
        assert_eq!(pings.status().await?, None, "the pings go on all the while");
        assert_eq!(pings.wait().await?, 0);
        let said = pings.log();
        ensure!(said.contains(&format!("{COUNT} received, 0% packet loss")), "{said}");
        lab.start_agent("node-b").await?;
        let packets = wire.stop().await?;
        assert_eq!(packets.iter().filter(is_unreachable).collect::<Vec<_>>(), [] as [&_; 0]);
        remove(lab, &variant.manifests()).await
    })
}

/// `node-a` keeps the mapping, `node-b` doesn't.
fn kept_alive() -> String {
    let [variant, ..] = VARIANTS else { return String::new() };
    let udp = "encapsulation: {type: UDP}";
    variant.manifests().replacen(udp, "encapsulation: {type: UDP, keepaliveSeconds: 1}", 1)
}

/// Ethernet, IPv4 and UDP around one byte (RFC 3948 §2.3).
const KEEPALIVE: u32 = 14 + 20 + 8 + 1;

/// How many keepalives a node has sent.
fn keepalives(packets: &[Packet], from: &Node) -> usize {
    let is_one = |packet: &&Packet| {
        packet.length == KEEPALIVE
            && packet.ip().is_some_and(|ip| {
                ip.source == from.addresses.v4
                    && matches!(ip.payload, Payload::Udp { source: 4500, destination: 4500 })
            })
    };
    packets.iter().filter(is_one).count()
}

/// Also where everything is dropped that no policy covers.
#[test]
fn keepalives_are_sent_where_the_kernel_can() -> Result<()> {
    with_values(Config::default(), "nodeAgent: {defaultAction: Block}", async |lab| {
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let can = kernel_can(lab, "NATKeepalive").await?;
        let wire = b.capture().await?;
        lab.apply(&kept_alive()).await?;
        if can {
            for what in ["ipsecsa/udp-tunnel-v4-ab", "ipsecsa/udp-tunnel-v4-ba"] {
                lab.wait_condition(what, "Programmed", "True", SOON).await?;
            }
            lab.wait("three keepalives", SOON, async || {
                let packets = wire.packets().await?;
                ensure!(keepalives(&packets, a) >= 3, "{packets:?}");
                Ok(())
            })
            .await?;
            assert_eq!(keepalives(&wire.stop().await?, b), 0);
            return Ok(());
        }
        lab.wait("the kernel's lack to be told", SOON, async || {
            let (reason, message) = condition(&lab.get("ipsecsa/udp-tunnel-v4-ab").await?, "Programmed")?;
            ensure!(reason == "UnsupportedByKernel", "{reason}: {message}");
            ensure!(message.contains(" has no NAT keepalives of its own"), "{message}");
            ensure!(message.contains("remove keepaliveSeconds"), "{message}");
            Ok(())
        })
        .await?;
        // At the receiver it is an SA like any other, and the other one isn't concerned.
        lab.wait_condition("ipsecsa/udp-tunnel-v4-ba", "Programmed", "True", SOON).await?;
        assert!(!answers(a.pod(0), b.pod(0).addresses.both()[0]).await?, "it went in the clear");
        let states = b.xfrm().await?.states;
        assert_eq!(states.len(), 2, "{states:#?}");
        Ok(())
    })
}
