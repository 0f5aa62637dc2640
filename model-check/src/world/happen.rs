//! What can happen, and what becomes of it.

use esplanade_keying::node::MAX_KEYS;
use esplanade_keying::{NodeUid, Version};

use super::{Action, Api, Kernel, NodeState, World};
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

    /// Does this, if it can happen; whether it did.
    pub fn act_if_possible(&mut self, scenario: &Scenario, action: Action) -> bool {
        let mut possible = Vec::new();
        self.actions(scenario, &mut possible);
        let is_possible = possible.contains(&action);
        if is_possible {
            self.act(scenario, action);
        }
        is_possible
    }

    pub(crate) fn by_itself(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        for node in self.nodes().filter(|node| self.host(*node).present) {
            self.of_agent(scenario, node, actions);
            if self.operator_writes(scenario, node).is_some() {
                actions.push(Action::Operator(node));
            }
            if self.lacks_peer(node) {
                actions.push(Action::MakePeer(node));
            }
            if self.turned.contains(&node) {
                actions.push(Action::TurnBack(node));
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
            let settled = host.is_ready();
            let mut may = |left: u8, here: bool, action: Action| {
                if left > 0 && here {
                    actions.push(action);
                }
            };
            may(left.rotations, settled && host.asked.is_none(), Action::Rotate(node));
            may(left.crashes, running, Action::Crash(node));
            may(left.reboots, host.present, Action::Reboot(node));
            may(left.flushes, host.present, Action::Flush(node));
            may(left.flushes, settled, Action::Disturb(node));
            may(left.lists, settled && !host.cut && self.events(node) > 0, Action::List(node));
            may(left.leaves, host.present, Action::Leave(node));
            may(1, !host.present, Action::Join(node));
            may(left.cuts, host.present && !host.cut, Action::Cut(node));
            may(1, host.cut && !self.api.skipped.contains(&node), Action::GiveUp(node));
            may(1, host.cut && self.api.skipped.contains(&node), Action::Heal(node));
            let there = self.api.states.get(&node).is_some_and(NodeState::exists)
                && self.api.peers.contains_key(&node);
            may(left.states_lost, there && !self.leaves(scenario), Action::LoseState(node));
            may(left.peers_lost, there, Action::LosePeer(node));
        }
        if left.asks > 0 {
            for (from, to) in self.pairs().filter(|(from, to)| self.asks(scenario, *from, *to)) {
                actions.push(Action::Ask(from, to, false));
                if self.host(from).agent.is_some() {
                    actions.push(Action::Ask(from, to, true));
                }
            }
        }
        if left.edits > 0 && self.edited < scenario.edits.len() && self.can_edit(scenario) {
            actions.push(Action::Edit);
        }
        if left.backups > 0 {
            actions.push(Action::Backup);
        }
        if left.restores > 0 && self.backup.is_some() && !self.leaves(scenario) {
            actions.push(Action::Restore);
        }
        if left.looks > 0 && self.looked.as_ref().is_none_or(|looked| **looked != self.api) {
            actions.push(Action::Look);
        }
        let larval = self.hosts.iter().any(|host| !host.kernel.larval.is_empty());
        if left.ticks > 0 && (larval || self.wakes()) {
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
                self.crash(node);
            }
            // It is started again at once.
            Action::TurnBack(node) => {
                self.crash(node);
                self.start(scenario, node);
            }
            Action::Start(node) => self.start(scenario, node),
            Action::Reboot(node) => {
                self.left.reboots = self.left.reboots.saturating_sub(1);
                self.reboot(node);
            }
            Action::Flush(node) | Action::Disturb(node) => {
                self.left.flushes = self.left.flushes.saturating_sub(1);
                self.troubled += 1;
                match action {
                    Action::Flush(_) => self.flush(scenario, node),
                    _ => self.disturb(scenario, node),
                }
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
            Action::LoseState(node) => {
                self.left.states_lost = self.left.states_lost.saturating_sub(1);
                // An SA that was wanted, and isn't before it was made, may count as made.
                self.troubled += 1;
                self.api.lose_state(node);
            }
            Action::LosePeer(node) => {
                self.left.peers_lost = self.left.peers_lost.saturating_sub(1);
                self.troubled += 1;
                self.api.lose_peer(node);
                self.grow_old(node);
            }
            Action::MakePeer(node) => self.make_peer(node),
            Action::Backup => {
                self.left.backups = self.left.backups.saturating_sub(1);
                self.back_up();
            }
            Action::Restore => {
                self.left.restores = self.left.restores.saturating_sub(1);
                self.restore();
            }
            Action::Ask(from, to, heard) => {
                self.left.asks = self.left.asks.saturating_sub(1);
                self.ask(scenario, from, to, heard);
            }
        }
    }

    /// The policy is being switched off, or is.
    fn leaves(&self, scenario: &Scenario) -> bool {
        scenario.edits.iter().take(self.edited).any(|edit| *edit == Edit::Delete)
    }

    /// Deleted while nodes are told nothing of it, a policy would be kept by them until somebody gives it up there; and one
    /// that is applied again waits until the nodes have let go of the one before. So would a node that is cut off meanwhile.
    fn can_edit(&self, scenario: &Scenario) -> bool {
        let told = |revision: usize| move |state: &NodeState| state.levels.contains_key(&revision);
        let lossy = scenario.budget.states_lost > 0 || scenario.budget.restores > 0;
        match scenario.edits[self.edited] {
            Edit::Delete => {
                let current = self.api.current;
                !lossy || current.is_some_and(|current| self.api.states.values().all(told(current)))
            }
            Edit::Again => self.lost && self.api.states.values().all(|state| state.levels.is_empty()),
            Edit::Enable | Edit::Change | Edit::Undo => true,
        }
    }

    fn crash(&mut self, node: u16) {
        self.troubled += 1;
        self.turned.remove(&node);
        self.forget_asked(node);
        let host = &mut self.hosts[usize::from(node)];
        host.agent = None;
        // Who asked asks again.
        host.asked = None;
    }

    /// An SA that a packet has asked for, and that isn't there yet, counts as made from now on (R7). What is asked for next
    /// may be sent under a key that the peer hasn't acknowledged, if there is no other.
    fn forget_asked(&mut self, node: u16) {
        let host = self.host(node);
        let wanted = host.agent.iter().flat_map(|agent| agent.node.outbound().map(|wanted| wanted.sa));
        let lost = wanted.filter(|sa| host.kernel.sends_on(sa.peer).is_none());
        let lost: Vec<NodeUid> = lost.map(|sa| sa.peer).collect();
        let uids: Vec<NodeUid> = self.hosts.iter().map(|host| host.uid).collect();
        self.due.retain(|(from, to)| *from != node || !lost.contains(&uids[usize::from(*to)]));
    }

    /// Its keys aren't known any more, for now.
    fn grow_old(&mut self, node: u16) {
        self.forget_due(node);
        self.older.insert(node);
    }

    pub(super) fn back_up(&mut self) {
        self.backup = Some(Box::new(self.api.clone()));
        // Whatever else is written from now on: so much that no number comes again before all have noticed.
        self.api.version = Version(self.api.version.0 + 1000);
        self.api.states.values_mut().for_each(|state| state.generation += 1000);
    }

    /// The objects are as in the backup, all but the Nodes.
    fn restore(&mut self) {
        let Some(backup) = self.backup.take() else { return };
        let before = std::mem::replace(&mut self.api, *backup);
        self.api.skipped.clone_from(&before.skipped);
        self.lost = before.current.is_some() && self.api.current.is_none();
        if let Some(looked) = &mut self.looked {
            // It begins anew as well.
            **looked = self.api.clone();
        }
        for node in self.nodes() {
            let keys = |api: &Api| api.peers.get(&node).map(|peer| peer.keys.clone());
            self.troubled += 1;
            if self.host(node).agent.is_some() {
                self.turned.insert(node);
            }
            if keys(&before) != keys(&self.api) {
                self.grow_old(node);
            }
        }
    }

    /// What is sent next asks for an SA.
    fn asks(&self, scenario: &Scenario, from: u16, to: u16) -> bool {
        let (kernel, peer) = (&self.host(from).kernel, self.host(to).uid);
        let sleeps = kernel.encrypts() && !kernel.larval.contains(&peer) && kernel.sends_on(peer).is_none();
        scenario.on_demand && sleeps
    }

    fn ask(&mut self, scenario: &Scenario, from: u16, to: u16, heard: bool) {
        let peer = self.host(to).uid;
        let host = &mut self.hosts[usize::from(from)];
        host.kernel.larval.insert(peer);
        if heard {
            self.asked(scenario, from, peer);
        }
    }

    fn reboot(&mut self, node: u16) {
        self.turned.remove(&node);
        let host = &mut self.hosts[usize::from(node)];
        host.agent = None;
        host.disk.clear();
        host.asked = None;
        host.kernel = Kernel { levels: host.kernel.levels.clone(), ..Kernel::default() };
        self.lose_sas(node);
    }

    /// A node has lost its SAs. While a policy is being switched on, its packets may arrive in the clear for some more time;
    /// the others go on all the same, to SAs that it had confirmed.
    pub(super) fn lose_sas(&mut self, node: u16) {
        self.forget_due(node);
        if !self.host(node).kernel.encrypts() {
            self.older.insert(node);
        }
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
        self.older.remove(&node);
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
        self.joined.insert(node);
        self.api.join(node, uid);
    }

    fn edit(&mut self, scenario: &Scenario) {
        match scenario.edits[self.edited] {
            Edit::Enable => self.api.current = Some(0),
            Edit::Change => self.api.current = self.api.current.map(|number| number + 1),
            Edit::Undo => self.api.current = self.api.current.map(|number| number.saturating_sub(1)),
            Edit::Again => {
                // Another object: of its nothing is told yet.
                self.api.current = Some(1);
                self.lost = false;
            }
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
            host.kernel.larval.clear();
        }
        for node in self.nodes() {
            if self.wakes_at(node, before).is_some_and(|at| at <= self.now) {
                self.wake(scenario, node);
            }
        }
    }
}
