//! What of a long way breaks a promise.

use crate::scenario::Scenario;
use crate::world::{Action, Promise, World};

/// Fewer of these actions, in their order, after which this promise is broken as after all of them: none can be left out any
/// more. None: it isn't.
pub(crate) fn shrink(scenario: &Scenario, promise: Promise, actions: &[Action]) -> Option<Vec<Action>> {
    let mut best = until_broken(scenario, promise, actions)?;
    loop {
        let before = best.len();
        let mut at_once = before;
        while at_once > 0 {
            leave_out(scenario, promise, &mut best, at_once);
            at_once /= 2;
        }
        if best.len() == before {
            return Some(best);
        }
    }
}

/// Leaves out so many at once, wherever that changes nothing.
fn leave_out(scenario: &Scenario, promise: Promise, best: &mut Vec<Action>, at_once: usize) {
    let mut from = 0;
    while from < best.len() {
        let to = (from + at_once).min(best.len());
        let fewer: Vec<Action> = best[..from].iter().chain(&best[to..]).copied().collect();
        match until_broken(scenario, promise, &fewer) {
            Some(fewer) => *best = fewer,
            None => from = to,
        }
    }
}

/// Those that happened until a promise was broken, if it is this one; what can't happen is passed over.
fn until_broken(scenario: &Scenario, promise: Promise, actions: &[Action]) -> Option<Vec<Action>> {
    let mut world = World::settled(scenario);
    let mut done = Vec::new();
    for action in actions {
        if world.act_if_possible(scenario, *action) {
            done.push(*action);
        }
        if let Some(broken) = world.broken {
            return (broken == promise).then_some(done);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::{shrink, until_broken};
    use crate::scenario::{Budget, Mutation, SHORT, Scenario};
    use crate::world::World;

    #[test]
    fn none_of_what_is_left_can_be_left_out() {
        let budget = Budget { rotations: 9, ticks: 9, lists: 9, ..SHORT[0].budget };
        let mutation = Some(Mutation::RetireUnacknowledged);
        let scenario = Scenario { budget, mutation, ..SHORT[0] };
        let (mut rng, mut world, mut taken) =
            (StdRng::seed_from_u64(1), World::settled(&scenario), Vec::new());
        while world.broken.is_none() {
            let mut possible = Vec::new();
            world.actions(&scenario, &mut possible);
            let action = possible[rng.random_range(0..possible.len())];
            world.act(&scenario, action);
            taken.push(action);
        }
        let fewer = shrink(&scenario, world.broken.unwrap(), &taken).unwrap();
        assert!(fewer.len() < taken.len(), "{fewer:?} of {taken:?}");
        for at in 0..fewer.len() {
            let mut less = fewer.clone();
            less.remove(at);
            assert!(
                until_broken(&scenario, world.broken.unwrap(), &less)
                    .is_none_or(|less| less.len() >= fewer.len())
            );
        }
    }
}
