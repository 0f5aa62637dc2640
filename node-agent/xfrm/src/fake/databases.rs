//! The two databases and the kernel's rules for them.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_model::{
    Capability, Mark, Observed, Op, PolicyKey, Reader, Recognised, Refusal, ReplayState, Sa, SaId, Spi,
    Unnumbered, Used, WantedSa,
};

use super::check;
use crate::wire::{Observer, replay};

mod entry;
mod migrate;
mod others;

pub use entry::{ForeignPolicy, ForeignSa};
use entry::{PolicyEntry, SaEntry};

/// The time, in seconds since 1970. It stands still.
const NOW: u64 = 1_700_000_000;

#[derive(Debug, Default)]
pub(super) struct Databases {
    sas: BTreeMap<SaId, SaEntry>,
    /// By index.
    policies: BTreeMap<u32, PolicyEntry>,
    /// `idx_generator` of `xfrm_gen_index`.
    index_generator: u32,
    pub(super) missing: BTreeSet<Capability>,
    pub(super) no_spi_left: bool,
    /// Under lockdown.
    pub(super) hides_keys: bool,
}

/// As the kernel has it.
fn outbound(sa: &Sa) -> Sa {
    Sa { replay: replay::outbound(sa), ..sa.clone() }
}

impl Databases {
    pub(super) fn capabilities(&self) -> impl Iterator<Item = Capability> {
        Capability::all().filter(|one| !self.missing.contains(one))
    }

    pub(super) fn carry_out(&mut self, op: &Op) -> Result<(), Refusal> {
        match op {
            Op::AddInbound { sa, state, used } => self.add_sa(sa.0.clone(), state.as_ref(), *used),
            Op::AddOutbound { sa, state, used } => self.add_sa(outbound(&sa.0), state.as_ref(), *used),
            Op::FillSa { sa, state, used } => self.fill_sa(&sa.0, state.as_ref(), *used),
            Op::UpdateSa(WantedSa::Inbound(sa)) => self.update_sa(&sa.0),
            Op::UpdateSa(WantedSa::Outbound(sa)) => self.update_sa(&outbound(&sa.0)),
            Op::SetReplayState { sa, state } => self.set_state(sa, state),
            // ESRCH: gone already, or not found by this mark (`__xfrm_state_lookup`).
            Op::DeleteSa(id, mark) => {
                if self.sas.get(id).is_some_and(|entry| mark.implies(entry.mark())) {
                    self.sas.remove(id);
                }
                Ok(())
            }
            Op::AddPolicy { policy, index } => {
                check::policy(policy, index.get())?;
                if self.index_of(policy.key()).is_some() {
                    return Err(check::refusal(libc::EEXIST, None));
                }
                self.insert_policy(index.get(), PolicyEntry::Ours(policy.clone()));
                Ok(())
            }
            Op::UpdatePolicy { policy, index } => {
                check::policy(policy, index.get())?;
                let entry = PolicyEntry::Ours(policy.clone());
                // The one that is there keeps its index (`xfrm_policy_insert`), whoever's it was.
                match self.index_of(policy.key()) {
                    Some(kept) => drop(self.policies.insert(kept, entry)),
                    None => drop(self.insert_policy(index.get(), entry)),
                }
                Ok(())
            }
            Op::Migrate { key, moves } => self.migrate(*key, moves),
            Op::DeletePolicy { direction, index, interface_id, mark } => {
                // ENOENT: gone already. An index of another direction or interface finds nothing either
                // (`xfrm_policy_byid`).
                let key = self.policy_key(index.get());
                let has_it = |key: PolicyKey| key.interface_id == *interface_id && key.mark == *mark;
                if index.get() & 7 == direction.kernel() && key.is_some_and(has_it) {
                    self.policies.remove(&index.get());
                }
                Ok(())
            }
        }
    }

