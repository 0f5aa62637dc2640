//! Every IpsecPolicy, judged.

use std::collections::BTreeMap;

use esplanade_crds::conditions::reason;
use esplanade_crds::{Action, IpsecPolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

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
    pub(crate) fn leaving<'c>(&self, cluster: &Cluster<'c>, now: &Time) -> Leaving<'c> {
        Leaving::of(cluster, now, |name, uid| {
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

/// Why an edit of the policy can't be had as long as nodes have it as it was before. With automatic keys both ends change
/// in step, over revisions that share their kernel policies ([`crate::revisions`]); what those can't have in common stays.
fn in_force(
    name: &str,
    object: &IpsecPolicy,
    intent: &PolicyIntent,
    cluster: &Cluster<'_>,
) -> Option<Finding> {
    let uid = object.metadata.uid.as_deref();
    let automatic = intent.protect.as_ref().is_some_and(|protect| protect.automatic.is_some());
    let told = cluster.nodes().flat_map(|node| cluster.installed_revisions(&node.name, name));
    let told: Vec<_> = told.filter(|told| Some(told.uid.as_str()) == uid).collect();
    let what = |what: &str, was: &str| {
        let message = format!(
            "{what} of a policy in force can't be edited where its keys are automatic, or are to be: {was}; or apply what you \
             want as another policy with a lower priority, wait until it is Ready, and delete this one"
        );
        Some(Finding::new(reason::NOT_IMPLEMENTED, message))
    };
    let mode = intent.protect.as_ref().map(|protect| protect.mode);
    for told in told {
        match (told.automatic.is_some(), automatic) {
            (false, false) => {}
            (true, true) if mode == Some(told.mode) => {}
            (true, true) => return what("mode", &format!("write mode: {:?}, as it was", told.mode)),
            (true, false) => {
                return what("action and keying", "write action: Protect, and leave keying.manual out");
            }
            (false, true) if told.action != Action::Protect => {
                return what("action", &format!("write action: {:?}, as it was", told.action));
            }
            (false, true) => return what("keying", "write keying.manual, as it was"),
        }
    }
    None
}

/// The nodes that have been told of this very object, and are still there.
fn kept_at(name: &str, object: &IpsecPolicy, cluster: &Cluster<'_>) -> Vec<String> {
    told_of(name, object.metadata.uid.as_deref(), cluster)
}

fn told_of(name: &str, uid: Option<&str>, cluster: &Cluster<'_>) -> Vec<String> {
    cluster
        .nodes()
        .filter(|node| {
            let mut told = cluster.installed_revisions(&node.name, name);
            told.any(|policy| Some(policy.uid.as_str()) == uid)
        })
        .map(|node| node.name.clone())
        .collect()
}
