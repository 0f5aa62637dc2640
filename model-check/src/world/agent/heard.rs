//! What an agent hears from the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use esplanade_keying::in_force::{Said, Untold};
use esplanade_keying::node::{Input, Own, PeerRecord, PolicyTold};
use esplanade_keying::{NodeUid, Version};
use esplanade_rollout::Level;

use super::said;
use crate::scenario::{Mutation, Scenario};
use crate::world::{Told, World, api, revision};

impl World {
    pub(in crate::world) fn list(&mut self, scenario: &Scenario, node: u16) {
        let stale = Self::is(scenario, Mutation::StaleList) && !self.listed(node);
        let mut version = self.api.version;
        let mut peers: Vec<(NodeUid, Version, PeerRecord)> = self
            .api
            .peers
            .values()
            .map(|peer| (peer.uid, peer.version, api::record(peer.keys.clone())))
            .collect();
        if stale && let Some((last, uid, _)) = self.api.events.last().cloned() {
            // As if the last event hadn't been: without the newest key.
            version = Version(last.0 - 1);
            for (_, _, record) in peers.iter_mut().filter(|(peer, ..)| *peer == uid) {
                record.keys.pop();
            }
        }
        if let Some(agent) = &mut self.hosts[usize::from(node)].agent {
            agent.cursor = Some(version);
        }
        self.input(scenario, node, Input::Listed { version, peers });
        self.drop_seen_events();
    }

    pub(in crate::world) fn watch(&mut self, scenario: &Scenario, node: u16) {
        let at = self.api.events.len() - self.events(node);
        let (version, uid, change) = self.api.events[at].clone();
        self.hosts[usize::from(node)].work.0.events += 1;
        if let Some(agent) = &mut self.hosts[usize::from(node)].agent {
            agent.cursor = Some(version);
        }
        self.input(scenario, node, Input::Peer { version, node: uid, change });
        self.drop_seen_events();
    }

    /// Events that every agent has seen are history; one that is to start lists.
    fn drop_seen_events(&mut self) {
        let cursors = self.hosts.iter().filter_map(|host| host.agent.as_ref()?.cursor);
        let seen = cursors.min().unwrap_or(self.api.version);
        // The last one stays, for a list that is behind.
        let last = self.api.version;
        self.api.events.retain(|(version, ..)| *version > seen || *version == last);
    }

    /// It sees its IpsecNodeState, or looks again at what it keeps.
    pub(in crate::world) fn own(&mut self, scenario: &Scenario, node: u16) {
        let state = self.api.states.get(&node).filter(|state| state.exists()).cloned();
        let Some(agent) = &mut self.hosts[usize::from(node)].agent else { return };
        if let Some(state) = state {
            agent.told = Some((state.uid, state.generation));
            (agent.levels, agent.newest, agent.keys) = (state.levels, state.newest, state.keys);
        }
        let kept = self.kept(scenario, node);
        if let Some(agent) = &mut self.hosts[usize::from(node)].agent {
            agent.kept = kept;
        }
        self.tell(scenario, node);
    }

    /// Revisions in the kernel that aren't told and count all the same, with what they are told to be (`InForce::complete`).
    pub(in crate::world) fn kept(&self, scenario: &Scenario, node: u16) -> BTreeMap<usize, Told> {
        let host = self.host(node);
        let Some(agent) = &host.agent else { return BTreeMap::new() };
        if Self::is(scenario, Mutation::NotToldIsOff) {
            return BTreeMap::new();
        }
        let levels = &host.kernel.levels;
        let said =
            |number: &usize, told: &Told| said(*told, levels.get(number).map(|in_kernel| in_kernel.level));
        let all: Vec<Said<'_>> = agent.levels.iter().map(|(number, told)| said(number, told)).collect();
        let untold = levels.iter().filter(|(number, _)| !agent.levels.contains_key(number));
        let kept = untold.filter_map(|(number, told)| match said(number, told).untold(&all) {
            Untold::Goes => None,
            Untold::Stays => Some((*number, *told)),
            Untold::SwitchedOff(phase) => {
                Some((*number, Told { level: phase.into(), target: Level::Absent }))
            }
        });
        kept.collect()
    }

    pub(in crate::world) fn tell(&mut self, scenario: &Scenario, node: u16) {
        let host = self.host(node);
        let Some(agent) = &host.agent else { return };
        let Some((_, generation)) = agent.told else { return };
        let pending = agent.keys.pending.iter().map(|name| self.host(*name).uid).collect();
        let name: Arc<str> = Arc::from("p");
        let mut numbers: Vec<usize> = agent.levels.keys().copied().collect();
        numbers.sort_by_key(|number| (agent.newest == Some(*number), *number));
        let told = |number: usize| {
            let reached = host.kernel.level(number);
            let told = agent.levels.get(&number).or(agent.kept.get(&number));
            let to = told.map_or(reached, |told| told.from(reached));
            PolicyTold {
                revision: revision(number),
                name: name.clone(),
                sends: to >= Level::Encrypt || Self::is(scenario, Mutation::SwitchAtOnce),
                on_demand: scenario.on_demand,
            }
        };
        // What is kept stands before what is told.
        let policies = agent.kept.keys().copied().chain(numbers).map(told).collect();
        let mut acknowledged = agent.keys.key;
        if Self::is(scenario, Mutation::RetireUnacknowledged) {
            let newest = agent.node.records().last().map(|record| record.id);
            acknowledged = newest.or(acknowledged);
        }
        let own = Own { generation, policies, acknowledged, pending };
        self.input(scenario, node, Input::Own(own));
    }
}
