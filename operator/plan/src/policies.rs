//! Every IpsecPolicy, judged.

use std::collections::BTreeMap;

use esplanade_crds::IpsecPolicy;

use crate::accept::{self, Age, PolicyIntent};
use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::participants::Participants;
use crate::snapshot::Snapshot;

/// An IpsecPolicy and what became of it.
pub(crate) struct Policy<'a> {
    pub(crate) object: &'a IpsecPolicy,
    pub(crate) age: Age,
    pub(crate) state: State,
}

/// What became of an IpsecPolicy.
pub(crate) enum State {
    /// It is taken up.
    Accepted {
        intent: PolicyIntent,
        participants: Participants,
        /// Selectors that match nothing.
        unmatched: Vec<Finding>,
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
pub(crate) struct Policies<'a>(BTreeMap<&'a str, Policy<'a>>);

impl<'a> Policies<'a> {
    pub(crate) fn judge(snapshot: &'a Snapshot, cluster: &Cluster<'_>) -> Self {
        let judged = snapshot.policies.iter().map(|object| {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let state = match accept::policy(&object.spec) {
                Ok(intent) => {
                    let (participants, unmatched) = Participants::of(&intent, cluster);
                    State::Accepted { intent, participants, unmatched }
                }
                Err(finding) => State::Refused { finding, kept_at: kept_at(name, object, cluster) },
            };
            (name, Policy { object, age: Age::of(&object.metadata), state })
        });
        Self(judged.collect())
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, &Policy<'a>)> {
        self.0.iter().map(|(name, policy)| (*name, policy))
    }

    /// As they came: by creation, then by name.
    pub(crate) fn by_age(&self) -> Vec<(&'a str, &Policy<'a>)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by(|(_, one), (_, other)| one.age.cmp(&other.age));
        all
    }
}

/// The nodes that have been told of this very object, and are still there.
fn kept_at(name: &str, object: &IpsecPolicy, cluster: &Cluster<'_>) -> Vec<String> {
    let uid = object.metadata.uid.as_deref();
    cluster
        .nodes()
        .filter(|node| {
            cluster.installed_policy(&node.name, name).is_some_and(|policy| Some(policy.uid.as_str()) == uid)
        })
        .map(|node| node.name.clone())
        .collect()
}
