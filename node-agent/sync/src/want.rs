//! What is wanted, by its names in the kernel.

use std::collections::HashSet;

use esplanade_model::{Policy, PolicyKey, SaId, Wanted, WantedSa};
use foldhash::fast::FixedState;

use crate::named::{ByName, Named};

/// Each with the name of the object that asks for it.
#[derive(Debug, Default)]
pub(crate) struct Want {
    pub(crate) sas: ByName<WantedSa>,
    pub(crate) policies: ByName<Policy>,
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
        let mut changed = Changed {
            sas: replace(&mut self.sas, wanted.sas),
            policies: replace(&mut self.policies, wanted.policies),
        };

        let hold: HashSet<_, FixedState> = wanted.hold.into_iter().collect();
        changed.sas.extend(hold.symmetric_difference(&self.hold));
        self.hold = hold;
        changed
    }
}

/// The names of what is wanted otherwise than before.
fn replace<T: Named + PartialEq>(all: &mut ByName<T>, wanted: Vec<(String, T)>) -> Vec<T::Name> {
    let mut before = std::mem::replace(all, ByName::with_capacity(wanted.len()));
    let mut changed = Vec::new();
    for (object, one) in wanted {
        let name = one.name();
        if all.contains(&name) {
            continue;
        }
        if before.take(&name).as_ref() != Some(&one) {
            changed.push(name);
        }
        all.put(object, one);
    }
    changed.extend(before.names());
    changed
}
