//! Every IpsecPolicy, judged.

use std::collections::BTreeMap;

use esplanade_crds::IpsecPolicy;
use esplanade_crds::conditions::reason;

use crate::accept::{self, Age, PolicyIntent};
use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::participants::Participants;
use crate::resolve::{self, Ppk};
use crate::rollout::Leaving;
use crate::snapshot::Snapshot;

/// An IpsecPolicy and what became of it.
pub(crate) struct Policy<'a> {
    pub(crate) object: &'a IpsecPolicy,
    pub(crate) age: Age,
    pub(crate) state: State<'a>,
}

/// What became of an IpsecPolicy.
#[allow(clippy::large_enum_variant)] // there is one for each policy
pub(crate) enum State<'a> {
    /// It is taken up.
    Accepted {
        intent: PolicyIntent,
        participants: Participants,
        /// Selectors that match nothing.
        unmatched: Vec<Finding>,
        /// What is mixed into its keys, if it wants that.
        ppk: Option<Ppk<'a>>,
    },
    /// It is valid, and its PPK isn't there.
    Unresolved {
        finding: Finding,
        /// As below: what is in force goes on with the PPK that the nodes have.
        kept_at: Vec<String>,
    },
    /// It isn't.
    Refused {
        finding: Finding,
        /// The nodes that have been told of it as it was before: they keep it, for an edit must not open its
        /// traffic to clear text.
        kept_at: Vec<String>,
    },
}

/// Every IpsecPolicy by name.
pub(crate) struct Policies<'a> {
    judged: BTreeMap<&'a str, Policy<'a>>,
    unreadable: &'a BTreeMap<String, String>,
}

impl<'a> Policies<'a> {
    pub(crate) fn judge(snapshot: &'a Snapshot, cluster: &Cluster<'_>) -> Self {
        let judged = snapshot.policies.iter().map(|object| {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let state = state(name, object, snapshot, cluster);
            (name, Policy { object, age: Age::of(&object.metadata), state })
        });
        Self { judged: judged.collect(), unreadable: &snapshot.unreadable }
    }

    /// Policies that are no more, and that nodes still have.
    pub(crate) fn leaving<'c>(&self, cluster: &Cluster<'c>) -> Leaving<'c> {
        Leaving::of(cluster, |name, uid| {
            let uid_of = |policy: &Policy<'_>| policy.object.metadata.uid.as_deref() == Some(uid);
            self.judged.get(name).is_some_and(uid_of)
                || self.unreadable.get(name).is_some_and(|one| one == uid)
        })
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, &Policy<'a>)> {
        self.judged.iter().map(|(name, policy)| (*name, policy))
    }

    /// Those that can't be read, by name, and the nodes that have been told of them.
    pub(crate) fn unreadable(&self, cluster: &Cluster<'_>) -> Vec<(&'a str, Vec<String>)> {
        let kept = |(name, uid): (&'a String, &String)| (name.as_str(), told_of(name, Some(uid), cluster));
        self.unreadable.iter().map(kept).collect()
    }

    /// As they came: by creation, then by name.
    pub(crate) fn by_age(&self) -> Vec<(&'a str, &Policy<'a>)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by(|(_, one), (_, other)| one.age.cmp(&other.age));
        all
    }
}

fn state<'a>(
    name: &str,
    object: &'a IpsecPolicy,
    snapshot: &'a Snapshot,
    cluster: &Cluster<'_>,
) -> State<'a> {
    let kept_at = || kept_at(name, object, cluster);
    let mut intent = match accept::policy(&object.spec) {
        Ok(intent) => intent,
        Err(finding) => return State::Refused { finding, kept_at: kept_at() },
    };
    let ppk = match intent.ppk().map(|named| resolve::ppk(named, snapshot)).transpose() {
        Ok(ppk) => ppk,
        Err(finding) => return State::Unresolved { finding, kept_at: kept_at() },
    };
    if let Some(ppk) = &ppk {
        intent.revision = accept::revision_with_ppk(&intent.revision, &ppk.version);
    }
    if let Some(finding) = in_force(name, object, &intent, cluster) {
        return State::Refused { finding, kept_at: kept_at() };
    }
    let (participants, unmatched) = Participants::of(&intent, cluster);
    State::Accepted { intent, participants, unmatched, ppk }
}

/// Why an edit of the policy can't be had as long as nodes have it as it was before: with automatic keys both ends
/// have to change in step, which is not implemented for anything but being switched on and off.
fn in_force(
    name: &str,
    object: &IpsecPolicy,
    intent: &PolicyIntent,
    cluster: &Cluster<'_>,
) -> Option<Finding> {
    let uid = object.metadata.uid.as_deref();
    let automatic = intent.protect.as_ref().is_some_and(|protect| protect.automatic.is_some());
    let told = cluster.nodes().filter_map(|node| cluster.installed_policy(&node.name, name));
    let differs = told.filter(|told| Some(told.uid.as_str()) == uid).any(|told| {
        let was_automatic = told.automatic.is_some();
        was_automatic != automatic || was_automatic && told.revision != intent.revision
    });
    differs.then(|| {
        Finding::new(
            reason::NOT_IMPLEMENTED,
            "not implemented yet: another keying, action, suite, antiReplay, mode, PPK (its Secret too), or other traffic or endpoints of a \
             policy in force that has automatic keys, or is to get them: write what was there, or delete the policy, wait until no \
             IpsecNodeState names it, and apply it anew",
        )
    })
}

/// The nodes that have been told of this very object, and are still there.
fn kept_at(name: &str, object: &IpsecPolicy, cluster: &Cluster<'_>) -> Vec<String> {
    told_of(name, object.metadata.uid.as_deref(), cluster)
}

fn told_of(name: &str, uid: Option<&str>, cluster: &Cluster<'_>) -> Vec<String> {
    cluster
        .nodes()
        .filter(|node| {
            cluster.installed_policy(&node.name, name).is_some_and(|policy| Some(policy.uid.as_str()) == uid)
        })
        .map(|node| node.name.clone())
        .collect()
}
