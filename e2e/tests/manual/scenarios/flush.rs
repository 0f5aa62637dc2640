//! Somebody flushes all SAs and policies of a node.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::guest::Process;
use esplanade_e2e::lab::traffic::Direction;
use esplanade_e2e::lab::{Lab, Node};
use k8s_openapi::jiff::civil::DateTime;

use super::{Wires, any, at_rest, between_all, scenario_with};
use crate::automatic::{all_keys, ready};
use crate::cluster::{SOON, condition};
use crate::faults::told as event;

/// Without it, what no policy covers goes in the clear while the policies are away.
const BLOCK: &str = "nodeAgent: {defaultAction: Block}";
const FLUSH: [&str; 3] = ["sh", "-c", "ip xfrm state flush && ip xfrm policy flush"];
/// Of policies that tell when the monitor listens.
const MARK: &str = "src 203.0.113.1/32 dst 203.0.113.2/32";

/// Packets that the nodes' kernels have dropped, as /proc/net/xfrm_stat says and the agents' metrics with it.
async fn dropped(lab: &Lab) -> Result<u64> {
    let mut sum = 0;
    for node in lab.nodes() {
        sum += node.xfrm_stat().await?.values().sum::<u64>();
    }
    Ok(sum)
}

/// What a node's agent says of what somebody else has deleted: SAs, policies, packets that the kernel dropped meanwhile.
async fn told(lab: &Lab, node: &Node) -> Result<(usize, usize, u64)> {
    let state = lab.get(&format!("ipsecnodestate/{}", node.name)).await?;
    let (reason, message) = condition(&state, "Restored")?;
    ensure!(reason == "DeletedByOthers" && message.contains("all was back within"), "{reason}: {message}");
    let number_after = |words: &str| {
        let text = message.split_once(words).with_context(|| format!("no \"{words}\": {message}"))?.1;
        let digits = text.split(' ').next().unwrap_or_default();
        digits.parse::<u64>().with_context(|| message.to_owned())
    };
    let [sas, policies] = [number_after("deleted ")?, number_after(" and ")?].map(usize::try_from);
    Ok((sas?, policies?, number_after("the kernel dropped ")?))
}

/// `ip xfrm monitor` at a node that is about to be flushed.
struct Monitor {
    process: Process,
    /// SPIs that must come back, and how many policies.
    spis: BTreeSet<String>,
    policies: usize,
}

impl Monitor {
    async fn start(lab: &Lab, node: &Node, name: &str) -> Result<Self> {
        let before = node.xfrm().await?;
        let spis = before.states.iter().filter_map(|state| spi(state)).collect();
        // Not `all`: with a listener to ACQUIRE the kernel makes larval SAs, and each packet's replay update would be told too.
        // Its times are those at which it reads, so it reads before anybody else gets the CPU.
        let monitor = ["chrt", "--fifo", "1", "ip", "-ts", "xfrm", "monitor", "SA", "policy"];
        let process = node.spawn(name, monitor).await?;
        lab.wait("the monitor to listen", SOON, async || {
            for verb in ["add", "delete"] {
                node.run(format!("ip xfrm policy {verb} {MARK} dir in").split(' ')).await?.ok()?;
            }
            ensure!(process.log().contains(MARK), "not yet");
            Ok(())
        })
        .await?;
        Ok(Self { process, spis, policies: before.policies.len() })
    }

    /// Milliseconds from the flush of the SAs until all of them were back, and the same for policies.
    async fn stop(self) -> Result<(i64, i64)> {
        self.process.stop().await?;
        healed(&self.process.log(), self.spis, self.policies)
    }
}

/// The SPI in what `ip` prints of an SA.
fn spi(text: &str) -> Option<String> {
    Some(text.split_once(" spi ")?.1.split(['(', ' ', '\n']).next()?.to_owned())
}

