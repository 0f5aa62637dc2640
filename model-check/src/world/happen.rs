//! What can happen, and what becomes of it.

use esplanade_keying::NodeUid;
use esplanade_keying::node::MAX_KEYS;

use super::{Action, Kernel, World};
use crate::scenario::{Edit, Scenario};

impl World {
    /// Everything that can happen now.
    pub fn actions(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        self.by_itself(scenario, actions);
        self.by_chance(scenario, actions);
    }

    pub(crate) fn by_itself(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        for node in self.nodes().filter(|node| self.host(*node).present) {
            self.of_agent(scenario, node, actions);
            if self.operator_writes(scenario, node).is_some() {
                actions.push(Action::Operator(node));
            }
        }
        if self.looked.as_ref().is_some_and(|looked| **looked != self.api) && self.left.looks == 0 {
            actions.push(Action::Look);
        }
        if scenario.packets {
            for (from, to) in self.pairs() {
                if self.packet_tells(from, to) {
                    actions.push(Action::Packet(from, to));
                }
            }
        }
    }

    pub(crate) fn by_chance(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        let left = &self.left;
        for node in self.nodes() {
            let host = self.host(node);
            let running = host.agent.is_some();
            let settled = host.agent.as_ref().is_some_and(|agent| agent.node.ready());
            let mut may = |left: u8, here: bool, action: Action| {
                if left > 0 && here {
                    actions.push(action);
                }
            };
            may(left.rotations, settled && host.asked.is_none(), Action::Rotate(node));
            may(left.crashes, running, Action::Crash(node));
            may(left.reboots, host.present, Action::Reboot(node));
            may(left.flushes, host.present, Action::Flush(node));
            may(left.lists, settled && !host.cut && self.events(node) > 0, Action::List(node));
            may(left.leaves, host.present, Action::Leave(node));
            may(1, !host.present, Action::Join(node));
            may(left.cuts, host.present && !host.cut, Action::Cut(node));
            may(1, host.cut && !self.api.skipped.contains(&node), Action::GiveUp(node));
            may(1, host.cut && self.api.skipped.contains(&node), Action::Heal(node));
        }
        if left.edits > 0 && self.edited < scenario.edits.len() {
            actions.push(Action::Edit);
        }
        if left.looks > 0 && self.looked.as_ref().is_none_or(|looked| **looked != self.api) {
            actions.push(Action::Look);
        }
        if left.ticks > 0 && self.wakes() {
            actions.push(Action::Tick);
        }
    }

    /// One step.
    pub(crate) fn carry_out(&mut self, scenario: &Scenario, action: Action) {
        match action {
            Action::Watch(node) => self.watch(scenario, node),
            Action::List(node) => {
                if self.listed(node) {
                    self.left.lists = self.left.lists.saturating_sub(1);
                }
                self.list(scenario, node);
            }
            Action::Own(node) => self.own(scenario, node),
            Action::Inbound(node) => self.make_inbound(scenario, node),
            Action::Outbound(node) => self.switch_outbound(scenario, node),
            Action::Finish(node) => self.finish(scenario, node),
            Action::Pass(node) => {
                self.make_inbound(scenario, node);
                self.switch_outbound(scenario, node);
                self.finish(scenario, node);
            }
            Action::Publish(node) => self.publish(scenario, node),
            Action::Packet(from, to) => self.packet(scenario, from, to),
            Action::Operator(node) => self.operate(scenario, node),
            Action::Look => {
                self.left.looks = self.left.looks.saturating_sub(1);
                self.looked = Some(Box::new(self.api.clone()));
            }
            Action::Rotate(node) => {
                self.left.rotations = self.left.rotations.saturating_sub(1);
                self.rotate(scenario, node);
            }
            Action::Crash(node) => {
                self.left.crashes = self.left.crashes.saturating_sub(1);
                self.troubled += 1;
                let host = &mut self.hosts[usize::from(node)];
                host.agent = None;
                // Who asked asks again.
                host.asked = None;
            }
            Action::Start(node) => self.start(scenario, node),
            Action::Reboot(node) => {
                self.left.reboots = self.left.reboots.saturating_sub(1);
                self.reboot(node);
            }
            Action::Flush(node) => {
                self.left.flushes = self.left.flushes.saturating_sub(1);
                self.troubled += 1;
                self.flush(scenario, node);
            }
            Action::Leave(node) => {
                self.left.leaves = self.left.leaves.saturating_sub(1);
                self.leave(node);
            }
            Action::Join(node) => self.join(node),
            Action::Cut(node) => {
                self.left.cuts = self.left.cuts.saturating_sub(1);
                self.troubled += MAX_KEYS;
                self.hosts[usize::from(node)].cut = true;
            }
            Action::GiveUp(node) => {
                self.api.skipped.insert(node);
                self.behind.insert(node);
            }
            Action::Heal(node) => {
                self.hosts[usize::from(node)].cut = false;
                self.api.skipped.remove(&node);
            }
            Action::Edit => {
                self.left.edits = self.left.edits.saturating_sub(1);
                self.edit(scenario);
            }
            Action::Tick => {
                self.left.ticks = self.left.ticks.saturating_sub(1);
                self.tick(scenario);
            }
            Action::Wake(node) => self.wake(scenario, node),
        }
    }

    fn reboot(&mut self, node: u16) {
        let host = &mut self.hosts[usize::from(node)];
        host.agent = None;
        host.disk.clear();
        host.asked = None;
        host.kernel = Kernel { levels: host.kernel.levels.clone(), ..Kernel::default() };
        self.forget_due(node);
    }

    /// What went between this node and the others needn't any more, for now.
    pub(crate) fn forget_due(&mut self, node: u16) {
        let uid = self.host(node).uid;
        for host in &mut self.hosts {
            host.kernel.on_the_way.retain(|sa| sa.peer != uid);
        }
        self.due.retain(|(from, to)| *from != node && *to != node);
    }

    fn leave(&mut self, node: u16) {
        self.reboot(node);
        self.hosts[usize::from(node)].present = false;
        self.hosts[usize::from(node)].kernel = Kernel::default();
        self.encrypts.remove(&node);
        self.enforces.remove(&node);
        self.api.leave(node);
    }

    fn join(&mut self, node: u16) {
        let host = &mut self.hosts[usize::from(node)];
        host.present = true;
        host.uid = NodeUid(host.uid.0 + (1 << 16));
        let uid = host.uid;
        self.api.join(node, uid);
    }

    fn edit(&mut self, scenario: &Scenario) {
        match scenario.edits[self.edited] {
            Edit::Enable => self.api.current = Some(0),
            Edit::Change => self.api.current = self.api.current.map(|number| number + 1),
            Edit::Undo => self.api.current = self.api.current.map(|number| number.saturating_sub(1)),
            Edit::Delete => {
                self.api.current = None;
                self.encrypts.clear();
                self.enforces.clear();
            }
        }
        self.edited += 1;
    }

    fn tick(&mut self, scenario: &Scenario) {
        let before = self.now;
        self.now = self.now.after(1);
        for host in &mut self.hosts {
            host.kernel.on_the_way.clear();
        }
        for node in self.nodes() {
            if self.wakes_at(node, before).is_some_and(|at| at <= self.now) {
                self.wake(scenario, node);
            }
        }
    }
}
