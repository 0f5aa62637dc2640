//! How far each policy with automatic keys is switched on at each node, and which keys are acknowledged; and how far those
//! between nodes that let pass what others protect. All that has to be remembered from step to step is in the node states
//! themselves.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_crds::{
    Action, NodeKeys, NodePolicy, PeerSelectors, Phase, PhaseTarget, ProblemKind, conditions,
};
use esplanade_rollout::{Acknowledged, Level, Listener, Participant, acknowledge, leave, switched_off};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::cluster::Cluster;
use crate::revisions::off;
use crate::snapshot::NodeView;

/// A Node that isn't Ready for so long isn't waited for. The node lifecycle controller takes pods away after as long.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// Nobody waits for the node.
fn is_skipped(node: &NodeView, now: &Time) -> bool {
    node.not_ready_since.is_some_and(|since| now.0.duration_since(since) >= PATIENCE)
}

/// When a node that isn't waited for any more comes to be so, next.
pub(crate) fn next_skipped(cluster: &Cluster<'_>, now: &Time) -> Option<Time> {
    let since = cluster.nodes().filter(|node| !is_skipped(node, now)).filter_map(|node| node.not_ready_since);
    since.min().and_then(|since: Timestamp| since.checked_add(PATIENCE).ok()).map(Time)
}

/// Which of the node's keys are acknowledged (R4 of `docs/keying.md`).
pub(crate) fn keys(node: &str, cluster: &Cluster<'_>, now: &Time) -> Option<NodeKeys> {
    let told = cluster.state(node).and_then(|state| state.spec.keys.clone());
    let Some((peer, version)) = cluster.peer(node).and_then(|peer| Some((peer, version_of(peer)?))) else {
        return told;
    };
    let before = told.unwrap_or_default();
    let before = Acknowledged { key: before.acknowledged, pending: before.pending };
    let published = peer.status.iter().flat_map(|status| &status.keys);
    let published: Vec<String> = published.map(|key| key.id.clone()).collect();
    let others = cluster.nodes().filter(|other| other.name != node);
    let listeners: Vec<Listener<String>> = others
        .map(|other| Listener {
            name: other.name.clone(),
            applied_through: applied_through(&other.name, cluster),
            skipped: is_skipped(other, now),
        })
        .collect();
    let Acknowledged { key, pending } = acknowledge(&before, &published, version, &listeners);
    let keys = NodeKeys { acknowledged: key, pending };
    (keys != NodeKeys::default()).then_some(keys)
}

/// Nodes go along with the policy step by step: with automatic keys, and where it lets pass between nodes what others may
/// protect so. Who sends in the clear by it needs others that take that, and the other way round.
pub(crate) fn in_steps(policy: &NodePolicy, cluster: &Cluster<'_>) -> bool {
    let between_nodes = || policy.gateways.is_empty() && policy.outside.is_none();
    policy.automatic.is_some()
        || policy.action == Action::Bypass && between_nodes() && cluster.has_automatic()
}

/// Policies that are gone, or were replaced by others of their names, and that nodes still have.
#[derive(Default)]
pub(crate) struct Leaving<'a> {
    /// By name and UID, with the nodes, and the revisions that each has.
    policies: BTreeMap<(&'a str, &'a str), BTreeMap<&'a str, Vec<&'a NodePolicy>>>,
    /// Names that another policy can't have yet.
    taken: BTreeSet<&'a str>,
}

impl<'a> Leaving<'a> {
    /// `there` says whether there is a policy of this name and UID.
    pub(crate) fn of(cluster: &Cluster<'a>, now: &Time, there: impl Fn(&str, &str) -> bool) -> Self {
        let mut leaving = Self::default();
        let mut follows = BTreeSet::new();
        for node in cluster.nodes() {
            let told = cluster.state(&node.name).map(|state| &state.spec.policies);
            for policy in told.into_iter().flatten().filter(|policy| in_steps(policy, cluster)) {
                let key = (policy.name.as_str(), policy.uid.as_str());
                if there(key.0, key.1) {
                    follows.insert(key.0);
                    continue;
                }
                leaving.policies.entry(key).or_default().entry(&node.name).or_default().push(policy);
                // Who doesn't answer has it until it does.
                if !is_skipped(node, now) {
                    leaving.taken.insert(key.0);
                }
            }
        }
        leaving.taken.retain(|name| !follows.contains(name));
        leaving
    }