fn healed(log: &str, mut spis: BTreeSet<String>, mut policies: usize) -> Result<(i64, i64)> {
    let [mut now, mut states_flushed, mut policies_flushed] = [None::<DateTime>; 3];
    let [mut states_back, mut policies_back] = [None::<DateTime>; 2];
    let mut deleted = false;
    for line in log.lines() {
        let text = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((time, text)) => {
                now = Some(time.parse().with_context(|| line.to_owned())?);
                text
            }
            None => line,
        };
        if !text.starts_with(char::is_whitespace) {
            deleted = text.starts_with("Deleted");
        }
        if text.starts_with("Flushed state") {
            states_flushed = states_flushed.or(now);
        } else if text.starts_with("Flushed policy") {
            policies_flushed = policies_flushed.or(now);
        } else if !deleted
            && states_flushed.is_some()
            && spi(text).is_some_and(|spi| spis.remove(&spi))
            && spis.is_empty()
        {
            states_back = now;
        }
        if !deleted && policies_flushed.is_some() && policies > 0 && text.trim_start().starts_with("dir ") {
            policies -= 1;
            if policies == 0 {
                policies_back = now;
            }
        }
    }
    let since = |from: Option<DateTime>, to: Option<DateTime>, what: &str| {
        let (from, to) =
            from.zip(to).with_context(|| format!("{what} aren't back: {spis:?}, {policies}\n{log}"))?;
        Ok::<_, anyhow::Error>(i64::try_from(from.duration_until(to).as_millis())?)
    };
    Ok((since(states_flushed, states_back, "SAs")?, since(policies_flushed, policies_back, "policies")?))
}

/// Flushes a drawn node so often, and says how long each took to heal, and how many datagrams were lost in all.
#[allow(clippy::print_stderr)] // the report of `make test-long`
fn heals(flushes: usize) -> Result<()> {
    scenario_with(BLOCK, async |lab, rng| {
        at_rest(lab).await?;
        let wires = Wires::capture(lab, lab.nodes()).await?;
        let traffic = between_all(lab).await?;
        let before = dropped(lab).await?;
        let mut took = Vec::new();
        for round in 0..flushes {
            let node = any(lab, rng);
            let at = lab.nodes().iter().position(|one| one.name == node.name).context("the node")?;
            let keys = all_keys(lab).await?;
            let dropped_here = node.xfrm_stat().await?.values().sum::<u64>();
            let monitor = Monitor::start(lab, node, &format!("flush-{round}")).await?;
            node.run(FLUSH).await?.ok()?;
            // Its key has seen its time (R7).
            lab.wait("another key", SOON, async || {
                let now = all_keys(lab).await?;
                ensure!(now[at].len() == 1 && now[at] != keys[at], "{now:?} after {keys:?}");
                Ok(())
            })
            .await?;
            at_rest(lab).await?;
            let least = (monitor.spis.len(), monitor.policies);
            took.push(monitor.stop().await?);
            let dropped_here = node.xfrm_stat().await?.values().sum::<u64>() - dropped_here;
            lab.wait("the loss to be told", SOON, async || {
                let (sas, policies, packets) = told(lab, node).await?;
                let all = sas >= least.0 && policies >= least.1 && packets.min(1) >= dropped_here.min(1);
                ensure!(
                    all,
                    "{sas} SAs, {policies} policies, {packets} packets; not {least:?}, {dropped_here}"
                );
                Ok(())
            })
            .await?;
            event(lab, &format!("Warning DeletedByOthers IpsecNodeState {}", node.name)).await?;
        }
        ready(lab, "pods").await?;
        let directions = traffic.stop(lab).await?;
        directions.iter().try_for_each(Direction::stream_is_whole)?;
        let lost: u64 = directions.iter().map(Direction::lost).sum();
        let told = dropped(lab).await? - before;
        ensure!(told >= lost, "{lost} datagrams were lost, and the kernels told of {told} packets");
        eprintln!("flushed {flushes} times; milliseconds until SAs and policies were back: {took:?}");
        let sent: u64 = directions.iter().map(|direction| direction.sent.datagrams).sum();
        eprintln!("{lost} of {sent} datagrams were lost; the kernels dropped {told} packets");
        wires.are_clean().await.map(drop)
    })
}

#[test]
fn a_node_that_is_flushed_heals_without_clear_text_and_without_a_number_twice() -> Result<()> {
    heals(3)
}

mod long {
    #[test]
    fn thirty_flushes_heal_without_clear_text_and_without_a_number_twice() -> anyhow::Result<()> {
        super::heals(30)
    }
}

#[test]
fn what_the_monitor_says_is_read() {
    let log = "[2026-11-28T16:00:00.000100] Flushed state proto 0 \n[2026-11-28T16:00:00.004100] src a dst b\n\tproto \
               esp spi 0x00000001 reqid 1 mode tunnel\n[2026-11-28T16:00:00.020000] Flushed policy\n\
               [2026-11-28T16:00:00.021000] Deleted src c dst d \n\tdir in priority 1 \n\
               [2026-11-28T16:00:00.029000] src c dst d \n\tdir out priority 1 \n";
    let spis = || BTreeSet::from(["0x00000001".to_owned()]);
    assert_eq!(healed(log, spis(), 1).unwrap(), (4, 9));
    assert!(healed(log, spis(), 2).is_err());
}
