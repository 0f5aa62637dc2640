//! What is as it should be, and what isn't.

use esplanade_diff::exhausted;
use esplanade_model::{PolicyKey, SaId};

use crate::engine::Engine;
use crate::plan::Name;

impl Engine {
    /// It isn't as it should be.
    pub fn is_wrong(&self, name: &Name) -> bool {
        match name {
            Name::Sa(id) => self.wrong_sas.contains_key(id),
            Name::Policy(key) => self.wrong_policies.contains(key),
        }
    }

    /// A wanted SA of ours has sent so much.
    pub(crate) fn note_sent(&mut self, id: SaId, sent: u64) {
        let at_its_end = self.want.sa(&id).is_some_and(|wanted| exhausted::is_exhausted(wanted, sent));
        // Nearly always there is nothing.
        if at_its_end {
            self.exhausted.insert(id);
        } else if !self.exhausted.is_empty() {
            self.exhausted.remove(&id);
        }
    }

    /// A wanted SA can't be made again, since it has no sequence numbers left.
    pub fn note_exhausted(&mut self, id: SaId) {
        self.exhausted.insert(id);
    }

    /// All is well with it.
    pub(crate) fn settle_sa(&mut self, id: &SaId) {
        self.wrong_sas.swap_remove(id);
        self.forget(&Name::Sa(*id));
    }

    /// All is well with it.
    pub(crate) fn settle_policy(&mut self, key: &PolicyKey) {
        self.wrong_policies.swap_remove(key);
        // Nearly always there is nothing.
        if !self.lost_policies.is_empty() {
            self.lost_policies.remove(key);
        }
        self.forget(&Name::Policy(*key));
    }

    /// It is to be made, or to go; what was said of it counts no more.
    pub(crate) fn sa_is_wrong(&mut self, id: SaId) {
        self.forget(&Name::Sa(id));
        self.wrong_sas.insert(id, None);
    }

    /// It is to be made, or to go.
    pub(crate) fn policy_is_wrong(&mut self, key: PolicyKey) {
        self.forget(&Name::Policy(key));
        self.wrong_policies.insert(key);
    }

    fn forget(&mut self, name: &Name) {
        // Nearly always there is nothing.
        if !self.conflicts.is_empty() {
            self.conflicts.remove(name);
        }
        if !self.problems.is_empty() {
            self.problems.remove(name);
        }
        if let Name::Sa(id) = name {
            self.worn.remove(id);
            self.open.remove(id);
        }
    }

    pub(crate) fn conflict(&mut self, name: Name) {
        match &name {
            Name::Sa(id) => self.settle_sa(id),
            Name::Policy(key) => self.settle_policy(key),
        }
        self.conflicts.insert(name);
    }
}
