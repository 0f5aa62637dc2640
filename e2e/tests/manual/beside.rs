//! Policies with automatic keys beside others that protect the same packets: one takes over from another and gives back, and
//! nothing is lost, and nothing is in the clear.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Config, Lab, Place};

use crate::automatic::{esp, kill_agent, ready};
use crate::cluster::{SOON, example, remove, remove_example, told_of_one, with_esplanade};
use crate::edits::{CBC, GCM, everyone, undisturbed};
use crate::wire::{answers, clear_echoes};

/// Of a priority, in which the first one counts.
fn policy(name: &str, priority: u16, from: &str, rest: &str) -> String {
    format!(
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         from: [{{{from}: {{}}}}]\n  priority: {priority}\n  {rest}\n"
    )
}

/// Of pings between these, while `body` runs, none is lost, and none is in the clear at node-b's wire.
async fn undisturbed_and_protected(
    lab: &Lab,
    from_to: &[(&Place, IpAddr)],
    body: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    undisturbed(lab, from_to, async || {
        let wire = lab.node("node-b").capture().await?;
        body().await?;
        assert_eq!(clear_echoes(&wire.stop().await?), [] as [&_; 0]);
        Ok(())
    })
    .await
}

/// Whatever is protected at node-b's wire from now on is so by an SA of this kind.
async fn sent_by(lab: &Lab, kind: &str) -> Result<()> {
    let node = lab.node("node-b");
    let wire = node.capture().await?;
    lab.wait("traffic", SOON, async || {
        ensure!(esp(&wire.packets().await?) > 200, "hardly any yet");
        Ok(())
    })
    .await?;
    let states = node.xfrm().await?.states;
    for spi in wire.stop().await?.iter().filter_map(|packet| packet.esp_spi()) {
        let spi = format!(" spi {spi:#010x} ");
        let sa = states.iter().find(|state| state.contains(&spi));
        ensure!(sa.is_some_and(|sa| sa.contains(kind)), "{spi}isn't of {kind}: {sa:?}");
    }
    Ok(())
}

/// No kernel has an SA of this kind.
async fn gone(lab: &Lab, kind: &str) -> Result<()> {
    lab.wait(&format!("no {kind}"), SOON, async || {
        for node in lab.nodes() {
            let states = node.xfrm().await?.states;
            ensure!(!states.iter().any(|state| state.contains(kind)), "{}: {states:#?}", node.name);
        }
        Ok(())
    })
    .await
}

const CHACHA: &str = "rfc7539esp(chacha20,poly1305)";

#[test]
fn policies_take_over_and_give_back_and_nothing_is_lost() -> Result<()> {
    with_esplanade(Config { nodes: 3, ..Config::default() }, async |lab| {
        let pods = policy("pods", 500, "podCIDRs", "");
        lab.apply(&pods).await?;
        ready(lab, "pods").await?;
        let behind = policy("behind", 900, "podCIDRs", "protection: {suite: CHACHA20-POLY1305}");
        undisturbed_and_protected(lab, &everyone(lab), async || {
            // One before it, and one behind it that comes to count when both others are gone.
            let first =
                policy("first", 100, "podCIDRs", "protection: {suite: AES-CBC-256-HMAC-SHA2-256-128}");
            lab.apply(&first).await?;
            kill_agent(lab, "node-a").await?;
            ready(lab, "first").await?;
            sent_by(lab, CBC).await?;
            lab.apply(&behind).await?;
            ready(lab, "behind").await?;
            sent_by(lab, CBC).await?;
            lab.delete(&first).await?;
            kill_agent(lab, "node-b").await?;
            gone(lab, CBC).await?;
            sent_by(lab, GCM).await?;
            lab.delete(&pods).await?;
            gone(lab, GCM).await?;
            sent_by(lab, CHACHA).await?;
            Ok(())
        })
        .await?;
        remove(lab, &behind).await
    })
}

#[test]
fn some_of_the_packets_are_taken_over_and_nothing_is_lost() -> Result<()> {
    with_esplanade(Config { nodes: 3, ..Config::default() }, async |lab| {
        let pods = policy("pods", 500, "podCIDRs", "");
        lab.apply(&pods).await?;
        ready(lab, "pods").await?;
        undisturbed_and_protected(lab, &everyone(lab), async || {
            // Less than the other, in one direction of which a port counts; then more.
            let cbc = "protection: {suite: AES-CBC-256-HMAC-SHA2-256-128}";
            let icmp = format!(
                "traffic: [{{protocol: ICMP}}, {{protocol: ICMPv6}}, {{protocol: TCP, port: 443}}]\n  {cbc}"
            );
            let icmp = policy("icmp", 100, "podCIDRs", &icmp);
            lab.apply(&icmp).await?;
            ready(lab, "icmp").await?;
            sent_by(lab, CBC).await?;
            lab.delete(&pods).await?;
            gone(lab, GCM).await?;
            lab.apply(&pods).await?;
            ready(lab, "pods").await?;
            sent_by(lab, CBC).await?;
            lab.delete(&icmp).await?;
            gone(lab, CBC).await?;
            sent_by(lab, GCM).await?;
            Ok(())
        })
        .await?;
        remove(lab, &pods).await
    })
}

