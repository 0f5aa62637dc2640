//! Networks outside the cluster: protected as far as a node that is their gateway, let through, or dropped.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use esplanade_e2e::capture::Packet;
use esplanade_e2e::lab::addresses::OUTSIDE;
use esplanade_e2e::lab::traffic::{Direction, Traffic};
use esplanade_e2e::lab::{Config, Lab, Place, Pod};

use crate::automatic::{all_keys, esp, kill_agent, ready, rotate, rotated};
use crate::cluster::{SOON, pair, remove, secret, told, told_of_one, with_esplanade};
use crate::wire::{answers, clear_pod_packets, ping};

const NODES: Config = Config { nodes: 3, pods: 2 };
/// The node that the outside is behind.
const GATEWAY: &str = "node-c";

fn policy(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: {name}}}\nspec:\n  {}\n",
        spec.replace('\n', "\n  ")
    )
}

/// Pods of all nodes to the outside, which is behind this node.
fn site(gateway: &str, rest: &str) -> String {
    let cidrs = OUTSIDE.map(|cidr| format!("'{cidr}'")).join(", ");
    let to = format!("to: [{{cidrs: [{cidrs}], gateway: {{node: {gateway}}}}}]");
    policy("site", &format!("from: [{{podCIDRs: {{}}}}]\n{to}\n{rest}"))
}

/// The outside host's packets that are as they are.
fn clear<'a>(host: &Pod, packets: &'a [Packet]) -> Vec<&'a Packet> {
    let of_host = |ip: &esplanade_e2e::capture::Ip| {
        host.addresses.both().into_iter().any(|host| ip.source == host || ip.destination == host)
    };
    packets.iter().filter(|packet| packet.ip().is_some_and(of_host)).collect()
}

/// Numbered datagrams and a stream, both ways, between the host and a pod of node-a and of node-b, over both families.
async fn traffic(lab: &Lab, host: &Pod) -> Result<Vec<Traffic>> {
    let mut all = Vec::new();
    for node in ["node-a", "node-b"] {
        let pod = lab.node(node).pod(0);
        pod.run("ip link set dev eth0 mtu 1400".split(' ')).await?.ok()?;
        for (own, other) in pod.addresses.both().into_iter().zip(host.addresses.both()) {
            let ends: [(&Place, IpAddr); 2] = [(pod, own), (host, other)];
            all.push(Traffic::start(lab, &ends).await?);
        }
    }
    Ok(all)
}

async fn nothing_lost(lab: &Lab, all: Vec<Traffic>) -> Result<()> {
    for traffic in all {
        let directions = traffic.stop(lab).await?;
        ensure!(directions.len() == 2, "{directions:?}");
        directions.iter().try_for_each(Direction::is_whole)?;
    }
    Ok(())
}

#[test]
fn a_node_is_the_gateway_of_networks_outside_and_nothing_is_lost() -> Result<()> {
    with_esplanade(NODES, async |lab| {
        let host = lab.host_behind(GATEWAY).await?;
        let traffic = traffic(lab, &host).await?;
        let site = site(GATEWAY, "priority: 500");
        lab.apply(&site).await?;
        ready(lab, "site").await?;

        // From here on nothing is in the clear between the nodes.
        let wires = [lab.node("node-a").capture().await?, lab.node(GATEWAY).capture().await?];
        let before = all_keys(lab).await?;
        rotate(lab).await?;
        rotated(lab, &before, 2).await?;
        ready(lab, "site").await?;
        kill_agent(lab, GATEWAY).await?;
        kill_agent(lab, "node-a").await?;
        ready(lab, "site").await?;
        // What it covers is more, and less again.
        let more = site.replace("podCIDRs: {}", "podCIDRs: {}}, {nodes: {}");
        for edited in [&more, &site] {
            lab.apply(edited).await?;
            told_of_one(lab).await?;
            ready(lab, "site").await?;
            if *edited == more {
                for to in host.addresses.both() {
                    ping(lab.node("node-b"), to).await?;
                }
            }
        }
        // The gateway's own pods aren't touched.
        for to in host.addresses.both() {
            ping(lab.node(GATEWAY).pod(0), to).await?;
        }
        for wire in wires {
            let packets = wire.stop().await?;
            assert_eq!(clear(&host, &packets), [] as [&_; 0]);
            ensure!(esp(&packets) > 500, "hardly anything was sent: {}", esp(&packets));
        }

        // And back.
        remove(lab, &site).await?;
        let wire = lab.node("node-a").capture().await?;
        lab.wait("clear packets", SOON, async || {
            let packets = wire.packets().await?;
            ensure!(clear(&host, &packets).len() > 20 && esp(&packets) == 0, "not yet");
            Ok(())
        })
        .await?;
        wire.stop().await?;
        nothing_lost(lab, traffic).await
    })
}