    /// A policy of this name is leaving: another one of the name waits until it has left, but for nodes that don't answer.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.taken.contains(name)
    }

    /// What each node is told of them now: a step less each time all have confirmed the one before.
    pub(crate) fn told(&self, cluster: &Cluster<'_>, now: &Time) -> Vec<(String, NodePolicy)> {
        let mut told = Vec::new();
        for ((name, uid), nodes) in &self.policies {
            let revisions = in_order(nodes.values().cloned());
            let names: Vec<&str> = nodes.keys().copied().collect();
            let published = names.iter().map(|node| (*node, true)).collect();
            let participants = |policy: &&NodePolicy| {
                let of = Of { name, uid, revision: &policy.revision };
                participants(&of, &names, &published, cluster, now)
            };
            let of_each: Vec<Vec<Participant>> = revisions.iter().map(participants).collect();
            for ((policy, participants), levels) in revisions.into_iter().zip(&of_each).zip(leave(&of_each)) {
                let of = Of { name, uid, revision: &policy.revision };
                for ((node, one), level) in names.iter().zip(participants).zip(levels) {
                    let has = installed(&of, node, cluster)
                        .or(Some(policy).filter(|_| can_join(policy, node, cluster)));
                    let next = has.and_then(|has| off(has, switched_off(one, level, false)));
                    told.extend(next.map(|next| ((*node).to_owned(), next)));
                }
            }
        }
        told
    }
}

/// All revisions in these lists, of which each node has one: the newest last, as in the lists.
pub(crate) fn in_order<'a>(lists: impl Iterator<Item = Vec<&'a NodePolicy>>) -> Vec<&'a NodePolicy> {
    let mut lists: Vec<_> = lists.collect();
    lists.sort_by_key(|list| std::cmp::Reverse(list.len()));
    let mut seen = BTreeSet::new();
    lists.into_iter().flatten().filter(|policy| seen.insert(policy.revision.as_str())).collect()
}

/// The node takes part in this revision, whether it was told of it or not, and can be told just this: another node's PPK is
/// sealed to that.
fn can_join(policy: &NodePolicy, node: &str, cluster: &Cluster<'_>) -> bool {
    let peer = cluster.peer(node).map(|peer| &peer.spec);
    let part = peer.and_then(|peer| peer.selectors_of(&policy.name, &policy.revision));
    part.is_some() && policy.automatic.as_ref().is_none_or(|keying| keying.ppk.is_none())
}

/// A policy in one of its revisions.
pub(crate) struct Of<'a> {
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) revision: &'a str,
}

/// What the node has been told of it.
pub(crate) fn installed<'c>(policy: &Of<'_>, node: &str, cluster: &Cluster<'c>) -> Option<&'c NodePolicy> {
    let mut revisions = cluster.installed_revisions(node, policy.name);
    revisions.find(|told| told.uid == policy.uid && told.revision == policy.revision)
}

/// The phase that the node says its kernel has it in.
pub(crate) fn reached(policy: &Of<'_>, node: &str, cluster: &Cluster<'_>) -> Option<Phase> {
    let status = cluster.state(node)?.status.as_ref()?;
    let mut of_policy = status.policies.iter().filter(|one| one.uid == policy.uid);
    of_policy.find(|one| one.revision == policy.revision).map(|one| one.phase)
}

