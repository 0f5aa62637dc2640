//! What has to be written: the differences between a plan and what is there.

use std::collections::BTreeSet;
use std::fmt;

use esplanade_crds::{
    Action, IpsecNodeStateSpec, IpsecPeerSpec, IpsecPolicyStatus, IpsecSAStatus, NodePolicy,
};
use esplanade_plan::Plan;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::cache::{Cache, Unreadable};
use super::index::Index;

/// The kinds that are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A node's public record.
    IpsecPeer,
    /// A node's desired state.
    IpsecNodeState,
    /// A user's SA: its status.
    IpsecSA,
    /// A user's policy: its status.
    IpsecPolicy,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Names an object.
pub type Key = (Kind, String);

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// `metadata.name`.
    pub name: String,
    /// What to write.
    pub what: What,
}

/// What a write writes.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// An IpsecPeer's spec; made if it isn't there.
    Peer {
        /// The UID of the Node that owns it.
        owner: String,
        /// The spec.
        spec: IpsecPeerSpec,
    },
    /// An IpsecNodeState's spec; made if it isn't there.
    NodeState {
        /// The UID of the Node that owns it.
        owner: String,
        /// Only if it is still at this resourceVersion: phases and acknowledgements follow from what it was.
        version: Option<String>,
        /// The spec.
        spec: IpsecNodeStateSpec,
    },
    /// An IpsecSA's status.
    SaStatus {
        /// `metadata.uid`.
        uid: String,
        /// The status.
        status: IpsecSAStatus,
    },
    /// An IpsecPolicy's status.
    PolicyStatus {
        /// `metadata.uid`.
        uid: String,
        /// The status.
        status: IpsecPolicyStatus,
    },
    /// A condition on a user's object that can't be read.
    Unreadable(Kind, Unreadable),
    /// An object that nothing wants any more.
    Remove(Kind, String),
}

impl Change {
    /// The kind of the object.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.what {
            What::Peer { .. } => Kind::IpsecPeer,
            What::NodeState { .. } => Kind::IpsecNodeState,
            What::SaStatus { .. } => Kind::IpsecSA,
            What::PolicyStatus { .. } => Kind::IpsecPolicy,
            What::Unreadable(kind, _) | What::Remove(kind, _) => *kind,
        }
    }

    /// The object's name among all.
    #[must_use]
    pub fn key(&self) -> Key {
        (self.kind(), self.name.clone())
    }
}

/// The writes that make what is there into what the plan wants, in the order in which they should be made: peers
/// before the node states that go by them, users' statuses last. `told` are the unreadable objects whose users know.
#[must_use]
pub fn changes(index: &Index, plan: &Plan, told: &BTreeSet<(Kind, Unreadable)>) -> Vec<Change> {
    let Plan { node_states, peers, policy_status, sa_status, again: _ } = plan;
    let mut changes = Vec::new();
    let mut add = |name: &str, what: What| changes.push(Change { name: name.to_owned(), what });

    for (name, spec) in peers {
        let Some(owner) = index.nodes.get(name).map(|node| node.uid.clone()) else { continue };
        let present = index.peers.get(name);
        if let Some(uid) = present.and_then(|present| orphan(&present.metadata, &owner)) {
            add(name, What::Remove(Kind::IpsecPeer, uid));
        } else if present.is_none_or(|present| present.spec != *spec) {
            add(name, What::Peer { owner, spec: spec.clone() });
        }
    }
    for (name, (spec, owner)) in node_states {
        let present = index.node_states.get(name);
        if let Some(uid) = present.and_then(|present| orphan(&present.metadata, owner)) {
            add(name, What::Remove(Kind::IpsecNodeState, uid));
        } else if present.is_none_or(|present| present.spec != *spec) {
            let version = present.filter(|present| is_stepped(&present.spec) || is_stepped(spec));
            let version = version.and_then(|present| present.metadata.resource_version.clone());
            add(name, What::NodeState { owner: owner.clone(), version, spec: spec.clone() });
        }
    }
    // A Node that can't be read has no plan, and keeps what it has.
    let kept = |name: &str| index.nodes.contains(name);
    for (name, uid) in unwanted(&index.peers, |name| peers.contains_key(name) || kept(name)) {
        add(name, What::Remove(Kind::IpsecPeer, uid));
    }
    for (name, uid) in unwanted(&index.node_states, |name| node_states.contains_key(name) || kept(name)) {
        add(name, What::Remove(Kind::IpsecNodeState, uid));
    }
    for (name, status) in sa_status {
        let Some(present) = index.sas.get(name) else { continue };
        if present.status.as_ref() != Some(status) {
            let uid = present.metadata.uid.clone().unwrap_or_default();
            add(name, What::SaStatus { uid, status: status.clone() });
        }
    }
    for (name, status) in policy_status {
        let Some(present) = index.policies.get(name) else { continue };
        if present.status.as_ref() != Some(status) {
            let uid = present.metadata.uid.clone().unwrap_or_default();
            add(name, What::PolicyStatus { uid, status: status.clone() });
        }
    }
    let sas = index.sas.unreadable().map(|(name, error)| (Kind::IpsecSA, name, error));
    let policies = index.policies.unreadable().map(|(name, error)| (Kind::IpsecPolicy, name, error));
    for (kind, name, error) in sas.chain(policies) {
        if !told.contains(&(kind, error.clone())) {
            add(name, What::Unreadable(kind, error.clone()));
        }
    }
    changes
}

/// It goes from step to step.
fn is_stepped(spec: &IpsecNodeStateSpec) -> bool {
    let steps = |policy: &NodePolicy| policy.automatic.is_some() || policy.action == Action::Bypass;
    spec.keys.is_some() || spec.policies.iter().any(steps)
}

/// The object's own UID if it belonged to another Node of the same name: what its agent reported is of no use.
fn orphan(meta: &ObjectMeta, owner: &str) -> Option<String> {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    let stranger = owners.iter().any(|reference| reference.kind == "Node" && reference.uid != owner);
    stranger.then(|| meta.uid.clone().unwrap_or_default())
}

/// Objects that aren't wanted, with their UIDs.
fn unwanted<'a, K: Resource + PartialEq>(
    cache: &'a Cache<K>,
    wanted: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = (&'a str, String)> {
    cache
        .iter()
        .filter(move |(name, _)| !wanted(name))
        .map(|(name, object)| (name, object.meta().uid.clone().unwrap_or_default()))
}

#[cfg(test)]
mod tests;
