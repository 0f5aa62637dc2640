//! A pass over a node's kernel, in steps: what an agent does to make it as its node wants it.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_keying::in_force::{Step, phases};
use esplanade_keying::node::{Input, Seen};
use esplanade_keying::{NodeUid, Sa, Stage};
use esplanade_rollout::Level;

use super::{Promise, Told, World, revision};
use crate::scenario::{Mutation, Scenario};

type Lanes = BTreeMap<NodeUid, Vec<Sa>>;

/// It is there, and no other one to its peer.
fn is_alone(lanes: &Lanes, sa: &Sa) -> bool {
    lanes.get(&sa.peer).is_some_and(|lane| lane.as_slice() == [*sa])
}

impl World {
    pub(super) fn make_inbound(&mut self, scenario: &Scenario, node: u16) {
        self.save(node);
        let host = &mut self.hosts[usize::from(node)];
        let Some(agent) = &host.agent else { return };
        let (wanted, kernel) = (agent.node.inbound(), &host.kernel.inbound);
        let gone = kernel.iter().filter(|sa| !wanted.contains_key(sa)).map(|sa| Seen::Inbound(*sa, false));
        let missing = wanted.keys().filter(|sa| !kernel.contains(sa)).map(|sa| Seen::Inbound(*sa, true));
        let seen: Vec<Seen> = gone.chain(missing).collect();
        let asked = |sa: &&Sa| {
            let sends = || host.kernel.outbound.iter().any(|outbound| outbound.peer == sa.peer);
            !Self::is(scenario, Mutation::InboundOnDemand) || host.kernel.inbound.contains(*sa) || sends()
        };
        let wanted = wanted.keys().filter(asked).copied().collect();
        if !Self::is(scenario, Mutation::NotOnSight) {
            host.kernel.inbound = wanted;
            host.work.0.sas += seen.len();
        }
        self.input(scenario, node, Input::Kernel(seen));
    }

    /// The outbound SAs to have.
    fn outbound(&self, scenario: &Scenario, node: u16) -> Vec<(Sa, bool)> {
        let Some(agent) = &self.host(node).agent else { return Vec::new() };
        let newest = agent.node.records().iter().rev().find(|record| record.stage == Stage::Published);
        let mutate = |mut sa: Sa| {
            if Self::is(scenario, Mutation::NewestAtOnce)
                && let Some(newest) = newest
            {
                sa.own = newest.id;
            }
            sa
        };
        let fresh = |past: Option<u64>| past.is_none() || Self::is(scenario, Mutation::FromZero);
        agent.node.outbound().map(|wanted| (mutate(wanted.sa), fresh(wanted.past))).collect()
    }

    pub(super) fn outbound_differs(&self, scenario: &Scenario, node: u16) -> bool {
        let lanes = self.lanes(node);
        self.outbound(scenario, node).iter().any(|(sa, _)| !is_alone(&lanes, sa))
    }

    /// The node's outbound SAs, by peer: the kernel knows no revisions of the policy.
    fn lanes(&self, node: u16) -> Lanes {
        let mut lanes = Lanes::new();
        for sa in &self.host(node).kernel.outbound {
            lanes.entry(sa.peer).or_default().push(*sa);
        }
        lanes
    }

    /// The outbound SAs that the node's kernel is to have.
    fn outbound_sas(&self, scenario: &Scenario, node: u16) -> BTreeSet<Sa> {
        self.outbound(scenario, node).into_iter().map(|(sa, _)| sa).collect()
    }

    /// What the node sends on, to whom packets must arrive.
    fn in_use(&self, node: u16) -> Vec<Sa> {
        let due = self.due.iter().filter(|(from, _)| *from == node);
        due.filter_map(|(_, to)| self.host(node).kernel.sends_on(self.host(*to).uid)).collect()
    }

    pub(super) fn switch_outbound(&mut self, scenario: &Scenario, node: u16) {
        self.save(node);
        let mut seen = Vec::new();
        let before = self.in_use(node);
        let lanes = self.lanes(node);
        for (sa, fresh) in self.outbound(scenario, node) {
            if is_alone(&lanes, &sa) {
                continue;
            }
            let kernel = &mut self.hosts[usize::from(node)].kernel;
            if !kernel.outbound.contains(&sa) {
                kernel.outbound.push(sa);
                kernel.larval.remove(&sa.peer);
                if !self.used.insert((node, sa)) && fresh {
                    self.broken = Some(Promise::NoReuse);
                }
                seen.push(Seen::Outbound(sa, Some(0)));
            }
            let old = |one: &Sa| one.peer == sa.peer && *one != sa;
            seen.extend(kernel.outbound.iter().filter(|one| old(one)).map(|one| Seen::Outbound(*one, None)));
            kernel.outbound.retain(|one| !old(one));
        }
        self.leave_on_the_way(node, before);
        self.hosts[usize::from(node)].work.0.sas += seen.len();
        self.input(scenario, node, Input::Kernel(seen));
    }

