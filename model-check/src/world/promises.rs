//! What must hold: S1 to S6 of `docs/keying.md`.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_keying::node::MAX_KEYS;
use esplanade_keying::{KeyId, NodeUid, PolicyRevision, Sa, Stage};
use esplanade_rollout::Level;

use super::{Action, Kernel, World};
use crate::scenario::Scenario;

/// A promise of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// S1: what is sent arrives.
    NoBlackHole,
    /// S2: no sequence number is used twice with a key.
    NoReuse,
    /// S3: nothing in the clear.
    NoClearText,
    /// S4: all comes to an end.
    Progress,
    /// S6: few keys and SAs.
    Bounded,
}

impl World {
    pub(super) fn forget_past(&mut self, scenario: &Scenario) {
        let reached: Vec<(u16, u16)> =
            self.pairs().filter(|(from, to)| self.reaches(scenario, *from, *to)).collect();
        self.due.extend(reached);
    }

    /// What `from` sends to `to` arrives; or asks for an SA that it would arrive on.
    pub(crate) fn reaches(&self, scenario: &Scenario, from: u16, to: u16) -> bool {
        let (sender, receiver) = (self.host(from), self.host(to));
        if !sender.kernel.encrypts() {
            return !receiver.kernel.enforces();
        }
        match sender.kernel.sends_on(receiver.uid) {
            Some(sa) => self.has_inbound(from, to, &sa),
            None if scenario.on_demand => self.would_reach(scenario, from, to),
            None => false,
        }
    }

    /// What is sent now asks for an SA, or has asked, and the receiver has that.
    fn would_reach(&self, scenario: &Scenario, from: u16, to: u16) -> bool {
        let listens = self.host(from).is_ready();
        let (wanted, _) = self.wanted_if_asked(scenario, from, self.host(to).uid);
        wanted.filter(|_| listens).is_some_and(|sa| self.has_inbound(from, to, &sa))
    }

    /// `to` has what `from` calls `sa`.
    fn has_inbound(&self, from: u16, to: u16, sa: &Sa) -> bool {
        let here = Sa { peer: self.host(from).uid, policy: sa.policy, own: sa.theirs, theirs: sa.own };
        self.host(to).kernel.inbound.contains(&here)
    }

    /// Looks whether all holds, and remembers what must from now on.
    pub(super) fn keep_promises(&mut self, scenario: &Scenario) {
        if self.broken.is_none() {
            self.broken = self.first_broken(scenario);
        }
        self.remember(scenario);
    }

    fn remember(&mut self, scenario: &Scenario) {
        // All that it is to be told it has been told.
        let behind = self.behind.iter();
        let told: BTreeSet<u16> =
            behind.copied().filter(|node| self.operator_writes(scenario, *node).is_none()).collect();
        let (api, hosts) = (&self.api, &self.hosts);
        self.behind.retain(|node| {
            let caught_up = api.states.get(node).is_none_or(|state| state.observed == Some(state.generation));
            !caught_up || !told.contains(node) || api.skipped.contains(node) || hosts[usize::from(*node)].cut
        });
        self.joined.retain(|node| api.states.get(node).is_none_or(|state| state.observed.is_none()));
        let found: Vec<u16> =
            self.older.iter().copied().filter(|node| self.is_known(scenario, *node)).collect();
        self.older.retain(|node| !found.contains(node));
        let pairs: Vec<(u16, u16)> = self.pairs().collect();
        for (from, to) in pairs {
            // A node that was given up may have been left behind; one that has just joined has nothing to lose yet.
            let nothing = |node: u16| {
                self.behind.contains(&node) || self.joined.contains(&node) || self.older.contains(&node)
            };
            if nothing(from) || nothing(to) {
                self.due.remove(&(from, to));
            } else if self.reaches(scenario, from, to) {
                self.due.insert((from, to));
            }
        }
        if self.api.current.is_some() {
            let hosts = 0_u16..;
            for (node, host) in hosts.zip(&self.hosts) {
                if host.kernel.encrypts() {
                    self.encrypts.insert(node);
                }
                if host.kernel.enforces() {
                    self.enforces.insert(node);
                }
            }
        }
    }

    /// As [`World::act`], but that all comes to an end is for the caller to see: where time passes, it takes some.
    pub(crate) fn act_in_time(&mut self, scenario: &Scenario, action: Action) {
        self.carry_out(scenario, action);
        for node in self.nodes() {
            self.report(scenario, node);
        }
        if self.broken.is_none() {
            self.broken = self.first_unsafe(scenario);
        }
        self.remember(scenario);
    }

    /// Everybody knows the node's keys (again), and packets arrive.
    fn is_known(&self, scenario: &Scenario, node: u16) -> bool {
        let published = |agent: &super::Agent| -> Vec<KeyId> {
            let records = agent.node.records().iter().filter(|record| record.stage == Stage::Published);
            records.map(|record| record.id).collect()
        };
        let peer = self.api.peers.get(&node);
        let own = self
            .host(node)
            .agent
            .as_ref()
            .zip(peer)
            .is_some_and(|(agent, peer)| agent.node.ready() && peer.keys == published(agent));
        let seen = |other: &u16| self.listed(*other) && self.events(*other) == 0;
        let both = |other: u16| self.reaches(scenario, node, other) && self.reaches(scenario, other, node);
        let done = |other: u16| self.pass_of(scenario, other).is_none();
        own && self.turned.is_empty()
            && self
                .nodes()
                .filter(|other| self.host(*other).present)
                .all(|other| seen(&other) && done(other) && (other == node || both(other)))
    }

