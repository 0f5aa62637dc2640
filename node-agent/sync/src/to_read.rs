//! What is to be read, and what follows once it was.

use std::time::Duration;

use esplanade_diff::Outlook;
use esplanade_model::{Mark, PolicyKey, SaId};

use crate::engine::{Engine, PolicyThere, SaThere};
use crate::plan::Name;

/// What is to be read before a plan can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToRead {
    /// Both databases.
    Everything,
    /// These. Maybe none.
    Only(Vec<SaId>, Vec<PolicyKey>),
}

/// Looking up so many is never worse than reading everything.
const FEW: usize = 64;
/// Of so many records one costs as much to look up as all of them to read.
const LOOK_UP: usize = 8;
/// Room for so many is kept.
const ROOM: usize = 256;

impl Engine {
    /// Begins a pass at this time: what is to be read for it. `audit`: everything, to find what no event told of.
    ///
    /// What is read from here on must be read after this, and reading must end with [`Engine::end_reading`].
    pub fn begin(&mut self, now: Duration, audit: bool) -> ToRead {
        self.now = now;
        self.looking = true;
        // One that is to be replaced may have come further meanwhile.
        let again: Vec<_> =
            self.wrong_sas.iter().filter(|(_, there)| there.is_some()).map(|(id, _)| *id).collect();
        again.into_iter().for_each(|id| self.ask_for_sa(id));
        let again: Vec<_> =
            self.wrong_policies.iter().filter(|key| self.is_to_be_updated(key)).copied().collect();
        again.into_iter().for_each(|key| self.ask_for_policy(key));
        for id in std::mem::take(&mut self.open) {
            self.wrong_sas.entry(id).or_insert(None);
            self.ask_for_sa(id);
        }
        if audit && !self.unknown {
            self.auditing = true;
        }
        if self.unknown || audit { ToRead::Everything } else { self.to_read() }
    }

    /// Begins reading back what was written, at this time.
    pub fn begin_reading_back(&mut self, now: Duration, written: &[Name]) -> ToRead {
        self.now = now;
        for name in written {
            match name {
                Name::Sa(id) => self.ask_for_sa(*id),
                Name::Policy(key) => self.ask_for_policy(*key),
            }
        }
        self.to_read()
    }

    fn is_to_be_updated(&self, key: &PolicyKey) -> bool {
        self.want.policy(key).is_some() && matches!(self.policies.get(key), Some(PolicyThere::Ours(_)))
    }

    fn to_read(&self) -> ToRead {
        // The kernel would find another SA, or none.
        if self.asked_sas.iter().any(|id| self.is_found_by_mark(id)) {
            return ToRead::Everything;
        }
        let asked = self.asked_sas.len() + self.asked_policies.len();
        if asked > FEW && asked * LOOK_UP > self.sas.len() + self.policies.len() {
            return ToRead::Everything;
        }
        let (sas, policies) = (self.asked_sas.iter().copied(), self.asked_policies.iter().copied());
        ToRead::Only(sas.collect(), policies.collect())
    }

    /// What its name alone doesn't find, or not surely.
    fn is_found_by_mark(&self, id: &SaId) -> bool {
        let marked = match self.sas.get(id) {
            Some(SaThere::Ours { mark, .. }) => *mark != Mark::NONE,
            _ => false,
        };
        let wanted = self.want.sa(id);
        marked || wanted.is_some_and(|sa| sa.sa().mark != Mark::NONE) || self.ambiguous.contains(id)
    }

    /// All that [`ToRead`] said was read.
    pub fn end_reading(&mut self, read: &ToRead) {
        if let ToRead::Everything = read {
            self.end_of_sas();
            self.end_of_policies();
            self.unknown = false;
            self.auditing = false;
            let Self { memory, sas, now, some_left, .. } = self;
            if std::mem::take(some_left) {
                memory.end_reading(*now, |id| matches!(sas.get(id), Some(SaThere::Ours { .. })));
            }
            memory.limit(sas.len(), |id| sas.get(id).is_some());
        }
        self.looking = false;
        self.asked_sas.clear();
        self.asked_policies.clear();
        self.hidden.end_reading();
        self.leave_out();
        self.give_back_room();
    }

    /// What lists only what is open took much room when much was.
    fn give_back_room(&mut self) {
        self.asked_sas.shrink_to(ROOM);
        self.asked_policies.shrink_to(ROOM);
        if self.wrong_sas.len() < ROOM {
            self.wrong_sas.shrink_to(ROOM);
        }
        if self.wrong_policies.len() < ROOM {
            self.wrong_policies.shrink_to(ROOM);
        }
    }

    /// Leaves out what is missing and must not be made.
    fn leave_out(&mut self) {
        let Self { want, wrong_sas, sas, memory, worn, open, now, .. } = self;
        wrong_sas.retain(|id, there| {
            let Some(wanted) = want.sa(id).filter(|_| there.is_none()) else { return true };
            if let Some(SaThere::Ours { .. }) = sas.get(id) {
                return true;
            }
            match memory.outlook(wanted.sa(), *now) {
                Outlook::Good => return true,
                Outlook::Worn(why) => drop(worn.insert(*id, why)),
                Outlook::Open => drop(open.insert(*id)),
            }
            false
        });
    }

    pub(crate) fn ask_for_sa(&mut self, id: SaId) {
        self.asked_sas.insert(id);
        self.sas.doubt(&id);
    }

    pub(crate) fn ask_for_policy(&mut self, key: PolicyKey) {
        self.asked_policies.insert(key);
        self.policies.doubt(&key);
    }
}