#[test]
fn what_goes_to_a_gateway_that_is_gone_is_dropped_until_there_is_another() -> Result<()> {
    with_esplanade(NODES, async |lab| {
        let host = lab.host_behind(GATEWAY).await?;
        let pod = lab.node("node-a").pod(0);
        lab.apply(&site(GATEWAY, "priority: 500")).await?;
        ready(lab, "site").await?;
        let wire = lab.node("node-a").capture().await?;
        for to in host.addresses.both() {
            ping(pod, to).await?;
        }
        // Its Node goes; it still forwards what it is given.
        lab.stop_agent(GATEWAY).await?;
        lab.leave(GATEWAY).await?;
        lab.node(GATEWAY).run("ip xfrm policy flush".split(' ')).await?.ok()?;
        lab.wait("its Node to be missed", SOON, async || {
            let (reason, message) =
                crate::cluster::condition(&lab.get("ipsecpolicy/site").await?, "ResolvedRefs")?;
            ensure!(reason == "NodeNotFound" && message.contains("no Node node-c"), "{reason}: {message}");
            let told = lab.get("ipsecnodestate/node-a").await?;
            let outside = &told.data["spec"]["policies"][0]["outside"]["to"];
            ensure!(outside.as_array().is_some_and(|all| all.len() == 2), "{outside}");
            let generation = told.metadata.generation;
            ensure!(told.data["status"]["observedGeneration"].as_i64() == generation, "not followed yet");
            Ok(())
        })
        .await?;
        for to in host.addresses.both() {
            ensure!(!answers(pod, to).await?, "{to} answers");
        }
        kill_agent(lab, "node-a").await?;
        crate::cluster::in_sync_again(lab, "node-a").await?;
        for to in host.addresses.both() {
            ensure!(!answers(pod, to).await?, "{to} answers");
        }
        lab.join(GATEWAY).await?;
        ready(lab, "site").await?;
        for to in host.addresses.both() {
            lab.wait("answers", SOON, async || ping(pod, to).await).await?;
        }
        let packets = wire.stop().await?;
        assert_eq!(clear(&host, &packets), [] as [&_; 0]);
        remove(lab, &site(GATEWAY, "priority: 500")).await
    })
}

/// Lets pods and nodes send to each other, whatever `everything` says.
const CLUSTER: &str =
    "priority: 499\naction: Bypass\nfrom: [{podCIDRs: {}}]\nto: [{podCIDRs: {}}, {nodes: {}}]";

/// What stays on a node, over both families: pods with each other, and with the node.
async fn within(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        for at in 0..2 {
            ping(node, node.pod(0).addresses.both()[at]).await?;
            ping(node.pod(0), node.addresses.both()[at]).await?;
            ping(node.pod(0), node.pod(1).addresses.both()[at]).await?;
            ping(node, node.addresses.both()[at]).await?;
        }
    }
    Ok(())
}

#[test]
fn everything_else_goes_through_a_gateway_and_nobody_is_locked_out() -> Result<()> {
    with_esplanade(NODES, async |lab| {
        let host = lab.host_behind(GATEWAY).await?;
        let to = "to: [{cidrs: ['0.0.0.0/0', '::/0'], gateway: {node: node-c}}]";
        let pods = policy("site", &format!("from: [{{podCIDRs: {{}}}}]\n{to}"));
        lab.apply(&pods).await?;
        lab.wait("what it contains to be named", SOON, async || {
            let (reason, message) =
                crate::cluster::condition(&lab.get("ipsecpolicy/site").await?, "ResolvedRefs")?;
            ensure!(
                reason == "Conflicted" && message.contains("Node node-a's 192.0.2.11/32"),
                "{reason}: {message}"
            );
            Ok(())
        })
        .await?;
        lab.apply(&policy("cluster", CLUSTER)).await?;
        ready(lab, "site").await?;
        lab.wait_condition("ipsecpolicy/cluster", "Programmed", "True", SOON).await?;
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let wire = a.capture().await?;
        within(lab).await?;
        for at in 0..2 {
            ping(a.pod(0), host.addresses.both()[at]).await?;
            ping(&host, a.pod(0).addresses.both()[at]).await?;
            ping(a, b.pod(0).addresses.both()[at]).await?;
            ping(a.pod(0), b.addresses.both()[at]).await?;
            ping(a.pod(0), b.pod(0).addresses.both()[at]).await?;
        }
        let packets = wire.stop().await?;
        assert_eq!(clear(&host, &packets), [] as [&_; 0]);
        ensure!(!clear_pod_packets(lab, &packets).is_empty(), "pods' packets weren't let through");

        // The nodes' own packets as well; what is in the cluster goes through the gateway too.
        let hub = policy("site", &format!("from: [{{podCIDRs: {{}}}}, {{nodes: {{}}}}]\n{to}"));
        lab.apply(&hub).await?;
        lab.delete(&policy("cluster", CLUSTER)).await?;
        lab.wait("no more of the other", SOON, async || {
            let told = told(lab, "node-a").await?;
            ensure!(told == 1, "{told} policies");
            Ok(())
        })
        .await?;
        ready(lab, "site").await?;
        kill_agent(lab, "node-b").await?;
        ready(lab, "site").await?;
        let wire = a.capture().await?;
        within(lab).await?;
        for at in 0..2 {
            for (from, to) in [(&**a, &host), (a.pod(0), &host), (&**a, b.pod(0)), (a.pod(0), b.pod(0))] {
                ping(from, to.addresses.both()[at]).await?;
            }
            ping(a, b.addresses.both()[at]).await?;
            ping(&host, a.addresses.both()[at]).await?;
        }
        let packets = wire.stop().await?;
        assert_eq!(clear(&host, &packets), [] as [&_; 0]);
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);

        // A rebooted node comes to keys.
        lab.stop_agent("node-b").await?;
        lab.reboot("node-b").await?;
        lab.start_agent("node-b").await?;
        let pod = b.pod(0).addresses.v4.into();
        lab.wait("answers", SOON, async || ping(a, pod).await).await?;
        remove(lab, &hub).await
    })
}

