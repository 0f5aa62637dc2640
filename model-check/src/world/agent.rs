//! A node's agent: carries out what [`Node`] wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use esplanade_crds::PhaseTarget;
use esplanade_keying::in_force::{Said, Untold};
use esplanade_keying::node::{Input, Node, Own, PeerRecord, PolicyTold, Seen, Settings};
use esplanade_keying::{KeyId, NodeUid, Sa, Stage, Time, Version};
use esplanade_rollout::{Acknowledged, Level};

use super::{Action, Host, NodeState, Told, World, api, revision};
use crate::scenario::{Mutation, Scenario, UNTIMED};

/// A running agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent {
    /// What decides.
    pub node: Node,
    /// The events up to here were delivered; none before the first list.
    pub cursor: Option<Version>,
    /// UID and generation of its IpsecNodeState that it has seen.
    pub told: Option<(u16, i64)>,
    /// The phases in it, which revision is the newest, and which of the own keys are acknowledged.
    pub levels: BTreeMap<usize, Told>,
    /// As `levels`.
    pub newest: Option<usize>,
    /// As `levels`.
    pub keys: Acknowledged<KeyId, u16>,
    /// Revisions that aren't in it and stay all the same, with what they are told to be.
    pub kept: BTreeMap<usize, Told>,
    /// The ring's file is to be written before anything is done.
    pub unsaved: bool,
}

/// A key's place among those that its node has made.
fn number(id: KeyId) -> u16 {
    u16::try_from(id.0 & 0xffff).unwrap_or(u16::MAX)
}

/// When a key's successor is due: at an age around the one that is set, as agents draw it. Where ages are out of reach,
/// always the same, or no two states would be.
fn due(rotate: u64, id: KeyId, now: Time) -> Time {
    if rotate == UNTIMED.rotate {
        return Time(rotate);
    }
    // Spread by the golden ratio: 90 to 110 %.
    let drawn = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    now.after(rotate - rotate / 10 + (((rotate / 5) * drawn) >> 32))
}

fn said(told: Told, reached: Option<Level>) -> Said<'static> {
    let target = told.target.phase().map_or(PhaseTarget::Absent, PhaseTarget::from);
    let phase = told.level.phase().unwrap_or_default();
    Said { uid: "", target, phase, reached: reached.and_then(Level::phase) }
}

/// SPIs of a model: all different, but for those that a scenario wants to collide.
fn spi(scenario: &Scenario, me: u16, sa: &Sa) -> u32 {
    let peer = u16::try_from(sa.peer.0 & 0xffff).unwrap_or(u16::MAX);
    let taken = scenario.collisions.contains(&(me, number(sa.own), peer, number(sa.theirs)));
    let theirs = if taken { 0 } else { number(sa.theirs) };
    // Room for 2¹¹ nodes, 2³ revisions, 2⁹ keys each: more than any model has. Node UIDs of another incarnation differ in
    // their keys, which are numbered on.
    let policy = u32::try_from(sa.policy.0 & 0x7).unwrap_or(0);
    let spread = |sum: u32, (part, bits): (u32, u32)| (sum << bits) | (part & ((1 << bits) - 1));
    let parts = [(u32::from(peer), 11), (policy, 3), (u32::from(number(sa.own)), 9), (u32::from(theirs), 9)];
    parts.into_iter().fold(0, spread)
}

impl World {
    /// One input, and what must follow at once.
    pub(super) fn input(&mut self, scenario: &Scenario, node: u16, input: Input) {
        let Host { agent: Some(agent), made, asked, clock, work, .. } = &mut self.hosts[usize::from(node)]
        else {
            return;
        };
        let now = clock.read(self.now);
        let mut spis = |sa: &Sa| {
            work.0.derived += 1;
            Some(spi(scenario, node, sa))
        };
        let mut step = agent.node.step(input, now, &mut spis);
        while step.make_key {
            let id = KeyId((u64::from(node) << 16) | u64::from(*made));
            *made += 1;
            *asked = None;
            let rotate = due(scenario.settings.rotate, id, now);
            let next = agent.node.step(Input::KeyMade { id, rotate }, now, &mut spis);
            step.persist |= next.persist;
            step.make_key = next.make_key;
        }
        agent.unsaved |= step.persist;
    }

