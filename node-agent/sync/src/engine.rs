//! What is known, and what is open.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use esplanade_crds::conditions::reason;
use esplanade_crds::{Counts, Problem, ProblemKind};
use esplanade_diff::{Hidden, Memory, Object, Outlook, conflict, exhausted};
use esplanade_model::{Mark, ObservedSa, PolicyIndex, PolicyKey, Sa, SaId};
use foldhash::fast::FixedState;
use indexmap::{IndexMap, IndexSet};

use crate::indexes::Indexes;
use crate::plan::Name;
use crate::table::Table;
use crate::want::Want;

/// An SA that the kernel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SaThere {
    Ours {
        /// It starts here, as far as is known.
        outbound: bool,
        /// When it was last read.
        at: Duration,
        /// Its mark.
        mark: Mark,
    },
    Foreign,
    Larval,
}

/// A policy that the kernel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyThere {
    Ours(PolicyIndex),
    Foreign(u32),
    OfSocket,
}

/// What somebody else has deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// So many SAs.
    pub sas: usize,
    /// So many policies.
    pub policies: usize,
}

impl Losses {
    /// There are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

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

/// What the kernel is known to hold, and what is to be done about it. Times are counted from any fixed moment.
#[derive(Debug)]
pub struct Engine {
    pub(crate) want: Want,
    pub(crate) sas: Table<SaId, SaThere>,
    pub(crate) policies: Table<PolicyKey, PolicyThere>,
    pub(crate) indexes: Indexes,
    pub(crate) memory: Memory,
    /// Keys that the kernel doesn't show.
    pub(crate) hidden: Hidden,
    /// What is known counts for nothing until everything was read.
    pub(crate) unknown: bool,
    /// What is recorded of a sender may be of one that has gone since everything was read.
    pub(crate) some_left: bool,
    /// What is to be read.
    pub(crate) asked_sas: HashSet<SaId, FixedState>,
    pub(crate) asked_policies: HashSet<PolicyKey, FixedState>,
    /// What is not as it should be: with what there is, where one of ours is to be replaced.
    pub(crate) wrong_sas: IndexMap<SaId, Option<Box<ObservedSa>>, FixedState>,
    pub(crate) wrong_policies: IndexSet<PolicyKey, FixedState>,
    /// Wanted, and somebody else's.
    pub(crate) conflicts: BTreeSet<Name>,
    /// Wanted, and not to be had: their keys are worn out, and how.
    pub(crate) worn: BTreeMap<SaId, String>,
    /// Wanted, and left out until it is known how they ended.
    pub(crate) open: BTreeSet<SaId>,
    /// Wanted with a soft lifetime.
    pub(crate) soft: BTreeSet<SaId>,
    /// Names of several SAs, ours among them, which the kernel tells apart by their marks only, and may take one for the
    /// other (`__xfrm_state_lookup`): nothing is done about them.
    pub(crate) ambiguous: HashSet<SaId, FixedState>,
    /// SAs that have no sequence numbers left, as far as they were wanted when they were read.
    pub(crate) exhausted: BTreeSet<SaId>,
    /// Wanted, and gone though nobody asked for that.
    pub(crate) lost: BTreeSet<SaId>,
    /// Policies that are wanted, were there, and are away though nobody asked for that.
    pub(crate) lost_policies: HashSet<PolicyKey, FixedState>,
    /// How many were found away since that was last asked.
    pub(crate) losses: Losses,
    /// What is away now, others have taken away: we haven't written since everything was as it was known.
    pub(crate) looking: bool,
    /// What was said about something that is still wrong.
    pub(crate) problems: BTreeMap<Name, String>,
    /// The SA that was just recognised, and has counted.
    pub(crate) counting: Option<SaId>,
    /// When the reading began that is going on.
    pub(crate) now: Duration,
    pub(crate) foreign_sas: usize,
    pub(crate) foreign_policies: usize,
    pub(crate) own_sas: usize,
    pub(crate) own_policies: usize,
    /// This reading of everything looks for what no event told of.
    pub(crate) auditing: bool,
    /// What it found, if no event tells of it yet.
    pub(crate) suspects: HashSet<Name, FixedState>,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            want: Want::default(),
            sas: Table::default(),
            policies: Table::default(),
            indexes: Indexes::default(),
            memory: Memory::default(),
            hidden: Hidden::default(),
            unknown: true,
            some_left: true,
            asked_sas: HashSet::default(),
            asked_policies: HashSet::default(),
            wrong_sas: IndexMap::default(),
            wrong_policies: IndexSet::default(),
            conflicts: BTreeSet::new(),
            worn: BTreeMap::new(),
            open: BTreeSet::new(),
            soft: BTreeSet::new(),
            ambiguous: HashSet::default(),
            exhausted: BTreeSet::new(),
            lost: BTreeSet::new(),
            lost_policies: HashSet::default(),
            losses: Losses::default(),
            looking: false,
            problems: BTreeMap::new(),
            counting: None,
            now: Duration::ZERO,
            foreign_sas: 0,
            foreign_policies: 0,
            own_sas: 0,
            own_policies: 0,
            auditing: false,
            suspects: HashSet::default(),
        }
    }
}