const AB: u32 = 0xa_0001;
const BA: u32 = 0xa_0002;

#[test]
fn with_manual_keys_a_node_is_the_gateway_and_without_one_networks_are_dropped_or_let_through() -> Result<()>
{
    with_esplanade(Config { nodes: 2, pods: 2 }, async |lab| {
        let host = lab.host_behind("node-b").await?;
        let (a, b) = (lab.node("node-a").pod(0), lab.node("node-b").pod(0));
        let [v4, v6] = host.addresses.both();
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        let manual = "protection: {keying: {manual: {securityAssociations: [site-ab, site-ba]}}}";
        let protected = [site("node-b", manual), pair("site", [AB, BA], "mode: Tunnel")].concat();
        let protected =
            protected.replace("podCIDRs: {}", "podCIDRs: {matchLabels: {kubernetes.io/hostname: node-a}}");
        lab.apply(&protected).await?;
        lab.wait_condition("ipsecpolicy/site", "Programmed", "True", SOON).await?;
        let wire = lab.node("node-a").capture().await?;
        for (own, to) in a.addresses.both().into_iter().zip([v4, v6]) {
            ping(a, to).await?;
            ping(&host, own).await?;
        }
        let packets = wire.stop().await?;
        assert_eq!(clear(&host, &packets), [] as [&_; 0]);
        assert_eq!(esp(&packets), 24);
        remove(lab, &protected).await?;

        // Protected between pods; nothing else goes over IPv4, be it to the host or to nodes.
        let pods = policy("pods", "from: [{podCIDRs: {}}]");
        lab.apply(&pods).await?;
        let rest = "action: Discard\npriority: 600\nfrom: [{podCIDRs: {}}]\nto: [{cidrs: ['0.0.0.0/0']}]";
        applied(lab, "rest", rest).await?;
        ready(lab, "pods").await?;
        let wire = lab.node("node-a").capture().await?;
        for to in b.addresses.both() {
            ping(a, to).await?;
        }
        ensure!(!answers(a, v4).await? && !answers(&host, a.addresses.v4.into()).await?, "{v4} answers");
        ensure!(!answers(a, lab.node("node-b").addresses.v4.into()).await?, "node-b answers");
        ping(a, v6).await?;
        within(lab).await?;
        // One host of it.
        let one = "action: Bypass\npriority: 599\nfrom: [{podCIDRs: {}}]\nto: [{cidrs: [198.51.100.7/32]}]";
        applied(lab, "one", one).await?;
        ping(a, v4).await?;
        ping(&host, a.addresses.v4.into()).await?;
        ensure!(!answers(a, "198.51.100.1".parse()?).await?, "its neighbour answers");
        // Three times three questions and answers that are let through, and one question of the host's that arrives and is
        // dropped.
        let packets = wire.stop().await?;
        let in_the_clear = clear_pod_packets(lab, &packets);
        assert_eq!((clear(&host, &packets).len(), in_the_clear.len()), (19, 19), "{in_the_clear:?}");

        // Above the others it is for pods as well, and still not for what stays on a node.
        applied(lab, "rest", &rest.replace("600", "100")).await?;
        ensure!(!answers(a, b.addresses.v4.into()).await? && !answers(a, v4).await?, "pods answer");
        ping(a, b.addresses.v6.into()).await?;
        within(lab).await?;
        remove(lab, &[&pods, &policy("rest", rest)[..], &policy("one", one)].concat()).await
    })
}

async fn applied(lab: &Lab, name: &str, spec: &str) -> Result<()> {
    lab.apply(&policy(name, spec)).await?;
    lab.wait_condition(&format!("ipsecpolicy/{name}"), "Programmed", "True", SOON).await?;
    Ok(())
}
