//! What can happen to a node.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Node, Scope, Spis, Step, view::Peer};
use crate::{KeyId, NodeUid, PolicyRevision, Record, Sa, Stage, Time, Version};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// All IpsecPeers were read, consistently, as they were at `version`. The node's own is among them.
    Listed {
        /// The list's resourceVersion.
        version: Version,
        /// Every one, with its own version.
        peers: Vec<(NodeUid, Version, PeerRecord)>,
    },
    /// One of them changed.
    Peer {
        /// The event's resourceVersion.
        version: Version,
        /// Which one.
        node: NodeUid,
        /// How.
        change: Change,
    },
    /// The own IpsecNodeState was read or has changed.
    Own(Own),
    /// A key pair was made, as asked for.
    KeyMade {
        /// Its id.
        id: KeyId,
        /// When its successor is due: its age, drawn by the caller, from now.
        rotate: Time,
    },
    /// What was found in the kernel that wasn't known: all after a start, then what has changed.
    Kernel(Vec<Seen>),
    /// A packet of this peer was authenticated on an inbound SA under this key of ours.
    Authenticated {
        /// The peer.
        peer: NodeUid,
        /// The key of ours.
        own: KeyId,
    },
    /// A packet for this peer has no SA, of a policy whose SAs are made on demand.
    Asked {
        /// The peer.
        peer: NodeUid,
        /// The policy.
        policy: PolicyRevision,
    },
    /// An SA under this key of ours has reached its soft limit of packets or bytes.
    Expired(KeyId),
    /// Somebody asks for a new key.
    Rotate,
    /// The kernel can't have this inbound SA: its SPI is that of an SA which isn't ours.
    Taken(Sa),
    /// Time has passed.
    Wake,
}

/// How an IpsecPeer changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is like this now.
    Is(PeerRecord),
    /// It is gone.
    Gone,
}

/// What counts of an IpsecPeer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PeerRecord {
    /// Its published keys, oldest first.
    pub keys: Vec<KeyId>,
    /// The policies that its traffic falls under, in the revisions in which it does.
    pub policies: BTreeSet<PolicyRevision>,
}

/// A policy in one of its revisions, as the own IpsecNodeState has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyTold {
    /// Which one.
    pub revision: PolicyRevision,
    /// Its name. Revisions of one name share what the kernel chooses SAs by: it sends on the SA made last, whichever
    /// revision's that is, and takes what comes on any of them.
    pub name: Arc<str>,
    /// It is told to encrypt: everyone has the inbound SAs of this revision.
    pub sends: bool,
    /// Outbound SAs are made when a packet asks for one.
    pub on_demand: bool,
}

/// What counts of the own IpsecNodeState.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Own {
    /// `metadata.generation`.
    pub generation: i64,
    /// Policies that are keyed automatically, in whatever phase. Of several revisions of one, the newest last.
    pub policies: Vec<PolicyTold>,
    /// `spec.keys.acknowledged`.
    pub acknowledged: Option<KeyId>,
    /// `spec.keys.pending`.
    pub pending: BTreeSet<NodeUid>,
}

/// An SA of ours in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// An inbound one is there, or isn't any more.
    Inbound(Sa, bool),
    /// An outbound one is there and has sent up to this sequence number, or isn't there any more.
    Outbound(Sa, Option<u64>),
}

impl Node {
    pub(super) fn take(&mut self, input: Input, now: Time, spis: &mut impl Spis, step: &mut Step) -> Scope {
        match input {
            Input::Listed { version, .. } if version < self.seen => step.list_again = true,
            Input::Listed { version, peers } => {
                self.seen = version;
                self.listed = true;
                self.list(peers, spis);
                return Scope::All;
            }
            Input::Peer { version, .. } if version <= self.seen => {}
            Input::Peer { version, node, change } => {
                self.seen = version;
                match change {
                    Change::Is(record) => self.peer_is(node, version, record, spis),
                    Change::Gone => self.peer_gone(node, spis),
                }
                return Scope::Peer(node);
            }
            Input::Own(own) => {
                self.own(own, now, spis);
                return Scope::All;
            }
            Input::KeyMade { id, rotate } if self.ready() && self.wants_key() => {
                let made = BTreeSet::new();
                self.keys.push(Record { id, created: now, rotate, stage: Stage::Created, made });
                self.rotate = false;
                self.renew_at = None;
                self.unsaved = true;
                self.refresh_all(spis);
                return Scope::All;
            }
            Input::KeyMade { .. } => {}
            Input::Kernel(seen) => {
                // What is sent on follows from what is there, right after a start.
                let gone = |seen: &Seen| match seen {
                    Seen::Outbound(sa, None) => Some(*sa),
                    Seen::Outbound(_, Some(_)) | Seen::Inbound(..) => None,
                };
                let vanished: Vec<Sa> = seen.iter().filter_map(gone).collect();
                seen.into_iter().for_each(|seen| self.seen_in_kernel(seen, now));
                vanished.into_iter().for_each(|sa| self.renew(sa, now));
                return Scope::All;
            }
            Input::Authenticated { peer, own } => return self.authenticated(peer, own, now),
            Input::Asked { peer, policy } => {
                if let Some(lane) = self.lanes.get_mut(&(peer, policy)) {
                    lane.asked = true;
                    return Scope::Peer(peer);
                }
            }
            // An older key's successor is there already.
            Input::Expired(own) => self.rotate |= self.keys.last().is_some_and(|newest| newest.id == own),
            Input::Rotate => self.rotate = true,
            Input::Taken(sa) => {
                if let Some(spi) = self.inbound.get(&sa).copied() {
                    self.foreign.insert(spi);
                    self.collide(sa);
                }
            }
            Input::Wake => {}
        }
        Scope::None
    }

    /// Whoever sends under a key has acknowledged it.
    fn authenticated(&mut self, peer: NodeUid, own: KeyId, now: Time) -> Scope {
        if !self.would_learn(peer, own) {
            return Scope::None;
        }
        if let Some(Peer { heard, .. }) = self.peers.get_mut(&peer) {
            *heard = Some(own);
        }
        self.settled = now;
        Scope::Peer(peer)
    }

    fn own(&mut self, own: Own, now: Time, spis: &mut impl Spis) {
        let first = self.told.is_none();
        self.told = Some(own.generation);
        // A leader that is none any more may have looked at older objects: what was acknowledged stays so.
        let newer = self.index_of(own.acknowledged) >= self.index_of(self.acknowledged);
        if newer && (self.acknowledged != own.acknowledged || self.pending != own.pending) {
            self.acknowledged = own.acknowledged;
            self.pending = own.pending;
            self.settled = now;
        }
        self.set_policies(own.policies, first, now, spis);
    }

    pub(super) fn index(&self, id: KeyId) -> Option<usize> {
        self.keys.iter().position(|record| record.id == id)
    }

    pub(super) fn index_of(&self, id: Option<KeyId>) -> Option<usize> {
        id.and_then(|id| self.index(id))
    }

    fn seen_in_kernel(&mut self, seen: Seen, now: Time) {
        match seen {
            Seen::Inbound(sa, true) => {
                self.installed.insert(sa);
                self.missing.remove(&sa);
            }
            Seen::Inbound(sa, false) => {
                self.installed.remove(&sa);
                if self.inbound.contains_key(&sa) {
                    self.missing.insert(sa);
                }
            }
            Seen::Outbound(sa, Some(sequence)) => self.sent(sa, sequence, now),
            Seen::Outbound(sa, None) => self.vanished(sa, now),
        }
    }
}
