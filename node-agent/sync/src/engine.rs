//! What is known, and what is open.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use esplanade_diff::{Hidden, Memory};
use esplanade_model::{Mark, ObservedSa, PolicyIndex, PolicyKey, SaId};
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
}
