//! A cluster in virtual time: keys age, clocks differ, everything takes as long as a seed says, and what can go wrong goes
//! wrong now and then. Days pass in seconds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use esplanade_keying::node::Settings;
use esplanade_keying::{Sa, Time};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::scenario::{Budget, Mutation, Scenario, TWO};
use crate::world::{Action, Clock, Promise, World};

mod trouble;

/// Milliseconds.
pub const SECOND: u64 = 1000;
/// Milliseconds.
pub const HOUR: u64 = 3600 * SECOND;
/// Milliseconds.
pub const DAY: u64 = 24 * HOUR;

/// How long a packet is on its way at most; the drain time is longer, on every clock.
const FLIGHT: u64 = 9 * SECOND;
/// An event reaches an agent, an agent gets on with its work, the operator with its: within this, mostly much less.
const LATENCY: u64 = 2 * SECOND;

/// What a course is like.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// How many nodes.
    pub nodes: u16,
    /// For how long things go wrong, in milliseconds.
    pub length: u64,
    /// What everything is drawn from.
    pub seed: u64,
    /// How often something goes wrong at all, on average, in milliseconds. 0: never.
    pub trouble_every: u64,
    /// From when on and for how long no node has the API server; nobody is given up for that.
    pub outage: Option<(u64, u64)>,
    /// What is broken.
    pub mutation: Option<Mutation>,
}

impl Course {
    /// Of this cluster, in which nothing goes wrong.
    pub fn quiet(nodes: u16, length: u64, seed: u64) -> Self {
        Self { nodes, length, seed, trouble_every: 0, outage: None, mutation: None }
    }
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which one.
    pub promise: Promise,
    /// When, in milliseconds.
    pub at: u64,
    /// The last steps before, each with its time.
    pub steps: Vec<(u64, Action)>,
}

/// What a course came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The first promise that was broken.
    pub broken: Option<Broken>,
    /// Everything came to rest, at some time in the two days after things went wrong last.
    pub rests: bool,
    /// Keys made.
    pub keys: u64,
    /// Steps taken.
    pub steps: usize,
    /// What went wrong, how often.
    pub troubles: BTreeMap<&'static str, usize>,
    /// When the hard age of a key ended the traffic of some, because the outage lasted so long.
    pub ended: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The node's agent does the next thing that it can do, if there is one.
    Agent(u16),
    /// The operator looks at all.
    Operator,
    /// The node's agent may have to wake up.
    Wake(u16),
    /// A packet under it has come or is lost.
    Landed(u16, Sa),
    /// Something goes wrong.
    Trouble,
    /// It happens, if it still can.
    Act(Act),
    /// The outage begins, or is over.
    Outage(bool),
}

/// What is over after some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    GiveUp(u16),
    Heal(u16),
    Join(u16),
    OperatorBack,
}

struct Run {
    course: Course,
    scenario: Scenario,
    rng: StdRng,
    world: World,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    /// Agents and the operator that have their next step before them.
    planned: BTreeSet<u16>,
    operator_planned: bool,
    operator_away: bool,
    wakes: BTreeMap<u16, Time>,
    outage: bool,
    in_flight: BTreeSet<(u16, Sa)>,
    steps: Vec<(u64, Action)>,
    taken: usize,
    outcome: Outcome,
}

/// Lets it take its course.
pub fn run(course: Course) -> Outcome {
    let settings = Settings::default();
    let Course { nodes, mutation, .. } = course;
    let scenario = Scenario { name: "timed", nodes, packets: true, settings, mutation, ..TWO };
    let mut rng = StdRng::seed_from_u64(course.seed);
    let mut world = World::booted(&scenario);
    world.left = Budget { rotations: u8::MAX, ..Budget::default() };
    for host in &mut world.hosts {
        // Up for as long as a year, and up to 100 ppm off, as cheap oscillators are.
        host.clock =
            Clock { ahead: rng.random_range(0..365 * DAY), booted: 0, fast: rng.random_range(-100..=100) };
    }
    let outcome =
        Outcome { broken: None, rests: false, keys: 0, steps: 0, troubles: BTreeMap::new(), ended: None };
    let mut run = Run {
        course,
        scenario,
        rng,
        world,
        queue: BinaryHeap::new(),
        number: 0,
        planned: BTreeSet::new(),
        operator_planned: false,
        operator_away: false,
        wakes: BTreeMap::new(),
        outage: false,
        in_flight: BTreeSet::new(),
        steps: Vec::new(),
        taken: 0,
        outcome,
    };
    run.whole();
    run.outcome
}

