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
    /// What was wanted before. To free all of it takes as long as to plan what becomes of it, and the kernel waits for that.
    before: Option<(ByName<WantedSa>, ByName<Policy>)>,
}

/// Names of what is wanted otherwise now.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub(crate) sas: Vec<SaId>,
    /// Those that are wanted.
    pub(crate) policies: Vec<PolicyKey>,
    /// Those that aren't any more.
    pub(crate) policies_gone: Vec<PolicyKey>,
}

impl Want {
    pub(crate) fn sa(&self, id: &SaId) -> Option<&WantedSa> {
        self.sas.get(id).map(|(_, sa)| sa)
    }

    pub(crate) fn policy(&self, key: &PolicyKey) -> Option<&Policy> {
        self.policies.get(key).map(|(_, policy)| policy)
    }

    /// Of two with one name the first counts. None: nothing is wanted now.
    pub(crate) fn replace(&mut self, wanted: Wanted) -> Option<Changed> {
        let nothing = wanted.sas.is_empty() && wanted.policies.is_empty();
        let before_sas = std::mem::replace(&mut self.sas, ByName::of(wanted.sas));
        let before_policies = std::mem::replace(&mut self.policies, ByName::of(wanted.policies));
        let before_hold = std::mem::replace(&mut self.hold, wanted.hold.into_iter().collect());
        let changed = (!nothing).then(|| {
            let (mut sas, gone) = differences(&before_sas, &self.sas);
            sas.extend(gone);
            sas.extend(self.hold.symmetric_difference(&before_hold));
            let (policies, policies_gone) = differences(&before_policies, &self.policies);
            Changed { sas, policies, policies_gone }
        });
        self.before = Some((before_sas, before_policies));
        changed
    }

    /// Frees what was wanted before, keys and all.
    pub(crate) fn forget_before(&mut self) {
        self.before = None;
    }
}

/// The names of what is wanted otherwise than before, and of what isn't any more.
fn differences<T: Named + PartialEq>(before: &ByName<T>, now: &ByName<T>) -> (Vec<T::Name>, Vec<T::Name>) {
    let other = |one: &&T| before.get(&one.name()).is_none_or(|(_, before)| before != *one);
    let changed = now.values().map(|(_, one)| one).filter(other).map(Named::name).collect();
    let gone = before.names().filter(|name| !now.contains(name)).collect();
    (changed, gone)
}
