//! The snapshot, indexed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use esplanade_crds::{
    IpsecNodeState, IpsecPeer, NodePolicy, NodeSecurityAssociation, PeerSelectors, SealingKey,
};

use crate::snapshot::{NodeView, Snapshot};
use crate::status::covers;

/// The snapshot, with its objects by name.
pub(crate) struct Cluster<'a> {
    nodes: BTreeMap<&'a str, &'a NodeView>,
    states: BTreeMap<&'a str, &'a IpsecNodeState>,
    peers: BTreeMap<&'a str, &'a IpsecPeer>,
    by_address: BTreeMap<IpAddr, &'a str>,
    has_automatic: bool,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        let nodes: BTreeMap<_, _> = snapshot.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
        let mut by_address = BTreeMap::new();
        for (name, node) in &nodes {
            for address in &node.addresses {
                by_address.entry(*address).or_insert(*name);
            }
        }
        let name = |name: &'a Option<String>| name.as_deref().unwrap_or_default();
        Self {
            nodes,
            states: snapshot.node_states.iter().map(|one| (name(&one.metadata.name), one)).collect(),
            peers: snapshot.peers.iter().map(|one| (name(&one.metadata.name), one)).collect(),
            by_address,
            has_automatic: snapshot.node_states.iter().any(has_automatic),
        }
    }

    /// Every Node, by name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &'a NodeView> + '_ {
        self.nodes.values().copied()
    }

    pub(crate) fn node(&self, name: &str) -> Option<&'a NodeView> {
        self.nodes.get(name).copied()
    }

    /// The Node that has this address.
    pub(crate) fn node_with(&self, address: IpAddr) -> Option<&'a str> {
        self.by_address.get(&address).copied()
    }

    /// The node's IpsecNodeState as it is now.
    pub(crate) fn state(&self, node: &str) -> Option<&'a IpsecNodeState> {
        self.states.get(node).copied()
    }

    /// The node's IpsecPeer as it is now.
    pub(crate) fn peer(&self, node: &str) -> Option<&'a IpsecPeer> {
        self.peers.get(node).copied()
    }

    /// Some node has been told of a policy with automatic keys.
    pub(crate) fn has_automatic(&self) -> bool {
        self.has_automatic
    }

    /// The node has.
    pub(crate) fn has_automatic_at(&self, node: &str) -> bool {
        self.state(node).is_some_and(has_automatic)
    }

    /// The IpsecSA as the node has been told.
    pub(crate) fn installed_sa(&self, node: &str, sa: &str) -> Option<&'a NodeSecurityAssociation> {
        self.state(node)?.spec.security_associations.iter().find(|one| one.name == sa)
    }

    /// The SPI that the node's kernel chose for the IpsecSA.
    pub(crate) fn allocated_spi(&self, node: &str, sa: &str) -> Option<u32> {
        let allocated = &self.state(node)?.status.as_ref()?.allocated;
        allocated.iter().find(|one| one.name == sa).map(|one| one.spi)
    }

    /// The IpsecPolicy as the node has been told, in all its revisions, the newest last.
    pub(crate) fn installed_revisions<'b>(
        &self,
        node: &str,
        policy: &'b str,
    ) -> impl Iterator<Item = &'a NodePolicy> + use<'a, 'b> {
        let told = self.state(node).map(|state| state.spec.policies.as_slice()).unwrap_or_default();
        told.iter().filter(move |one| one.name == policy)
    }

    /// What of the policy lies at the node, as everyone has been told.
    pub(crate) fn published(&self, node: &str, policy: &str) -> Vec<&'a PeerSelectors> {
        let all = self.peer(node).map(|peer| peer.spec.selectors.as_slice()).unwrap_or_default();
        all.iter().filter(|one| one.policy == policy).collect()
    }

    /// How far the node has taken in the IpsecPeers, if it can have: a resourceVersion beyond that of the object which says so
    /// is of another history, before etcd was restored from a backup.
    pub(crate) fn applied_through(&self, node: &str) -> Option<&'a str> {
        let state = self.state(node)?;
        let through = state.status.as_ref()?.peers_applied_through.as_deref()?;
        let own = state.metadata.resource_version.as_deref();
        own.is_none_or(|own| covers(own, through)).then_some(through)
    }

    /// The sealing key that the node's agent has published.
    pub(crate) fn sealing_key(&self, node: &str) -> Option<&'a SealingKey> {
        self.state(node)?.status.as_ref()?.sealing_key.as_ref()
    }
}

fn has_automatic(state: &IpsecNodeState) -> bool {
    state.spec.policies.iter().any(|told| told.automatic.is_some())
}