impl Run {
    fn whole(&mut self) {
        self.plan_all();
        if self.course.trouble_every > 0 {
            self.after(HOUR, Event::Trouble);
        }
        if let Some((from, length)) = self.course.outage {
            self.after(from, Event::Outage(true));
            self.after(from + length, Event::Outage(false));
        }
        // Then nothing more goes wrong, and all that is away comes back.
        let end = self.course.length + 2 * DAY;
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            self.world.now = Time(at);
            self.happens(event);
            if self.world.broken == Some(Promise::NoBlackHole) && self.outage && self.keys_end() {
                self.outcome.ended.get_or_insert(at);
                self.world.broken = None;
                self.world.due.clear();
            }
            if let Some(promise) = self.world.broken {
                self.outcome.broken = Some(Broken { promise, at, steps: std::mem::take(&mut self.steps) });
                break;
            }
            self.outcome.rests =
                at > self.course.length && self.all_there() && self.world.is_at_rest(&self.scenario);
            if self.outcome.rests || at > end {
                break;
            }
        }
        self.outcome.steps = self.taken;
        self.outcome.keys = self.world.hosts.iter().map(|host| u64::from(host.made)).sum();
    }

    /// The outage has lasted for so long that keys may end by their age.
    fn keys_end(&self) -> bool {
        let Settings { rotate, hard, .. } = self.scenario.settings;
        self.course.outage.is_some_and(|(from, _)| self.world.now.0 > from + hard - rotate - rotate / 5)
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.number += 1;
        self.queue.push(Reverse((self.world.now.0 + delay, self.number, event)));
    }

    fn all_there(&self) -> bool {
        self.world.hosts.iter().all(|host| host.present && !host.cut)
    }

    /// Mostly soon, now and then late.
    fn latency(&mut self) -> u64 {
        let most = if self.rng.random_range(0..10) == 0 { LATENCY } else { LATENCY / 20 };
        self.rng.random_range(1..=most)
    }

    /// Everybody looks whether there is something to do.
    fn plan_all(&mut self) {
        for node in self.world.nodes() {
            self.plan(node);
        }
        if !self.operator_planned && !self.operator_away && !self.outage {
            self.operator_planned = true;
            let delay = self.latency();
            self.after(delay, Event::Operator);
        }
    }

    fn plan(&mut self, node: u16) {
        let host = self.world.host(node);
        let can = host.present && !self.next_of(node).is_empty();
        if can && self.planned.insert(node) {
            // An agent that has ended is started again, later each time it does.
            let delay = if self.world.host(node).agent.is_none() {
                self.rng.random_range(SECOND / 10..60 * SECOND)
            } else {
                self.latency()
            };
            self.after(delay, Event::Agent(node));
        }
        if let Some(at) = self.world.wakes_at(node, self.world.now)
            && self.wakes.insert(node, at) != Some(at)
        {
            self.after(at.0.saturating_sub(self.world.now.0), Event::Wake(node));
        }
    }

    fn next_of(&self, node: u16) -> Vec<Action> {
        let mut actions = Vec::new();
        self.world.of_agent(&self.scenario, node, &mut actions);
        actions
    }

    fn act(&mut self, action: Action) {
        self.steps.push((self.world.now.0, action));
        if self.steps.len() > 80 {
            self.steps.drain(..40);
        }
        self.taken += 1;
        self.world.act_in_time(&self.scenario, action);
        for node in self.world.nodes() {
            let gone: Vec<Sa> = self.world.host(node).kernel.on_the_way.iter().copied().collect();
            for sa in gone {
                if self.in_flight.insert((node, sa)) {
                    let delay = self.rng.random_range(1..=FLIGHT);
                    self.after(delay, Event::Landed(node, sa));
                }
            }
        }
        self.plan_all();
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Agent(node) => {
                self.planned.remove(&node);
                let actions = if self.world.host(node).present { self.next_of(node) } else { Vec::new() };
                let chosen = self.rng.random_range(0..actions.len().max(1));
                if let Some(action) = actions.get(chosen) {
                    self.act(*action);
                }
            }
            Event::Operator => {
                self.operator_planned = false;
                if self.operator_away || self.outage {
                    return;
                }
                let due = |node: &u16| self.world.operator_writes(&self.scenario, *node).is_some();
                let due: Vec<u16> = self.world.nodes().filter(due).collect();
                for node in due {
                    self.act(Action::Operator(node));
                }
            }
            Event::Wake(node) => {
                let due = self.wakes.get(&node) == Some(&self.world.now);
                if due && self.world.host(node).agent.is_some() {
                    self.wakes.remove(&node);
                    self.act(Action::Wake(node));
                }
            }
            Event::Landed(node, sa) => {
                self.in_flight.remove(&(node, sa));
                self.world.hosts[usize::from(node)].kernel.on_the_way.remove(&sa);
            }
            Event::Trouble => self.trouble(),
            Event::Act(act) => self.over(act),
            Event::Outage(begins) => self.outage(begins),
        }
    }
}
