//! What SAs are derived from, and what was derived.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use esplanade_crds::{NodePolicy, Problem};
use esplanade_expand::{address_pairs, require_automatic, unsupported};
use esplanade_keying::derive::{Agreement, Cpu, Derived, Ppk, SaInfo, sample};
use esplanade_keying::node::PeerRecord;
use esplanade_keying::{KeyId, KeyPair, NodeUid, PolicyRevision, PublicKey, Sa, Version};
use esplanade_model::{AddressPair, Capabilities, Missing, SaDirection};
use esplanade_seal::KeyPair as SealingKeys;

use super::ppk::{self, PpkError};
use super::running::Given;

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

/// Traffic that has SAs of its own: a policy's; in transport mode, what of it goes between one pair of addresses.
#[derive(Debug, Clone)]
pub(super) struct Carried {
    pub(super) policy: Arc<NodePolicy>,
    /// This node's address first.
    pub(super) addresses: Option<AddressPair>,
}

impl Carried {
    /// What names it for the protocol.
    fn revision(&self) -> PolicyRevision {
        let Self { policy, addresses } = self;
        match addresses {
            None => revision(policy),
            Some(pair) => PolicyRevision::between(&policy.uid, &policy.revision, pair),
        }
    }

    /// Revisions share what goes by this name: no policy's has a space.
    fn name(&self) -> Arc<str> {
        let Self { policy, addresses } = self;
        match addresses {
            None => Arc::from(policy.name.as_str()),
            Some(pair) => Arc::from(format!("{} {pair}", policy.name)),
        }
    }
}

/// What counts for the protocol.
pub(super) struct Taken {
    /// Each peer.
    pub(super) peers: Vec<(NodeUid, Version, PeerRecord)>,
    /// The policies that this node has now, with what each is carried for; of several revisions of one, the newest last.
    pub(super) policies: Vec<(PolicyRevision, Arc<str>, Arc<NodePolicy>)>,
}

/// Keys, and what follows from them. Whatever is secret is wiped when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Material {
    own_uid: String,
    pub(super) pairs: BTreeMap<KeyId, KeyPair>,
    pub(super) peers: BTreeMap<NodeUid, Peer>,
    /// Also policies that are gone, as long as there are SAs of theirs.
    pub(super) carried: BTreeMap<PolicyRevision, Carried>,
    /// Of policies that have one: those of this node's and of what is carried. What was opened once stays: a revision's is
    /// always the same.
    ppks: BTreeMap<PolicyRevision, Result<Ppk, PpkError>>,
    /// Policies whose SAs this kernel can't have.
    unsupported: BTreeMap<PolicyRevision, Missing>,
    /// With the policy whose PPK is mixed in.
    agreements: HashMap<(KeyId, KeyId, Option<PolicyRevision>), Option<Agreement>>,
    derived: HashMap<(Sa, bool), Option<Derived>>,
}

impl Material {
    pub(super) fn new(own_uid: &str, pairs: BTreeMap<KeyId, KeyPair>) -> Self {
        Self { own_uid: own_uid.to_owned(), pairs, ..Self::default() }
    }

