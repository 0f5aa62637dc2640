//! What is wanted changes, and what others do.

use std::time::Duration;

use esplanade_model::{Event, Policy, PolicyKey, SaId, Wanted, WantedSa};

use crate::engine::{Engine, PolicyThere, SaThere};
use crate::plan::Name;

impl Engine {
    /// All of this is wanted now, and nothing else. What was wanted before is freed with [`Engine::end_pass`].
    pub fn want(&mut self, wanted: Wanted) {
        let Some(changed) = self.want.replace(wanted) else { return self.nothing_is_wanted() };
        self.wrong_sas.reserve(changed.sas.len());
        self.wrong_policies.reserve(changed.policies.len() + changed.policies_gone.len());
        changed.sas.into_iter().for_each(|id| self.wanted_sa_changed(id));
        changed.policies.into_iter().for_each(|key| self.wanted_policy_changed(key, true));
        changed.policies_gone.into_iter().for_each(|key| self.wanted_policy_changed(key, false));
    }

    /// All that is ours is to go: in the order in which it was read, for there are many, and to look each up by its name
    /// takes longer.
    fn nothing_is_wanted(&mut self) {
        self.wrong_sas.clear();
        self.wrong_policies.clear();
        self.conflicts.clear();
        self.problems.clear();
        self.worn.clear();
        self.open.clear();
        self.soft.clear();
        self.lost_policies.clear();
        let Self { want, sas, policies, wrong_sas, wrong_policies, ambiguous, .. } = self;
        wrong_sas.reserve(self.own_sas);
        wrong_policies.reserve(self.own_policies);
        let goes = |(id, there): &(&SaId, &SaThere)| {
            matches!(there, SaThere::Ours { .. }) && !want.hold.contains(*id) && !ambiguous.contains(*id)
        };
        wrong_sas.extend(sas.names().filter(goes).map(|(id, _)| (*id, None)));
        let ours = policies.names().filter(|(_, there)| matches!(there, PolicyThere::Ours(_)));
        wrong_policies.extend(ours.map(|(key, _)| *key));
    }

    /// This SA is wanted, for the object of this name, instead of any other with its name in the kernel.
    pub fn want_sa(&mut self, object: String, sa: WantedSa) {
        let id = sa.sa().id();
        let before = self.want.sas.put(object, sa);
        if before.as_ref() != self.want.sa(&id) {
            self.wanted_sa_changed(id);
        }
    }

    /// No SA of this name is wanted any more.
    pub fn unwant_sa(&mut self, id: SaId) {
        if self.want.sas.take(&id).is_some() {
            self.wanted_sa_changed(id);
        }
    }

    /// This policy is wanted, as for SAs.
    pub fn want_policy(&mut self, object: String, policy: Policy) {
        let key = policy.key();
        let before = self.want.policies.put(object, policy);
        if before.as_ref() != self.want.policy(&key) {
            self.wanted_policy_changed(key, true);
        }
    }

    /// No policy of this name is wanted any more.
    pub fn unwant_policy(&mut self, key: PolicyKey) {
        if self.want.policies.take(&key).is_some() {
            self.wanted_policy_changed(key, false);
        }
    }

    fn wanted_sa_changed(&mut self, id: SaId) {
        let wanted = self.want.sa(&id).map(|sa| !sa.sa().lifetime.soft.is_none());
        if wanted == Some(true) {
            self.soft.insert(id);
        } else if !self.soft.is_empty() {
            self.soft.remove(&id);
        }
        match (self.sas.get(&id), wanted.is_some()) {
            (Some(SaThere::Ours { .. }), true) => {
                self.settle_sa(&id);
                self.ask_for_sa(id);
            }
            (Some(SaThere::Ours { .. }), false)
                if !self.want.hold.contains(&id) && !self.ambiguous.contains(&id) =>
            {
                self.sa_is_wrong(id);
            }
            (Some(SaThere::Foreign), true) => self.conflict(Name::Sa(id)),
            (Some(SaThere::Larval) | None, true) => self.sa_is_wrong(id),
            (Some(SaThere::Ours { .. } | SaThere::Foreign | SaThere::Larval) | None, false) => {
                self.settle_sa(&id);
            }
        }
    }

    fn wanted_policy_changed(&mut self, key: PolicyKey, wanted: bool) {
        match (self.policies.get(&key), wanted) {
            (Some(PolicyThere::Ours(_)), true) => {
                self.settle_policy(&key);
                self.ask_for_policy(key);
            }
            (Some(PolicyThere::Foreign(_)), true) => self.conflict(Name::Policy(key)),
            (Some(PolicyThere::Ours(_)), false) | (Some(PolicyThere::OfSocket) | None, true) => {
                self.policy_is_wrong(key);
            }
            (Some(PolicyThere::Foreign(_) | PolicyThere::OfSocket) | None, false) => self.settle_policy(&key),
        }
    }

    /// Takes in what others did, as it was told `at` this time.
    pub fn notice(&mut self, event: Event, at: Duration) {
        match event {
            Event::Sa(id) => {
                self.memory.may_have_come_again(id);
                self.hidden.doubt(id);
                self.suspects.remove(&Name::Sa(id));
                self.ask_for_sa(id);
            }
            Event::SaEnded(mut last) => {
                let id = last.id;
                self.hidden.reveal(&mut last, self.want.sa(&id));
                self.memory.end(&last, at);
                self.suspects.remove(&Name::Sa(last.id));
                self.ask_for_sa(last.id);
            }
            Event::SaExpired { id, hard, used } => {
                if hard {
                    self.memory.expired(id, used);
                }
                self.suspects.remove(&Name::Sa(id));
                self.ask_for_sa(id);
            }
            // It says nothing of what is there; what is wanted changes by it.
            Event::SaMapped { .. } | Event::Asked { .. } => {}
            Event::Flushed => {
                self.memory.flushed();
                self.distrust();
            }
            Event::Policy(key) => {
                self.suspects.remove(&Name::Policy(key));
                self.ask_for_policy(key);
            }
            Event::Anything => self.distrust(),
        }
    }
}
