//! Senders: what is recorded of them before they are made and as they count, and what became of that.

use std::time::Duration;

use esplanade_diff::Writing;
use esplanade_model::{AUTOMATIC, Op, ReplayState, SaId, Used, WantedSa};

use crate::engine::{Engine, SaThere};
use crate::plan::{Name, Plan};

impl Engine {
    /// Those of the plan's steps that make senders, or set them to go on, whose keys come back: they are to be carried out
    /// once that is recorded ([`Engine::record_senders`]). `now`: that of the operations.
    pub fn reserve(&mut self, plan: &Plan, now: Duration) -> Vec<Name> {
        let sender = |(name, place): (&Name, u32)| {
            let Name::Sa(id) = name else { return None };
            let (object, wanted) = self.want.sas.get_at(place, id)?;
            if !comes_back(object, wanted) {
                return None;
            }
            Some((*id, self.goes_on_past(id, wanted, now)?))
        };
        // What each goes on past depends on the others.
        let senders: Vec<_> = plan.steps().filter_map(sender).collect();
        let Self { want, memory, .. } = self;
        for (id, sent) in &senders {
            if let Some(wanted) = want.sa(id) {
                memory.reserve(wanted.sa(), *sent, now);
            }
        }
        senders.into_iter().map(|(id, _)| Name::Sa(id)).collect()
    }

    /// A wanted SA is there as it should be.
    pub(crate) fn note_found(&mut self, id: &SaId) {
        if let Some((_, wanted)) = self.want.sas.get(id).filter(|(object, sa)| comes_back(object, sa)) {
            self.memory.found(wanted.sa());
        }
    }

    /// The number that what is planned lets a wanted SA go on past; none where it lets it be.
    fn goes_on_past(&self, id: &SaId, wanted: &WantedSa, now: Duration) -> Option<u64> {
        if let WantedSa::Inbound(_) = wanted {
            return None;
        }
        // One that isn't there is made; the operation needn't be for that to be known.
        let Some(Some(there)) = self.wrong_sas.get(id) else {
            return Some(self.memory.start(wanted, now).state.map_or(0, |state| state.sent));
        };
        self.replace_sa(wanted, there, now).iter().find_map(|op| match op {
            Op::AddOutbound { state, .. } => Some(state.as_ref().map_or(0, |state| state.sent)),
            Op::SetReplayState { state, .. } => Some(state.sent),
            _ => None,
        })
    }

    /// Takes into the record how far senders have come that have the keys of IpsecSAs. `always`: what was read counts even if
    /// what is recorded is nearly as new.
    pub fn note_senders(&mut self, now: Duration, always: bool) {
        let Self { memory, sas, .. } = self;
        memory.refresh(now, always, |id| match sas.get(&id) {
            Some(SaThere::Ours { at, .. }) => Some(*at),
            _ => None,
        });
    }

    /// Records with `keep`, for the next process, what of that changed.
    ///
    /// # Errors
    /// Those of `keep`: nothing of it counts as recorded.
    pub fn record_senders<E>(&mut self, keep: impl Fn(&Writing) -> Result<(), E>) -> Result<(), E> {
        self.memory.numbers().record(keep)
    }

    /// The senders that the record tells of and that are wanted.
    pub fn recorded_senders(&self) -> Vec<WantedSa> {
        self.memory.recorded().filter_map(|id| self.want.sa(&id).cloned()).collect()
    }

    /// Where a sender of those was `at` this time.
    pub fn counted(&mut self, id: SaId, state: ReplayState, used: Used, at: Duration) {
        // Another one in its place is looked at by a pass.
        if self.memory.used(&id).is_some_and(|known| known.added == used.added) {
            self.memory.count(id, state, used, at);
        }
    }

    /// The kernel has refused some of what was planned about this.
    pub fn refused(&mut self, name: &Name) {
        if let Name::Sa(id) = name {
            self.memory.refused(*id);
        }
    }

    /// The kernel has carried out all that was planned about these. `now`: that of the operations.
    pub fn written(&mut self, names: &[Name], now: Duration) {
        // One that was made may be gone before it is ever read.
        self.some_left |= !names.is_empty();
        // What each goes on past depends on the others.
        let past = |name: &Name| {
            let Name::Sa(id) = name else { return None };
            let wanted = self.want.sas.get_with_place(id);
            Some((*id, wanted.map(|(place, (_, wanted))| (place, self.goes_on_past(id, wanted, now)))))
        };
        let sas: Vec<_> = names.iter().filter_map(past).collect();
        let Self { want, sas: there, memory, hidden, .. } = self;
        for (id, wanted) in sas {
            if let Some(SaThere::Ours { at, .. }) = there.get(&id) {
                memory.still_there(id, *at);
            }
            let Some((place, sent)) = wanted else {
                memory.unmade(id, now);
                continue;
            };
            if let Some((_, wanted)) = want.sas.get_at(place, &id) {
                memory.made(wanted.sa(), sent, now);
                hidden.written(id);
            }
        }
    }
}

/// It is a sender with the keys of an IpsecSA.
fn comes_back(object: &str, wanted: &WantedSa) -> bool {
    matches!(wanted, WantedSa::Outbound(_)) && !object.starts_with(AUTOMATIC)
}