impl Engine {
    /// Nothing is known but what earlier processes recorded.
    pub fn new(memory: Memory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// What earlier processes recorded of keys that the kernel doesn't show.
    #[must_use]
    pub fn with_hidden(self, hidden: Hidden) -> Self {
        Self { hidden, ..self }
    }

    /// What the next process has to know of them, if it changed since it was last taken.
    pub fn take_hidden(&mut self) -> Option<String> {
        let Self { hidden, sas, .. } = self;
        hidden.take_record(|id| sas.get(id).is_some())
    }

    /// What the next process has to know, if it changed since it was last taken ([`Memory::take_record`]).
    pub fn take_record(&mut self) -> Option<String> {
        self.memory.take_record()
    }

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

    /// Frees what only the pass had need of.
    pub fn end_pass(&mut self) {
        self.want.forget_before();
    }

    /// What is known counts for nothing: everything is to be read.
    pub fn distrust(&mut self) {
        self.unknown = true;
        self.some_left = true;
        self.auditing = false;
        self.suspects.clear();
        self.memory.any_may_have_come_again();
    }

    /// How much of what a reading of everything found wasn't told by an event, neither before nor after. Counted once.
    pub fn surprises(&mut self) -> usize {
        std::mem::take(&mut self.suspects).len()
    }

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

    /// What can't be had because somebody else has its place or its key is worn out, what will be worn out soon (`epoch`:
    /// seconds since 1970), and what was [said](Engine::say) about the rest, by name. `make` makes a problem of an object
    /// (none for what nobody asks for), a name and what was said.
    pub fn problems(&self, epoch: u64, make: impl Fn(Option<Object>, &str) -> Problem) -> Vec<Problem> {
        let conflicts = self.conflicts.iter().filter_map(|name| {
            let object = self.object(name)?;
            Some(match name {
                Name::Sa(id) if self.ambiguous.contains(id) => conflict::ambiguous(&object, *id),
                Name::Sa(id) => conflict::sa(&object, *id),
                Name::Policy(key) => conflict::policy(&object, key),
            })
        });
        let exhausted = self
            .exhausted
            .iter()
            .filter_map(|id| Some(exhausted::problem(&self.object(&Name::Sa(*id))?, *id)));
        let said = self.problems.iter().map(|(name, text)| make(self.object(name), text));
        conflicts.chain(exhausted).chain(self.wearing(epoch)).chain(said).collect()
    }

    /// What lifetimes have ended, or soon will.
    fn wearing(&self, epoch: u64) -> impl Iterator<Item = Problem> {
        let problem = |id: &SaId, category: &str, message: String| {
            let Object { kind, name } = self.object(&Name::Sa(*id))?;
            Some(Problem { kind, name, category: category.to_owned(), message })
        };
        let worn = self.worn.iter().filter_map(move |(id, why)| {
            let message = format!(
                "its hard lifetime is over ({why}): its traffic is dropped, and its key is never used again. Write a \
                 new key into the Secrets that it names"
            );
            problem(id, reason::EXPIRED, message)
        });
        let soft = self.soft.iter().filter(|id| matches!(self.sas.get(id), Some(SaThere::Ours { .. })));
        let soon = soft.filter_map(move |id| {
            let limits = self.want.sa(id)?.sa().lifetime.soft;
            let limit = limits.reached(&self.memory.used(id)?, epoch)?;
            let message = format!(
                "it has reached its soft lifetime ({limit}): write a new key and another spi before the hard one ends it"
            );
            problem(id, reason::EXPIRING, message)
        });
        worn.chain(soon)
    }

    /// The soft limit of packets or bytes that the SA has reached, in words.
    pub fn reached_soft_limit(&self, id: &SaId) -> Option<String> {
        if !self.soft.contains(id) {
            return None;
        }
        self.want.sa(id)?.sa().lifetime.soft.reached(&self.memory.used(id)?, 0)
    }

    /// Remembers what there is to say about something that is wrong, until it isn't any more.
    pub fn say(&mut self, name: Name, text: String) {
        if self.is_wrong(&name) {
            self.problems.insert(name, text);
        }
    }

    /// It isn't as it should be.
    pub fn is_wrong(&self, name: &Name) -> bool {
        match name {
            Name::Sa(id) => self.wrong_sas.contains_key(id),
            Name::Policy(key) => self.wrong_policies.contains(key),
        }
    }

    /// The kernel is known to hold just this policy.
    pub fn holds_policy(&self, key: &PolicyKey) -> bool {
        let there = matches!(self.policies.get(key), Some(PolicyThere::Ours(_)));
        there && !self.unknown && !self.asked_policies.contains(key) && !self.wrong_policies.contains(key)
    }

    /// The object that asks for it; none for what is wanted without a name.
    pub fn object(&self, name: &Name) -> Option<Object> {
        Some(match name {
            Name::Sa(id) => Object { kind: ProblemKind::IpsecSA, name: self.want.sas.get(id)?.0.clone() },
            Name::Policy(key) => {
                let (name, _) = self.want.policies.get(key).filter(|(name, _)| !name.is_empty())?;
                Object { kind: ProblemKind::IpsecPolicy, name: name.clone() }
            }
        })
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

    pub(crate) fn ask_for_sa(&mut self, id: SaId) {
        self.asked_sas.insert(id);
        self.sas.doubt(&id);
    }

    pub(crate) fn ask_for_policy(&mut self, key: PolicyKey) {
        self.asked_policies.insert(key);
        self.policies.doubt(&key);
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
