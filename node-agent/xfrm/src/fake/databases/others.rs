//! What others do to the databases.

use esplanade_model::{PolicyKey, Refusal, ReplayState, Sa, SaId, SaRecord};

use super::Databases;
use super::entry::{ForeignPolicy, ForeignSa, PolicyEntry, SaEntry};
use crate::fake::check;
use crate::wire::replay;

impl Databases {
    pub(in crate::fake) fn add_foreign_sa(&mut self, sa: ForeignSa) -> Result<(), Refusal> {
        if self.sas.contains_key(&sa.id) {
            return Err(check::refusal(libc::EEXIST, None));
        }
        self.sas.insert(sa.id, SaEntry::Foreign(sa));
        Ok(())
    }

    pub(in crate::fake) fn add_foreign_policy(&mut self, policy: ForeignPolicy) -> Result<u32, Refusal> {
        let index = policy.index.unwrap_or(0);
        check::index(index, policy.key.direction)?;
        if self.index_of(policy.key).is_some() {
            return Err(check::refusal(libc::EEXIST, None));
        }
        Ok(self.insert_policy(index, PolicyEntry::Foreign(policy)))
    }

    pub(in crate::fake) fn foreign(&self) -> (Vec<ForeignSa>, Vec<(u32, ForeignPolicy)>) {
        let sas = self.sas.values().filter_map(|entry| match entry {
            SaEntry::Foreign(sa) => Some(*sa),
            SaEntry::Ours { .. } | SaEntry::Larval(_) => None,
        });
        let policies = self.policies.iter().filter_map(|(index, entry)| match entry {
            PolicyEntry::Foreign(policy) => Some((*index, *policy)),
            PolicyEntry::Ours(_) => None,
        });
        (sas.collect(), policies.collect())
    }

    /// The last of it.
    pub(in crate::fake) fn remove_sa(&mut self, id: SaId) -> Option<SaRecord> {
        self.sas.remove(&id).map(|entry| entry.record(id, self.hides_keys))
    }

    pub(in crate::fake) fn remove_policy(&mut self, key: PolicyKey) -> bool {
        self.index_of(key).and_then(|index| self.policies.remove(&index)).is_some()
    }

    pub(in crate::fake) fn flush(&mut self) {
        self.sas.clear();
        self.policies.clear();
    }

    pub(in crate::fake) fn replace_sa(&mut self, id: SaId, other: Option<Sa>) -> bool {
        match self.sas.get_mut(&id) {
            Some(SaEntry::Ours { sa, .. }) => {
                *sa = other;
                true
            }
            _ => false,
        }
    }

    pub(in crate::fake) fn count_traffic(&mut self, id: SaId, sent: u64, received: u64) -> bool {
        match self.sas.get_mut(&id) {
            Some(SaEntry::Ours { sa, state, used, .. }) => {
                used.packets = sent.max(received);
                used.bytes = used.packets.saturating_mul(100);
                let bitmap = vec![u32::MAX; replay::MAX_WINDOW as usize / 32];
                *state = ReplayState { sent, received, bitmap };
                if let Some(sa) = sa {
                    *state = replay::fitted(state, sa.replay);
                }
                true
            }
            _ => false,
        }
    }
}
