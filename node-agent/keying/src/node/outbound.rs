//! What a node sends on (R4, R7).

use super::{MAX_MADE, Node, Scope};
use crate::{KeyId, NodeUid, PolicyRevision, Sa, Stage, Time, Version};

/// What is sent on to one peer for one policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Lane {
    /// The peer takes part in the policy.
    pub(super) needed: bool,
    /// A packet has asked for an SA, or there was one. It stays so: whoever has been spoken to will be again.
    pub(super) asked: bool,
    /// What should be sent on.
    pub(super) wanted: Option<Sa>,
    /// The outbound SAs in the kernel, the one made last at the end: that one is sent on.
    pub(super) kernel: Vec<Sa>,
}

impl Lane {
    /// The kernel has what is wanted and nothing else.
    pub(super) fn settled(&self) -> bool {
        self.kernel.as_slice() == self.wanted.as_slice()
    }
}

impl Node {
    /// An outbound SA is in the kernel.
    pub(super) fn sent(&mut self, sa: Sa, sequence: u64, now: Time) {
        let lane = self.lanes.entry((sa.peer, sa.policy)).or_default();
        lane.asked = true;
        if !lane.kernel.contains(&sa) {
            lane.kernel.push(sa);
            self.settled = now;
        }
        let last = self.sequences.entry(sa).or_default();
        *last = sequence.max(*last);
        // After a lost or older file: what is in the kernel was made.
        if let Some(record) = self.keys.iter_mut().find(|record| record.id == sa.own) {
            self.unsaved |= record.made.insert(sa);
        }
    }

    /// An outbound SA isn't in the kernel any more.
    pub(super) fn vanished(&mut self, sa: Sa, now: Time) {
        let Some(lane) = self.lanes.get_mut(&(sa.peer, sa.policy)) else { return };
        lane.kernel.retain(|one| *one != sa);
        self.settled = now;
        if lane.wanted == Some(sa) {
            // Somebody else took it away. It is made again, and its key has seen its time (R7).
            self.rotate |= self.keys.last().is_some_and(|newest| newest.id == sa.own);
        } else if !lane.needed && lane.kernel.is_empty() {
            self.lanes.remove(&(sa.peer, sa.policy));
        }
    }

    /// The newest own key that the peer has acknowledged, by its place in the ring: the operator says so, or a packet
    /// of its came under it.
    pub(super) fn acknowledged_by(&self, peer: NodeUid) -> Option<usize> {
        let heard = self.peers.get(&peer).and_then(|peer| self.index_of(peer.heard));
        let told = self.index_of(self.acknowledged).filter(|_| !self.pending.contains(&peer));
        heard.max(told)
    }

    /// Chooses what to send on.
    pub(super) fn choose(&mut self, scope: Scope, now: Time) {
        let all = (NodeUid(0), PolicyRevision(0))..=(NodeUid(u128::MAX), PolicyRevision(u64::MAX));
        let lanes = match scope {
            Scope::None => return,
            Scope::Peer(node) => (node, PolicyRevision(0))..=(node, PolicyRevision(u64::MAX)),
            Scope::All => all,
        };
        let lanes: Vec<(NodeUid, PolicyRevision)> = self.lanes.range(lanes).map(|(at, _)| *at).collect();
        for at in lanes {
            let chosen = self.choose_for(at);
            let record = chosen.and_then(|sa| self.keys.iter_mut().find(|record| record.id == sa.own));
            if let (Some(sa), Some(record)) = (chosen, record) {
                self.unsaved |= record.made.insert(sa);
            }
            if let Some(lane) = self.lanes.get_mut(&at)
                && lane.wanted != chosen
            {
                lane.wanted = chosen;
                self.settled = now;
            }
        }
    }

