//! What is said of each object.

mod agents;
mod conditions;
mod levels;
mod policy;
mod resource_version;
mod sa;

pub(crate) use policy::policy;
pub(crate) use resource_version::covers;
pub(crate) use sa::sa;

use std::collections::BTreeMap;

use esplanade_crds::IpsecPeerSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::assign::Assignment;
use crate::cluster::Cluster;
use crate::node_state::NodeStates;
use crate::resolve::Sas;

/// What statuses are made from.
pub(crate) struct Context<'a> {
    pub(crate) cluster: &'a Cluster<'a>,
    pub(crate) sas: &'a Sas<'a>,
    pub(crate) assignment: &'a Assignment,
    pub(crate) states: &'a NodeStates,
    pub(crate) peers: &'a BTreeMap<String, IpsecPeerSpec>,
    pub(crate) now: &'a Time,
    pub(crate) contradictions: &'a BTreeMap<&'a str, String>,
    pub(crate) uids: &'a BTreeMap<&'a str, &'a str>,
}

impl Context<'_> {
    /// UID of the policy of this name.
    pub(crate) fn uid(&self, policy: &str) -> &str {
        self.uids.get(policy).copied().unwrap_or_default()
    }
}
