//! Paths that take only shorter packets, on nodes that drop whatever no policy covers: those who send are told.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Config, Lab};

use crate::cluster::{SOON, pair, remove_all_but, secret, with_values};
use crate::default_action::BLOCK;

/// Between the nodes, from node-a on.
const ROUTER: [&str; 2] = ["192.0.2.77", "2001:db8::77"];
/// What the wire takes, and what the router takes, in bytes. With ESP around it, that is still enough for IPv6 (1280).
const WIRE: u32 = 1500;
const NARROW: u32 = 1400;
/// What the router takes with ESP around it.
const SHORT: u32 = 1250;

fn manifests(family: &str) -> String {
    format!(
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: path}}\nspec:\n  \
         from: [{{podCIDRs: {{}}}}]\n  protection:\n    \
         keying: {{manual: {{securityAssociations: [path-ab, path-ba]}}}}\n{}",
        pair("path", [0xc_0001, 0xc_0002], &format!("ipFamily: {family}"))
    )
}

/// From node-a, the other node is behind a router for shorter packets.
async fn narrow(lab: &Lab) -> Result<()> {
    let [v4, v6] = ROUTER;
    let there = lab.node("node-b").addresses;
    let text = format!(
        "
ip netns add narrow
ip link add port-narrow type veth peer name eth0 netns narrow
ip link set port-narrow master br0 up
ip -n narrow addr add {v4}/24 dev eth0
ip -n narrow addr add {v6}/64 dev eth0 nodad
ip -n narrow link set eth0 up
ip netns exec narrow sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
ip netns exec narrow sh -c 'echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects; echo 0 >/proc/sys/net/ipv4/conf/eth0/send_redirects'
ip -n narrow route add {}/32 dev eth0 mtu lock {NARROW}
ip -n narrow route add {}/128 dev eth0 mtu {NARROW}
",
        there.v4, there.v6
    );
    lab.outside().run_with(["sh", "-eu"], &text).await?.ok()?;
    let a = lab.node("node-a");
    a.run(["ip", "route", "add", &format!("{}/32", there.v4), "via", v4]).await?.ok()?;
    a.run(["ip", "-6", "route", "add", &format!("{}/128", there.v6), "via", v6]).await?.ok()?;
    Ok(())
}

/// The pod of node-a is told that its packets of this length, in bytes with their IP header, are too long; then they arrive in
/// pieces, and those that the path takes as they are. A pod that knows the path already isn't asked.
async fn told(lab: &Lab, pod: usize, length: u32) -> Result<()> {
    let (from, to) = (lab.node("node-a").pod(pod), lab.node("node-b").pod(0).addresses);
    for address in to.both() {
        // Of IP and ICMP.
        let headers = if address.is_ipv4() { 28 } else { 48 };
        let ping = async |length: u32, how: &str| {
            let (size, to) = ((length - headers).to_string(), address.to_string());
            from.run(["ping", "-c2", "-i0.2", "-W1", "-M", how, "-s", &size, &to]).await
        };
        lab.wait(&format!("{address}: word of {length} bytes"), SOON, async || {
            let outcome = ping(length, "do").await?;
            let said = outcome.stdout.clone() + &outcome.stderr;
            ensure!(!outcome.success() && said.to_lowercase().contains("mtu"), "{said}");
            Ok(())
        })
        .await?;
        ping(length, "want").await?.ok()?;
        ping(SHORT, "do").await?.ok()?;
    }
    Ok(())
}

async fn all(lab: &Lab, first_pod: usize, length: u32) -> Result<()> {
    for (number, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
        lab.apply(&manifests(family)).await?;
        for what in ["ipsecsa/path-ab", "ipsecsa/path-ba", "ipsecpolicy/path"] {
            lab.wait_condition(what, "Programmed", "True", SOON).await?;
        }
        told(lab, first_pod + number, length)
            .await
            .map_err(|error| error.context(format!("{length} bytes around {family}")))?;
        remove_all_but(lab, &manifests(family), |policy| !policy.contains("tmpl")).await?;
    }
    Ok(())
}

#[test]
fn senders_are_told_of_paths_for_shorter_packets() -> Result<()> {
    with_values(Config { pods: 4, ..Config::default() }, BLOCK, async |lab| {
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        // With ESP around it, it is longer than the wire takes: the node says so.
        all(lab, 0, WIRE).await?;
        // ESP itself is too long for a router: it tells the node, and the node its pod.
        narrow(lab).await?;
        all(lab, 2, NARROW).await
    })
}