    fn choose_for(&mut self, (node, policy): (NodeUid, PolicyRevision)) -> Option<Sa> {
        let peer = self.peers.get(&node)?;
        let lane = self.lanes.get(&(node, policy)).filter(|lane| lane.needed)?;
        if self.sleeps(policy, lane) {
            return None;
        }
        let mut theirs =
            peer.keys.iter().rev().map(|(id, _)| *id).filter(|theirs| self.answers(node, policy, *theirs));
        let newest = theirs.next()?;
        let older: Vec<KeyId> = theirs.collect();
        let acknowledged = self.acknowledged_by(node);
        let current = lane.wanted.or(lane.kernel.last().copied());
        let in_use = current.and_then(|sa| self.index(sa.own));
        // What is in use stays unless the peer has acknowledged a newer key: its acknowledgement may have been forgotten
        // with a restart, and where there never was one, a newer key is no better.
        if let (Some(sa), Some(index)) = (current, in_use)
            && sa.theirs == newest
            && index >= acknowledged.unwrap_or(0)
            && self.usable(index, &sa)
        {
            return current;
        }
        // What the peer surely has, newest first: under its own newest key, or under an older one that it still has. Only
        // with nothing to lose, what it may not have yet; then the oldest first: whoever has seen a newer one has seen it
        // as well.
        let known = acknowledged.map_or(0, |index| index + 1);
        let of_newest = (0..known).rev().map(|index| (index, newest));
        let of_older = older.iter().flat_map(|theirs| (0..known).rev().map(|index| (index, *theirs)));
        let unknown = (known..self.keys.len()).map(|index| (index, newest));
        let chosen = of_newest
            .chain(of_older)
            .chain(unknown)
            .filter(|(index, _)| self.keys[*index].stage == Stage::Published)
            .map(|(index, theirs)| (index, Sa { peer: node, policy, own: self.keys[index].id, theirs }))
            .find(|(index, sa)| self.usable(*index, sa));
        // What it should be was used before, up to a number that nobody knows (R7).
        let burnt = chosen.is_none_or(|(index, sa)| sa.theirs != newest || index < acknowledged.unwrap_or(0));
        self.rotate |= burnt && self.keys.last().is_some_and(|newest| newest.stage == Stage::Published);
        chosen.map(|(_, sa)| sa)
    }

    /// What comes back under this key of the peer's is understood, whichever key of ours it uses. Else nothing may be
    /// sent under it: the peer takes a packet for an acknowledgement.
    fn answers(&self, peer: NodeUid, policy: PolicyRevision, theirs: KeyId) -> bool {
        self.keys.iter().all(|own| self.inbound.contains_key(&Sa { peer, policy, own: own.id, theirs }))
    }

    /// The first event that isn't followed yet: a peer's new key under which nothing can be sent (R3).
    pub(super) fn not_followed(&self) -> Option<Version> {
        let behind = self.lanes.iter().filter_map(|((node, policy), lane)| {
            let mut keys = self.peers.get(node)?.keys.iter().rev();
            let (newest, since) = keys.find(|(theirs, _)| self.answers(*node, *policy, *theirs))?;
            (lane.wanted?.theirs != *newest).then_some(*since)
        });
        behind.min()
    }

    /// What is sent for this policy arrives: every peer that answers has acknowledged the key that it is sent under.
    /// Before, no clear text is to be given up for it.
    pub fn sends_surely(&self, policy: PolicyRevision) -> bool {
        let mut lanes = self.lanes.iter().filter(|((_, of), lane)| *of == policy && lane.needed);
        lanes.all(|((node, _), lane)| {
            let keyless = self.peers.get(node).is_none_or(|peer| peer.keys.is_empty());
            let index = lane.wanted.filter(|_| lane.settled()).and_then(|sa| self.index(sa.own));
            let sure = index.zip(self.acknowledged_by(*node)).is_some_and(|(index, known)| index <= known);
            // What is asked for then is sent under a key that the peer has.
            let can_wait = self.sleeps(policy, lane) && self.acknowledged_by(*node).is_some();
            keyless || self.pending.contains(node) || sure || can_wait
        })
    }

    /// Nobody has asked for an SA yet, and it isn't made before.
    fn sleeps(&self, policy: PolicyRevision, lane: &Lane) -> bool {
        !lane.asked && self.on_demand.contains(&policy)
    }

    /// The SA can be sent on without using a sequence number twice: it is there, it never was, or it is known how far it
    /// came.
    fn usable(&self, index: usize, sa: &Sa) -> bool {
        let made = &self.keys[index].made;
        self.sequences.contains_key(sa) || (!made.contains(sa) && made.len() < MAX_MADE) || {
            let lane = self.lanes.get(&(sa.peer, sa.policy));
            lane.is_some_and(|lane| lane.wanted == Some(*sa) || lane.kernel.contains(sa))
        }
    }
}
