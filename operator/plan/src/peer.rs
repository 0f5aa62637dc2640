//! What every node should know of each node.

use std::collections::BTreeMap;

use esplanade_crds::{IpsecPeerSpec, PeerSelectors};

use crate::cluster::Cluster;
use crate::policies::{Policies, State};
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
        for (node, selectors) in published(name, &policy.state, cluster) {
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

fn published(name: &str, state: &State<'_>, cluster: &Cluster<'_>) -> Vec<(String, PeerSelectors)> {
    match state {
        State::Accepted { participants, .. } => participants
            .nodes()
            .map(|(node, networks)| {
                let policy = name.to_owned();
                (node.to_owned(), PeerSelectors { policy, from: networks.in_from(), to: networks.in_to() })
            })
            .collect(),
        State::Refused { kept_at, .. } | State::Unresolved { kept_at, .. } => kept(name, kept_at, cluster),
    }
}

/// What has been published of a policy at these nodes.
fn kept(name: &str, nodes: &[String], cluster: &Cluster<'_>) -> Vec<(String, PeerSelectors)> {
    nodes.iter().filter_map(|node| Some((node.clone(), cluster.published(node, name)?.clone()))).collect()
}