#[test]
fn a_mode_gives_way_to_another_and_nothing_is_lost() -> Result<()> {
    with_esplanade(Config { nodes: 2, ..Config::default() }, async |lab| {
        let tunnels = policy("tunnels", 500, "nodes", "protection: {mode: Tunnel}");
        lab.apply(&tunnels).await?;
        ready(lab, "tunnels").await?;
        let [b4, b6] = lab.node("node-b").addresses.both();
        let from: &Place = lab.node("node-a");
        let from_to: [(&Place, IpAddr); 2] = [(from, b4), (from, b6)];
        let transport = policy("transport", 100, "nodes", "protection: {mode: Transport}");
        undisturbed_and_protected(lab, &from_to, async || {
            lab.apply(&transport).await?;
            ready(lab, "transport").await?;
            sent_by(lab, "mode transport").await?;
            lab.delete(&tunnels).await?;
            gone(lab, "mode tunnel").await?;
            let first = policy("first", 10, "nodes", "protection: {mode: Tunnel}");
            lab.apply(&first).await?;
            ready(lab, "first").await?;
            sent_by(lab, "mode tunnel").await?;
            lab.delete(&first).await?;
            gone(lab, "mode tunnel").await?;
            sent_by(lab, "mode transport").await?;
            Ok(())
        })
        .await?;
        remove(lab, &transport).await
    })
}

#[test]
fn what_is_let_through_goes_in_the_clear_and_back_and_nothing_is_lost() -> Result<()> {
    with_esplanade(Config { nodes: 3, ..Config::default() }, async |lab| {
        let pods = policy("pods", 500, "podCIDRs", "");
        lab.apply(&pods).await?;
        ready(lab, "pods").await?;
        undisturbed(lab, &everyone(lab), async || {
            // First one family's, then both, then none.
            let of = |traffic: &str| {
                policy("clear", 100, "podCIDRs", &format!("action: Bypass\n  traffic: [{traffic}]"))
            };
            let in_steps = async |manifest: &str| {
                lab.apply(manifest).await?;
                lab.wait_condition("ipsecpolicy/clear", "Programmed", "True", SOON).await
            };
            in_steps(&of("{protocol: ICMP}")).await?;
            let wire = lab.node("node-b").capture().await?;
            sent_by(lab, GCM).await?;
            let packets = wire.stop().await?;
            let clear = clear_echoes(&packets).into_iter().filter_map(|packet| packet.ip());
            let (v4, v6): (Vec<_>, Vec<_>) = clear.partition(|ip| ip.source.is_ipv4());
            ensure!(
                v4.len() > 100 && v6.is_empty(),
                "{} of IPv4 and {} of IPv6 in the clear",
                v4.len(),
                v6.len()
            );
            in_steps(&of("{protocol: ICMP}, {protocol: ICMPv6}")).await?;
            kill_agent(lab, "node-a").await?;
            lab.delete(&of("{protocol: ICMP}")).await?;
            told_of_one(lab).await?;
            ready(lab, "pods").await?;
            let wire = lab.node("node-b").capture().await?;
            sent_by(lab, GCM).await?;
            assert_eq!(clear_echoes(&wire.stop().await?), [] as [&_; 0]);
            Ok(())
        })
        .await?;
        remove(lab, &pods).await
    })
}

#[test]
fn manual_keys_give_way_to_automatic_ones_and_nothing_is_lost() -> Result<()> {
    with_esplanade(Config { nodes: 2, ..Config::default() }, async |lab| {
        example(lab).await?;
        let automatic = policy("automatic", 100, "podCIDRs", "protection: {suite: CHACHA20-POLY1305}");
        undisturbed_and_protected(lab, &everyone(lab), async || {
            lab.apply(&automatic).await?;
            ready(lab, "automatic").await?;
            sent_by(lab, CHACHA).await?;
            remove_example(lab).await?;
            lab.wait("automatic keys only", SOON, async || {
                for node in lab.nodes() {
                    let states = node.xfrm().await?.states;
                    ensure!(states.iter().all(|state| state.contains(CHACHA)), "{}: {states:#?}", node.name);
                }
                Ok(())
            })
            .await?;
            sent_by(lab, CHACHA).await?;
            Ok(())
        })
        .await?;
        remove(lab, &automatic).await
    })
}

#[test]
fn what_waits_to_be_switched_on_takes_no_clear_text_that_another_has_dropped() -> Result<()> {
    with_esplanade(Config { nodes: 2, ..Config::default() }, async |lab| {
        let pods = policy("pods", 500, "podCIDRs", "");
        lab.apply(&pods).await?;
        ready(lab, "pods").await?;
        // Nobody goes further than Prepare without node-b.
        lab.stop_agent("node-b").await?;
        let first = policy("first", 100, "podCIDRs", "");
        lab.apply(&first).await?;
        let [a, b] = ["node-a", "node-b"].map(|name| lab.node(name));
        lab.wait("the other one beside it", SOON, async || {
            let policies = a.xfrm().await?.policies;
            let beside = policies.iter().filter(|one| one.contains("reqid 0 mode tunnel")).count();
            ensure!(beside == 4, "{policies:#?}");
            Ok(())
        })
        .await?;
        let from = b.pod(0);
        let to = a.pod(0).addresses.both();
        for to in to {
            ensure!(answers(from, to).await?, "{to} doesn't answer");
        }
        let mismatches = async || anyhow::Ok(a.xfrm_stat().await?["XfrmInTmplMismatch"]);
        let before = mismatches().await?;
        b.run(["ip", "xfrm", "policy", "flush"]).await?.ok()?;
        b.run(["ip", "xfrm", "state", "flush"]).await?.ok()?;
        for to in to {
            ensure!(!answers(from, to).await?, "{to} has answered to clear text");
        }
        ensure!(mismatches().await? >= before + 2, "it wasn't the policy that dropped it");
        lab.start_agent("node-b").await?;
        ready(lab, "first").await?;
        for to in to {
            ensure!(answers(from, to).await?, "{to} doesn't answer");
        }
        lab.delete(&first).await?;
        remove(lab, &pods).await
    })
}
