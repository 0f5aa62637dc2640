//! The two databases and the kernel's rules for them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use esplanade_model::{
    Capability, Glance, InboundSa, Key, MAX_MOVES, Mark, Move, Observed, ObservedPolicy, ObservedSa, Op,
    Policy, PolicyIndex, PolicyKey, PolicyRecord, Reader, Recognised, Refusal, ReplayState, Sa, SaId,
    SaRecord, Spi, Unnumbered, Used, WantedSa,
};

use super::check;
use crate::wire::{Observer, encode, replay};

/// An SA of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignSa {
    /// What names it.
    pub id: SaId,
    /// Its reqid: not one of ours, or it would be ours.
    pub reqid: u32,
}

/// A policy of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignPolicy {
    /// What names it.
    pub key: PolicyKey,
    /// The index to ask for; none lets the kernel choose one.
    pub index: Option<u32>,
}

/// The time, in seconds since 1970. It stands still.
const NOW: u64 = 1_700_000_000;

#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // most of them are ours
enum SaEntry {
    Ours {
        mark: Mark,
        sa: Option<Sa>,
        state: ReplayState,
        used: Used,
    },
    Foreign(ForeignSa),
    /// ALLOCSPI made it.
    Larval(Unnumbered),
}

impl SaEntry {
    fn mark(&self) -> Mark {
        match self {
            Self::Ours { mark, .. } => *mark,
            Self::Larval(sa) => sa.mark,
            Self::Foreign(_) => Mark::NONE,
        }
    }
}

#[derive(Debug)]
enum PolicyEntry {
    Ours(Policy),
    Foreign(ForeignPolicy),
}

impl PolicyEntry {
    fn key(&self) -> PolicyKey {
        match self {
            Self::Ours(policy) => policy.key(),
            Self::Foreign(policy) => policy.key,
        }
    }
}

impl SaEntry {
    /// `hides_keys`: with zeroes in their place.
    fn record(&self, id: SaId, hides_keys: bool) -> SaRecord {
        match self {
            Self::Ours { mark, sa, state, used } => {
                let (sa, state) = (shown(sa.as_ref(), hides_keys), state.clone());
                SaRecord::Ours(ObservedSa { id, mark: *mark, sa, state, used: *used })
            }
            Self::Foreign(_) => SaRecord::Foreign(Some(id)),
            Self::Larval(_) => SaRecord::Larval,
        }
    }

    /// Of all that the real kernel shows.
    fn glance(&self, id: SaId, hides_keys: bool) -> Glance {
        let counters = match self {
            Self::Ours { state, used, .. } => {
                print((state.sent, state.received, &state.bitmap, used.packets, used.bytes))
            }
            Self::Foreign(_) | Self::Larval(_) => 0,
        };
        let print = match self {
            Self::Ours { sa, used, .. } => match shown(sa.as_ref(), hides_keys) {
                Some(sa) => {
                    let op = Op::AddInbound { sa: InboundSa(sa), state: None, used: None };
                    print((encode(&op).body.as_slice(), used.added))
                }
                None => print((id, "unlike ours")),
            },
            Self::Foreign(sa) => print((id, sa.reqid)),
            Self::Larval(sa) => print((id, sa.reqid, "larval")),
        };
        Glance { print, counters }
    }
}

/// `xfrm_redact`.
fn shown(sa: Option<&Sa>, hides_keys: bool) -> Option<Sa> {
    let sa = sa?;
    let zeroes = |length| Key::from(vec![0; length].as_slice());
    let crypto = if hides_keys { sa.crypto.with_keys(zeroes) } else { sa.crypto.clone() };
    Some(Sa { crypto, ..sa.clone() })
}

impl PolicyEntry {
    fn record(&self, index: u32) -> PolicyRecord {
        match (self, PolicyIndex::owned(index)) {
            (Self::Ours(policy), Some(index)) => {
                PolicyRecord::Ours(ObservedPolicy { index, key: policy.key(), policy: Some(policy.clone()) })
            }
            // One of ours that lost its index looks like somebody else's.
            _ => PolicyRecord::Foreign { index, key: Some(self.key()) },
        }
    }

    fn glance(&self, index: u32) -> Glance {
        let ours = match self {
            Self::Ours(policy) => Some((policy.priority, policy.action, &policy.templates, policy.flags)),
            Self::Foreign(_) => None,
        };
        Glance { print: print((index, self.key(), ours)), counters: 0 }
    }
}

