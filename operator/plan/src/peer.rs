//! What every node should know of each node.

use std::collections::BTreeMap;

use esplanade_crds::{IpsecPeerSpec, PeerSelectors};

use crate::cluster::Cluster;
use crate::policies::{Policies, Policy, State};
use crate::revisions::Newest;
use crate::rollout::{self, Leaving};

/// For every Node: its addresses, and what of each policy lies there.
pub(crate) fn peers(
    cluster: &Cluster<'_>,
    policies: &Policies<'_>,
    leaving: &Leaving<'_>,
) -> BTreeMap<String, IpsecPeerSpec> {
    let mut peers: BTreeMap<String, IpsecPeerSpec> = cluster
        .nodes()
        .map(|node| {
            let addresses = node.addresses.iter().map(ToString::to_string).collect();
            (node.name.clone(), IpsecPeerSpec { addresses, selectors: Vec::new() })
        })
        .collect();
    for (node, selectors) in rollout::kept(leaving, cluster) {
        if let Some(peer) = peers.get_mut(&node) {
            peer.selectors.push(selectors);
        }
    }
    for (name, policy) in policies.iter().filter(|(name, _)| !leaving.has(name)) {
        for (node, selectors) in published(name, policy, cluster) {
            if let Some(peer) = peers.get_mut(&node) {
                peer.selectors.push(selectors);
            }
        }
    }
    for (name, nodes) in policies.unreadable(cluster).iter().filter(|(name, _)| !leaving.has(name)) {
        for (node, selectors) in kept(name, nodes, cluster) {
            if let Some(peer) = peers.get_mut(&node) {
                peer.selectors.push(selectors);
            }
        }
    }
    peers
}

fn published(name: &str, policy: &Policy<'_>, cluster: &Cluster<'_>) -> Vec<(String, PeerSelectors)> {
    match &policy.state {
        State::Accepted { intent, participants, .. } => {
            let uid = policy.object.metadata.uid.as_deref().unwrap_or_default();
            let newest = Newest { name, uid, revision: &intent.revision, participants };
            let all = newest.published(cluster).into_iter();
            all.flat_map(|(node, entries)| entries.into_iter().map(move |entry| (node.clone(), entry)))
                .collect()
        }
        State::Refused { kept_at, .. } | State::Unresolved { kept_at, .. } => kept(name, kept_at, cluster),
    }
}

/// What has been published of a policy at these nodes.
fn kept(name: &str, nodes: &[String], cluster: &Cluster<'_>) -> Vec<(String, PeerSelectors)> {
    let of = |node: &String| {
        let published = cluster.published(node, name).into_iter();
        published.map(|one| (node.clone(), one.clone())).collect::<Vec<_>>()
    };
    nodes.iter().flat_map(of).collect()
}
