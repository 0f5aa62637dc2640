//! The operator: reads objects, decides with esplanade-rollout, writes one IpsecNodeState at a time. It may die between
//! any two writes and be followed by another; it remembers nothing, so that this is no event of its own.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_keying::KeyId;
use esplanade_rollout::{
    Acknowledged, Level, Listener, Participant, acknowledge, complete, leave, next, replaced,
};

use super::{Api, World};
use crate::scenario::{Mutation, Scenario};

/// What an IpsecNodeState should say.
type Spec = (BTreeMap<usize, Level>, Option<usize>, Acknowledged<KeyId, u16>);

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
        (spec != (looked_at.levels.clone(), looked_at.newest, looked_at.keys.clone())).then_some(spec)
    }

    pub(crate) fn operate(&mut self, scenario: &Scenario, node: u16) {
        let Some((levels, newest, keys)) = self.operator_writes(scenario, node) else { return };
        let write = |api: &mut Api| {
            if let Some(state) = api.states.get_mut(&node) {
                state.generation += 1;
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
}

fn keys(api: &Api, node: u16) -> Acknowledged<KeyId, u16> {
    let Some(peer) = api.peers.get(&node) else { return Acknowledged::default() };
    let listeners: Vec<Listener<u16>> = api
        .states
        .iter()
        .filter(|(name, _)| **name != node)
        .map(|(name, state)| Listener {
            name: *name,
            applied_through: state.through,
            skipped: api.skipped.contains(name),
        })
        .collect();
    acknowledge(&api.states[&node].keys, &peer.keys, peer.version.0, &listeners)
}

fn levels(api: &Api, scenario: &Scenario, node: u16) -> BTreeMap<usize, Level> {
    let told =
        |state: &super::NodeState, revision: usize| state.levels.get(&revision).copied().unwrap_or_default();
    let answering = api.peers.iter().filter(|(name, _)| !api.skipped.contains(name));
    let newest = answering
        .map(|(_, peer)| (!peer.keys.is_empty()).then_some(peer.version.0))
        .try_fold(0, |newest, version| version.map(|version| newest.max(version)));
    let participants = |revision: usize| -> Vec<Participant> {
        let participant = |(name, state): (&u16, &super::NodeState)| {
            let confirmed =
                Participant::has_confirmed(state.observed, state.generation, state.through, newest);
            Participant {
                told: told(state, revision),
                // Objects are never lost here.
                to: Level::Enforce,
                reached: Level::Absent,
                confirmed: confirmed || World::is(scenario, Mutation::Unconfirmed),
                trouble: false,
                skipped: api.skipped.contains(name),
            }
        };
        api.states.iter().map(participant).collect()
    };
    let known: BTreeSet<usize> =
        api.states.values().flat_map(|state| state.levels.keys().copied()).chain(api.current).collect();
    let known: Vec<usize> = known.into_iter().collect();
    let at = api.states.keys().position(|name| *name == node).unwrap_or_default();
    let of_each: Vec<Vec<Participant>> = known.iter().map(|revision| participants(*revision)).collect();
    let of_each = match api.current {
        None => leave(&of_each),
        Some(current) => {
            let successor = participants(current);
            let over = complete(&successor, TARGET)
                || World::is(scenario, Mutation::DropPredecessor)
                    && successor.iter().all(|one| one.told >= Level::Prepare);
            let joins = |place: usize| successor[place].told == Level::Absent;
            let levels = |(revision, of): (&usize, &Vec<Participant>)| {
                if *revision == current { next(of, TARGET) } else { replaced(of, over, joins) }
            };
            known.iter().zip(&of_each).map(levels).collect()
        }
    };
    let levels = known.into_iter().zip(of_each).map(|(revision, levels)| (revision, levels[at]));
    levels.filter(|(_, level)| *level != Level::Absent).collect()
}