    fn first_broken(&self, scenario: &Scenario) -> Option<Promise> {
        self.first_unsafe(scenario).or_else(|| self.is_stuck(scenario).then_some(Promise::Progress))
    }

    fn first_unsafe(&self, scenario: &Scenario) -> Option<Promise> {
        if !self.black_holes(scenario).is_empty() {
            return Some(Promise::NoBlackHole);
        }
        let clear = |node: &u16| !self.host(*node).kernel.encrypts();
        let open = |node: &u16| !self.host(*node).kernel.enforces();
        if self.encrypts.iter().any(clear) || self.enforces.iter().any(open) {
            return Some(Promise::NoClearText);
        }
        self.is_unbounded().then_some(Promise::Bounded)
    }

    /// Pairs between which packets are lost that must not be.
    pub fn black_holes(&self, scenario: &Scenario) -> Vec<(u16, u16)> {
        self.pairs().filter(|(from, to)| self.is_black_hole(scenario, *from, *to)).collect()
    }

    fn is_black_hole(&self, scenario: &Scenario, from: u16, to: u16) -> bool {
        if !self.due.contains(&(from, to)) {
            return false;
        }
        let sender = self.host(from);
        let Kernel { on_the_way, .. } = &sender.kernel;
        let uid = self.host(to).uid;
        // While nobody listens, what asks for an SA is dropped.
        let asks = sender.kernel.encrypts() && sender.kernel.sends_on(uid).is_none();
        if scenario.on_demand && !sender.is_ready() && asks {
            return false;
        }
        !self.reaches(scenario, from, to)
            || on_the_way.iter().filter(|sa| sa.peer == uid).any(|sa| !self.has_inbound(from, to, sa))
    }

    /// S6: two keys a node, four SAs in a direction with a peer for a revision of the policy. When SAs were flushed, or an
    /// agent died just as it switched, a key can be used up before its successor is acknowledged: then one more. With a
    /// node cut off, as many as the API takes.
    fn is_unbounded(&self) -> bool {
        let most = MAX_KEYS.min(2 + self.troubled);
        let keys = |host: &super::Host| host.agent.as_ref().map_or(0, |agent| agent.node.records().len());
        let sas = |host: &super::Host| {
            let mut lanes: BTreeMap<(NodeUid, PolicyRevision), usize> = BTreeMap::new();
            for sa in &host.kernel.inbound {
                *lanes.entry((sa.peer, sa.policy)).or_default() += 1;
            }
            lanes.into_values().max().unwrap_or_default()
        };
        self.hosts.iter().any(|host| keys(host) > most || sas(host) > most * most)
    }

    /// S4: nothing happens by itself any more, no time is waited for, and yet something isn't as it should be.
    fn is_stuck(&self, scenario: &Scenario) -> bool {
        let mut actions = Vec::new();
        self.by_itself(scenario, &mut actions);
        if !actions.is_empty() || self.wakes() || self.left.looks > 0 && self.looked.is_some() {
            return false;
        }
        if self.hosts.iter().any(|host| host.cut || !host.present) {
            return false;
        }
        !self.is_at_rest(scenario)
    }

    /// Everything is as it should be: one key, one SA in each direction, packets arrive, every phase is where it should
    /// be.
    pub fn is_at_rest(&self, scenario: &Scenario) -> bool {
        let hosts = self.hosts.iter().filter(|host| host.present);
        let keys = |host: &super::Host| {
            let records = host.agent.as_ref().map(|agent| agent.node.records().len());
            records == Some(1) && host.asked.is_none()
        };
        let level = |host: &super::Host| {
            let kernel = &host.kernel;
            match self.api.current {
                Some(current) => kernel.levels.len() == 1 && kernel.level(current) == Level::Enforce,
                // Nobody has said that it is to go.
                None if self.lost => kernel.levels.len() <= 1,
                None => kernel.levels.is_empty(),
            }
        };
        let peers = self.api.peers.len() - 1;
        let settled = |host: &super::Host| {
            let Kernel { inbound, outbound, levels, .. } = &host.kernel;
            let sas = levels.len() * peers;
            let sends = if scenario.on_demand { outbound.len() <= sas } else { outbound.len() == sas };
            inbound.len() == sas && sends
        };
        // Where an SA that was asked for was never made because the agent died, asking again makes a new key.
        let will = |from: u16, to: u16| {
            scenario.on_demand && self.wanted_if_asked(scenario, from, self.host(to).uid).1
        };
        hosts.into_iter().all(|host| keys(host) && level(host) && settled(host))
            && self.pairs().all(|(from, to)| self.reaches(scenario, from, to) || will(from, to))
    }
}
