//! What others delete comes back, by the kernel's word and not by the clock.

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::{Config, Lab, Node, Xfrm};

use crate::cluster::{SOON, example, with_values};
use crate::libreswan;
use crate::wire::ping_pods;

/// The next comparison without a reason is further away than a test may last.
const NO_TIMER: &str = "nodeAgent: {resyncPeriod: 15m}";

/// Runs `body` with the example programmed, and nobody who would change what the agents want.
fn with_example(body: impl AsyncFnOnce(&Lab) -> Result<()> + Send) -> Result<()> {
    with_values(Config::default(), NO_TIMER, async |lab| {
        example(lab).await?;
        ping_pods(lab).await?;
        lab.stop_operator()?;
        body(lab).await
    })
}

async fn run(node: &Node, command: &str) -> Result<()> {
    node.run(command.split_whitespace()).await?.ok().map(drop)
}

/// Waits until the node's kernel has all of this (and whatever others have).
async fn back(lab: &Lab, node: &Node, whole: &Xfrm, after: &str) -> Result<()> {
    lab.wait(&format!("ours to be back after {after}"), SOON, async || {
        let now = node.xfrm().await?;
        let states = whole.states.iter().all(|state| now.states.contains(state));
        let policies = whole.policies.iter().all(|policy| now.policies.contains(policy));
        ensure!(states && policies, "{} has {now:#?}\ninstead of\n{whole:#?}", node.name);
        Ok(())
    })
    .await
}

/// The command that deletes what `ip` showed as `entry`.
fn deletion(database: &str, entry: &str) -> Result<String> {
    let words: Vec<&str> = entry.split_whitespace().collect();
    let named = |name: &str| {
        let at = words.iter().position(|word| *word == name);
        let value = at.and_then(|at| words.get(at + 1)).with_context(|| format!("no {name}: {entry}"))?;
        anyhow::Ok(format!("{name} {value}"))
    };
    let names: &[&str] =
        if database == "state" { &["src", "dst", "proto", "spi"] } else { &["src", "dst", "dir"] };
    let names: Vec<String> = names.iter().map(|name| named(name)).collect::<Result<_>>()?;
    // "0x00001001(4097)"
    let names = names.iter().map(|name| name.split('(').next().unwrap_or(name));
    Ok(format!("ip xfrm {database} delete {}", names.collect::<Vec<_>>().join(" ")))
}

#[test]
fn each_of_ours_comes_back_by_the_event_of_its_deletion() -> Result<()> {
    with_example(async |lab| {
        for node in lab.nodes() {
            let whole = node.xfrm().await?;
            assert_eq!(whole.states.len(), 2);
            assert!(whole.policies.len() >= 6, "{:#?}", whole.policies);
            let states = whole.states.iter().map(|entry| deletion("state", entry));
            let policies = whole.policies.iter().map(|entry| deletion("policy", entry));
            for command in states.chain(policies) {
                let command = command?;
                run(node, &command).await?;
                back(lab, node, &whole, &command).await?;
            }
            assert_eq!(node.xfrm().await?, whole);
        }
        ping_pods(lab).await
    })
}

#[test]
fn all_of_ours_come_back_after_a_flush() -> Result<()> {
    with_example(async |lab| {
        for node in lab.nodes() {
            let whole = node.xfrm().await?;
            for what in ["state flush", "policy flush", "state deleteall", "policy deleteall"] {
                run(node, &format!("ip xfrm {what}")).await?;
                back(lab, node, &whole, what).await?;
                ping_pods(lab).await?;
            }
            // The one right after the other, and again while the agent is at it.
            for _ in 0..3 {
                run(node, "ip xfrm state flush").await?;
                run(node, "ip xfrm policy flush").await?;
            }
            back(lab, node, &whole, "flushes of both").await?;
            assert_eq!(node.xfrm().await?, whole);
            ping_pods(lab).await?;
        }
        Ok(())
    })
}

#[test]
fn all_of_ours_come_back_after_libreswan_starts_and_stops() -> Result<()> {
    let packages = libreswan::packages()?;
    with_example(async |lab| {
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let whole = [a.xfrm().await?, b.xfrm().await?];
        let both_back = async |after: &str| {
            back(lab, a, &whole[0], after).await?;
            back(lab, b, &whole[1], after).await?;
            ping_pods(lab).await
        };
        let flushes = a.spawn("monitor", ["ip", "xfrm", "monitor", "all"]).await?;
        let flushed = |since: usize| {
            let log = flushes.log();
            ensure!(log[since..].contains("Flushed state"), "nobody flushed: {}", &log[since..]);
            Ok(log.len())
        };
        let daemons =
            [libreswan::start(lab, &packages, a, b).await?, libreswan::start(lab, &packages, b, a).await?];
        both_back("libreswan's start").await?;
        let said = flushed(0)?;

        libreswan::connect(lab, [(a, &daemons[0]), (b, &daemons[1])]).await?;
        both_back("libreswan's SAs").await?;

        for (node, daemon) in [a, b].into_iter().zip(daemons) {
            libreswan::stop(node, &packages, daemon).await?;
        }
        both_back("libreswan's stop").await?;
        flushed(said).map(drop)
    })
}
