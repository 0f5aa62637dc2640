//! What is to be written.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use esplanade_diff::{Outlook, Stage, Start, policies, sas};
use esplanade_model::{ObservedSa, Op, PolicyKey, SaId, WantedSa};
use foldhash::fast::FixedState;

use crate::engine::{Engine, PolicyThere, SaThere};
use crate::table::NOWHERE;

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
    /// Where each probably stands: in what is wanted, and what isn't, in what is there. To look for names takes most of the
    /// time where many are to be written.
    places: Vec<u32>,
}

impl Plan {
    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Leaves these steps out.
    pub fn leave_out(&mut self, names: &[Name]) {
        let kept = self.steps().filter(|(name, _)| !names.contains(name));
        (self.steps, self.places) = kept.map(|(name, place)| (*name, place)).unzip();
    }

    /// What it is about.
    pub fn names(&self) -> &[Name] {
        &self.steps
    }

    /// What it is about, with the place of each.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&Name, u32)> {
        self.steps.iter().zip(self.places.iter().copied())
    }
}

impl Engine {
    /// What leads from what there is to what is wanted, in the order of [`Stage`]. To be made after reading.
    pub fn plan(&self) -> Plan {
        let sas = self.wrong_sas.keys().map(|id| self.stage_of_sa(id));
        let policies = self.wrong_policies.iter().map(|key| self.stage_of_policy(key));
        let stages: Vec<_> = sas.chain(policies).collect();
        let name = |at: usize| match self.wrong_sas.get_index(at) {
            Some((id, _)) => Some(Name::Sa(*id)),
            None => self.wrong_policies.get_index(at - self.wrong_sas.len()).map(|key| Name::Policy(*key)),
        };
        let count = stages.iter().flatten().count();
        let (mut steps, mut places) = (Vec::with_capacity(count), Vec::with_capacity(count));
        // There are few stages, and names are long: each is written once, where it stays.
        for stage in stages.iter().flatten().map(|(stage, _)| *stage).collect::<BTreeSet<Stage>>() {
            for (at, one) in stages.iter().enumerate() {
                if let Some((_, place)) = one.filter(|(one, _)| *one == stage)
                    && let Some(name) = name(at)
                {
                    steps.push(name);
                    places.push(place);
                }
            }
        }
        Plan { steps, places }
    }

    /// The plan's operations one by one, as they are `now`.
    pub fn ops<'e>(&'e self, plan: &'e Plan, now: Duration) -> Ops<'e> {
        Ops {
            engine: self,
            plan,
            now,
            next: 0,
            pending: Vec::new(),
            owners: Vec::with_capacity(plan.steps.len()),
            given: HashSet::default(),
        }
    }

    /// One of the operations about something that is wrong, for words about it.
    pub fn operation(&self, name: &Name, number: usize) -> Option<Op> {
        let mut ops = Vec::new();
        self.operations((name, NOWHERE), Duration::ZERO, |_| true, &mut ops);
        ops.into_iter().nth(number)
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

    /// With its place.
    fn stage_of_sa(&self, id: &SaId) -> Option<(Stage, u32)> {
        if let Some((place, (_, wanted))) = self.want.sas.get_with_place(id) {
            return Some((sas::stage(wanted), place));
        }
        match self.sas.get_with_place(id)? {
            (place, SaThere::Ours { outbound, .. }) => Some((sas::stage_of_removal(*outbound), place)),
            (_, SaThere::Foreign | SaThere::Larval) => None,
        }
    }

    /// With its place.
    fn stage_of_policy(&self, key: &PolicyKey) -> Option<(Stage, u32)> {
        if let Some((place, _)) = self.want.policies.get_with_place(key) {
            let lost = self.lost_policies.contains(key);
            let stage = if lost { Stage::putting_back_policy } else { Stage::adding_policy };
            return Some((stage(key.direction), place));
        }
        match self.policies.get_with_place(key)? {
            (place, PolicyThere::Ours(_)) => Some((Stage::removing_policy(key.direction), place)),
            (_, PolicyThere::Foreign(_) | PolicyThere::OfSocket) => None,
        }
    }

    /// Adds the operations about this name, which probably stands in this place, to `ops`.
    pub(crate) fn operations(
        &self,
        (name, place): (&Name, u32),
        now: Duration,
        free: impl FnMut(u32) -> bool,
        ops: &mut Vec<Op>,
    ) {
        match name {
            Name::Sa(id) => {
                if let Some((_, wanted)) = self.want.sas.get_at(place, id) {
                    match self.wrong_sas.get(id) {
                        Some(Some(there)) => ops.extend(self.replace_sa(wanted, there, now)),
                        // Nearly always, and one operation needs no list.
                        _ => ops.push(sas::add(wanted, self.memory.start(wanted, now))),
                    }
                } else if let Some(SaThere::Ours { mark, .. }) = self.sas.get_at(place, id) {
                    ops.push(Op::DeleteSa(*id, *mark));
                }
            }
            Name::Policy(key) => {
                let there = match self.policies.get_at(place, key) {
                    Some(PolicyThere::Ours(index)) => Some(*index),
                    _ => None,
                };
                match (self.want.policies.get_at(place, key), there) {
                    (Some((_, wanted)), there) => ops.push(policies::bring(wanted, there, free)),
                    (None, Some(index)) => ops.push(policies::remove(key, index)),
                    (None, None) => {}
                }
            }
        }
    }

    /// Puts a wanted SA in the place of one of ours that is there.
    pub(crate) fn replace_sa(&self, wanted: &WantedSa, there: &ObservedSa, now: Duration) -> Vec<Op> {
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
        sas::replace(wanted, there, start)
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
            let Self { engine, plan, given, pending, .. } = self;
            let step = (plan.steps.get(self.next)?, *plan.places.get(self.next)?);
            let free = |index: u32| !engine.indexes.has(index) && given.insert(index);
            engine.operations(step, self.now, free, pending);
            pending.reverse();
            self.next += 1;
        }
        self.owners.push(u32::try_from(self.next - 1).unwrap_or(u32::MAX));
        self.pending.pop()
    }
}
