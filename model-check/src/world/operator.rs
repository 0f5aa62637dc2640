//! The operator: reads objects, decides with esplanade-rollout, writes one IpsecNodeState at a time. It may die between
//! any two writes and be followed by another; it remembers nothing, so that this is no event of its own.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_keying::KeyId;
use esplanade_rollout::{
    Acknowledged, Level, Listener, Participant, acknowledge, complete, is_going, leave, next, replaced,
    switched_off,
};

use super::{Api, NodeState, Told, World};
use crate::scenario::{Mutation, Scenario};

/// What an IpsecNodeState should say.
type Spec = (BTreeMap<usize, Told>, Option<usize>, Acknowledged<KeyId, u16>);

/// How far a policy should be switched on.
const TARGET: Level = Level::Enforce;

impl World {
    /// What the operator would write into this node's IpsecNodeState now, if anything.
    pub(crate) fn operator_writes(&self, scenario: &Scenario, node: u16) -> Option<Spec> {
        let seen = self.looked.as_deref().unwrap_or(&self.api);
        let looked_at = seen.states.get(&node)?;
        // Written only if the object is as it was looked at.
        if self.api.states.get(&node) != Some(looked_at) {
            return None;
        }
        let newest = seen.current.or(looked_at.newest);
        let spec = (levels(seen, scenario, node), newest, keys(seen, node));
        let same = looked_at.exists()
            && spec == (looked_at.levels.clone(), looked_at.newest, looked_at.keys.clone());
        (!same).then_some(spec)
    }

    pub(crate) fn operate(&mut self, scenario: &Scenario, node: u16) {
        let Some((levels, newest, keys)) = self.operator_writes(scenario, node) else { return };
        let version = self.stamp(scenario);
        let write = |api: &mut Api| {
            if let Some(state) = api.states.get_mut(&node) {
                state.generation += 1;
                state.version = version;
                state.levels = levels.clone();
                state.newest = newest;
                state.keys = keys.clone();
            }
        };
        write(&mut self.api);
        // Its own writes it has seen.
        if let Some(looked) = &mut self.looked {
            write(looked);
        }
    }

    /// The node is there, and its IpsecPeer isn't.
    pub(super) fn lacks_peer(&self, node: u16) -> bool {
        let lacks = |api: &Api| api.states.contains_key(&node) && !api.peers.contains_key(&node);
        lacks(&self.api) && self.looked.as_deref().is_none_or(lacks)
    }

    pub(super) fn make_peer(&mut self, node: u16) {
        let uid = self.host(node).uid;
        self.api.make_peer(node, uid);
        if let Some(looked) = &mut self.looked {
            (looked.peers, looked.version) = (self.api.peers.clone(), self.api.version);
        }
    }
}

/// As `cluster.nodes()` of the planner.
fn nodes(api: &Api) -> Vec<u16> {
    api.states.keys().copied().collect()
}

fn keys(api: &Api, node: u16) -> Acknowledged<KeyId, u16> {
    let before = &api.states[&node].keys;
    let Some(peer) = api.peers.get(&node) else { return before.clone() };
    let listeners: Vec<Listener<u16>> = api
        .states
        .iter()
        .filter(|(name, _)| **name != node)
        .map(|(name, state)| Listener {
            name: *name,
            applied_through: state.applied_through(),
            skipped: api.skipped.contains(name),
        })
        .collect();
    acknowledge(before, &peer.keys, peer.version.0, &listeners)
}

/// As `participants` of the planner.
fn participants(api: &Api, scenario: &Scenario, revision: usize, nodes: &[u16]) -> Vec<Participant> {
    let skipped = |name: &u16| api.skipped.contains(name);
    let mut versions = nodes.iter().filter(|name| !skipped(name)).map(|name| {
        let peer = api.peers.get(name)?;
        (!peer.keys.is_empty()).then_some(peer.version.0)
    });
    let newest = versions.try_fold(0, |newest, version| version.map(|version| newest.max(version)));
    let participant = |name: &u16| {
        let state = &api.states[name];
        let NodeState { observed, generation, .. } = *state;
        let told = state.levels.get(&revision);
        let confirmed = Participant::has_confirmed(observed, generation, state.applied_through(), newest);
        Participant {
            told: told.map(|told| told.level).unwrap_or_default(),
            to: told.map_or(Level::Enforce, |told| told.target),
            reached: state.reached.get(&revision).copied().unwrap_or_default(),
            confirmed: confirmed || World::is(scenario, Mutation::Unconfirmed),
            trouble: false,
            skipped: skipped(name),
        }
    };
    nodes.iter().map(participant).collect()
}

fn levels(api: &Api, scenario: &Scenario, node: u16) -> BTreeMap<usize, Told> {
    let has = |name: u16, revision: usize| api.states[&name].levels.get(&revision).copied();
    let known: BTreeSet<usize> = api.states.values().flat_map(|state| state.levels.keys().copied()).collect();
    let mut all = BTreeMap::new();
    match api.current {
        None => {
            // As `Leaving::told`.
            let mut names = nodes(api);
            names.retain(|name| !api.states[name].levels.is_empty());
            let Some(at) = names.iter().position(|name| *name == node) else { return all };
            let heard = !World::is(scenario, Mutation::OffUnheard);
            let of_each: Vec<Vec<Participant>> =
                known.iter().map(|revision| participants(api, scenario, *revision, &names)).collect();
            for ((revision, of), levels) in known.iter().zip(&of_each).zip(leave(&of_each)) {
                let level = switched_off(&of[at], levels[at], !heard);
                all.extend(level.map(|level| (*revision, Told { level, target: Level::Absent })));
            }
        }
        Some(current) => {
            // As `Newest::told`.
            let names = nodes(api);
            let at = names.iter().position(|name| *name == node).unwrap_or_default();
            let newest = participants(api, scenario, current, &names);
            let over = complete(&newest, TARGET)
                || World::is(scenario, Mutation::DropPredecessor)
                    && newest.iter().all(|one| one.told >= Level::Prepare);
            for revision in known.into_iter().filter(|revision| *revision != current) {
                let of = participants(api, scenario, revision, &names);
                let joins = |place: usize| newest[place].told == Level::Absent;
                let level = replaced(&of, over, joins)[at];
                let told = if is_going(&of, over) {
                    let level = switched_off(&of[at], level, !joins(at));
                    level.map(|level| Told { level, target: Level::Absent })
                } else {
                    let model = names.iter().find_map(|name| has(*name, revision)).filter(|_| joins(at));
                    let before = has(node, revision).or(model).filter(|_| level != Level::Absent);
                    before.map(|before| Told { level, ..before })
                };
                all.extend(told.map(|told| (revision, told)));
            }
            let level = next(&newest, TARGET)[at];
            if level != Level::Absent {
                all.insert(current, Told { level, target: TARGET });
            }
        }
    }
    all
}
