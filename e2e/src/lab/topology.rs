//! The nodes' and pods' networks, as `ip` commands.
//!
//! A node is a namespace with eth0 on the bridge; its pods hang behind it by veths that it routes, with 169.254.1.1
//! and fe80::1 as their gateway. Node to node, static routes lead to the pod CIDRs.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::addresses::{self, Addresses};
use crate::guest::{Guest, Program};

/// The nodes' bridge.
pub(super) const BRIDGE: &str = "br0";

/// Forwarding, and addresses that are usable at once.
const SYSCTLS: &str = "cd /proc/sys/net && echo 1 >ipv4/ip_forward && echo 1 >ipv6/conf/all/forwarding && \
    for i in all default; do echo 0 >ipv4/conf/$i/rp_filter && echo 0 >ipv6/conf/$i/accept_dad && \
    echo 0 >ipv6/conf/$i/accept_ra; done";

/// The namespace of a pod.
pub(super) fn pod_namespace(node: u8, pod: u8) -> String {
    format!("{}-pod-{pod}", addresses::node_name(node))
}

/// The bridge's port that a node's eth0 is plugged in to: the node's wire, seen from outside.
pub(super) fn port(node: u8) -> String {
    format!("port-{}", addresses::node_name(node))
}

/// Makes a node and its pods, of `nodes` in all.
pub(super) async fn make_node(guest: &Guest, node: u8, nodes: u8, pods: u8) -> Result<()> {
    let name = addresses::node_name(node);
    let namespaces = std::iter::once(name.clone()).chain((0..pods).map(|pod| pod_namespace(node, pod)));
    for namespace in namespaces {
        make_namespace(guest, namespace).await?;
    }
    batch(guest, None, &plug(node)).await?;
    batch(guest, Some(&name), &node_network(node, nodes, pods)).await?;
    for pod in 0..pods {
        batch(guest, Some(&pod_namespace(node, pod)), &pod_network(node, pod)).await?;
    }
    Ok(())
}

async fn make_namespace(guest: &Guest, name: String) -> Result<()> {
    guest.make_namespace(&name).await?;
    let argv = ["sh", "-c", SYSCTLS].map(str::to_owned).to_vec();
    let program = Program { namespace: Some(name), argv, ..Program::default() };
    guest.run(program, "").await?.ok().map(drop)
}

/// The namespace of a host outside the cluster.
pub(super) const HOST: &str = "host";

/// Makes a host outside the cluster, in [`addresses::OUTSIDE`] behind a node; the other nodes, of `nodes` in all, route there.
pub(super) async fn make_host(guest: &Guest, behind: u8, nodes: u8) -> Result<Addresses> {
    make_namespace(guest, HOST.to_owned()).await?;
    let (router, own) = (addresses::outside(1), addresses::outside(7));
    let plug =
        format!("link add outside type veth peer name eth0 netns {HOST}\n{}", on_a_wire("outside", router));
    batch(guest, Some(&addresses::node_name(behind)), &plug).await?;
    let default = format!("route add default via {}\nroute add default via {}\n", router.v4, router.v6);
    // Room for ESP, as network plugins leave it.
    let host = format!("{}link set eth0 mtu 1400\n{default}", on_a_wire("eth0", own));
    batch(guest, Some(HOST), &host).await?;
    let ways = addresses::OUTSIDE.iter().zip(addresses::node(behind).both());
    let routes: String = ways.map(|(network, via)| format!("route add {network} via {via}\n")).collect();
    for node in (0..nodes).filter(|node| *node != behind) {
        batch(guest, Some(&addresses::node_name(node)), &routes).await?;
    }
    Ok(own)
}

/// Removes a node and its pods with all that runs there, as a power cut would.
pub(super) async fn remove_node(guest: &Guest, node: u8, pods: u8) -> Result<()> {
    for pod in 0..pods {
        guest.remove_namespace(&pod_namespace(node, pod)).await?;
    }
    guest.remove_namespace(&addresses::node_name(node)).await
}

/// Runs `ip` commands for a namespace, from outside of it: that is where the other namespaces' names are known.
async fn batch(guest: &Guest, namespace: Option<&str>, lines: &str) -> Result<()> {
    let place = namespace.into_iter().flat_map(|namespace| ["-netns", namespace]);
    let argv = ["ip"].into_iter().chain(place).chain(["-batch", "-"]).map(str::to_owned).collect();
    let program = Program { argv, ..Program::default() };
    let outcome = guest.run(program, lines).await?;
    outcome.ok().map(drop).with_context(|| format!("one of these:\n{lines}"))
}

fn plug(node: u8) -> String {
    let (name, port) = (addresses::node_name(node), port(node));
    format!(
        "link add {port} type veth peer name eth0 netns {name}\nlink set {port} master {BRIDGE}\n\
         link set {port} up\n"
    )
}

/// A device that others are on the same wire with, at these addresses.
fn on_a_wire(device: &str, own: Addresses) -> String {
    let [v4, v6] = addresses::wire_prefixes(own);
    format!("addr add {v4} dev {device}\naddr add {v6} dev {device} nodad\nlink set {device} up\n")
}

fn node_network(node: u8, nodes: u8, pods: u8) -> String {
    let own = addresses::node(node);
    let mut lines = on_a_wire("eth0", own);
    for other in (0..nodes).filter(|other| *other != node) {
        for (cidr, via) in addresses::pod_cidrs(other).iter().zip(addresses::node(other).both()) {
            let _ = writeln!(lines, "route add {cidr} via {via}");
        }
    }
    for pod in 0..pods {
        let namespace = pod_namespace(node, pod);
        let _ = writeln!(lines, "link add pod{pod} type veth peer name eth0 netns {namespace}");
        let _ = writeln!(lines, "addr add 169.254.1.1/32 dev pod{pod} scope link");
        let _ = writeln!(lines, "addr add fe80::1/64 dev pod{pod} nodad");
        let _ = writeln!(lines, "link set pod{pod} up");
        for (address, source) in addresses::pod(node, pod).both().iter().zip(own.both()) {
            let _ = writeln!(lines, "route add {address} dev pod{pod} src {source}");
        }
    }
    lines
}

fn pod_network(node: u8, pod: u8) -> String {
    let own = addresses::pod(node, pod);
    format!(
        "addr add {}/32 dev eth0\naddr add {}/128 dev eth0 nodad\nlink set eth0 up\n\
         route add 169.254.1.1 dev eth0 scope link\nroute add default via 169.254.1.1\n\
         route add default via fe80::1 dev eth0\n",
        own.v4, own.v6
    )
}

#[cfg(test)]
mod tests {
    use super::node_network;

    #[test]
    fn a_node_routes_to_the_other_nodes_pods_and_its_own() {
        let lines = node_network(0, 2, 1);
        assert!(lines.contains("route add 10.244.2.0/24 via 192.0.2.12\n"), "{lines}");
        assert!(lines.contains("route add fd00:10:244:2::/64 via 2001:db8::12\n"), "{lines}");
        assert!(lines.contains("route add 10.244.1.2 dev pod0 src 192.0.2.11\n"), "{lines}");
        assert!(!lines.contains("10.244.1.0/24"), "{lines}");
    }
}
