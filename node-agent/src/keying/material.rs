//! What SAs are derived from, and what was derived.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use esplanade_crds::NodePolicy;
use esplanade_keying::derive::{Agreement, Cpu, Derived, SaInfo};
use esplanade_keying::node::PeerRecord;
use esplanade_keying::{KeyId, KeyPair, NodeUid, PolicyRevision, PublicKey, Sa, Version};
use esplanade_model::SaDirection;

use crate::desired::Input;

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: String,
    uid: String,
    keys: BTreeMap<KeyId, PublicKey>,
}

impl Peer {
    pub(super) fn key_ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.keys()
    }
}

/// Keys, and what follows from them. Whatever is secret is wiped when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Material {
    own_uid: String,
    pub(super) pairs: BTreeMap<KeyId, KeyPair>,
    pub(super) peers: BTreeMap<NodeUid, Peer>,
    /// Also policies that are gone, as long as there are SAs of theirs.
    pub(super) policies: BTreeMap<PolicyRevision, Arc<NodePolicy>>,
    agreements: HashMap<(KeyId, KeyId), Option<Agreement>>,
    derived: HashMap<(Sa, bool), Option<Derived>>,
}

impl Material {
    pub(super) fn new(own_uid: &str, pairs: BTreeMap<KeyId, KeyPair>) -> Self {
        Self { own_uid: own_uid.to_owned(), pairs, ..Self::default() }
    }

    /// Takes in peers and policies; what counts of each peer for the protocol.
    pub(super) fn take(&mut self, input: &Input) -> Vec<(NodeUid, Version, PeerRecord)> {
        let mut records = Vec::new();
        self.peers.clear();
        for (name, peer) in input.keyed.iter() {
            let uid = NodeUid::of(&peer.node_uid);
            let mut keys = BTreeMap::new();
            let mut order = Vec::new();
            for key in &peer.keys {
                // What isn't a key, or is under another's name, counts as not published.
                let public = PublicKey::from_base64(&key.public_key).ok();
                let Some(public) = public.filter(|public| public.id().to_string() == key.id) else {
                    continue;
                };
                if keys.insert(public.id(), public).is_none() {
                    order.push(public.id());
                }
            }
            let selectors = input.peers.get(name).into_iter().flat_map(|spec| &spec.selectors);
            let policies = selectors.map(|one| Arc::from(one.policy.as_str())).collect();
            records.push((uid, Version(peer.version), PeerRecord { keys: order, policies }));
            self.peers.insert(uid, Peer { name: name.clone(), uid: peer.node_uid.clone(), keys });
        }
        for policy in input.spec.policies.iter().filter(|policy| policy.automatic.is_some()) {
            self.policies.insert(revision(policy), Arc::new(policy.clone()));
        }
        let known: BTreeSet<KeyId> = self.peers.values().flat_map(|peer| peer.keys.keys().copied()).collect();
        self.agreements.retain(|(_, theirs), _| known.contains(theirs));
        records
    }

    /// Forgets what no SA needs.
    pub(super) fn keep(&mut self, needed: &BTreeSet<(Sa, bool)>, current: impl Fn(PolicyRevision) -> bool) {
        self.derived.retain(|sa, _| needed.contains(sa));
        let used: BTreeSet<PolicyRevision> = needed.iter().map(|(sa, _)| sa.policy).collect();
        self.policies.retain(|policy, _| current(*policy) || used.contains(policy));
        self.agreements.retain(|(own, _), _| self.pairs.contains_key(own));
    }

    /// An SA's SPI and keys; none if nothing can be derived.
    pub(super) fn derive(&mut self, sa: &Sa, inbound: bool) -> Option<&Derived> {
        if !self.derived.contains_key(&(*sa, inbound)) {
            let derived = self.derive_anew(sa, inbound);
            self.derived.insert((*sa, inbound), derived);
        }
        self.derived.get(&(*sa, inbound))?.as_ref()
    }

    fn derive_anew(&mut self, sa: &Sa, inbound: bool) -> Option<Derived> {
        let Self { own_uid, pairs, peers, policies, agreements, .. } = self;
        let peer = peers.get(&sa.peer)?;
        let policy = policies.get(&sa.policy)?;
        let (own, theirs) = (pairs.get(&sa.own)?, peer.keys.get(&sa.theirs)?);
        let agreement = agreements.entry((sa.own, sa.theirs)).or_insert_with(|| {
            let made = Agreement::new(own, theirs, None);
            made.inspect_err(|error| tracing::warn!(peer = peer.name, key = %sa.theirs, %error, "no keys"))
                .ok()
        });
        let agreement = agreement.as_ref()?;
        let (sender, receiver) = if inbound { (&peer.uid, &*own_uid) } else { (&*own_uid, &peer.uid) };
        let info = SaInfo {
            policy: &policy.uid,
            revision: &policy.revision,
            suite: policy.automatic.as_ref()?.suite,
            sender,
            receiver,
            cpu: Cpu::Any,
        };
        if inbound { agreement.inbound(&info) } else { agreement.outbound(&info) }.ok()
    }
}

/// What names a policy in its revision.
pub(super) fn revision(policy: &NodePolicy) -> PolicyRevision {
    PolicyRevision::of(&policy.uid, &policy.revision)
}

/// Which way.
pub(super) fn direction(inbound: bool) -> SaDirection {
    if inbound { SaDirection::In } else { SaDirection::Out }
}
