//! Pure diff: what a kernel should hold × what it holds → the operations that lead from one to the other, in an order
//! that loses no packet.
//!
//! Foreign SAs and policies are never touched: where one has a name that we want, that is a conflict, and nothing is
//! done about it.

pub mod conflict;
mod crypto;
pub mod exhausted;
mod fingerprint;
mod hash;
mod hidden;
mod memory;
mod numbers;
pub mod policies;
mod replay;
pub mod sas;
mod slots;
mod stage;
mod wear;

use esplanade_crds::{Problem, ProblemKind};
use esplanade_model::{Observed, Op, Wanted};

pub use hidden::Hidden;
pub use memory::{Memory, Outlook, Start};
pub use numbers::{Numbers, Writing};
pub use stage::Stage;
pub use wear::{BadRecord, Wear};

/// The API object that asks for something in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its kind.
    pub kind: ProblemKind,
    /// Its name.
    pub name: String,
}

/// One operation, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who asks for it; none where it removes what nobody asks for any more.
    pub object: Option<Object>,
    /// The operation.
    pub op: Op,
}

/// What the kernel has under the name of something wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<T> {
    /// Nothing.
    Nothing,
    /// Somebody else's.
    Foreign,
    /// One of ours.
    Ours(T),
}

/// What that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is just what is wanted.
    Right,
    /// It is to be changed, or made.
    Wrong,
    /// It can't be had.
    Conflict,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// The operations, in their order: inbound SAs, inbound and forward policies, outbound SAs, outbound policies, then
    /// removals the other way round. An SA that has to be replaced is deleted right before it is added.
    pub steps: Vec<Step>,
    /// What can't be had because a foreign SA or policy is in its place (category `Conflicted`).
    pub conflicts: Vec<Problem>,
}

impl Diff {
    /// There is nothing to do. There may be conflicts.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// What leads from `observed` to `wanted`.
pub fn diff(wanted: &Wanted, observed: &Observed) -> Diff {
    let mut plan = Plan::default();
    sas::diff(wanted, observed, &mut plan);
    policies::diff(wanted, observed, &mut plan);
    plan.steps.sort_by_key(|(stage, _)| *stage);
    plan.conflicts.dedup();
    Diff { steps: plan.steps.into_iter().map(|(_, step)| step).collect(), conflicts: plan.conflicts }
}

/// A diff in the making.
#[derive(Default)]
struct Plan {
    steps: Vec<(Stage, Step)>,
    conflicts: Vec<Problem>,
}

impl Plan {
    fn add(&mut self, stage: Stage, object: Option<Object>, op: Op) {
        self.steps.push((stage, Step { object, op }));
    }
}
