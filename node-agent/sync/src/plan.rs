//! What is to be written.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use esplanade_diff::{Outlook, Stage, Start, policies, sas};
use esplanade_model::{Op, PolicyKey, SaId, WantedSa};
use foldhash::fast::FixedState;

use crate::engine::{Engine, PolicyThere, SaThere};

/// What names something in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// An SA.
    Sa(SaId),
    /// A policy.
    Policy(PolicyKey),
}

/// What is to be written, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    steps: Vec<Name>,
}

impl Plan {
    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Leaves these steps out.
    pub fn leave_out(&mut self, names: &[Name]) {
        self.steps.retain(|step| !names.contains(step));
    }

    /// What it is about.
    pub fn names(&self) -> &[Name] {
        &self.steps
    }
}

impl Engine {
    /// What leads from what there is to what is wanted, in the order of [`Stage`]. To be made after reading.
    pub fn plan(&self) -> Plan {
        let sas = || self.wrong_sas.keys().map(|id| Name::Sa(*id));
        let policies = || self.wrong_policies.iter().map(|key| Name::Policy(*key));
        let stages: Vec<_> = sas().chain(policies()).map(|name| self.stage(&name)).collect();
        // There are few stages, and names are long: each is written once, where it stays.
        let mut steps = Vec::with_capacity(stages.iter().flatten().count());
        for stage in stages.iter().flatten().copied().collect::<BTreeSet<Stage>>() {
            let named = stages.iter().zip(sas().chain(policies()));
            steps.extend(named.filter(|(one, _)| **one == Some(stage)).map(|(_, name)| name));
        }
        Plan { steps }
    }

    fn stage(&self, name: &Name) -> Option<Stage> {
        match name {
            Name::Sa(id) => self.stage_of_sa(id),
            Name::Policy(key) => self.stage_of_policy(key),
        }
    }

    /// The plan's operations one by one, as they are `now`.
    pub fn ops<'e>(&'e self, plan: &'e Plan, now: Duration) -> Ops<'e> {
        Ops {
            engine: self,
            plan,
            now,
            next: 0,
            pending: Vec::new(),
            owners: Vec::new(),
            given: HashSet::default(),
        }
    }

    /// One of the operations about something that is wrong, for words about it.
    pub fn operation(&self, name: &Name, number: usize) -> Option<Op> {
        self.operations(name, Duration::ZERO, |_| true).into_iter().nth(number)
    }

    /// The operation that puts a wanted inbound SA in the place of a larval one; none where it isn't wanted, or must not be
    /// made `now`.
    pub fn filling(&mut self, id: SaId, now: Duration) -> Option<Op> {
        let Some(wanted @ WantedSa::Inbound(sa)) = self.want.sa(&id) else { return None };
        if self.memory.outlook(&sa.0, now) != Outlook::Good {
            return None;
        }
        let Start { state, used } = self.memory.start(wanted, now);
        Some(Op::FillSa { sa: sa.clone(), state, used })
    }

    fn stage_of_sa(&self, id: &SaId) -> Option<Stage> {
        match (self.want.sa(id), self.sas.get(id)) {
            (Some(wanted), _) => Some(sas::stage(wanted)),
            (None, Some(SaThere::Ours { outbound, .. })) => Some(sas::stage_of_removal(*outbound)),
            (None, _) => None,
        }
    }

    fn stage_of_policy(&self, key: &PolicyKey) -> Option<Stage> {
        match (self.want.policy(key), self.policies.get(key)) {
            (Some(_), _) if self.lost_policies.contains(key) => {
                Some(Stage::putting_back_policy(key.direction))
            }
            (Some(_), _) => Some(Stage::adding_policy(key.direction)),
            (None, Some(PolicyThere::Ours(_))) => Some(Stage::removing_policy(key.direction)),
            (None, _) => None,
        }
    }

    pub(crate) fn operations(&self, name: &Name, now: Duration, free: impl FnMut(u32) -> bool) -> Vec<Op> {
        match name {
            Name::Sa(id) => match self.want.sa(id).map(|wanted| (wanted, self.wrong_sas.get(id))) {
                Some((wanted, Some(Some(there)))) => {
                    let start = match wanted {
                        WantedSa::Inbound(_) => Start::default(),
                        WantedSa::Outbound(sa) if sas::may_have_key(wanted, there) => {
                            let behind = self.memory.behind(&sa.0, there);
                            // The key of one that we can't read may be any.
                            let recorded = match there.sa {
                                None => self.memory.recorded_use(&sa.0, now),
                                Some(_) => None,
                            };
                            sas::moved_on(wanted, behind.max(recorded))
                        }
                        WantedSa::Outbound(_) => self.memory.start(wanted, now),
                    };
                    sas::bring(wanted, Some(there), start)
                }
                Some((wanted, _)) => sas::bring(wanted, None, self.memory.start(wanted, now)),
                None => match self.sas.get(id) {
                    Some(SaThere::Ours { mark, .. }) => vec![Op::DeleteSa(*id, *mark)],
                    _ => Vec::new(),
                },
            },
            Name::Policy(key) => {
                let there = match self.policies.get(key) {
                    Some(PolicyThere::Ours(index)) => Some(*index),
                    _ => None,
                };
                match (self.want.policy(key), there) {
                    (Some(wanted), there) => vec![policies::bring(wanted, there, free)],
                    (None, Some(index)) => vec![policies::remove(key, index)],
                    (None, None) => Vec::new(),
                }
            }
        }
    }
}

/// The operations of a plan, made as they are asked for: all of them at once would take much room.
#[derive(Debug)]
pub struct Ops<'e> {
    engine: &'e Engine,
    plan: &'e Plan,
    now: Duration,
    next: usize,
    /// Of the last step, the last first.
    pending: Vec<Op>,
    /// The step that each operation so far is of.
    owners: Vec<u32>,
    /// Indexes that were given to policies.
    given: HashSet<u32, FixedState>,
}

impl Ops<'_> {
    /// What operation `at`, of those made so far, is about; and which one about that it is, from 0.
    pub fn about(&self, at: usize) -> Option<(Name, usize)> {
        let step = *self.owners.get(at)?;
        let before = self.owners.get(..at)?.iter().rev().take_while(|owner| **owner == step).count();
        Some((self.plan.steps.get(step as usize).copied()?, before))
    }

    /// How many were made.
    pub fn made(&self) -> usize {
        self.owners.len()
    }
}

impl Iterator for Ops<'_> {
    type Item = Op;

    fn next(&mut self) -> Option<Op> {
        while self.pending.is_empty() {
            let name = self.plan.steps.get(self.next)?;
            let Self { engine, given, .. } = self;
            let free = |index: u32| !engine.indexes.has(index) && given.insert(index);
            self.pending = engine.operations(name, self.now, free);
            self.pending.reverse();
            self.next += 1;
        }
        self.owners.push(u32::try_from(self.next - 1).unwrap_or(u32::MAX));
        self.pending.pop()
    }
}
