//! Pure planner: one snapshot of the cluster in, desired node states and conditions out.
//!
//! [`plan`] looks at everything at once and remembers nothing: what it needs of the past is in the objects
//! themselves. A bad object costs a condition on that object; the others go on.

mod accept;
mod assign;
mod cluster;
mod contradictions;
mod elsewhere;
mod expired;
mod families;
mod finding;
mod handover;
mod node_state;
mod overlaps;
mod participants;
mod peer;
mod policies;
mod resolve;
mod revisions;
mod rollout;
mod sealing;
mod snapshot;
mod status;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use esplanade_crds::{
    IpsecNodeStateSpec, IpsecPeerSpec, IpsecPolicy, IpsecPolicyStatus, IpsecSA, IpsecSAStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rand_core::CryptoRng;

pub use snapshot::{NodeView, SecretView, Snapshot};

use cluster::Cluster;
use policies::Policies;
use resolve::Sas;

/// What the cluster should look like. The caller compares, and writes what differs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// `spec` of each node's IpsecNodeState, and the UID of the Node that owns it, by the Node's name.
    pub node_states: BTreeMap<String, (IpsecNodeStateSpec, String)>,
    /// `spec` of each node's IpsecPeer (owned by the same Node), by the Node's name.
    pub peers: BTreeMap<String, IpsecPeerSpec>,
    /// `status` of each IpsecPolicy, by name.
    pub policy_status: BTreeMap<String, IpsecPolicyStatus>,
    /// `status` of each IpsecSA, by name.
    pub sa_status: BTreeMap<String, IpsecSAStatus>,
    /// When the plan changes though nothing else did.
    pub again: Option<Time>,
}

/// Names of the Secrets, in the operator's namespace, that IpsecSAs and IpsecPolicies name.
pub fn secrets_wanted(sas: &[IpsecSA], policies: &[IpsecPolicy]) -> BTreeSet<String> {
    let keys = sas.iter().flat_map(|sa| {
        let encryption = sa.spec.encryption.as_ref().and_then(|one| one.key_secret_ref.as_ref());
        let integrity = sa.spec.integrity.as_ref().map(|one| &one.key_secret_ref);
        encryption.into_iter().chain(integrity)
    });
    let ppks = policies.iter().filter_map(|policy| {
        let keying = &policy.spec.protection.as_ref()?.keying;
        keying.automatic.as_ref()?.ppk_secret_ref.as_ref()
    });
    keys.chain(ppks).map(|named| named.name.clone()).collect()
}

/// What the cluster should look like, and what is said of each object.
///
/// The same snapshot gives the same plan, but for keys sealed anew. `now` is the time of conditions that
/// change their status. A snapshot with the plan carried out gives the plan again, sealed keys included.
pub fn plan(snapshot: &Snapshot, now: &Time, mut rng: &mut (impl CryptoRng + ?Sized)) -> Plan {
    let cluster = Cluster::new(snapshot);
    let sas = Sas::judge(snapshot, &cluster);
    let policies = Policies::judge(snapshot, &cluster);
    let leaving = policies.leaving(&cluster, now);
    let assignment = assign::assign(&policies, &sas, &cluster);
    let states = node_state::node_states(&cluster, (&policies, &leaving), &sas, &assignment, now, &mut rng);
    let peers = peer::peers(&cluster, &policies, &leaving);

    let uids = policies
        .iter()
        .map(|(name, policy)| (name, policy.object.metadata.uid.as_deref().unwrap_or_default()));
    let uids = uids.collect();
    let context = status::Context {
        contradictions: &contradictions::contradictions(&policies),
        cluster: &cluster,
        sas: &sas,
        assignment: &assignment,
        states: &states,
        peers: &peers,
        now,
        uids: &uids,
    };
    let policy_status = policies
        .iter()
        .map(|(name, policy)| (name.to_owned(), status::policy(name, policy, &context)))
        .collect();
    let sa_status = sas.iter().map(|(name, sa)| (name.to_owned(), status::sa(name, sa, &context))).collect();
    let uid = |node: &str| cluster.node(node).map(|node| node.uid.clone()).unwrap_or_default();
    let node_states = states.specs.iter().map(|(node, spec)| (node.clone(), (spec.clone(), uid(node))));
    let retiring = states.specs.values().filter_map(|spec| handover::next(&spec.retiring));
    let again = retiring.chain(rollout::next_skipped(&cluster, now)).min_by_key(|time| time.0);
    Plan { node_states: node_states.collect(), peers, policy_status, sa_status, again }
}
