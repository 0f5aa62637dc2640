//! What the API server has told: the node's own IpsecNodeState and everyone's IpsecPeer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use esplanade_crds::{
    AllocatedSpi, IpsecNodeState, IpsecNodeStateSpec, IpsecNodeStateStatus, IpsecPeer, IpsecPeerSpec,
    Problem, PublishedKey,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::{DeserializeGuard, ObjectMeta};
use kube::runtime::watcher::Event;

mod api_server;
mod own;
mod peers;

use api_server::ApiServer;
use own::Own;
use peers::Peers;

/// After its IpsecNodeState was deleted, and its IpsecPeer too, the kernel stays as it is for so long: somebody may have
/// deleted the objects alone, and the operator makes them anew. With the IpsecPeer still there, it stays.
pub const DELETION_GRACE: Duration = Duration::from_secs(10);

/// A watch event of an object that may be unreadable.
pub type Watched<K> = Event<DeserializeGuard<K>>;

/// What the kernel is to be made of.
#[derive(Debug, Clone)]
pub struct Input {
    /// Changes whenever one of the others does.
    pub version: u64,
    /// `metadata.uid` of the IpsecNodeState, as far as it is there.
    pub uid: Option<String>,
    /// `metadata.generation` of the IpsecNodeState; none if the node is to be left empty.
    pub generation: Option<i64>,
    /// Its spec.
    pub spec: Arc<IpsecNodeStateSpec>,
    /// The specs of all IpsecPeers, by name.
    pub peers: Arc<BTreeMap<String, IpsecPeerSpec>>,
    /// What else of them counts with automatic keys, by name.
    pub keyed: Arc<BTreeMap<String, KeyedPeer>>,
    /// A key of the node's that is older is to be renewed.
    pub rotate_before: Option<jiff::Timestamp>,
    /// UIDs of policies that aren't to be kept.
    pub given_up: BTreeSet<String>,
    /// The highest resourceVersion of an IpsecPeer such that every event up to it is in `peers`.
    pub peers_through: Option<u64>,
    /// SPIs that agents of this node have reported since it booted.
    pub allocated: Vec<AllocatedSpi>,
    /// Objects that can't be read.
    pub problems: Vec<Problem>,
    /// Where the API server is: what goes there and comes from there passes.
    pub api_server: Arc<BTreeSet<SocketAddr>>,
    /// What no policy covers is to be dropped.
    pub block: bool,
}

/// What of an IpsecPeer counts with automatic keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyedPeer {
    /// UID of the Node that owns it.
    pub node_uid: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: u64,
    /// `status.keys`.
    pub keys: Vec<PublishedKey>,
}

impl KeyedPeer {
    fn of(peer: &IpsecPeer) -> Self {
        let owners = peer.metadata.owner_references.iter().flatten();
        let node = owners.filter(|owner| owner.kind == "Node").map(|owner| owner.uid.clone()).next();
        Self {
            node_uid: node.unwrap_or_default(),
            uid: peer.metadata.uid.clone().unwrap_or_default(),
            version: resource_version(&peer.metadata).unwrap_or_default(),
            keys: peer.status.as_ref().map(|status| status.keys.clone()).unwrap_or_default(),
        }
    }
}

/// The IpsecNodeState as it is at the API server: where the status goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: Option<u64>,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// Its status.
    pub status: Option<IpsecNodeStateStatus>,
    /// When the list began that it stands in; none if a watch has told.
    pub listed: Option<Instant>,
}

impl Target {
    /// Of this object.
    pub fn of(object: &IpsecNodeState) -> Self {
        Self::new(&object.metadata, object.status.clone())
    }

    fn new(meta: &ObjectMeta, status: Option<IpsecNodeStateStatus>) -> Self {
        let uid = meta.uid.clone().unwrap_or_default();
        Self { uid, version: resource_version(meta), generation: meta.generation, status, listed: None }
    }
}

/// Why there is nothing to do yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotYet {
    /// The lists aren't complete.
    Lists,
    /// The node's IpsecNodeState doesn't exist (yet).
    NoNodeState,
    /// It was deleted; the kernel is cleared then.
    Deleted(Instant),
}

