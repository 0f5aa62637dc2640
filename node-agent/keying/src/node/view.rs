//! Peers and policies as the node sees them, and the inbound SAs that follow (R1, R2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Node, PeerRecord, PolicyTold, Spis};
use crate::{KeyId, NodeUid, PolicyRevision, Record, Sa, Time, Version};

/// A peer, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Peer {
    /// Its published keys, oldest first, and when each was first seen.
    pub(super) keys: Vec<(KeyId, Version)>,
    policies: BTreeSet<PolicyRevision>,
    /// The newest key of ours that a packet of its was authenticated under.
    pub(super) heard: Option<KeyId>,
}

/// A policy of the own IpsecNodeState.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Told {
    pub(super) name: Arc<str>,
    /// Of two revisions, the greater is newer.
    pub(super) place: usize,
    pub(super) sends: bool,
    pub(super) on_demand: bool,
}

impl Node {
    pub(super) fn list(&mut self, peers: Vec<(NodeUid, Version, PeerRecord)>, spis: &mut impl Spis) {
        let listed: BTreeSet<NodeUid> = peers.iter().map(|(node, ..)| *node).collect();
        let gone: Vec<NodeUid> = self.peers.keys().filter(|node| !listed.contains(node)).copied().collect();
        for node in gone {
            self.peer_gone(node, spis);
        }
        for (node, version, record) in peers {
            self.peer_is(node, version, record, spis);
        }
    }

    pub(super) fn peer_is(
        &mut self,
        node: NodeUid,
        version: Version,
        record: PeerRecord,
        spis: &mut impl Spis,
    ) {
        if node == self.me {
            self.published = record.keys;
            self.base = version;
            return;
        }
        let peer = self.peers.entry(node).or_default();
        let since =
            |id: &KeyId| peer.keys.iter().find(|(known, _)| known == id).map_or(version, |(_, since)| *since);
        peer.keys = record.keys.iter().map(|id| (*id, since(id))).collect();
        peer.policies = record.policies;
        self.refresh(node, spis);
    }

    pub(super) fn peer_gone(&mut self, node: NodeUid, spis: &mut impl Spis) {
        if node == self.me {
            self.published.clear();
        }
        self.peers.remove(&node);
        self.refresh(node, spis);
    }

    pub(super) fn set_policies(
        &mut self,
        policies: Vec<PolicyTold>,
        first: bool,
        now: Time,
        spis: &mut impl Spis,
    ) {
        let policies = policies.into_iter().enumerate();
        let policies = policies.map(|(place, PolicyTold { revision, name, sends, on_demand })| {
            (revision, Told { name, place, sends, on_demand })
        });
        let before = std::mem::replace(&mut self.policies, policies.collect());
        if before == self.policies && !first {
            return;
        }
        // Also what an agent before this one has left in the kernel.
        let gone =
            self.installed.iter().map(|sa| sa.policy).filter(|policy| !self.policies.contains_key(policy));
        let gone: BTreeSet<PolicyRevision> = gone.collect();
        self.lingering.retain(|policy, _| gone.contains(policy));
        for policy in gone {
            self.lingering.entry(policy).or_insert(now.after(self.settings.drain));
        }
        self.refresh_all(spis);
    }

    /// The SAs of policies that are gone go when nothing can be on its way any more.
    pub(super) fn end_policies(&mut self, now: Time, spis: &mut impl Spis) -> bool {
        let ended = self.lingering.values().any(|until| *until <= now);
        if ended {
            self.lingering.retain(|_, until| *until > now);
            self.refresh_all(spis);
        }
        ended
    }

    pub(super) fn refresh_all(&mut self, spis: &mut impl Spis) {
        let peers: Vec<NodeUid> = self.peers.keys().copied().collect();
        for peer in peers {
            self.refresh(peer, spis);
        }
    }

