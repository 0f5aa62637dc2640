//! A node's part of the protocol, rules R1 to R8 of `docs/keying.md`: what happened in, what is to be done out.
//!
//! [`Node::step`] takes one [`Input`] and the time. What follows from it is read from the node: the SAs wanted
//! ([`Node::inbound`], [`Node::outbound`]), what to publish ([`Node::publish`]), how far peers' events are in the kernel
//! ([`Node::watermark`]), when to wake up ([`Node::wake_at`]). [`Step`] says what must be done before anything else.
//!
//! What the caller promises is what the model checker assumes of it:
//! - The first list of IpsecPeers after a start is a consistent read (no `resourceVersion`), and so is every later one
//!   that isn't newer than what was seen.
//! - When [`Step::persist`] is set, [`Node::records`] are in the ring's file before anything else is done.
//! - An outbound SA that the kernel was asked for is reported ([`Seen::Outbound`] with 0) with the answer, unless that is
//!   a refusal: not only when a dump shows it.
//! - Writes to the kernel go in the order inbound SAs, policies, outbound SAs; then removals in reverse. Policies that somebody
//!   else deleted go first.
//! - Keys are published under the condition that the object is still at [`Publish::base`].

mod input;
mod keys;
mod outbound;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use crate::{KeyId, NodeUid, PolicyRevision, Record, Sa, Stage, Time, Version};

pub use input::{Change, Input, Own, PeerRecord, PolicyTold, Seen};

use outbound::Lane;
use view::{Peer, Told};

/// The most keys that a node publishes (the API's own limit).
pub const MAX_KEYS: usize = 8;

/// The most outbound SAs that are ever made under one key; then it is rotated.
pub const MAX_MADE: usize = 1 << 16;

/// Durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long packets may be on their way: so long an SA outlives its last use.
    pub drain: u64,
    /// Age at which a key is rotated. The caller draws each key's own one around it.
    pub rotate: u64,
    /// How long after one of its SAs vanished and was put back a key is rotated. Who takes some away often takes more a
    /// moment later, and to put all back comes first.
    pub vanished: u64,
    /// Age at which a key ends, acknowledged or not.
    pub hard: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { drain: 10_000, rotate: 24 * 3_600_000, vanished: 3_000, hard: 7 * 24 * 3_600_000 }
    }
}

/// What the SPI of an inbound SA is; none where none can be derived (a peer's key of small order). Asked once for each
/// SA. A function of its argument.
pub trait Spis {
    /// The SPI of the SA that this node receives on.
    fn inbound(&mut self, sa: &Sa) -> Option<u32>;
}

impl<F: FnMut(&Sa) -> Option<u32>> Spis for F {
    fn inbound(&mut self, sa: &Sa) -> Option<u32> {
        self(sa)
    }
}

/// What the caller does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Write the ring's file, before anything else.
    pub persist: bool,
    /// Make a key pair and say so ([`Input::KeyMade`]).
    pub make_key: bool,
    /// Read all IpsecPeers again, consistently: what was listed is older than what was seen.
    pub list_again: bool,
}

/// Keys to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// All of them, oldest first.
    pub keys: Vec<KeyId>,
    /// The resourceVersion of the own IpsecPeer that they replace the keys of.
    pub base: Version,
}

/// An outbound SA to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wanted {
    /// Which one.
    pub sa: Sa,
    /// None: it is new, and starts from 1 if it isn't there. Some: it was there, and this was the last sequence number
    /// seen; where it has to be made again, it goes on well past that.
    pub past: Option<u64>,
}

/// What an input may have changed what is sent on for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    None,
    Peer(NodeUid),
    All,
}

/// A node's state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    settings: Settings,
    me: NodeUid,
    /// Oldest to newest.
    keys: Vec<Record>,
    /// A new key is due (R8).
    rotate: bool,
    /// When it will be, because SAs under the newest have vanished.
    renew_at: Option<Time>,
    /// The keys' records aren't as they were last written.
    unsaved: bool,

    /// The first list was seen.
    listed: bool,
    /// Every event up to here was seen.
    seen: Version,
    /// Every event up to here is in the kernel.
    watermark: Version,
    peers: BTreeMap<NodeUid, Peer>,
    /// The own IpsecPeer as it was last seen.
    published: Vec<KeyId>,
    base: Version,

    /// Generation of the own IpsecNodeState that was seen, and that is in the kernel.
    told: Option<i64>,
    confirmed: Option<i64>,
    policies: BTreeMap<PolicyRevision, Told>,
    /// Policies that are gone, and until when their SAs stay.
    lingering: BTreeMap<PolicyRevision, Time>,
    acknowledged: Option<KeyId>,
    pending: BTreeSet<NodeUid>,

    /// Inbound SAs wanted, with their SPIs.
    inbound: BTreeMap<Sa, u32>,
    by_spi: BTreeMap<u32, Sa>,
    /// Inbound SAs that can't be had because their SPI is taken.
    collided: BTreeSet<Sa>,
    /// SPIs of others.
    foreign: BTreeSet<u32>,
    /// Inbound SAs in the kernel.
    installed: BTreeSet<Sa>,
    /// Of those wanted, the ones that aren't.
    missing: BTreeSet<Sa>,
    /// What is sent on, by peer and policy.
    lanes: BTreeMap<(NodeUid, PolicyRevision), Lane>,
    /// Last sequence numbers seen, of outbound SAs.
    sequences: BTreeMap<Sa, u64>,
    /// When what is sent on was last switched, or a peer's acknowledgement learned.
    settled: Time,
}