    fn add_sa(&mut self, mut sa: Sa, state: Option<&ReplayState>, used: Option<Used>) -> Result<(), Refusal> {
        // As if it weren't there.
        if self.missing.contains(&Capability::Direction) {
            sa.direction = None;
        }
        check::sa(&sa, state, &self.missing)?;
        let id = sa.id();
        if self.sas.contains_key(&id) {
            return Err(check::refusal(libc::EEXIST, None));
        }
        let state = state.map(|state| replay::fitted(state, sa.replay)).unwrap_or_default();
        // `xfrm_update_ae_params`
        let used = used.unwrap_or(Used { added: NOW, ..Used::default() });
        self.sas.insert(id, SaEntry::Ours { mark: sa.mark, sa: Some(sa), state, used });
        Ok(())
    }

    /// `xfrm_alloc_userspi`. The kernel draws one at random; whichever it is, nothing else may have it (`xfrm_alloc_spi`).
    pub(super) fn allocate_spi(&mut self, unnumbered: &Unnumbered) -> Result<Spi, Refusal> {
        let taken =
            |spi: &Spi| self.sas.keys().any(|id| (id.protocol, id.spi) == (unnumbered.protocol, *spi));
        let free = Spi::allocated(unnumbered.protocol)
            .filter_map(Spi::new)
            .find(|spi| !self.no_spi_left && !taken(spi));
        let spi = free.ok_or_else(|| check::refusal(libc::ENOENT, None))?;
        let mut larval = unnumbered.clone();
        if self.missing.contains(&Capability::Direction) {
            larval.direction = None;
        }
        self.sas.insert(larval.id(spi), SaEntry::Larval(larval));
        Ok(spi)
    }

    pub(super) fn remove_larval_sas(&mut self) {
        self.sas.retain(|_, entry| !matches!(entry, SaEntry::Larval(_)));
    }

    pub(super) fn larval_sas(&self) -> usize {
        self.sas.values().filter(|entry| matches!(entry, SaEntry::Larval(_))).count()
    }

    /// `xfrm_state_update`: it takes the place of a larval SA.
    fn fill_sa(&mut self, sa: &Sa, state: Option<&ReplayState>, used: Option<Used>) -> Result<(), Refusal> {
        let direction = sa.direction.filter(|_| !self.missing.contains(&Capability::Direction));
        let id = sa.id();
        match self.sas.get(&id) {
            // Not found by this mark, or of another direction.
            Some(SaEntry::Larval(larval))
                if !sa.mark.implies(larval.mark) || direction != larval.direction =>
            {
                Err(check::refusal(libc::ESRCH, None))
            }
            Some(SaEntry::Larval(_)) => {
                check::sa(&Sa { direction, ..sa.clone() }, state, &self.missing)?;
                self.sas.remove(&id);
                self.add_sa(sa.clone(), state, used)
            }
            _ => self.update_sa(sa),
        }
    }

