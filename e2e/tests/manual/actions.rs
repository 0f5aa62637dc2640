//! What policies do with packets, which of them a packet meets first, and what arrives in the clear.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use esplanade_e2e::capture::{Packet, Payload};
use esplanade_e2e::lab::{Config, Lab, Node};

use crate::cluster::{SOON, pair, remove, secret, with_esplanade};
use crate::wire::{answers, clear_echoes, clear_pod_packets, ping, sequence};

const AB: u32 = 0x9_0001;
const BA: u32 = 0x9_0002;

fn protect(enforcement: &str) -> String {
    [
        format!(
            "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: protect}}\nspec:\n  \
             from: [{{podCIDRs: {{}}}}]\n  priority: 500\n  protection:\n    enforcement: {enforcement}\n    \
             keying: {{manual: {{securityAssociations: [actions-ab, actions-ba]}}}}\n"
        ),
        pair("actions", [AB, BA], "mode: Tunnel"),
    ]
    .concat()
}

/// A policy without protection, for some traffic between pods.
fn other(action: &str, priority: u16, traffic: &str) -> String {
    format!(
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: other}}\nspec:\n  \
         action: {action}\n  priority: {priority}\n  from: [{{podCIDRs: {{}}}}]\n  traffic: [{traffic}]\n"
    )
}

/// Applies the policy `other`, and waits until the kernels have it as it is now.
async fn apply_other(lab: &Lab, manifest: &str) -> Result<()> {
    lab.apply(manifest).await?;
    lab.wait_condition("ipsecpolicy/other", "Programmed", "True", SOON).await?;
    Ok(())
}

fn address(node: &Node) -> IpAddr {
    node.addresses.v4.into()
}

/// How many packets went each way under the SAs.
fn protected(lab: &Lab, packets: &[Packet]) -> [usize; 2] {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    [(a, b, AB), (b, a, BA)].map(|(from, to, spi)| sequence(packets, address(from), address(to), spi).len())
}

/// Asks for a TCP connection with a port where nobody listens: whether the other end could say so.
async fn refused(lab: &Lab, port: u16) -> Result<bool> {
    let to = lab.node("node-b").pod(0).addresses.v4;
    let connect = format!("exec 3<>/dev/tcp/{to}/{port}");
    let connect = lab.node("node-a").pod(0).run(["timeout", "1", "bash", "-c", &connect]).await?;
    ensure!(!connect.success(), "somebody listens on {port}");
    Ok(connect.stderr.contains("Connection refused"))
}

#[test]
fn the_first_policy_that_a_packet_meets_says_what_becomes_of_it() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        lab.apply(&protect("Strict")).await?;
        lab.wait_condition("ipsecpolicy/protect", "Programmed", "True", SOON).await?;
        bypass(lab).await.map_err(|error| error.context("bypass"))?;
        discard(lab).await.map_err(|error| error.context("discard"))?;
        remove(lab, &[&protect("Strict"), "---\n", &other("Bypass", 100, "{}")].concat()).await
    })
}

/// A lower priority comes first; the policy that is behind does nothing.
async fn bypass(lab: &Lab) -> Result<()> {
    let (from, to) = (lab.node("node-a").pod(0), lab.node("node-b").pod(0));
    apply_other(lab, &other("Bypass", 100, "{protocol: ICMP}")).await?;
    let wire = lab.node("node-a").capture().await?;
    ping(from, to.addresses.v4.into()).await?;
    ensure!(refused(lab, 80).await?, "no answer over the SAs");
    let packets = wire.packets().await?;
    assert_eq!(clear_echoes(&packets).len(), 6);
    assert_eq!(clear_pod_packets(lab, &packets).len(), 6, "only the echoes are in the clear");
    assert_eq!(protected(lab, &packets), [1, 1]);

    apply_other(lab, &other("Bypass", 501, "{protocol: ICMP}")).await?;
    let wire = lab.node("node-a").capture().await?;
    ping(from, to.addresses.v4.into()).await?;
    let packets = wire.stop().await?;
    assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
    assert_eq!(protected(lab, &packets), [3, 3]);
    Ok(())
}

/// A range that takes many masks: no port more, none less.
async fn discard(lab: &Lab) -> Result<()> {
    apply_other(lab, &other("Discard", 100, "{protocol: TCP, port: 1001, endPort: 2002}")).await?;
    let wire = lab.node("node-a").capture().await?;
    for (port, passes) in
        [(1000, true), (1001, false), (1024, false), (1500, false), (2002, false), (2003, true)]
    {
        assert_eq!(refused(lab, port).await?, passes, "port {port}");
    }
    let packets = wire.stop().await?;
    assert_eq!(protected(lab, &packets), [2, 2], "what is discarded isn't sent at all");
    assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
    Ok(())
}

#[test]
fn clear_text_is_accepted_while_a_policy_is_permissive_and_dropped_when_it_is_strict() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let to = b.pod(0).addresses.v4.into();
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        lab.apply(&protect("Permissive")).await?;
        lab.wait_condition("ipsecpolicy/protect", "Programmed", "True", SOON).await?;
        let wire = a.capture().await?;
        ping(a.pod(0), to).await?;
        let packets = wire.packets().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0], "what is sent is protected");

        // A node that sends in the clear: one without an agent, and without outbound policies.
        lab.stop_agent("node-a").await?;
        a.run("ip xfrm policy deleteall dir out".split(' ')).await?.ok()?;
        let wire = a.capture().await?;
        ping(a.pod(0), to).await?;
        let packets = wire.packets().await?;
        let asked =
            |packet: &&&Packet| packet.ip().is_some_and(|ip| matches!(ip.payload, Payload::Icmp { kind: 8 }));
        let clear = clear_echoes(&packets);
        assert_eq!(clear.iter().filter(asked).count(), 3, "requests in the clear");
        assert_eq!(clear.len(), 3, "answers aren't");
        assert_eq!(protected(lab, &packets), [0, 3]);

        lab.apply(&protect("Strict")).await?;
        lab.wait("node-b to drop clear text", SOON, async || {
            ensure!(!answers(a.pod(0), to).await?, "clear text is still accepted");
            Ok(())
        })
        .await?;
        let before = b.xfrm_stat().await?["XfrmInTmplMismatch"];
        ensure!(!answers(a.pod(0), to).await?, "clear text is accepted again");
        assert_eq!(b.xfrm_stat().await?["XfrmInTmplMismatch"], before + 1);
        wire.stop().await?;

        lab.start_agent("node-a").await?;
        lab.wait_condition("ipsecpolicy/protect", "Programmed", "True", SOON).await?;
        lab.wait("node-a's policies", SOON, async || ping(a.pod(0), to).await).await?;
        remove(lab, &protect("Strict")).await
    })
}
