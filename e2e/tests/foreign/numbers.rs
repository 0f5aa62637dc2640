//! No sequence number twice with one key: seen on the wire while others flush the SAs under running traffic.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::capture::Capture;
use esplanade_e2e::controlplane::binaries::workspace;
use esplanade_e2e::guest::Process;
use esplanade_e2e::lab::{Config, Lab, Node};
use nix::sys::signal::Signal;

use crate::cluster::{SOON, secret, with_values};
use crate::wire::{clear_pod_packets, ping, sequence};

const A_TO_B: u32 = 4097;
const B_TO_A: u32 = 4098;
/// Packets each way before and after each flush.
const PACKETS: usize = 100;

/// The example with this replay protection on both SAs, and a name of its own.
async fn apply(lab: &Lab, anti_replay: &str) -> Result<()> {
    for name in ["ipsec-a-to-b", "ipsec-b-to-a"] {
        secret(lab, name, &[("encryption", 32), ("integrity", 32)]).await?;
    }
    for file in ["policy.yaml", "sas.yaml"] {
        let file = workspace().join("examples/manual").join(file);
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        lab.apply(&text.replace("  spi: ", &format!("  antiReplay: {anti_replay}\n  spi: "))).await?;
    }
    for what in ["ipsecsa/a-to-b", "ipsecsa/b-to-a", "ipsecpolicy/pods"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    Ok(())
}

/// The sequence numbers so far, of a to b and of b to a.
async fn numbers(lab: &Lab, wire: &Capture) -> Result<[Vec<u32>; 2]> {
    let packets = wire.packets().await?;
    let (a, b): (IpAddr, IpAddr) =
        (lab.node("node-a").addresses.v4.into(), lab.node("node-b").addresses.v4.into());
    Ok([sequence(&packets, a, b, A_TO_B), sequence(&packets, b, a, B_TO_A)])
}

/// Waits for more packets both ways.
async fn more(lab: &Lab, wire: &Capture) -> Result<()> {
    let before = numbers(lab, wire).await?;
    lab.wait("packets both ways", SOON, async || {
        let now = numbers(lab, wire).await?;
        for (before, now) in before.iter().zip(&now) {
            ensure!(now.len() >= before.len() + PACKETS, "{} since {}", now.len(), before.len());
        }
        Ok(())
    })
    .await
}

async fn flush(node: &Node) -> Result<()> {
    node.run(["ip", "xfrm", "state", "flush"]).await?.ok().map(drop)
}

/// No number twice, `steps` of a million or more each way, nothing in the clear, and nothing refused.
async fn judge(lab: &Lab, wire: Capture, steps: usize) -> Result<()> {
    let seen = numbers(lab, &wire).await?;
    for (way, numbers) in ["a to b", "b to a"].into_iter().zip(&seen) {
        assert!(numbers.is_sorted_by(|before, after| before < after), "{way}: {numbers:?}");
        let found = numbers.windows(2).filter(|pair| pair[1] - pair[0] > 1 << 20).count();
        assert_eq!(found, steps, "{way}: as many steps as the sender's SA was made anew: {numbers:?}");
    }
    let packets = wire.stop().await?;
    assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
    for node in lab.nodes() {
        let stat = node.xfrm_stat().await?;
        for counter in
            ["XfrmInStateSeqError", "XfrmInStateProtoError", "XfrmOutStateSeqError", "XfrmInTmplMismatch"]
        {
            assert_eq!(stat[counter], 0, "{counter} of {}", node.name);
        }
    }
    Ok(())
}

async fn no_number_twice(lab: &Lab, anti_replay: &str) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    apply(lab, anti_replay).await?;
    lab.stop_operator()?;
    let whole = [a.xfrm().await?, b.xfrm().await?];
    let (target, wire) = (IpAddr::from(b.pod(0).addresses.v4), a.capture().await?);
    let flood = a.pod(0).spawn("flood", ["ping", "-n", "-q", "-i", "0.005", &target.to_string()]).await?;
    more(lab, &wire).await?;
    for (node, which) in [(a, 0), (b, 1), (a, 0), (b, 1)] {
        flush(node).await?;
        lab.wait("the SAs to be back", SOON, async || {
            let now = node.xfrm().await?;
            ensure!(now == whole[which], "{now:#?}");
            Ok(())
        })
        .await?;
        // Every single one is answered.
        ping(a.pod(0), target).await?;
        ping(b.pod(0), a.pod(0).addresses.v4.into()).await?;
        more(lab, &wire).await?;
    }
    flood.signal(Signal::SIGINT).await?;
    flood.wait().await?;
    judge(lab, wire, 2).await
}

