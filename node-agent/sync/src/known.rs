//! What is known of the kernel, for those who ask.

use std::collections::BTreeSet;

use esplanade_crds::Counts;
use esplanade_model::{PolicyKey, Sa, SaId};

use crate::engine::{Engine, Losses, PolicyThere, SaThere};
use crate::plan::Name;

impl Engine {
    /// The kernel holds all of what is wanted that others leave room for.
    pub fn in_sync(&self) -> bool {
        let nothing_asked = self.asked_sas.is_empty() && self.asked_policies.is_empty();
        let nothing_wrong = self.wrong_sas.is_empty() && self.wrong_policies.is_empty();
        !self.unknown && nothing_asked && nothing_wrong && self.open.is_empty()
    }

    /// How far one of ours had sent when it was last read; none if it isn't there.
    pub fn sent(&self, id: &SaId) -> Option<u64> {
        let ours = matches!(self.sas.get(id), Some(SaThere::Ours { .. }));
        ours.then(|| self.memory.state(*id).map_or(0, |state| state.sent))
    }

    /// What an SA of ours that is there had received when it was last read: the highest authenticated sequence number.
    pub fn received(&self, id: &SaId) -> Option<u64> {
        let ours = matches!(self.sas.get(id), Some(SaThere::Ours { .. }));
        self.memory.state(*id).filter(|_| ours).map(|state| state.received)
    }

    /// It was seen once: should it be made again, it goes on past where it had come to.
    pub fn remembers(&self, id: &SaId) -> bool {
        self.memory.remembers(*id)
    }

    /// One of ours as it was last read; none if it isn't there, or isn't like one of ours.
    pub fn shown(&self, id: &SaId) -> Option<Sa> {
        let ours = matches!(self.sas.get(id), Some(SaThere::Ours { .. }));
        ours.then(|| self.memory.last(*id)?.sa)?
    }

    /// It is wanted, and somebody else's.
    pub fn is_taken(&self, id: &SaId) -> bool {
        self.conflicts.contains(&Name::Sa(*id))
    }

    /// All SAs of ours that are there.
    pub fn own_sas(&self) -> impl Iterator<Item = SaId> + '_ {
        self.sas.names().filter(|(_, there)| matches!(there, SaThere::Ours { .. })).map(|(id, _)| *id)
    }

    /// There is a policy of ours of this name.
    pub fn has_policy(&self, key: &PolicyKey) -> bool {
        matches!(self.policies.get(key), Some(PolicyThere::Ours(_)))
    }

    /// SAs that were wanted and there, and that somebody else took away since this was last asked. They may be there again.
    pub fn take_lost(&mut self) -> BTreeSet<SaId> {
        std::mem::take(&mut self.lost)
    }

    /// How much somebody else has deleted of what was wanted and there, as far as that was found since this was last asked.
    pub fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// What is in the kernel.
    pub fn counts(&self) -> Counts {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Counts {
            security_associations: number(self.own_sas),
            policies: number(self.own_policies),
            foreign_security_associations: number(self.foreign_sas),
            foreign_policies: number(self.foreign_policies),
        }
    }

    /// The kernel is known to hold just this policy.
    pub fn holds_policy(&self, key: &PolicyKey) -> bool {
        let there = matches!(self.policies.get(key), Some(PolicyThere::Ours(_)));
        there && !self.unknown && !self.asked_policies.contains(key) && !self.wrong_policies.contains(key)
    }
}