    /// Writes the ring's file.
    pub(super) fn save(&mut self, node: u16) {
        let host = &mut self.hosts[usize::from(node)];
        if let Some(agent) = host.agent.as_mut().filter(|agent| agent.unsaved) {
            agent.unsaved = false;
            host.disk = agent.node.records().to_vec();
        }
    }

    /// What the agents can do by themselves.
    pub(crate) fn of_agent(&self, scenario: &Scenario, node: u16, actions: &mut Vec<Action>) {
        let host = self.host(node);
        let Some(agent) = &host.agent else {
            actions.push(Action::Start(node));
            return;
        };
        if !host.cut {
            if agent.cursor.is_none() {
                actions.push(Action::List(node));
            } else if self.events(node) > 0 {
                actions.push(Action::Watch(node));
            }
            let state = self.api.states.get(&node).filter(|state| state.exists());
            let news = state.is_some_and(|state| Some((state.uid, state.generation)) != agent.told);
            if news || agent.told.is_some() && agent.kept != self.kept(scenario, node) {
                actions.push(Action::Own(node));
            }
            let peer = self.api.peers.get(&node).map(|peer| peer.version);
            if self.to_publish(scenario, node).is_some_and(|(_, base)| peer == Some(base)) {
                actions.push(Action::Publish(node));
            }
        }
        actions.extend(self.pass_of(scenario, node));
    }

    /// What its agent does next with the kernel.
    pub(super) fn pass_of(&self, scenario: &Scenario, node: u16) -> Option<Action> {
        let host = self.host(node);
        let agent = host.agent.as_ref().filter(|agent| agent.node.ready())?;
        // A pass goes in this order.
        let inbound = !agent.node.inbound().keys().eq(&host.kernel.inbound);
        let outbound = || self.outbound_differs(scenario, node);
        let rest = || self.finish_differs(scenario, node);
        if scenario.whole_passes {
            (inbound || outbound() || rest()).then_some(Action::Pass(node))
        } else if inbound {
            Some(Action::Inbound(node))
        } else if outbound() {
            Some(Action::Outbound(node))
        } else {
            rest().then_some(Action::Finish(node))
        }
    }

    pub(super) fn listed(&self, node: u16) -> bool {
        self.host(node).agent.as_ref().is_some_and(|agent| agent.cursor.is_some())
    }

    /// How many events wait for the node's agent.
    pub(crate) fn events(&self, node: u16) -> usize {
        let Some(cursor) = self.host(node).agent.as_ref().and_then(|agent| agent.cursor) else { return 0 };
        self.api.events.iter().rev().take_while(|(version, ..)| *version > cursor).count()
    }

    pub(super) fn start(&mut self, scenario: &Scenario, node: u16) {
        let forget = Self::is(scenario, Mutation::ForgetRing);
        let host = &mut self.hosts[usize::from(node)];
        if forget {
            host.disk.clear();
        }
        let records = host.disk.clone();
        let kernel = &host.kernel;
        let inbound = kernel.inbound.iter().map(|sa| Seen::Inbound(*sa, true));
        let outbound = kernel.outbound.iter().map(|sa| Seen::Outbound(*sa, Some(1)));
        let seen: Vec<Seen> = inbound.chain(outbound).collect();
        let levels = kernel.levels.clone();
        let Settings { drain, .. } = scenario.settings;
        let drain = if Self::is(scenario, Mutation::NoDrain) { 0 } else { drain };
        let settings = Settings { drain, ..scenario.settings };
        let decides = Node::new(host.uid, settings, records, host.clock.read(self.now));
        host.agent = Some(Agent {
            node: decides,
            cursor: None,
            told: None,
            levels,
            newest: None,
            keys: Acknowledged::default(),
            kept: BTreeMap::new(),
            unsaved: false,
        });
        self.input(scenario, node, Input::Kernel(seen));
    }