    /// `xfrm_state_update`: all of it is checked, next to none of it counts.
    fn update_sa(&mut self, update: &Sa) -> Result<(), Refusal> {
        check::sa(update, None, &self.missing)?;
        match self.sas.get_mut(&update.id()) {
            // Not found by this mark (`__xfrm_state_lookup`).
            Some(entry) if !update.mark.implies(entry.mark()) => Err(check::refusal(libc::ESRCH, None)),
            Some(SaEntry::Ours { sa: Some(sa), .. }) => {
                if sa.encapsulation.is_some() != update.encapsulation.is_some() {
                    return Err(check::refusal(libc::EINVAL, None));
                }
                sa.encapsulation = update.encapsulation;
                sa.lifetime = update.lifetime;
                if update.interface_id != 0 {
                    sa.interface_id = update.interface_id;
                }
                if update.output_mark != Mark::NONE {
                    sa.output_mark = update.output_mark;
                }
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err(check::refusal(libc::ESRCH, None)),
        }
    }

    /// `xfrm_new_ae`
    fn set_state(&mut self, wanted: &WantedSa, to: &ReplayState) -> Result<(), Refusal> {
        let (mark, written) = (wanted.sa().mark, replay::in_kernel(wanted));
        match self.sas.get_mut(&wanted.sa().id()) {
            Some(SaEntry::Ours { mark: own, sa: Some(sa), state, .. }) if mark.implies(*own) => {
                match (replay::is_ring(sa.replay), replay::is_ring(written)) {
                    (true, true) if sa.replay.window.div_ceil(32) != written.window.div_ceil(32) => {
                        return Err(check::refusal(libc::EINVAL, None));
                    }
                    (a, b) if a == b => *state = replay::fitted(to, sa.replay),
                    // It goes where nobody looks (`xfrm_update_ae_params`).
                    _ => {}
                }
                Ok(())
            }
            Some(SaEntry::Larval(_)) => Err(check::refusal(libc::EINVAL, None)),
            _ => Err(check::refusal(libc::ESRCH, None)),
        }
    }

    /// `xfrm_get_ae`
    pub(super) fn state(&self, wanted: &WantedSa) -> Option<(ReplayState, Used)> {
        match self.sas.get(&wanted.sa().id())? {
            SaEntry::Ours { mark, state, used, .. } if wanted.sa().mark.implies(*mark) => {
                Some((state.clone(), *used))
            }
            _ => None,
        }
    }

    fn index_of(&self, key: PolicyKey) -> Option<u32> {
        self.policies.iter().find(|(_, entry)| entry.key() == key).map(|(index, _)| *index)
    }

    /// Under this index if it's free, else under another of the same direction (`xfrm_gen_index`); returns it.
    fn insert_policy(&mut self, wanted: u32, entry: PolicyEntry) -> u32 {
        let direction = entry.key().direction.kernel();
        let mut index = wanted;
        while index == 0 || self.policies.contains_key(&index) {
            index = self.index_generator | direction;
            self.index_generator += 8;
            if index == 0 {
                index = 8;
            }
        }
        self.policies.insert(index, entry);
        index
    }

    pub(super) fn policy_key(&self, index: u32) -> Option<PolicyKey> {
        self.policies.get(&index).map(PolicyEntry::key)
    }

    pub(super) fn read(&self, reader: &mut dyn Reader) {
        reader.begin_sas();
        for (id, entry) in &self.sas {
            let glance = entry.glance(*id, self.hides_keys);
            match (reader.glance_at_sa(glance), entry) {
                (Recognised::Same, _) => {}
                (Recognised::Counted, SaEntry::Ours { state, used, .. }) => {
                    reader.sa_counted(state.clone(), *used)
                }
                (Recognised::No | Recognised::Counted, _) => {
                    reader.sa(glance, entry.record(*id, self.hides_keys))
                }
            }
        }
        reader.begin_policies();
        for (index, entry) in &self.policies {
            let glance = entry.glance(*index);
            if !reader.glance_at_policy(glance) {
                reader.policy(glance, entry.record(*index));
            }
        }
    }

    pub(super) fn look_up(&self, sas: &[SaId], policies: &[PolicyKey], reader: &mut dyn Reader) {
        for id in sas {
            // Asked for without a mark.
            match self.sas.get(id).filter(|entry| Mark::NONE.implies(entry.mark())) {
                Some(entry) => {
                    reader.sa(entry.glance(*id, self.hides_keys), entry.record(*id, self.hides_keys))
                }
                None => reader.no_sa(*id),
            }
        }
        for key in policies {
            match self.index_of(*key).and_then(|index| Some((index, self.policies.get(&index)?))) {
                Some((index, entry)) => reader.policy(entry.glance(index), entry.record(index)),
                None => reader.no_policy(*key),
            }
        }
    }

    pub(super) fn observed(&self) -> Observed {
        let mut observer = Observer::default();
        self.read(&mut observer);
        observer.finish()
    }

    pub(super) fn sa(&self, id: SaId) -> Option<Sa> {
        match self.sas.get(&id) {
            Some(SaEntry::Ours { sa, .. }) => sa.clone(),
            _ => None,
        }
    }
}