    /// Makes what is wanted with one peer follow from its record, the own keys and the policies.
    pub(super) fn refresh(&mut self, node: NodeUid, spis: &mut impl Spis) {
        let mut wanted = BTreeSet::new();
        let mut lanes = BTreeSet::new();
        if let Some(peer) = self.peers.get(&node) {
            for (policy, _) in self.policies.iter().filter(|(policy, _)| peer.policies.contains(*policy)) {
                lanes.insert(*policy);
                for (theirs, _) in &peer.keys {
                    let sa = |own: &Record| Sa { peer: node, policy: *policy, own: own.id, theirs: *theirs };
                    wanted.extend(self.keys.iter().map(sa));
                }
            }
            let live = |sa: &&Sa| {
                self.lingering.contains_key(&sa.policy)
                    && self.index(sa.own).is_some()
                    && peer.keys.iter().any(|(theirs, _)| *theirs == sa.theirs)
            };
            if !self.lingering.is_empty() {
                let of_peer = self.installed.range(first_of(node)..).take_while(|sa| sa.peer == node);
                wanted.extend(of_peer.filter(live));
            }
        }
        let of_peer = |sa: &Sa| sa.peer == node;
        let gone: Vec<Sa> =
            range(&self.inbound, node).map(|(sa, _)| *sa).filter(|sa| !wanted.contains(sa)).collect();
        let freed = !gone.is_empty();
        for sa in gone {
            self.drop_inbound(&sa);
        }
        self.collided.retain(|sa| !of_peer(sa) || wanted.contains(sa));
        for sa in wanted {
            if !self.inbound.contains_key(&sa) && !self.collided.contains(&sa) {
                self.want_inbound(sa, spis);
            }
        }
        if freed {
            for sa in std::mem::take(&mut self.collided) {
                self.want_inbound(sa, spis);
            }
        }
        for policy in &lanes {
            self.lanes.entry((node, *policy)).or_default();
        }
        let of_peer = (node, PolicyRevision(0))..=(node, PolicyRevision(u64::MAX));
        let mut over = Vec::new();
        for ((_, policy), lane) in self.lanes.range_mut(of_peer) {
            lane.needed = lanes.contains(policy);
            if !lane.needed {
                lane.wanted = None;
                over.extend(lane.kernel.is_empty().then_some(*policy));
            }
        }
        // Only this peer's are looked at: all peers are gone through one by one, however many there are.
        for policy in over {
            self.lanes.remove(&(node, policy));
        }
    }

    fn want_inbound(&mut self, sa: Sa, spis: &mut impl Spis) {
        // A key that nothing can be derived with is as good as not published.
        let Some(spi) = spis.inbound(&sa) else { return };
        if self.foreign.contains(&spi) || self.by_spi.contains_key(&spi) {
            self.collided.insert(sa);
            return;
        }
        self.inbound.insert(sa, spi);
        self.by_spi.insert(spi, sa);
        if !self.installed.contains(&sa) {
            self.missing.insert(sa);
        }
    }

    fn drop_inbound(&mut self, sa: &Sa) {
        if let Some(spi) = self.inbound.remove(sa) {
            self.by_spi.remove(&spi);
        }
        self.missing.remove(sa);
    }

    pub(super) fn collide(&mut self, sa: Sa) {
        self.drop_inbound(&sa);
        self.collided.insert(sa);
    }

    /// When the peer's key of this SA was first seen.
    pub(super) fn first_seen(&self, sa: &Sa) -> Version {
        let keys = self.peers.get(&sa.peer).map(|peer| peer.keys.as_slice()).unwrap_or_default();
        keys.iter().find(|(id, _)| *id == sa.theirs).map_or(self.seen, |(_, since)| *since)
    }

    /// Peers that an SA is wanted with.
    pub(super) fn keyed(&self) -> impl Iterator<Item = (&NodeUid, &Peer)> {
        self.peers.iter().filter(|(_, peer)| {
            !peer.keys.is_empty() && self.policies.keys().any(|policy| peer.policies.contains(policy))
        })
    }
}

/// Where the SAs with one peer begin.
fn first_of(peer: NodeUid) -> Sa {
    Sa { peer, policy: PolicyRevision(0), own: KeyId(0), theirs: KeyId(0) }
}

/// The SAs with one peer.
fn range(sas: &BTreeMap<Sa, u32>, peer: NodeUid) -> impl Iterator<Item = (&Sa, &u32)> {
    sas.range(first_of(peer)..).take_while(move |(sa, _)| sa.peer == peer)
}
