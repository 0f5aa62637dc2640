//! The policies with automatic keys that the kernel has, with all that it takes to keep them there: a policy in force isn't
//! given up because an object is missing, or is an older one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use esplanade_crds::conditions::reason;
use esplanade_crds::{
    GIVE_UP_ANNOTATION, IpsecNodeStateSpec, IpsecPeerSpec, NodePolicy, PeerSelectors, Phase, PhaseTarget,
    PolicyInKernel, Problem, ProblemKind,
};
use esplanade_keying::PolicyRevision;
use esplanade_keying::in_force::{Said, Untold};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::material::revision;
use crate::desired::Input;
use crate::state_file::{BootFile, FileError};

/// The file's name in the state directory. Its first line is the boot that it was written in, the second one JSON. No key is
/// in it.
pub(super) const FILE: &str = "policies-in-force";

/// A policy in the kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct InKernel {
    /// As it was last told; its phase is that of the kernel.
    policy: NodePolicy,
    /// Who takes part: their addresses, and what of this policy lies there.
    peers: BTreeMap<String, IpsecPeerSpec>,
}

type All = BTreeMap<PolicyRevision, InKernel>;

/// All of them.
#[derive(Debug)]
pub(super) struct InForce {
    file: BootFile,
    all: All,
    /// An agent before this one has written them down.
    found: bool,
    /// What was added last: to which input, and the how-manieth time.
    added: (u64, Added, u16),
}

/// What isn't told and counts all the same: policies, and of which peers.
type Added = BTreeMap<PolicyRevision, BTreeSet<String>>;

impl InForce {
    /// As an agent before this one has left them in this boot.
    pub(super) fn load(directory: &Path, boot_id: &str) -> Self {
        let path = directory.join(FILE);
        let (file, text) = match BootFile::load(&path, boot_id) {
            Ok((lines, file)) => (file, lines.of_this_boot().to_owned()),
            Err(error) => {
                tracing::error!(%error, "what is in force isn't known but from the kernel");
                (BootFile::at(&path, boot_id), String::new())
            }
        };
        let read = if text.is_empty() { None } else { Some(serde_json::from_str::<Vec<InKernel>>(&text)) };
        let all = match read {
            None => None,
            Some(Ok(all)) => Some(all),
            Some(Err(error)) => {
                tracing::error!(path = %path.display(), %error, "what is in force isn't known but from the kernel");
                None
            }
        };
        let found = all.is_some();
        let all = all.into_iter().flatten().map(|one| (revision(&one.policy), one)).collect();
        Self { file, all, found, added: Default::default() }
    }

