//! What is wanted, by its names in the kernel.

use std::collections::HashSet;

use esplanade_model::{Policy, PolicyKey, SaId, Wanted, WantedSa};
use foldhash::fast::FixedState;
use indexmap::IndexMap;

/// Each with the name of the object that asks for it.
#[derive(Debug, Default)]
pub(crate) struct Want {
    pub(crate) sas: IndexMap<SaId, (String, WantedSa), FixedState>,
    pub(crate) policies: IndexMap<PolicyKey, (String, Policy), FixedState>,
    pub(crate) hold: HashSet<SaId, FixedState>,
}

/// Names of what is wanted otherwise now.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub(crate) sas: Vec<SaId>,
    pub(crate) policies: Vec<PolicyKey>,
}

impl Want {
    pub(crate) fn sa(&self, id: &SaId) -> Option<&WantedSa> {
        self.sas.get(id).map(|(_, sa)| sa)
    }

    pub(crate) fn policy(&self, key: &PolicyKey) -> Option<&Policy> {
        self.policies.get(key).map(|(_, policy)| policy)
    }

    /// Of two with one name the first counts.
    pub(crate) fn replace(&mut self, wanted: Wanted) -> Changed {
        let mut changed = Changed::default();
        let mut before = std::mem::take(&mut self.sas);
        self.sas.reserve(wanted.sas.len());
        for (name, sa) in wanted.sas {
            let id = sa.sa().id();
            if self.sas.contains_key(&id) {
                continue;
            }
            let same = before.swap_remove(&id).is_some_and(|(_, known)| known == sa);
            if !same {
                changed.sas.push(id);
            }
            self.sas.insert(id, (name, sa));
        }
        changed.sas.extend(before.into_keys());

        let mut before = std::mem::take(&mut self.policies);
        self.policies.reserve(wanted.policies.len());
        for (name, policy) in wanted.policies {
            let key = policy.key();
            if self.policies.contains_key(&key) {
                continue;
            }
            let same = before.swap_remove(&key).is_some_and(|(_, known)| known == policy);
            if !same {
                changed.policies.push(key);
            }
            self.policies.insert(key, (name, policy));
        }
        changed.policies.extend(before.into_keys());

        let hold: HashSet<_, FixedState> = wanted.hold.into_iter().collect();
        changed.sas.extend(hold.symmetric_difference(&self.hold));
        self.hold = hold;
        changed
    }
}