/// Where each of these nodes, all that take part, is with the policy. `published` has all nodes that it concerns, which are
/// more where an edit changes who takes part: whether their IpsecPeers say what they should of it.
pub(crate) fn participants(
    policy: &Of<'_>,
    nodes: &[&str],
    published: &BTreeMap<&str, bool>,
    cluster: &Cluster<'_>,
    now: &Time,
) -> Vec<Participant> {
    let told_of = |node: &&str| installed(policy, node, cluster);
    let lets_pass = nodes.iter().filter_map(told_of).any(|told| told.automatic.is_none());
    // Where nothing has automatic keys, packets that are let through are understood.
    let understands = |node: &str| lets_pass && !cluster.has_automatic_at(node);
    let skipped =
        |node: &str| understands(node) || cluster.node(node).is_some_and(|node| is_skipped(node, now));
    // The newest of the IpsecPeers, if all of them have what the others need.
    let waited_for = published.iter().filter(|(node, _)| !skipped(node));
    let versions = waited_for.map(|(node, published)| {
        let peer = cluster.peer(node).filter(|_| *published)?;
        let keyed = peer.status.as_ref().is_some_and(|status| !status.keys.is_empty());
        version_of(peer).filter(|_| keyed || lets_pass || !nodes.contains(node))
    });
    let versions: Option<Vec<u64>> = versions.collect();
    let newest = versions.map(|versions| versions.into_iter().max().unwrap_or_default());
    let participant = |node: &&str| {
        let state = cluster.state(node);
        let status = state.and_then(|state| state.status.as_ref());
        let confirmed = state.and_then(|state| state.metadata.generation).is_some_and(|generation| {
            let observed = status.and_then(|status| status.observed_generation);
            Participant::has_confirmed(observed, generation, applied_through(node, cluster), newest)
        });
        let trouble = status.is_some_and(|status| {
            let problems = status.problems.iter();
            problems.filter(|problem| !conditions::is_warning(&problem.category)).any(|problem| match problem
                .kind
            {
                ProblemKind::IpsecPolicy => problem.name == policy.name,
                ProblemKind::Node => true,
                ProblemKind::IpsecSA => false,
            })
        });
        let told = installed(policy, node, cluster);
        Participant {
            told: told.map(|told| told.phase.into()).unwrap_or_default(),
            to: told.map_or(Level::Enforce, |told| told.target.phase().map(Level::from).unwrap_or_default()),
            reached: reached(policy, node, cluster).map(Level::from).unwrap_or_default(),
            confirmed,
            trouble,
            skipped: skipped(node),
        }
    };
    nodes.iter().map(participant).collect()
}

/// What nodes are told that took part in the policy and do no longer: to switch it off, until they have.
pub(crate) fn no_longer(policy: &Of<'_>, nodes: &[&str], cluster: &Cluster<'_>) -> Vec<(String, NodePolicy)> {
    let others = cluster.nodes().filter(|node| !nodes.contains(&node.name.as_str()));
    let told = others.filter_map(|node| {
        let told = installed(policy, &node.name, cluster)?;
        let state = cluster.state(&node.name)?;
        let observed = state.status.as_ref().and_then(|status| status.observed_generation);
        let done = observed.is_some() && observed == state.metadata.generation;
        let over = told.target == PhaseTarget::Absent && done;
        let next = off(told, Some(Level::Prepare)).filter(|_| !over);
        next.map(|next| (node.name.clone(), next))
    });
    told.collect()
}

/// What is published of policies that leave: all that there is, until no node has them.
pub(crate) fn kept<'a>(
    leaving: &'a Leaving<'a>,
    cluster: &'a Cluster<'a>,
) -> impl Iterator<Item = (String, PeerSelectors)> + 'a {
    cluster.nodes().flat_map(move |node| {
        let kept = leaving.taken.iter().flat_map(|name| cluster.published(&node.name, name));
        kept.map(|selectors| (node.name.clone(), selectors.clone())).collect::<Vec<_>>()
    })
}

fn applied_through(node: &str, cluster: &Cluster<'_>) -> Option<u64> {
    cluster.applied_through(node)?.parse().ok()
}

fn version_of(peer: &esplanade_crds::IpsecPeer) -> Option<u64> {
    peer.metadata.resource_version.as_deref()?.parse().ok()
}