    /// It is known what was in force when the agent started.
    pub(super) fn was_found(&self) -> bool {
        self.found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = &NodePolicy> {
        self.all.values().map(|one| &one.policy)
    }

    /// The phase that the kernel is at.
    pub(super) fn phase(&self, policy: PolicyRevision) -> Option<Phase> {
        self.all.get(&policy).map(|one| one.policy.phase)
    }

    /// For the status.
    pub(super) fn report(&self) -> Vec<PolicyInKernel> {
        let one = |policy: &NodePolicy| PolicyInKernel {
            name: policy.name.clone(),
            uid: policy.uid.clone(),
            revision: policy.revision.clone(),
            phase: policy.phase,
        };
        let mut all: Vec<PolicyInKernel> = self.policies().map(one).collect();
        all.sort();
        all
    }

    /// What was told, with what is kept though it isn't: policies that the node was never told to switch off (also those that
    /// are only prepared, for others may send by them already), earlier revisions as the newest has it
    /// ([`esplanade_keying::in_force`]), and what lies at peers that are gone, so that nothing goes there in the clear.
    pub(super) fn complete(&mut self, node: &str, input: &Input) -> Input {
        let mut input = input.clone();
        let mut added = Added::new();
        // Where the Node itself is gone, there is nothing to keep.
        if input.generation.is_some() {
            let told: BTreeSet<PolicyRevision> = input.spec.policies.iter().map(revision).collect();
            let mut peers = None;
            let mut keeps = Vec::new();
            for (revision, one) in &self.all {
                let kept = !told.contains(revision);
                let policy = if kept { self.kept(one, &input) } else { None };
                if kept && policy.is_none() || !kept && one.policy.phase == Phase::Prepare {
                    continue;
                }
                let missing = one.missing(kept || one.is_of_older_peers(node, &input), &input.peers);
                if !missing.is_empty() {
                    let peers = peers.get_or_insert_with(|| (*input.peers).clone());
                    missing.iter().for_each(|name| one.put(name, peers));
                }
                if let Some(policy) = policy {
                    if !input.spec.policies.iter().any(|told| told.uid == policy.uid) {
                        input.problems.push(is_kept(node, &policy));
                    }
                    keeps.push(policy);
                }
                if kept || !missing.is_empty() {
                    added.insert(*revision, missing);
                }
            }
            if !keeps.is_empty() {
                // Before one of its name that is only being prepared.
                Arc::make_mut(&mut input.spec).policies.splice(0..0, keeps.into_iter().rev());
            }
            if let Some(peers) = peers {
                input.peers = Arc::new(peers);
            }
        }
        let (version, before, times) = &mut self.added;
        let changed = *before != added;
        if *version != input.version {
            (*version, *times) = (input.version, 0);
        } else if changed {
            *times = times.wrapping_add(1);
        }
        *before = added;
        input.version = (input.version << 16) | u64::from(*times);
        input
    }

    /// What was told, with all that the kernel had when the agent started.
    pub(super) fn found(&self, input: &Input) -> Input {
        let mut peers = (*input.peers).clone();
        for one in self.all.values() {
            one.missing(true, &input.peers).iter().for_each(|name| one.put(name, &mut peers));
        }
        let told: BTreeSet<PolicyRevision> = input.spec.policies.iter().map(revision).collect();
        let mut spec = (*input.spec).clone();
        let gone = self.all.iter().filter(|(revision, _)| !told.contains(revision));
        spec.policies.extend(gone.map(|(_, one)| one.policy.clone()));
        Input { spec: Arc::new(spec), peers: Arc::new(peers), ..input.clone() }
    }

    /// What counts of one that isn't told; nothing if it goes.
    fn kept(&self, one: &InKernel, input: &Input) -> Option<NodePolicy> {
        let InKernel { policy, .. } = one;
        let of_name = input.spec.policies.iter().filter(|told| told.name == policy.name);
        let told: Vec<Said<'_>> = of_name.map(|told| self.said(told)).collect();
        match self.said(policy).untold(&told) {
            _ if input.given_up.contains(&policy.uid) => None,
            Untold::Goes => None,
            Untold::Stays => Some(policy.clone()),
            Untold::SwitchedOff(phase) => {
                Some(NodePolicy { phase, target: PhaseTarget::Absent, ..policy.clone() })
            }
        }
    }

    fn said<'a>(&self, policy: &'a NodePolicy) -> Said<'a> {
        let NodePolicy { uid, target, phase, .. } = policy;
        Said { uid, target: *target, phase: *phase, reached: self.phase(revision(policy)) }
    }

    /// Before a pass that makes the kernel this: should it end half-way, both count.
    ///
    /// # Errors
    /// It can't be written down.
    pub(super) fn intend(
        &mut self,
        spec: &IpsecNodeStateSpec,
        peers: &BTreeMap<String, IpsecPeerSpec>,
    ) -> Result<(), FileError> {
        let mut next = all_of(spec, peers);
        for (revision, before) in &self.all {
            match next.get_mut(revision) {
                Some(one) => one.policy.phase = one.policy.phase.max(before.policy.phase),
                None => {
                    next.insert(*revision, before.clone());
                }
            }
        }
        self.write(next)
    }

    /// After a pass that came to its end.
    pub(super) fn settle(&mut self, spec: &IpsecNodeStateSpec, peers: &BTreeMap<String, IpsecPeerSpec>) {
        if let Err(error) = self.write(all_of(spec, peers)) {
            tracing::error!(%error, "what is no longer in force can't be written down");
        }
    }

    fn write(&mut self, next: All) -> Result<(), FileError> {
        if self.all != next {
            let all: Vec<&InKernel> = next.values().collect();
            // Plain data: it can't fail.
            let text = serde_json::to_string(&all).unwrap_or_default();
            self.file.write(&text)?;
            self.all = next;
        }
        Ok(())
    }
}

impl InKernel {
    /// The node is told of it, is not to switch it off, and has no part in it: its IpsecPeer is an older one than its
    /// IpsecNodeState, and so may the others be. After etcd was restored, each is listed anew by itself.
    fn is_of_older_peers(&self, node: &str, input: &Input) -> bool {
        let told = input.spec.policies.iter().find(|told| revision(told) == revision(&self.policy));
        let has_part = |peers: &BTreeMap<String, IpsecPeerSpec>| {
            peers.get(node).is_some_and(|own| selectors(own, &self.policy).is_some())
        };
        told.is_some_and(|told| told.target != PhaseTarget::Absent)
            && has_part(&self.peers)
            && !has_part(&input.peers)
    }

