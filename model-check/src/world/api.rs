//! The objects, and the events of the IpsecPeers.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_crds::phase_from;
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

/// A revision of the policy as a node is told of it; its level is that of the kernel in the agent's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Told {
    /// `phase`.
    pub level: Level,
    /// `target`: where it is to end.
    pub target: Level,
}

impl Told {
    /// Where the kernel is to go from where it is.
    pub fn from(self, reached: Level) -> Level {
        phase_from((self.level, self.target), reached)
    }
}

/// An IpsecNodeState.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NodeState {
    /// `metadata.uid`: the how-manieth of its name it is.
    pub uid: u16,
    /// `metadata.generation`; 0 while there is no such object.
    pub generation: i64,
    /// `metadata.resourceVersion`, where it counts: where objects can turn old.
    pub version: Option<Version>,
    /// `spec.policies`, by the revision's number.
    pub levels: BTreeMap<usize, Told>,
    /// The one of them that stands last: the newest.
    pub newest: Option<usize>,
    /// `spec.keys`.
    pub keys: Acknowledged<KeyId, u16>,
    /// `status.observedGeneration`.
    pub observed: Option<i64>,
    /// `status.peersAppliedThrough`.
    pub through: Option<u64>,
    /// `status.policies`: the phases in the kernel.
    pub reached: BTreeMap<usize, Level>,
}

impl NodeState {
    /// There is such an object.
    pub(super) fn exists(&self) -> bool {
        self.generation > 0
    }

    /// `status.peersAppliedThrough`, if it can be of this history.
    pub(super) fn applied_through(&self) -> Option<u64> {
        self.through.filter(|through| self.version.is_none_or(|own| *through <= own.0))
    }
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
    /// IpsecNodeStates, by node: of every Node that there is.
    pub states: BTreeMap<u16, NodeState>,
    /// The policy's revision, while it is there.
    pub current: Option<usize>,
    /// Nodes that haven't answered for too long.
    pub skipped: BTreeSet<u16>,
}

/// The most revisions of the policy in a model.
pub(super) const REVISIONS: usize = 8;

/// Every node takes part in the policy, whatever it has been edited to.
pub(super) fn record(keys: Vec<KeyId>) -> PeerRecord {
    PeerRecord { keys, policies: (0..REVISIONS).map(super::revision).collect() }
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
        self.make_peer(node, uid);
        self.states.insert(node, NodeState::default());
    }

    /// Somebody deletes a node's IpsecPeer.
    pub(super) fn lose_peer(&mut self, node: u16) {
        if let Some(peer) = self.peers.remove(&node) {
            self.write(peer.uid, Change::Gone);
        }
    }

    /// The operator makes it.
    pub(super) fn make_peer(&mut self, node: u16, uid: NodeUid) {
        let version = self.write(uid, Change::Is(record(Vec::new())));
        self.peers.insert(node, PeerObject { uid, version, keys: Vec::new() });
    }

    /// Somebody deletes its IpsecNodeState.
    pub(super) fn lose_state(&mut self, node: u16) {
        if let Some(state) = self.states.get_mut(&node) {
            *state = NodeState { uid: state.uid + 1, ..NodeState::default() };
        }
    }

    pub(super) fn leave(&mut self, node: u16) {
        self.lose_peer(node);
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
