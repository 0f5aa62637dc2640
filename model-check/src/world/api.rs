//! The objects, and the events of the IpsecPeers.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_keying::node::{Change, PeerRecord};
use esplanade_keying::{KeyId, NodeUid, Version};
use esplanade_rollout::{Acknowledged, Level};

/// An IpsecPeer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerObject {
    /// The Node's UID.
    pub uid: NodeUid,
    /// `metadata.resourceVersion`.
    pub version: Version,
    /// `status.keys`.
    pub keys: Vec<KeyId>,
}

/// An IpsecNodeState.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NodeState {
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec.policies`: the revision's number and its phase.
    pub levels: BTreeMap<usize, Level>,
    /// The one of them that stands last: the newest.
    pub newest: Option<usize>,
    /// `spec.keys`.
    pub keys: Acknowledged<KeyId, u16>,
    /// `status.observedGeneration`.
    pub observed: Option<i64>,
    /// `status.peersAppliedThrough`.
    pub through: Option<u64>,
}

/// All objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Api {
    /// The version of the last write to an IpsecPeer.
    pub version: Version,
    /// IpsecPeers, by node.
    pub peers: BTreeMap<u16, PeerObject>,
    /// Events that not every agent has seen yet.
    pub events: Vec<(Version, NodeUid, Change)>,
    /// IpsecNodeStates, by node.
    pub states: BTreeMap<u16, NodeState>,
    /// The policy's revision, while it is there.
    pub current: Option<usize>,
    /// Nodes that haven't answered for too long.
    pub skipped: BTreeSet<u16>,
}

/// Every node takes part in the policy, whatever it has been edited to.
pub(super) fn record(keys: Vec<KeyId>) -> PeerRecord {
    PeerRecord { keys, policies: (0..8).map(super::revision).collect() }
}

impl Api {
    pub(super) fn new(nodes: usize, policy: bool) -> Self {
        let mut api = Self {
            version: Version(0),
            peers: BTreeMap::new(),
            events: Vec::new(),
            states: BTreeMap::new(),
            current: policy.then_some(0),
            skipped: BTreeSet::new(),
        };
        for node in 0..nodes {
            api.join(u16::try_from(node).unwrap_or(u16::MAX), NodeUid(node as u128));
        }
        api
    }

    fn write(&mut self, uid: NodeUid, change: Change) -> Version {
        self.version = Version(self.version.0 + 1);
        self.events.push((self.version, uid, change));
        self.version
    }

    pub(super) fn join(&mut self, node: u16, uid: NodeUid) {
        let version = self.write(uid, Change::Is(record(Vec::new())));
        self.peers.insert(node, PeerObject { uid, version, keys: Vec::new() });
        self.states.insert(node, NodeState::default());
    }

    pub(super) fn leave(&mut self, node: u16) {
        if let Some(peer) = self.peers.remove(&node) {
            self.write(peer.uid, Change::Gone);
        }
        self.states.remove(&node);
        self.skipped.remove(&node);
    }

    /// Writes a node's keys, if its IpsecPeer is still at `base`.
    pub(super) fn publish(&mut self, node: u16, keys: Vec<KeyId>, base: Version) {
        let Some(peer) = self.peers.get(&node).filter(|peer| peer.version == base) else { return };
        let version = self.write(peer.uid, Change::Is(record(keys.clone())));
        self.peers.insert(node, PeerObject { uid: self.peers[&node].uid, version, keys });
    }
}