/// What the API server has told so far.
#[derive(Debug)]
pub struct Desired {
    node: String,
    boot_id: String,
    own: Own,
    peers: Peers,
    version: u64,
    api_server: ApiServer,
    block: bool,
    /// The highest resourceVersion seen, when the API server last said which one it is at.
    seen: Option<u64>,
}

impl Desired {
    /// Nothing yet, for this node, which has booted with this id. The API server is at these addresses, and at those that
    /// [`Desired::api_server`] is told of. `block`: what no policy covers is to be dropped.
    pub fn new(node: &str, boot_id: &str, api_server: BTreeSet<SocketAddr>, block: bool) -> Self {
        Self {
            node: node.to_owned(),
            boot_id: boot_id.to_owned(),
            own: Own::default(),
            peers: Peers::default(),
            version: 0,
            api_server: ApiServer::new(api_server),
            block,
            seen: None,
        }
    }

    /// Takes in an event about the EndpointSlice of the API server. Whether there is something new to do.
    pub fn api_server(&mut self, event: Event<EndpointSlice>) -> bool {
        let changed = self.api_server.apply(event);
        self.version += u64::from(changed);
        changed
    }

    /// Takes in an event about the node's IpsecNodeState, received at `now`. Whether there is something new to do.
    pub fn node_state(&mut self, event: Watched<IpsecNodeState>, now: Instant) -> bool {
        let changed = self.own.apply(&self.node, event, now);
        self.version += u64::from(changed);
        changed
    }

    /// Takes in an event about an IpsecPeer. Whether there is something new to do.
    pub fn peer(&mut self, event: Watched<IpsecPeer>) -> bool {
        let changed = self.peers.apply(event);
        self.version += u64::from(changed);
        changed
    }

    /// What the kernel is to be made of at `now`.
    ///
    /// # Errors
    /// Nothing is to be done with the kernel.
    pub fn input(&self, now: Instant) -> Result<Input, NotYet> {
        if !self.peers.complete() {
            return Err(NotYet::Lists);
        }
        // Not knowing all of them would take away what another agent knew of, and could lock out an agent without keys.
        let api_server = self.api_server.addresses().ok_or(NotYet::Lists)?;
        // The Node is there: somebody has deleted the object alone.
        if self.own.is_deleted() && self.peers.specs().contains_key(&self.node) {
            return Err(NotYet::NoNodeState);
        }
        let (generation, spec, mut problems) = self.own.spec(&self.node, now)?;
        problems.extend(self.peers.problems(&self.node));
        Ok(Input {
            version: self.version,
            uid: self.target().map(|target| target.uid.clone()),
            generation,
            spec,
            peers: self.peers.specs(),
            keyed: self.peers.keyed(),
            rotate_before: self.own.rotate_before(),
            given_up: self.own.given_up().clone(),
            peers_through: self.peers.through(),
            allocated: self.allocated(),
            problems,
            api_server,
            block: self.block,
        })
    }

    fn allocated(&self) -> Vec<AllocatedSpi> {
        let status = self.target().and_then(|target| target.status.as_ref());
        let status = status.filter(|status| status.boot_id.as_ref() == Some(&self.boot_id));
        status.map(|status| status.allocated.clone()).unwrap_or_default()
    }

    /// The API server says that it is at this resourceVersion. Where that is less than what had been seen when it was last
    /// said, so before it was asked: that.
    pub fn turned_back(&mut self, now: u64) -> Option<u64> {
        let seen = self.peers.highest().max(self.target().and_then(|target| target.version));
        std::mem::replace(&mut self.seen, seen).filter(|seen| now < *seen)
    }

    /// Where the status goes, if the object is there.
    pub fn target(&self) -> Option<&Target> {
        self.own.target()
    }
}

/// `metadata.resourceVersion` as the number that it is (Kubernetes says so from 1.35 on; etcd always has).
fn resource_version(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_deref()?.parse().ok()
}

fn unreadable(node: &str, what: &str, error: &str) -> Problem {
    Problem {
        kind: esplanade_crds::ProblemKind::Node,
        name: node.to_owned(),
        category: esplanade_crds::conditions::reason::INVALID.to_owned(),
        message: format!("{what} can't be read, so what it said before counts: {error}"),
    }
}

#[cfg(test)]
mod tests;