/// The SAs are flushed under traffic while no agent runs.
async fn no_number_twice_without_agents(lab: &Lab, anti_replay: &str) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    apply(lab, anti_replay).await?;
    let whole = [a.xfrm().await?, b.xfrm().await?];
    let (target, wire) = (IpAddr::from(b.pod(0).addresses.v4), a.capture().await?);
    let flood = a.pod(0).spawn("flood", ["ping", "-n", "-q", "-i", "0.005", &target.to_string()]).await?;
    more(lab, &wire).await?;
    for node in [a, b] {
        lab.stop_agent(&node.name).await?;
    }
    more(lab, &wire).await?;
    for node in [a, b] {
        flush(node).await?;
    }
    for node in [a, b] {
        lab.start_agent(&node.name).await?;
    }
    lab.wait("the SAs to be back", SOON, async || {
        let now = [a.xfrm().await?, b.xfrm().await?];
        ensure!(now == whole, "{now:#?}");
        Ok(())
    })
    .await?;
    ping(a.pod(0), target).await?;
    more(lab, &wire).await?;
    flood.signal(Signal::SIGINT).await?;
    flood.wait().await?;
    judge(lab, wire, 1).await
}

/// The SA of a to b in the kernel of a node, as `ip` shows it.
async fn shown(node: &Node) -> Result<String> {
    let all = node.run(["ip", "-d", "-s", "xfrm", "state"]).await?.ok()?;
    let spi = format!("spi {A_TO_B:#010x}");
    let mut blocks = all.split("\nsrc ").filter(|block| block.contains(&spi));
    blocks.next().map(str::to_owned).with_context(|| all.clone())
}

/// What follows on a word.
fn after<'a>(text: &'a str, word: &str) -> Result<&'a str> {
    let rest = text.split_once(word).with_context(|| format!("no {word} in {text}"))?.1;
    rest.split_whitespace().next().context("nothing follows")
}

/// The command that puts the SA back as it was but for its number, which `ip` makes 3.
fn put_back(lab: &Lab, shown: &str) -> Result<String> {
    let (from, to) = (lab.node("node-a").addresses.v4, lab.node("node-b").addresses.v4);
    let id = |word| Ok::<_, anyhow::Error>(after(shown, word)?.split('(').next().unwrap_or_default());
    let (reqid, auth, cipher) = (id("reqid ")?, after(shown, "hmac(sha256) ")?, after(shown, "cbc(aes) ")?);
    let direction = if shown.contains("dir out") { "dir out" } else { "" };
    // What says that it is ours (`Cookie::for_spi`); `ip` swaps its bytes.
    let cookie = (0x4553_0000 | (A_TO_B.wrapping_mul(0x9e37_79b1) >> 16)).swap_bytes();
    Ok(format!(
        "ip xfrm state add src {from} dst {to} proto esp spi {A_TO_B} reqid {reqid} seq {cookie:#x} mode tunnel \
         flag af-unspec auth-trunc hmac(sha256) {auth} 128 enc cbc(aes) {cipher} replay-oseq 3 {direction}"
    ))
}

