//! Clusters too large to look at every order: one order after another, each drawn from a seed.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::scenario::{Budget, Edit, NONE, Scenario, TWO};
use crate::shrink::shrink;
use crate::world::{Action, Host, Promise, Uncounted, Work, World};

/// What a walk came to.
#[derive(Debug, Clone)]
pub struct Walk {
    /// What could happen.
    pub scenario: Scenario,
    /// Steps taken.
    pub steps: usize,
    /// The promise that was broken, and the steps until then: [`Walk::shrunk`] has fewer.
    pub broken: Option<(Promise, Vec<Action>)>,
    /// Whether everything came to rest once nothing more happened by chance.
    pub rests: bool,
    /// The cluster in the end.
    pub world: World,
}

impl Walk {
    /// The promise that was broken, and the few of the steps that break it, if they do by themselves.
    pub fn shrunk(&self) -> Option<(Promise, Option<Vec<Action>>)> {
        let (promise, steps) = self.broken.as_ref()?;
        Some((*promise, shrink(&self.scenario, *promise, steps)))
    }
}

const ALWAYS: Budget = Budget {
    rotations: u8::MAX,
    crashes: u8::MAX,
    reboots: 3,
    lists: u8::MAX,
    leaves: 3,
    ticks: u8::MAX,
    ..NONE
};

/// What happens on a walk.
pub const WALKS: [Budget; 3] =
    [Budget { cuts: 3, edits: 3, ..ALWAYS }, Budget { edits: 3, ..ALWAYS }, Budget { flushes: 3, ..ALWAYS }];

/// A cluster of so many nodes in which these things happen for some steps, in an order drawn from the seed. Then nothing more
/// happens by chance, and it must come to rest.
pub fn walk(nodes: u16, steps: usize, seed: u64, budget: Budget) -> Walk {
    let scenario = Scenario {
        name: "walk",
        nodes,
        budget,
        packets: true,
        edits: &[Edit::Change, Edit::Change, Edit::Delete],
        collisions: &[(0, 0, 1, 1)],
        ..TWO
    };
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::settled(&scenario);
    let mut taken = Vec::new();
    while taken.len() < steps && world.broken.is_none() {
        let mut actions = Vec::new();
        world.by_itself(&scenario, &mut actions);
        // Now and then something that doesn't happen by itself.
        if actions.is_empty() || rng.random_range(0..8) == 0 {
            world.by_chance(&scenario, &mut actions);
        }
        let Some(action) = actions.get(rng.random_range(0..actions.len().max(1))).copied() else { break };
        world.act(&scenario, action);
        taken.push(action);
    }
    world.left = Budget::default();
    if world.broken.is_none() {
        world.end_faults(&scenario);
    }
    let rests = world.broken.is_none() && world.come_to_rest(&scenario) && world.is_at_rest(&scenario);
    let steps = taken.len();
    let broken = world.broken.map(|promise| (promise, taken));
    Walk { scenario, steps, broken, rests, world }
}

/// What one rotation costs in a large cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Writes to the node's IpsecPeer, and so to any.
    pub writes: u64,
    /// Writes of the operator to IpsecNodeStates.
    pub told: i64,
    /// The most that any other node had to do of each.
    pub elsewhere: Work,
    /// Pairs between which packets no longer arrive.
    pub lost: usize,
}

/// One node of so many rotates its key, all others have come to rest.
pub fn cost_of_a_rotation(nodes: u16) -> Cost {
    let scenario = Scenario { name: "cost", nodes, ..crate::scenario::SHORT[0] };
    let mut world = World::booted(&scenario);
    world.settle_in_turn(&scenario);
    let version = world.api.version;
    let told = |world: &World| world.api.states.values().map(|state| state.generation).sum::<i64>();
    let before = told(&world);
    world.count_anew();
    world.carry_out(&scenario, Action::Rotate(0));
    world.settle_in_turn(&scenario);
    let pairs: Vec<(u16, u16)> = (1..nodes).flat_map(|node| [(0, node), (node, 0)]).collect();
    let most = |most: Work, host: &Host| {
        let Work { sas, derived, events, reports } = host.work.0;
        Work {
            sas: most.sas.max(sas),
            derived: most.derived.max(derived),
            events: most.events.max(events),
            reports: most.reports.max(reports),
        }
    };
    Cost {
        writes: world.api.version.0 - version.0,
        told: told(&world) - before,
        elsewhere: world.hosts.iter().skip(1).fold(Work::default(), most),
        lost: pairs.into_iter().filter(|(from, to)| !world.reaches(&scenario, *from, *to)).count(),
    }
}

impl World {
    /// Everybody who is away comes back.
    fn end_faults(&mut self, scenario: &Scenario) {
        for node in self.nodes() {
            if !self.host(node).present {
                self.act(scenario, Action::Join(node));
            }
            if self.host(node).cut {
                self.act(scenario, Action::Heal(node));
            }
        }
    }

    fn count_anew(&mut self) {
        for host in &mut self.hosts {
            host.work = Uncounted::default();
        }
    }

    /// As [`World::come_to_rest`], node by node and without a look at what must hold: for many nodes.
    fn settle_in_turn(&mut self, scenario: &Scenario) {
        loop {
            let mut idle = true;
            for node in self.nodes() {
                let mut actions = Vec::new();
                loop {
                    actions.clear();
                    self.of_agent(scenario, node, &mut actions);
                    let Some(action) = actions.first().copied() else { break };
                    // Many events at once are better read as a list.
                    let many = matches!(action, Action::Watch(_)) && self.events(node) > 8;
                    self.carry_out(scenario, if many { Action::List(node) } else { action });
                    self.report(scenario, node);
                    idle = false;
                }
            }
            for node in self.nodes() {
                if self.operator_writes(scenario, node).is_some() {
                    self.operate(scenario, node);
                    idle = false;
                }
            }
            if idle && !self.wakes() {
                return;
            }
            if idle {
                self.carry_out(scenario, Action::Tick);
            }
        }
    }
}