    /// Packets on SAs that were in use and aren't any more are still on their way.
    fn leave_on_the_way(&mut self, node: u16, before: Vec<Sa>) {
        let now = self.in_use(node);
        let gone = before.into_iter().filter(|sa| !now.contains(sa));
        self.hosts[usize::from(node)].kernel.on_the_way.extend(gone);
    }

    pub(super) fn finish_differs(&self, scenario: &Scenario, node: u16) -> bool {
        let host = self.host(node);
        let wanted = self.outbound_sas(scenario, node);
        host.kernel.levels != self.levels_now(scenario, node)
            || host.kernel.outbound.iter().any(|sa| !wanted.contains(sa))
    }

    /// The phases to be at now.
    pub(super) fn levels_now(&self, scenario: &Scenario, node: u16) -> BTreeMap<usize, Told> {
        let host = self.host(node);
        let Some(agent) = &host.agent else { return BTreeMap::new() };
        let told: Vec<(usize, Told)> =
            agent.levels.iter().chain(&agent.kept).map(|(number, told)| (*number, *told)).collect();
        let step = |(number, told): &(usize, Told)| {
            let reached = host.kernel.level(*number);
            let to = if Self::is(scenario, Mutation::GoDown) { told.level } else { told.from(reached) };
            let surely = || agent.node.sends_surely(revision(*number));
            Step::new(to.phase().unwrap_or_default(), reached.phase(), surely)
        };
        let steps: Vec<Step> = told.iter().map(step).collect();
        let alone = || steps.iter().flat_map(|step| phases(std::slice::from_ref(step))).collect();
        let phases = if Self::is(scenario, Mutation::NotHeld) { alone() } else { phases(&steps) };
        let now = |((number, told), phase)| (number, Told { level: Level::from(phase), ..told });
        told.into_iter().zip(phases).map(now).collect()
    }

    pub(super) fn finish(&mut self, scenario: &Scenario, node: u16) {
        self.save(node);
        let before = self.in_use(node);
        let wanted = self.outbound_sas(scenario, node);
        let levels = self.levels_now(scenario, node);
        let host = &mut self.hosts[usize::from(node)];
        let kernel = &mut host.kernel;
        kernel.levels = levels;
        let mut seen = Vec::new();
        let unwanted = |sa: &&Sa| !wanted.contains(*sa);
        seen.extend(kernel.outbound.iter().filter(unwanted).map(|sa| Seen::Outbound(*sa, None)));
        kernel.outbound.retain(|sa| wanted.contains(sa));
        self.leave_on_the_way(node, before);
        self.input(scenario, node, Input::Kernel(seen));
    }

    /// All is flushed and put back past what was sent, in one pass.
    pub(super) fn disturb(&mut self, scenario: &Scenario, node: u16) {
        let wanted = self.outbound_sas(scenario, node);
        let kernel = &mut self.hosts[usize::from(node)].kernel;
        let gone = std::mem::take(&mut kernel.outbound);
        kernel.outbound = gone.iter().filter(|sa| wanted.contains(*sa)).copied().collect();
        let mut seen: Vec<Seen> = gone.into_iter().map(|sa| Seen::Outbound(sa, None)).collect();
        seen.extend(kernel.outbound.iter().map(|sa| Seen::Outbound(*sa, Some(0))));
        self.forget_due(node);
        self.input(scenario, node, Input::Kernel(seen));
    }

    pub(super) fn flush(&mut self, scenario: &Scenario, node: u16) {
        let kernel = &mut self.hosts[usize::from(node)].kernel;
        let inbound = std::mem::take(&mut kernel.inbound);
        let outbound = std::mem::take(&mut kernel.outbound);
        let mut seen: Vec<Seen> = inbound.into_iter().map(|sa| Seen::Inbound(sa, false)).collect();
        seen.extend(outbound.into_iter().map(|sa| Seen::Outbound(sa, None)));
        // Packets are lost until all is there again.
        self.lose_sas(node);
        self.input(scenario, node, Input::Kernel(seen));
    }
}
