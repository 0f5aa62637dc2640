//! `kubectl esplanade rotate`: new automatic keys now. What decides is here, without a cluster; [`run`] asks and waits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use esplanade_crds::{IpsecNodeState, IpsecPeer, ROTATE_ANNOTATION};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};

use crate::list;

/// How often it looks whether the nodes are done.
const LOOK: Duration = Duration::from_secs(1);

/// Which nodes get new keys, and how long to wait for them.
#[derive(Debug, clap::Args)]
pub(crate) struct Rotate {
    /// Names of nodes.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    nodes: Vec<String>,
    /// All nodes with automatic keys.
    #[arg(long)]
    all: bool,
    /// Wait until they are done: peers have acknowledged the new key, and the old one is gone.
    #[arg(long)]
    wait: bool,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 300, requires = "wait")]
    timeout: u64,
}

/// Asks the nodes for new keys; false if some weren't done in time.
pub(crate) async fn run(asked: &Rotate, client: &Client) -> Result<bool> {
    let (states, peers): (Vec<IpsecNodeState>, Vec<IpsecPeer>) = (list(client).await?, list(client).await?);
    let chosen = choose(&asked.nodes, &states, &peers)?;
    let now = Timestamp::now().to_string();
    let patch = serde_json::json!({"metadata": {"annotations": {ROTATE_ANNOTATION: now}}});
    let api = Api::<IpsecNodeState>::all(client.clone());
    for one in &chosen.asked {
        let answer = api.patch(&one.node, &PatchParams::default(), &Patch::Merge(&patch)).await;
        answer.with_context(|| format!("asking {} for a new key", one.node))?;
    }
    print!("{}", chosen.in_words());
    if !asked.wait {
        return Ok(true);
    }
    let deadline = Instant::now() + Duration::from_secs(asked.timeout);
    let mut waiting: Vec<&Asked> = chosen.asked.iter().collect();
    loop {
        let (states, peers): (Vec<IpsecNodeState>, Vec<IpsecPeer>) =
            (list(client).await?, list(client).await?);
        let mut still = Vec::new();
        for one in waiting {
            match progress(one, &states, &peers) {
                Progress::Done(words) => println!("{}: {words}", one.node),
                Progress::Waits(words) => still.push((one, words)),
            }
        }
        if still.is_empty() {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            still.iter().for_each(|(one, words)| println!("{}: not done: {words}", one.node));
            return Ok(false);
        }
        waiting = still.into_iter().map(|(one, _)| one).collect();
        tokio::time::sleep(LOOK).await;
    }
}

/// A node that is asked for a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    node: String,
    /// The keys that it had published.
    before: BTreeSet<String>,
}

/// Which nodes are asked, and which needn't be.
#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    asked: Vec<Asked>,
    without: Vec<String>,
}

/// The nodes of these names; of all where none is named.
fn choose(names: &[String], states: &[IpsecNodeState], peers: &[IpsecPeer]) -> Result<Chosen> {
    let there: BTreeSet<String> = states.iter().map(|state| state.name_any()).collect();
    let unknown: Vec<&str> = names.iter().filter(|name| !there.contains(*name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        let all: Vec<&str> = there.iter().map(String::as_str).collect();
        bail!("no node {}: there is {}", unknown.join(", "), or_none(&all));
    }
    let named = |state: &&IpsecNodeState| names.is_empty() || names.contains(&state.name_any());
    let (mut asked, mut without) = (Vec::new(), Vec::new());
    for state in states.iter().filter(named) {
        let node = state.name_any();
        let keys = peers.iter().filter(|peer| peer.name_any() == node).flat_map(published);
        let before: BTreeSet<String> = keys.map(str::to_owned).collect();
        if before.is_empty() && !state.spec.policies.iter().any(|policy| policy.automatic.is_some()) {
            without.push(node);
        } else {
            asked.push(Asked { node, before });
        }
    }
    Ok(Chosen { asked, without })
}

impl Chosen {
    fn in_words(&self) -> String {
        let mut lines: Vec<String> = self
            .asked
            .iter()
            .map(|one| {
                let more = if one.before.len() > 1 { ", once the rotation under way is over" } else { "" };
                format!("{}: asked for a new key{more}", one.node)
            })
            .collect();
        lines.extend(self.without.iter().map(|node| format!("{node}: has no automatic keys, nothing to do")));
        if lines.is_empty() {
            lines.push("there are no nodes".to_owned());
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// How far a node is.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done(String),
    Waits(String),
}

/// Whether the node has a new key that all have acknowledged, and none of those from before but for peers that don't answer.
fn progress(asked: &Asked, states: &[IpsecNodeState], peers: &[IpsecPeer]) -> Progress {
    let waits = |words: &str| Progress::Waits(words.to_owned());
    let Some(state) = states.iter().find(|state| state.name_any() == asked.node) else {
        return waits("its IpsecNodeState is gone");
    };
    let now: Vec<&str> =
        peers.iter().filter(|peer| peer.name_any() == asked.node).flat_map(published).collect();
    let Some(newest) = now.last().filter(|id| !asked.before.contains(**id)) else {
        return waits("it has published no new key: is its agent running, is a rotation under way?");
    };
    let keys = state.spec.keys.clone().unwrap_or_default();
    if keys.acknowledged.as_deref() != Some(*newest) {
        return waits(
            "not all peers have acknowledged its new key: see IpsecNodeStates' status.peersAppliedThrough",
        );
    }
    match (now.len(), keys.pending.as_slice()) {
        (1, _) => Progress::Done("has a new key, and no other".to_owned()),
        (_, []) => waits("its old key isn't gone yet"),
        (_, pending) => Progress::Done(format!(
            "has a new key; the old one stays for peers that don't answer: {}",
            pending.join(", ")
        )),
    }
}

fn published(peer: &IpsecPeer) -> impl Iterator<Item = &str> {
    peer.status.iter().flat_map(|status| &status.keys).map(|key| key.id.as_str())
}

fn or_none(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests;