/// What tells of SAs that come and go, once it does.
async fn monitor(lab: &Lab, node: &Node) -> Result<Process> {
    let monitor = node.spawn("monitor", ["ip", "xfrm", "monitor", "SA"]).await?;
    let other = "src 192.0.2.11 dst 198.51.100.1 proto esp spi 0x1101";
    lab.wait("the monitor", SOON, async || {
        let add = format!("ip xfrm state add {other} mode tunnel auth-trunc hmac(sha256) 0x0102 128 enc cbc(aes) 0x000102030405060708090a0b0c0d0e0f");
        node.run(add.split(' ')).await?.ok()?;
        node.run(format!("ip xfrm state delete {other}").split(' ')).await?.ok()?;
        ensure!(monitor.log().contains("Deleted"), "nothing yet");
        Ok(())
    })
    .await?;
    Ok(monitor)
}

/// While no agent runs somebody puts an SA back that sends numbers again: it is moved on in its place.
#[test]
fn an_sa_that_was_put_back_goes_on_past_its_numbers() -> Result<()> {
    with_values(Config::default(), "", async |lab| {
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        apply(lab, "{window: 0}").await?;
        let whole = a.xfrm().await?;
        let (target, wire) = (IpAddr::from(b.pod(0).addresses.v4), a.capture().await?);
        for _ in 0..3 {
            ping(a.pod(0), target).await?;
        }
        lab.stop_agent(&a.name).await?;
        let before = shown(a).await?;
        a.run(
            ["ip", "xfrm", "state", "delete", "src", &a.addresses.v4.to_string(), "dst"].into_iter().chain([
                b.addresses.v4.to_string().as_str(),
                "proto",
                "esp",
                "spi",
                &A_TO_B.to_string(),
            ]),
        )
        .await?
        .ok()?;
        a.run(put_back(lab, &before)?.split_whitespace()).await?.ok()?;
        let there = shown(a).await?;
        ensure!(a.xfrm().await? == whole, "not as it was: {there}");
        let monitor = monitor(lab, a).await?;
        lab.start_agent(&a.name).await?;
        let number = |shown: &str| {
            Ok::<_, anyhow::Error>(u64::from_str_radix(after(shown, "oseq 0x")?.trim_end_matches(','), 16)?)
        };
        lab.wait("another number", SOON, async || {
            let now = shown(a).await?;
            ensure!(number(&now)? > 1 << 20, "{now}");
            Ok(())
        })
        .await?;
        ping(a.pod(0), target).await?;
        let [numbers, _] = numbers(lab, &wire).await?;
        assert!(numbers.is_sorted_by(|before, after| before < after), "{numbers:?}");
        assert_eq!(numbers.len(), 12);
        let log = monitor.log();
        assert!(!log.contains(&format!("spi {A_TO_B:#010x}")), "neither deleted nor made anew: {log}");
        Ok(())
    })
}

#[test]
fn no_number_twice_after_flushes_without_agents() -> Result<()> {
    with_values(Config::default(), "", async |lab| no_number_twice_without_agents(lab, "{window: 32}").await)
}

#[test]
fn no_number_twice_with_extended_numbers_without_agents() -> Result<()> {
    let anti_replay = "{window: 128, extendedSequenceNumbers: true}";
    with_values(Config::default(), "", async |lab| no_number_twice_without_agents(lab, anti_replay).await)
}

#[test]
fn no_number_twice_after_flushes_without_a_window() -> Result<()> {
    with_values(Config::default(), "", async |lab| no_number_twice(lab, "{window: 0}").await)
}

#[test]
fn no_number_twice_after_flushes_with_a_window() -> Result<()> {
    with_values(Config::default(), "", async |lab| no_number_twice(lab, "{window: 32}").await)
}

#[test]
fn no_number_twice_after_flushes_with_extended_numbers() -> Result<()> {
    let anti_replay = "{window: 128, extendedSequenceNumbers: true}";
    with_values(Config::default(), "", async |lab| no_number_twice(lab, anti_replay).await)
}
