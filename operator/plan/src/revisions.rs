//! A policy with which nodes go along step by step, in several revisions: one in force, and what an edit makes of it beside it. What the nodes
//! have been told says which there are; the policy itself only knows the last one.

use std::collections::BTreeMap;

use esplanade_crds::{NodePolicy, PeerSelectors, PhaseTarget};
use esplanade_rollout::{Level, Participant, complete, is_going, next, replaced, switched_off};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::cluster::Cluster;
use crate::participants::{Networks, Participants};
use crate::rollout::{self, Of};

/// The policy that nodes are told of, in its newest revision, and who takes part in that.
pub(crate) struct Newest<'a> {
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) revision: &'a str,
    pub(crate) participants: &'a Participants,
}

impl Newest<'_> {
    fn of<'b>(&'b self, revision: &'b str) -> Of<'b> {
        Of { name: self.name, uid: self.uid, revision }
    }

    /// The revisions before it that nodes have been told of, the oldest first.
    pub(crate) fn earlier<'c>(&self, cluster: &Cluster<'c>) -> Vec<&'c str> {
        let told = cluster.nodes().map(|node| {
            let of_policy =
                cluster.installed_revisions(&node.name, self.name).filter(|told| told.uid == self.uid);
            of_policy
                .filter(|told| rollout::in_steps(told, cluster) && told.revision != self.revision)
                .collect()
        });
        rollout::in_order(told).into_iter().map(|told| told.revision.as_str()).collect()
    }

    /// What is published of the policy at each node. While an edit changes what lies there, of each revision by itself:
    /// who takes part in one takes part in the others only if it is said.
    pub(crate) fn published(&self, cluster: &Cluster<'_>) -> BTreeMap<String, Vec<PeerSelectors>> {
        let entry = |from: Vec<String>, to: Vec<String>, revision: Option<&str>| PeerSelectors {
            policy: self.name.to_owned(),
            revision: revision.map(str::to_owned),
            from,
            to,
        };
        let earlier = self.earlier(cluster);
        let networks: BTreeMap<&str, &Networks> = self.participants.nodes().collect();
        let same = |node: &str, before: &PeerSelectors| {
            let now = networks.get(node);
            now.is_some_and(|now| before.from == now.in_from() && before.to == now.in_to())
        };
        let before = |node: &str, revision: &str| {
            cluster.peer(node).and_then(|peer| peer.spec.selectors_of(self.name, revision))
        };
        let all_before =
            |node: &str| earlier.iter().filter_map(|revision| before(node, revision)).collect::<Vec<_>>();
        let ends_stay =
            cluster.nodes().all(|node| all_before(&node.name).iter().all(|one| same(&node.name, one)));
        let at = |node: &str| -> Vec<PeerSelectors> {
            let now = networks.get(node);
            // A Node that joins while an edit changes other things takes part in all revisions.
            let joins = ends_stay && cluster.state(node).is_none_or(|state| state.status.is_none());
            let of_all = earlier.iter().all(|revision| {
                joins && before(node, revision).is_none()
                    || before(node, revision).is_some_and(|one| same(node, one))
            });
            if let Some(now) = now.filter(|_| of_all) {
                return vec![entry(now.in_from(), now.in_to(), None)];
            }
            let earlier = earlier.iter().filter_map(|revision| {
                let one = before(node, revision)?;
                Some(entry(one.from.clone(), one.to.clone(), Some(*revision)))
            });
            let now = now.map(|now| entry(now.in_from(), now.in_to(), Some(self.revision)));
            earlier.chain(now).collect()
        };
        let all = cluster.nodes().map(|node| (node.name.clone(), at(&node.name)));
        all.filter(|(_, entries)| !entries.is_empty()).collect()
    }

    /// What each node is told next. `wanted` is the newest revision with the phase where it is to end.
    pub(crate) fn told(
        &self,
        wanted: &NodePolicy,
        cluster: &Cluster<'_>,
        now: &Time,
    ) -> Vec<(String, NodePolicy)> {
        let published = self.published(cluster);
        let is_published = |node: &str| {
            let planned = published.get(node).map(Vec::as_slice).unwrap_or_default();
            cluster.published(node, self.name).into_iter().eq(planned)
        };
        let has_any = |node: &str| cluster.installed_revisions(node, self.name).next().is_some();
        let names = cluster.nodes().map(|node| node.name.as_str());
        let concerned = names.filter(|node| published.contains_key(*node) || has_any(node));
        let concerned: BTreeMap<&str, bool> = concerned.map(|node| (node, is_published(node))).collect();
        let participants = |revision: &str, nodes: &[&str]| -> Vec<Participant> {
            rollout::participants(&self.of(revision), nodes, &concerned, cluster, now)
        };
        let nodes: Vec<&str> = self.participants.nodes().map(|(node, _)| node).collect();
        let newest = participants(self.revision, &nodes);
        let target = Level::from(wanted.phase);
        let over = complete(&newest, target);

        let mut told: Vec<(String, NodePolicy)> = Vec::new();
        for revision in self.earlier(cluster) {
            let has = |node: &str| rollout::installed(&self.of(revision), node, cluster);
            let takes_part = |node: &&str| {
                let published = published.get(*node).into_iter().flatten();
                let mut published =
                    published.filter(|one| one.revision.as_deref().is_none_or(|of| of == revision));
                has(node).is_some() || published.next().is_some()
            };
            let nodes: Vec<&str> = concerned.keys().copied().filter(takes_part).collect();
            let of_revision = participants(revision, &nodes);
            let joins = |place: usize| {
                let node = nodes.get(place).copied().unwrap_or_default();
                rollout::installed(&self.of(self.revision), node, cluster).is_none()
            };
            let levels = replaced(&of_revision, over, joins);
            let goes = is_going(&of_revision, over);
            let model = nodes.iter().find_map(|node| has(node));
            for (place, (node, level)) in nodes.iter().zip(levels).enumerate() {
                // Who has the newest and not this one has let go of it.
                let Some(before) = has(node).or(model.filter(|_| joins(place))) else { continue };
                let next = match level.phase() {
                    _ if goes => off(before, switched_off(&of_revision[place], level, !joins(place))),
                    Some(phase) => Some(NodePolicy { phase, ..before.clone() }),
                    None => None,
                };
                told.extend(next.map(|next| ((*node).to_owned(), next)));
            }
        }
        let levels = next(&newest, target);
        let current = nodes.iter().zip(levels).filter_map(|(node, level)| {
            Some(((*node).to_owned(), NodePolicy { phase: level.phase()?, ..wanted.clone() }))
        });
        told.extend(current);
        told.extend(rollout::no_longer(&self.of(self.revision), &nodes, cluster));
        // As each node has them, the newest last.
        told.sort_by_key(|(node, told)| {
            let mut before = cluster.installed_revisions(node, self.name);
            let place = before.position(|one| one.revision == told.revision);
            (told.revision == self.revision, place.unwrap_or(usize::MAX))
        });
        told
    }
}

/// A policy as it is told where it is switched off, at this level; none where nothing is said of it any more.
pub(crate) fn off(policy: &NodePolicy, level: Option<Level>) -> Option<NodePolicy> {
    let phase = level?.phase()?;
    Some(NodePolicy { phase, target: PhaseTarget::Absent, ..policy.clone() })
}
