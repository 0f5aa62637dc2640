//! What a node sends on (R4, R7).

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use super::view::{Peer, Told};
use super::{MAX_MADE, Node, Scope};
use crate::{KeyId, NodeUid, PolicyRevision, Sa, Stage, Time, Version};

/// Which lane: the peer's, for a policy in one of its revisions.
type At = (NodeUid, PolicyRevision);

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
        let published = |peer: &Peer| peer.keys.iter().any(|(id, _)| *id == sa.theirs);
        let published = self.peers.get(&sa.peer).is_some_and(published);
        let Some(lane) = self.lanes.get_mut(&(sa.peer, sa.policy)) else { return };
        lane.kernel.retain(|one| *one != sa);
        self.settled = now;
        if lane.wanted == Some(sa) {
            // Somebody else took it away. It is made again.
            return;
        }
        if !lane.needed && lane.kernel.is_empty() {
            self.lanes.remove(&(sa.peer, sa.policy));
        } else if lane.needed && lane.wanted.is_none() && published {
            // Another revision is sent under. Should this one come back, it does so with new keys: its receiver may have
            // forgotten meanwhile what it has accepted. Where the peer's key is gone, its IpsecPeer was made anew, and will
            // have that key again: what was sent on goes on.
            self.sequences.remove(&sa);
        }
    }

    /// Of an outbound SA that vanished: its key has seen its time (R7). Where the SA is back already, that waits; where it
    /// isn't, because its limits ended it for instance, nothing is sent until there is another key.
    pub(super) fn renew(&mut self, sa: Sa, now: Time) {
        let lane = self.lanes.get(&(sa.peer, sa.policy)).filter(|lane| lane.wanted == Some(sa));
        let Some(lane) = lane.filter(|_| self.keys.last().is_some_and(|newest| newest.id == sa.own)) else {
            return;
        };
        if lane.kernel.contains(&sa) {
            let at = now.after(self.settings.vanished);
            self.renew_at = Some(self.renew_at.map_or(at, |before| before.min(at)));
        } else {
            self.rotate = true;
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
        let of_one_policy: Vec<Vec<At>> = self.of_one_policy(lanes);
        let chosen = of_one_policy.into_iter().flat_map(|revisions| {
            let chosen = self.choose_among(&revisions);
            let of = move |at: At| (at, chosen.filter(|sa| sa.policy == at.1));
            revisions.into_iter().map(of).collect::<Vec<_>>()
        });
        for (at, chosen) in chosen.collect::<Vec<_>>() {
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

    /// The lanes needed of those in the range, by peer and policy: those of its revisions, the newest last.
    fn of_one_policy(&self, range: RangeInclusive<At>) -> Vec<Vec<At>> {
        let needed = self.lanes.range(range).filter(|(_, lane)| lane.needed);
        let told = needed.filter_map(|(at, _)| Some((at.0, self.policies.get(&at.1)?, *at)));
        let mut told: Vec<(NodeUid, &Told, At)> = told.collect();
        told.sort_by_key(|(node, told, _)| (*node, &told.name, told.place));
        let same = |one: &(NodeUid, &Told, At), other: &(NodeUid, &Told, At)| {
            one.0 == other.0 && one.1.name == other.1.name
        };
        told.chunk_by(same).map(|lanes| lanes.iter().map(|(.., at)| *at).collect()).collect()
    }

    /// What to send on of these lanes, revisions of one policy. An edit is followed once all
    /// have the inbound SAs, to an SA that the peer surely has; and never back, for an earlier revision than the one that
    /// is sent under may be on its way out.
    fn choose_among(&mut self, revisions: &[At]) -> Option<Sa> {
        if self.sleeps(revisions) {
            return None;
        }
        let newest = revisions.iter().rposition(|(_, policy)| self.sends(*policy));
        let Some(current) = self.current(revisions) else {
            return self.choose_for(*newest.map_or(revisions.last(), |newest| revisions.get(newest))?);
        };
        let next =
            newest.filter(|newest| *newest > current).and_then(|newest| revisions.get(newest).copied());
        let next = next.and_then(|next| self.choose_for(next));
        // Not under an older key of the peer's: that a newer one is followed may have been said already (R3).
        let surely = next.filter(|sa| self.is_sure(sa) && self.newest_answered(sa) == Some(sa.theirs));
        surely.or_else(|| self.choose_for(*revisions.get(current)?)).or(next)
    }

    /// The one that is sent on, by its place.
    fn current(&self, revisions: &[At]) -> Option<usize> {
        let is = |at: &At, is: fn(&Lane) -> bool| self.lanes.get(at).is_some_and(is);
        let wanted = revisions.iter().rposition(|at| is(at, |lane| lane.wanted.is_some()));
        wanted.or_else(|| revisions.iter().rposition(|at| is(at, |lane| !lane.kernel.is_empty())))
    }

    /// The peer's newest key that it may be sent under for this SA's policy.
    fn newest_answered(&self, sa: &Sa) -> Option<KeyId> {
        let mut keys = self.peers.get(&sa.peer)?.keys.iter().rev().map(|(id, _)| *id);
        keys.find(|theirs| self.answers(sa.peer, sa.policy, *theirs))
    }

    fn sends(&self, policy: PolicyRevision) -> bool {
        self.policies.get(&policy).is_some_and(|told| told.sends)
    }

    /// The peer has it, or is one that nobody waits for.
    fn is_sure(&self, sa: &Sa) -> bool {
        let known = self.index(sa.own).zip(self.acknowledged_by(sa.peer));
        self.pending.contains(&sa.peer) || known.is_some_and(|(index, known)| index <= known)
    }

    /// To every peer it is sent under the newest revision that is told to send, or a newer one.
    pub(super) fn follows_edits(&self) -> bool {
        self.lanes.iter().filter(|(_, lane)| lane.needed && lane.wanted.is_some()).all(
            |((node, policy), _)| {
                let Some(told) = self.policies.get(policy) else { return true };
                let newer = |(of, one): (&PolicyRevision, &Told)| {
                    let of_policy = one.name == told.name && one.place > told.place && one.sends;
                    of_policy && self.lanes.get(&(*node, *of)).is_some_and(|lane| lane.needed)
                };
                !self.policies.iter().any(newer)
            },
        )
    }

    fn choose_for(&mut self, (node, policy): (NodeUid, PolicyRevision)) -> Option<Sa> {
        let peer = self.peers.get(&node)?;
        let lane = self.lanes.get(&(node, policy)).filter(|lane| lane.needed)?;
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
        // What the peer surely has, newest first: under its own newest key, or under an older one that it still has. Then
        // what it may not have yet, the oldest first: whoever has seen a newer one has seen it as well. What is sent on
        // stays before anything under a newer key, for it arrives; which keys have been acknowledged may be forgotten with a
        // restart.
        let known = acknowledged.map_or(0, |index| index + 1);
        let of_newest = (0..known).rev().map(|index| (index, newest));
        // Where nothing is sent on, that the newer one is followed may have been said before a restart (R3).
        let of_older = older.iter().filter(|_| current.is_some());
        let of_older = of_older.flat_map(|theirs| (0..known).rev().map(|index| (index, *theirs)));
        let stays = current.zip(in_use).filter(|(sa, _)| older.contains(&sa.theirs));
        let newer = stays.map_or(self.keys.len(), |(_, index)| (index + 1).max(known));
        let stays = stays.map(|(sa, index)| (index, sa.theirs));
        let unknown = |range: Range<usize>| range.map(|index| (index, newest));
        let chosen = of_newest
            .chain(of_older)
            .chain(unknown(known..newer))
            .chain(stays)
            .chain(unknown(newer..self.keys.len()))
            .filter(|(index, _)| self.keys[*index].stage == Stage::Published)
            .map(|(index, theirs)| (index, Sa { peer: node, policy, own: self.keys[index].id, theirs }))
            .find(|(index, sa)| self.usable(*index, sa));
        // What it should be was used before, up to a number that nobody knows (R7).
        let burnt = chosen.is_none_or(|(index, sa)| sa.theirs != newest || index < acknowledged.unwrap_or(0));
        // Where its successor is published already, or will be, that is waited for.
        let has_none = self.keys.last().is_some_and(|record| {
            let last = self.keys.len() - 1;
            let next = Sa { peer: node, policy, own: record.id, theirs: newest };
            let follows = chosen.is_some_and(|(index, _)| index < last) && self.usable(last, &next);
            record.stage == Stage::Published && !follows
        });
        self.rotate |= burnt && has_none;
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

    /// What is sent for this policy arrives, under whichever of its revisions: every peer that answers has acknowledged the
    /// key that it is sent under. Before, no clear text is to be given up for it.
    pub fn sends_surely(&self, policy: PolicyRevision) -> bool {
        let Some(told) = self.policies.get(&policy) else { return true };
        let needed = self.lanes.iter().filter(|(_, lane)| lane.needed);
        let revisions = |of: &PolicyRevision| self.policies.get(of).is_some_and(|one| one.name == told.name);
        let sure = |(_, of): &At, lane: &Lane| {
            let wanted = lane.wanted.filter(|_| revisions(of) && lane.settled());
            wanted.is_some_and(|sa| self.is_sure(&sa))
        };
        let arrives: BTreeSet<NodeUid> =
            needed.clone().filter(|(at, lane)| sure(at, lane)).map(|((node, _), _)| *node).collect();
        needed.filter(|((_, of), _)| *of == policy).all(|((node, _), _)| {
            let keyless = self.peers.get(node).is_none_or(|peer| peer.keys.is_empty());
            keyless || self.pending.contains(node) || arrives.contains(node) || self.can_wait(*node, policy)
        })
    }

    /// Nobody has asked for an SA yet, and it isn't made before.
    fn sleeps(&self, revisions: &[At]) -> bool {
        let on_demand = revisions.last().and_then(|(_, policy)| self.policies.get(policy));
        let asked = |at| self.lanes.get(at).is_some_and(|lane| lane.asked);
        on_demand.is_some_and(|told| told.on_demand) && !revisions.iter().any(asked)
    }

    /// Nothing is sent yet; what is asked for then is sent under a key that the peer has.
    fn can_wait(&self, node: NodeUid, policy: PolicyRevision) -> bool {
        let of_peer = (node, PolicyRevision(0))..=(node, PolicyRevision(u64::MAX));
        let groups = self.of_one_policy(of_peer);
        let group = groups.iter().find(|group| group.contains(&(node, policy)));
        group.is_some_and(|group| self.sleeps(group)) && self.acknowledged_by(node).is_some()
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
