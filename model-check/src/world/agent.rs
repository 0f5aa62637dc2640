//! A node's agent: carries out what [`Node`] wants.

use std::collections::BTreeMap;

use esplanade_crds::PhaseTarget;
use esplanade_keying::in_force::Said;
use esplanade_keying::node::{Input, Node, Seen, Settings};
use esplanade_keying::{KeyId, Sa, Time, Version};
use esplanade_rollout::{Acknowledged, Level};

use super::{Action, Host, Told, World};
use crate::scenario::{Mutation, Scenario, UNTIMED};

mod heard;
mod packets;
mod told;

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
}
