//! What an agent tells the API server.

use esplanade_keying::{KeyId, Stage, Version};

use crate::scenario::{Mutation, Scenario};
use crate::world::{NodeState, Told, World};

impl World {
    /// What the agent would publish.
    pub(in crate::world) fn to_publish(
        &self,
        scenario: &Scenario,
        node: u16,
    ) -> Option<(Vec<KeyId>, Version)> {
        let agent = self.host(node).agent.as_ref()?;
        if Self::is(scenario, Mutation::PublishFirst) && agent.node.ready() {
            let live = agent.node.records().iter().filter(|record| record.stage != Stage::Retiring);
            let keys: Vec<KeyId> = live.map(|record| record.id).collect();
            let peer = self.api.peers.get(&node)?;
            return (keys != peer.keys).then_some((keys, peer.version));
        }
        agent.node.publish().map(|publish| (publish.keys, publish.base))
    }

    pub(in crate::world) fn publish(&mut self, scenario: &Scenario, node: u16) {
        self.save(node);
        if let Some((keys, base)) = self.to_publish(scenario, node) {
            self.api.publish(node, keys, base);
        }
        if Self::is(scenario, Mutation::RetireUnacknowledged) {
            self.tell(scenario, node);
        }
    }

    /// What the agent reports is in its objects at once: who looks at them sees it late.
    pub(crate) fn report(&mut self, scenario: &Scenario, node: u16) {
        let version = self.stamp(scenario);
        let stale = Self::is(scenario, Mutation::ReportToAnother);
        let host = &self.hosts[usize::from(node)];
        let (Some(agent), false, true) = (&host.agent, host.cut, host.present) else { return };
        // One that has just started leaves what the one before it has reported.
        let Some((uid, generation)) = agent.told else { return };
        let reached = host.kernel.levels.iter().map(|(number, told)| (*number, told.level)).collect();
        let there = |(number, told): (&usize, &Told)| host.kernel.level(*number) == told.level;
        let confirmed = agent.levels.iter().all(there)
            && agent.node.confirmed() == Some(generation)
            && host.kernel.levels == self.levels_now(scenario, node);
        let through = match (Self::is(scenario, Mutation::WatermarkSeen), agent.cursor) {
            (true, Some(cursor)) => cursor,
            _ => agent.node.watermark(),
        };
        let Some(state) = self.api.states.get_mut(&node) else { return };
        // A report on an object that was there before it isn't for this one.
        if !state.exists() || state.uid != uid && !stale {
            return;
        }
        let said = |state: &NodeState| (state.through, state.observed, state.reached.clone());
        let before = said(state);
        if agent.cursor.is_some() && through.0 > 0 {
            state.through = Some(state.applied_through().unwrap_or_default().max(through.0));
        }
        if confirmed {
            state.observed = Some(generation);
        }
        state.reached = reached;
        if before != said(state) {
            state.version = version;
            self.hosts[usize::from(node)].work.0.reports += 1;
        }
    }

    /// The resourceVersion of a write to an IpsecNodeState, where it counts.
    pub(in crate::world) fn stamp(&self, scenario: &Scenario) -> Option<Version> {
        (scenario.budget.restores > 0).then_some(self.api.version)
    }
}