    pub(super) fn list(&mut self, scenario: &Scenario, node: u16) {
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

    pub(super) fn watch(&mut self, scenario: &Scenario, node: u16) {
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
    pub(super) fn own(&mut self, scenario: &Scenario, node: u16) {
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
    fn kept(&self, scenario: &Scenario, node: u16) -> BTreeMap<usize, Told> {
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

    fn tell(&mut self, scenario: &Scenario, node: u16) {
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

    /// A packet for the peer has no SA, and asks for one: of whichever revision there is.
    pub(super) fn asked(&mut self, scenario: &Scenario, node: u16, peer: NodeUid) {
        for number in 0..api::REVISIONS {
            self.input(scenario, node, Input::Asked { peer, policy: revision(number) });
        }
    }

    /// What would be sent on to the peer then, and whether a key would be made.
    pub(super) fn wanted_if_asked(
        &self,
        scenario: &Scenario,
        node: u16,
        peer: NodeUid,
    ) -> (Option<Sa>, bool) {
        let Host { agent: Some(agent), clock, .. } = self.host(node) else { return (None, false) };
        let (mut decides, mut makes_key) = (agent.node.clone(), false);
        let mut spis = |sa: &Sa| Some(spi(scenario, node, sa));
        for number in 0..api::REVISIONS {
            let asked = Input::Asked { peer, policy: revision(number) };
            makes_key |= decides.step(asked, clock.read(self.now), &mut spis).make_key;
        }
        let mut wanted = decides.outbound().map(|wanted| wanted.sa);
        (wanted.find(|sa| sa.peer == peer), makes_key)
    }

    /// What the agent would publish.
    fn to_publish(&self, scenario: &Scenario, node: u16) -> Option<(Vec<KeyId>, Version)> {
        let agent = self.host(node).agent.as_ref()?;
        if Self::is(scenario, Mutation::PublishFirst) && agent.node.ready() {
            let live = agent.node.records().iter().filter(|record| record.stage != Stage::Retiring);
            let keys: Vec<KeyId> = live.map(|record| record.id).collect();
            let peer = self.api.peers.get(&node)?;
            return (keys != peer.keys).then_some((keys, peer.version));
        }
        agent.node.publish().map(|publish| (publish.keys, publish.base))
    }

    pub(super) fn publish(&mut self, scenario: &Scenario, node: u16) {
        self.save(node);
        if let Some((keys, base)) = self.to_publish(scenario, node) {
            self.api.publish(node, keys, base);
        }
        if Self::is(scenario, Mutation::RetireUnacknowledged) {
            self.tell(scenario, node);
        }
    }

    pub(super) fn packet_tells(&self, from: u16, to: u16) -> bool {
        let Some(sa) = self.arrives(from, to) else { return false };
        self.host(to).agent.as_ref().is_some_and(|agent| agent.node.would_learn(self.host(from).uid, sa.own))
    }

    /// The receiver's name of the SA that a packet would arrive on.
    fn arrives(&self, from: u16, to: u16) -> Option<Sa> {
        let (sender, receiver) = (self.host(from), self.host(to));
        let sa = sender.kernel.sends_on(receiver.uid)?;
        let here = Sa { peer: sender.uid, policy: sa.policy, own: sa.theirs, theirs: sa.own };
        receiver.kernel.inbound.contains(&here).then_some(here)
    }

    pub(super) fn packet(&mut self, scenario: &Scenario, from: u16, to: u16) {
        let Some(sa) = self.arrives(from, to) else { return };
        let peer = self.host(from).uid;
        self.input(scenario, to, Input::Authenticated { peer, own: sa.own });
    }

    pub(super) fn rotate(&mut self, scenario: &Scenario, node: u16) {
        let host = &mut self.hosts[usize::from(node)];
        let newest =
            host.agent.as_ref().and_then(|agent| agent.node.records().last()).map(|record| record.id);
        host.asked = newest;
        if Self::is(scenario, Mutation::NoRotation) {
            return;
        }
        match newest {
            Some(newest) if node == 0 => self.input(scenario, node, Input::Expired(newest)),
            _ => self.input(scenario, node, Input::Rotate),
        }
    }

    pub(super) fn wake(&mut self, scenario: &Scenario, node: u16) {
        self.input(scenario, node, Input::Wake);
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
    pub(super) fn stamp(&self, scenario: &Scenario) -> Option<Version> {
        (scenario.budget.restores > 0).then_some(self.api.version)
    }
}
