//! Every order of things within a scenario's bounds.

use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::scenario::Scenario;
use crate::world::{Action, Promise, World};

/// A scenario as a model.
pub struct Checked(pub Scenario);

impl Model for Checked {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::settled(&self.0)]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        state.actions(&self.0, actions);
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut next = last.clone();
        next.act(&self.0, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("promises", |_, world: &World| world.broken.is_none())]
    }
}

/// What a check came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Different states.
    pub states: usize,
    /// Longest of the shortest ways to a state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// A shortest way to a broken promise.
    pub counterexample: Option<(Promise, Vec<Action>)>,
}

/// Looks at every state of the scenario, or up to the first broken promise.
pub fn check(scenario: &Scenario, threads: usize, at_most: Option<usize>) -> Outcome {
    let start = Instant::now();
    let mut checker = Checked(*scenario).checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(states) = at_most {
        checker = checker.target_state_count(states);
    }
    let checker = checker.spawn_bfs().join();
    let counterexample = checker.discovery("promises").and_then(|path| {
        let broken = path.last_state().broken?;
        Some((broken, path.into_actions()))
    });
    Outcome {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: start.elapsed(),
        counterexample,
    }
}
