//! Policies over all traffic of the nodes, in labs whose API server is on one of them: agents reach it over the very network
//! that the policies cover.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use esplanade_e2e::capture::{Packet, Payload};
use esplanade_e2e::lab::{self, Config, Lab, Place};

use crate::automatic::{all_keys, kill_agent, nothing_lost, pings, ready, rotate, rotated, spis};
use crate::cluster::{SOON, kubectl, remove};
use crate::wire::{answers, clear_echoes};

/// Where the API server is.
const SERVER: &str = "node-c";

fn policy(from: &str, mode: &str) -> String {
    format!(
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: all}}\nspec:\n  from: [{from}]\n  \
         protection: {{mode: {mode}}}\n"
    )
}

/// What is in the clear between nodes, but for neighbour discovery and the API server's connections; and whether there are
/// any of those.
fn clear<'a>(lab: &Lab, packets: &'a [Packet]) -> (Vec<&'a Packet>, bool) {
    let server: IpAddr = lab.node(SERVER).addresses.v4.into();
    let nodes: Vec<IpAddr> = lab.nodes().iter().flat_map(|node| node.addresses.both()).collect();
    let mut asked = false;
    let mut is_clear = |packet: &&Packet| {
        let Some(ip) = packet.ip() else { return false };
        match ip.payload {
            Payload::Esp { .. } => return false,
            Payload::Icmp { kind: 133..=137 } if ip.source.is_ipv6() => return false,
            Payload::Tcp { source, destination } => {
                let to = ip.destination == server && destination == 6443;
                let exempt = to || ip.source == server && source == 6443;
                asked |= to && nodes.contains(&ip.source);
                if exempt {
                    return false;
                }
            }
            _ => {}
        }
        nodes.contains(&ip.source) && nodes.contains(&ip.destination)
    };
    let clear = packets.iter().filter(|packet| is_clear(packet)).collect();
    (clear, asked)
}

/// Switched on, an agent restarted, rotated, switched off without a lost packet; and again, and a node rebooted.
/// `with_each`: SAs with each peer.
async fn covers(lab: &Lab, policy: &str, from_to: &[(&Place, IpAddr)], with_each: usize) -> Result<()> {
    let traffic = pings(lab, from_to).await?;
    lab.apply(policy).await?;
    ready(lab, "all").await?;

    let wire = lab.node("node-b").capture().await?;
    let (before, at_a) = (all_keys(lab).await?, spis(lab, "node-a").await?);
    kill_agent(lab, "node-a").await?;
    kill_agent(lab, SERVER).await?;
    ready(lab, "all").await?;
    assert_eq!((spis(lab, "node-a").await?, all_keys(lab).await?), (at_a, before.clone()));
    rotate(lab).await?;
    rotated(lab, &before, with_each).await?;
    ready(lab, "all").await?;
    for from in [&**lab.node("node-a"), lab.node("node-b").pod(0)] {
        let connect = format!("exec 3<>/dev/tcp/{}/6443", lab.node(SERVER).addresses.v4);
        from.run(["timeout", "10", "bash", "-c", &connect]).await?.ok()?;
    }
    let packets = wire.stop().await?;
    let (in_the_clear, asked) = clear(lab, &packets);
    assert_eq!(in_the_clear, [] as [&_; 0]);
    assert_eq!(clear_echoes(&packets), [] as [&_; 0]);
    ensure!(asked, "node-b didn't ask the API server on {SERVER}");
    ensure!(packets.iter().any(|packet| packet.esp_spi().is_some()), "nothing was sent");
    remove(lab, policy).await?;
    nothing_lost(traffic).await?;

    // A rebooted node has no keys, and others drop what it sends in the clear: it must come to new ones.
    lab.apply(policy).await?;
    ready(lab, "all").await?;
    lab.stop_agent("node-b").await?;
    lab.reboot("node-b").await?;
    lab.start_agent("node-b").await?;
    for (from, to) in from_to {
        lab.wait(&format!("answers from {to}"), SOON, async || {
            ensure!(answers(from, *to).await?, "none");
            Ok(())
        })
        .await?;
    }
    let before = all_keys(lab).await?;
    rotate(lab).await?;
    rotated(lab, &before, with_each).await?;
    ready(lab, "all").await?;
    remove(lab, policy).await
}

/// A lab whose agents reach the API server on one of its three nodes.
fn with_server_on_a_node(body: impl AsyncFnOnce(&Lab) -> Result<()> + Send) -> Result<()> {
    lab::run(Config { nodes: 3, ..Config::default() }, async |lab| {
        lab.serve_api_on(SERVER).await?;
        lab.install_esplanade("", SOON).await?;
        body(lab).await
    })
}

#[test]
fn all_traffic_between_nodes_in_transport_mode_and_nobody_is_locked_out() -> Result<()> {
    with_server_on_a_node(async |lab| {
        let [a, b, c] = ["node-a", "node-b", SERVER].map(|name| lab.node(name));
        let [b4, b6] = b.addresses.both();
        let from_to: [(&Place, IpAddr); 3] = [(a, b4), (a, b6), (c, b4)];
        covers(lab, &policy("{nodes: {}}", "Transport"), &from_to, 4).await
    })
}

#[test]
fn all_traffic_of_nodes_and_pods_in_tunnels_and_nobody_is_locked_out() -> Result<()> {
    with_server_on_a_node(async |lab| {
        let [a, b, c] = ["node-a", "node-b", SERVER].map(|name| lab.node(name));
        let [b4, b6] = b.addresses.both();
        let [p4, p6] = b.pod(0).addresses.both();
        // Between nodes, from a node to a pod, from a pod to a node, between pods.
        let from_to: [(&Place, IpAddr); 6] =
            [(a, b6), (c, b4), (a, p4), (a, p6), (a.pod(0), b4), (c.pod(0), p6)];
        covers(lab, &policy("{nodes: {}}, {podCIDRs: {}}", "Tunnel"), &from_to, 2).await
    })
}

#[test]
fn an_agent_that_may_not_see_where_the_api_server_is_goes_on_with_what_it_was_given() -> Result<()> {
    with_server_on_a_node(async |lab| {
        kubectl(lab, &["delete", "rolebindings", "--namespace=default", "--all"]).await?;
        for node in lab.nodes() {
            kill_agent(lab, &node.name).await?;
        }
        let policy = policy("{nodes: {}}", "Transport");
        lab.apply(&policy).await?;
        ready(lab, "all").await?;
        remove(lab, &policy).await
    })
}