    /// Peers whose part in it is to be added: those that are gone, unless their networks have become others'; with `kept`,
    /// also those of which it isn't told any more.
    fn missing(&self, kept: bool, peers: &BTreeMap<String, IpsecPeerSpec>) -> BTreeSet<String> {
        let gone = |name: &String| match peers.get(name) {
            Some(peer) => kept && selectors(peer, &self.policy).is_none(),
            None => true,
        };
        let missing: Vec<(&String, &IpsecPeerSpec)> =
            self.peers.iter().filter(|(name, _)| gone(name)).collect();
        if missing.is_empty() {
            return BTreeSet::new();
        }
        // What was there beside them is no reason: a gateway's networks may contain it.
        let known: BTreeSet<_> =
            self.peers.iter().flat_map(|(name, peer)| at(name, &peer.selectors)).collect();
        let now = peers.iter().filter_map(|(name, peer)| Some((name, selectors(peer, &self.policy)?)));
        let now = now.flat_map(|(name, part)| at(name, std::slice::from_ref(part)));
        let taken: Vec<(Side, IpNet)> =
            now.filter(|one| !known.contains(one)).map(|(_, side, network)| (side, network)).collect();
        let is_taken = |peer: &IpsecPeerSpec| {
            let own = peer.selectors.iter().flat_map(networks);
            own.into_iter().any(|(side, own)| {
                taken.iter().any(|(other, one)| *other == side && (one.contains(&own) || own.contains(one)))
            })
        };
        let missing = missing.into_iter().filter(|(_, peer)| !is_taken(peer));
        missing.map(|(name, _)| name.clone()).collect()
    }

    /// Adds one's part.
    fn put(&self, name: &str, peers: &mut BTreeMap<String, IpsecPeerSpec>) {
        let Some(part) = self.peers.get(name) else { return };
        let empty = || IpsecPeerSpec { addresses: part.addresses.clone(), selectors: Vec::new() };
        // Of this revision only: it is no part of another one.
        let part = part
            .selectors
            .iter()
            .map(|one| PeerSelectors { revision: Some(self.policy.revision.clone()), ..one.clone() });
        peers.entry(name.to_owned()).or_insert_with(empty).selectors.extend(part);
    }
}

fn selectors<'a>(peer: &'a IpsecPeerSpec, policy: &NodePolicy) -> Option<&'a PeerSelectors> {
    peer.selectors_of(&policy.name, &policy.revision)
}

/// A side of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    From,
    To,
}

/// What can't be read is no network: nothing is sent there.
fn networks(selectors: &PeerSelectors) -> Vec<(Side, IpNet)> {
    let from = selectors.from.iter().map(|network| (Side::From, network));
    let to = selectors.to.iter().map(|network| (Side::To, network));
    from.chain(to).filter_map(|(side, network)| Some((side, network.parse().ok()?))).collect()
}

/// What lies at a peer.
fn at<'a>(name: &'a str, parts: &[PeerSelectors]) -> Vec<(&'a str, Side, IpNet)> {
    parts.iter().flat_map(networks).map(|(side, network)| (name, side, network)).collect()
}

fn all_of(spec: &IpsecNodeStateSpec, peers: &BTreeMap<String, IpsecPeerSpec>) -> All {
    let one = |policy: &NodePolicy| {
        let part = |(name, peer): (&String, &IpsecPeerSpec)| {
            let selectors = vec![selectors(peer, policy)?.clone()];
            Some((name.clone(), IpsecPeerSpec { addresses: peer.addresses.clone(), selectors }))
        };
        InKernel { policy: policy.clone(), peers: peers.iter().filter_map(part).collect() }
    };
    let automatic = spec.policies.iter().filter(|policy| policy.automatic.is_some());
    automatic.map(|policy| (revision(policy), one(policy))).collect()
}

fn is_kept(node: &str, policy: &NodePolicy) -> Problem {
    let NodePolicy { name, uid, .. } = policy;
    Problem {
        kind: ProblemKind::IpsecPolicy,
        name: name.clone(),
        category: reason::KEPT.to_owned(),
        message: format!(
            "the policy with UID {uid} is in force, and the IpsecNodeState names it no more, though the node was never told to \
             switch it off: it stays. Apply the policy again; or give it up, and have its traffic in the clear: kubectl \
             annotate --overwrite ipsecnodestate {node} {GIVE_UP_ANNOTATION}={uid}"
        ),
    }
}

#[cfg(test)]
mod tests;