fn print(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

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

    /// `xfrm_migrate`: all of it or nothing.
    fn migrate(&mut self, key: PolicyKey, moves: &[Move]) -> Result<(), Refusal> {
        if self.missing.contains(&Capability::Migrate) {
            return Err(check::refusal(libc::ENOPROTOOPT, None));
        }
        let index = self.index_of(key).ok_or_else(|| check::refusal(libc::ENOENT, None))?;
        let found: Vec<_> = moves.iter().map(|one| (one, self.found(one))).collect();
        // The new name of an SA may be taken (`xfrm_state_migrate`); its own, with another source, is not.
        let taken = |(one, id): &(&Move, Option<SaId>)| {
            id.is_some_and(|id| {
                let new = SaId { destination: one.to.1, ..id };
                new != id && self.sas.contains_key(&new)
            })
        };
        if moves.len() > MAX_MOVES || found.iter().any(taken) {
            return Err(check::refusal(libc::ENODATA, None));
        }
        let Some(PolicyEntry::Ours(policy)) = self.policies.get_mut(&index) else {
            return Err(check::refusal(libc::ENODATA, None));
        };
        let mut matched = false;
        for template in &mut policy.templates {
            for one in moves {
                let is_it = (template.protocol, template.mode, template.reqid)
                    == (one.protocol, one.mode, one.reqid)
                    && template.tunnel.is_none_or(|ends| ends == one.from);
                if is_it {
                    matched = true;
                    template.tunnel = template.tunnel.map(|_| one.to);
                    break;
                }
            }
        }
        if !matched {
            return Err(check::refusal(libc::ENODATA, None));
        }
        for (one, id) in found {
            let Some(SaEntry::Ours { mark, sa: Some(mut sa), state, .. }) =
                id.and_then(|id| self.sas.remove(&id))
            else {
                continue;
            };
            (sa.source, sa.destination) = one.to;
            // What was used up isn't copied (`xfrm_state_clone`).
            let used = Used { added: NOW, ..Used::default() };
            self.sas.insert(sa.id(), SaEntry::Ours { mark, sa: Some(sa), state, used });
        }
        Ok(())
    }

    /// The SA that moves (`xfrm_migrate_state_find`).
    fn found(&self, one: &Move) -> Option<SaId> {
        let is_it = |sa: &Sa| {
            (sa.crypto.protocol(), sa.mode, sa.reqid, (sa.source, sa.destination))
                == (one.protocol, one.mode, one.reqid, one.from)
        };
        self.sas.iter().find_map(|(id, entry)| match entry {
            SaEntry::Ours { sa: Some(sa), .. } if is_it(sa) => Some(*id),
            _ => None,
        })
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

    pub(super) fn add_foreign_sa(&mut self, sa: ForeignSa) -> Result<(), Refusal> {
        if self.sas.contains_key(&sa.id) {
            return Err(check::refusal(libc::EEXIST, None));
        }
        self.sas.insert(sa.id, SaEntry::Foreign(sa));
        Ok(())
    }

    pub(super) fn add_foreign_policy(&mut self, policy: ForeignPolicy) -> Result<u32, Refusal> {
        let index = policy.index.unwrap_or(0);
        check::index(index, policy.key.direction)?;
        if self.index_of(policy.key).is_some() {
            return Err(check::refusal(libc::EEXIST, None));
        }
        Ok(self.insert_policy(index, PolicyEntry::Foreign(policy)))
    }

    pub(super) fn foreign(&self) -> (Vec<ForeignSa>, Vec<(u32, ForeignPolicy)>) {
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
    pub(super) fn remove_sa(&mut self, id: SaId) -> Option<SaRecord> {
        self.sas.remove(&id).map(|entry| entry.record(id, self.hides_keys))
    }

    pub(super) fn sa(&self, id: SaId) -> Option<Sa> {
        match self.sas.get(&id) {
            Some(SaEntry::Ours { sa, .. }) => sa.clone(),
            _ => None,
        }
    }

    pub(super) fn remove_policy(&mut self, key: PolicyKey) -> bool {
        self.index_of(key).and_then(|index| self.policies.remove(&index)).is_some()
    }

    pub(super) fn flush(&mut self) {
        self.sas.clear();
        self.policies.clear();
    }

    pub(super) fn replace_sa(&mut self, id: SaId, other: Option<Sa>) -> bool {
        match self.sas.get_mut(&id) {
            Some(SaEntry::Ours { sa, .. }) => {
                *sa = other;
                true
            }
            _ => false,
        }
    }

    pub(super) fn count_traffic(&mut self, id: SaId, sent: u64, received: u64) -> bool {
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