    /// Takes in peers and policies. Of a policy whose PPK can't be opened (yet) there is nothing to be derived, and where the
    /// kernel lacks its algorithms nothing to be made: the protocol isn't told of it, and others' keys are renewed as ever.
    pub(super) fn take(&mut self, given: Given<'_>, keys: &SealingKeys) -> Taken {
        let Given { node, input, kernel } = given;
        self.unsupported.clear();
        let automatic = input.spec.policies.iter().filter(|policy| policy.automatic.is_some());
        let automatic: Vec<_> =
            automatic.filter(|policy| self.is_supported(policy, kernel) && self.open(policy, keys)).collect();
        let automatic: Vec<Arc<NodePolicy>> =
            automatic.into_iter().map(|policy| Arc::new(policy.clone())).collect();
        let mut current: BTreeMap<PolicyRevision, Carried> = BTreeMap::new();
        let mut peers = Vec::new();
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
            let mut policies = BTreeSet::new();
            for policy in automatic.iter().filter(|_| name != node) {
                for addresses in address_pairs(node, name, policy, &input.peers) {
                    let carried = Carried { policy: Arc::clone(policy), addresses };
                    policies.insert(carried.revision());
                    current.insert(carried.revision(), carried);
                }
            }
            peers.push((uid, Version(peer.version), PeerRecord { keys: order, policies }));
            self.peers.insert(uid, Peer { name: name.clone(), uid: peer.node_uid.clone(), keys });
        }
        let of_policy = |policy: &Arc<NodePolicy>| {
            let carried = current.iter().filter(|(_, carried)| Arc::ptr_eq(&carried.policy, policy));
            carried.map(|(of, carried)| (*of, carried.name(), Arc::clone(policy))).collect::<Vec<_>>()
        };
        let policies = automatic.iter().flat_map(of_policy).collect();
        self.carried.extend(current);
        let known: BTreeSet<KeyId> = self.peers.values().flat_map(|peer| peer.keys.keys().copied()).collect();
        self.agreements.retain(|(_, theirs, _), _| known.contains(theirs));
        Taken { peers, policies }
    }

    /// Whether the policy's SAs can be derived: it has no PPK, or one that is known.
    fn open(&mut self, policy: &NodePolicy, keys: &SealingKeys) -> bool {
        let Some(sealed) = policy.automatic.as_ref().and_then(|keying| keying.ppk.as_ref()) else {
            return true;
        };
        let known = self.ppks.entry(revision(policy)).or_insert(Err(PpkError::Unopened));
        if known.is_err() {
            *known = ppk::open(&policy.uid, sealed, keys);
        }
        known.is_ok()
    }

    fn is_supported(&mut self, policy: &NodePolicy, kernel: &Capabilities) -> bool {
        let crypto = policy.automatic.as_ref().and_then(|keying| sample(keying.suite));
        let missing = crypto.and_then(|crypto| require_automatic(crypto, kernel).err());
        let supported = missing.is_none();
        self.unsupported.extend(missing.map(|missing| (revision(policy), missing)));
        supported
    }

    /// Why there are no SAs of the policy.
    pub(super) fn closed(&self, policy: &NodePolicy) -> Option<Problem> {
        let unsupported = self.unsupported.get(&revision(policy)).map(|missing| unsupported(missing, policy));
        unsupported.or_else(|| Some(self.ppks.get(&revision(policy))?.as_ref().err()?.problem(policy)))
    }

    /// What is carried by SAs that are made on demand.
    pub(super) fn on_demand(&self) -> impl Iterator<Item = (PolicyRevision, &Carried)> {
        let asked = |carried: &Carried| carried.policy.automatic.as_ref().is_some_and(|one| one.on_demand);
        self.carried.iter().filter(move |(_, carried)| asked(carried)).map(|(of, carried)| (*of, carried))
    }

    /// What SAs of the policy carry.
    pub(super) fn carried_for(&self, policy: PolicyRevision) -> impl Iterator<Item = PolicyRevision> + '_ {
        let of_policy = self.carried.iter().filter(move |(_, carried)| revision(&carried.policy) == policy);
        of_policy.map(|(carried, _)| *carried)
    }

    /// Forgets what no SA needs.
    pub(super) fn keep(&mut self, needed: &BTreeSet<(Sa, bool)>, current: impl Fn(PolicyRevision) -> bool) {
        self.derived.retain(|sa, _| needed.contains(sa));
        let used: BTreeSet<PolicyRevision> = needed.iter().map(|(sa, _)| sa.policy).collect();
        self.carried.retain(|of, carried| current(revision(&carried.policy)) || used.contains(of));
        let carried: BTreeSet<PolicyRevision> =
            self.carried.values().map(|carried| revision(&carried.policy)).collect();
        self.ppks.retain(|policy, _| current(*policy) || carried.contains(policy));
        self.agreements.retain(|(own, _, ppk), _| {
            self.pairs.contains_key(own) && ppk.is_none_or(|policy| self.ppks.contains_key(&policy))
        });
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
        let Self { own_uid, pairs, peers, carried, ppks, agreements, .. } = self;
        let peer = peers.get(&sa.peer)?;
        let Carried { policy, addresses } = carried.get(&sa.policy)?;
        let (own, theirs) = (pairs.get(&sa.own)?, peer.keys.get(&sa.theirs)?);
        let with_ppk = policy.automatic.as_ref()?.ppk.as_ref().map(|_| revision(policy));
        let ppk = match with_ppk {
            None => None,
            // Never without the one that there should be.
            Some(policy) => Some(ppks.get(&policy)?.as_ref().ok()?),
        };
        let agreement = agreements.entry((sa.own, sa.theirs, with_ppk)).or_insert_with(|| {
            let made = Agreement::new(own, theirs, ppk);
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
            addresses: addresses.map(|pair| if inbound { pair.reversed() } else { pair }),
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