impl Node {
    /// A node whose agent has just started, with the keys of its ring. Until it is [ready](Self::ready), nothing is to
    /// be done.
    pub fn new(me: NodeUid, settings: Settings, records: Vec<Record>, now: Time) -> Self {
        Self {
            settings,
            me,
            keys: records,
            rotate: false,
            renew_at: None,
            unsaved: false,
            listed: false,
            seen: Version(0),
            watermark: Version(0),
            peers: BTreeMap::new(),
            published: Vec::new(),
            base: Version(0),
            told: None,
            confirmed: None,
            policies: BTreeMap::new(),
            lingering: BTreeMap::new(),
            acknowledged: None,
            pending: BTreeSet::new(),
            inbound: BTreeMap::new(),
            by_spi: BTreeMap::new(),
            collided: BTreeSet::new(),
            foreign: BTreeSet::new(),
            installed: BTreeSet::new(),
            missing: BTreeSet::new(),
            lanes: BTreeMap::new(),
            sequences: BTreeMap::new(),
            settled: now,
        }
    }

    /// What happened, and everything that follows from it.
    pub fn step(&mut self, input: Input, now: Time, spis: &mut impl Spis) -> Step {
        let mut step = Step::default();
        let mut scope = self.take(input, now, spis, &mut step);
        if self.end_policies(now, spis) {
            scope = Scope::All;
        }
        self.choose(scope, now);
        while self.advance_keys(now, spis) {
            self.choose(Scope::All, now);
        }
        self.confirm();
        step.persist = std::mem::take(&mut self.unsaved);
        step.make_key = self.ready() && self.wants_key();
        step
    }

    /// R3.
    fn confirm(&mut self) {
        if self.in_kernel() {
            let blocked = self.collided.iter().map(|sa| self.first_seen(sa)).chain(self.not_followed()).min();
            let through = blocked.map_or(self.seen, |at| Version(at.0.saturating_sub(1)).min(self.seen));
            self.watermark = self.watermark.max(through);
            if self.collided.is_empty() && self.follows_edits() {
                self.confirmed = self.told;
            }
        }
    }

    /// The kernel has every inbound SA wanted, and what is sent on is as it should be (R3).
    fn in_kernel(&self) -> bool {
        self.ready() && self.missing.is_empty() && self.lanes.values().all(Lane::settled)
    }

    /// Peers and the own IpsecNodeState were seen since the start. Before, nothing in the kernel is changed.
    pub fn ready(&self) -> bool {
        self.listed && self.told.is_some()
    }

    /// Inbound SAs that the kernel should have, with their SPIs. All others of ours go.
    pub fn inbound(&self) -> &BTreeMap<Sa, u32> {
        &self.inbound
    }

    /// Outbound SAs that the kernel should have. All others of ours go, after these are there.
    pub fn outbound(&self) -> impl Iterator<Item = Wanted> + '_ {
        let wanted = self.lanes.values().filter_map(|lane| lane.wanted);
        wanted.map(|sa| Wanted { sa, past: self.sequences.get(&sa).copied() })
    }

    /// Keys to write into the own IpsecPeer, if other ones are there.
    pub fn publish(&self) -> Option<Publish> {
        let published = |record: &&Record| record.stage == Stage::Published;
        let keys: Vec<KeyId> = self.keys.iter().filter(published).map(|record| record.id).collect();
        (self.ready() && self.base > Version(0) && keys != self.published)
            .then_some(Publish { keys, base: self.base })
    }

    /// For `IpsecNodeState.status.peersAppliedThrough`: every event up to here is in the kernel (R3).
    pub fn watermark(&self) -> Version {
        self.watermark
    }

    /// For `IpsecNodeState.status.observedGeneration`: this one is in the kernel.
    pub fn confirmed(&self) -> Option<i64> {
        self.confirmed
    }

    /// The durations that it goes by.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// What is kept of each key, oldest to newest: for the ring's file.
    pub fn records(&self) -> &[Record] {
        &self.keys
    }

    /// Inbound SAs that can't be had because another one has their SPI.
    pub fn collisions(&self) -> impl Iterator<Item = &Sa> {
        self.collided.iter()
    }

    /// Another key is due, and has to wait until the rotation before is over: all have acknowledged the newest key, and what was
    /// sent under the one before has arrived.
    pub fn is_behind(&self) -> bool {
        self.rotate && self.keys.len() > 1 && self.rotating()
    }

    /// [`Input::Authenticated`] would tell something new: that this peer sends under this key of ours.
    pub fn would_learn(&self, peer: NodeUid, own: KeyId) -> bool {
        let heard = self.index_of(self.peers.get(&peer).and_then(|peer| peer.heard));
        self.peers.contains_key(&peer) && heard < self.index(own)
    }

    /// When to step with [`Input::Wake`], at the latest, if nothing happens after the last step at `now`.
    pub fn wake_at(&self, now: Time) -> Option<Time> {
        let ends = self.keys.iter().map(|record| record.created.after(self.settings.hard));
        let newest = self.keys.last().map(|record| record.rotate);
        let due = newest.into_iter().chain(self.renew_at).filter(|_| !self.rotate);
        let drained = (self.keys.len() > 1).then(|| self.settled.after(self.settings.drain));
        let lingering = self.lingering.values().copied();
        ends.chain(due).chain(drained).chain(lingering).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests;
