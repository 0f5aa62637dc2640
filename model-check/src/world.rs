//! A cluster in one value.

mod agent;
mod api;
mod clock;
mod happen;
mod kernel;
mod operator;
mod pass;
mod promises;

use std::collections::BTreeSet;

use esplanade_keying::{KeyId, NodeUid, PolicyRevision, Record, Sa, Time};

use crate::scenario::{Budget, Edit, Mutation, Scenario};

pub use agent::Agent;
pub use api::{Api, NodeState, PeerObject, Told};
pub use clock::Clock;
pub use kernel::{Kernel, Uncounted, Work};
pub use promises::Promise;

/// One step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The node's agent gets the next event of the IpsecPeers.
    Watch(u16),
    /// It lists them, because it has to or because its watch broke.
    List(u16),
    /// It sees its own IpsecNodeState.
    Own(u16),
    /// It removes the inbound SAs that nobody sends on any more, and adds those that are missing.
    Inbound(u16),
    /// It adds outbound SAs, and removes those that they replace.
    Outbound(u16),
    /// It sets the policies to the phases that it was told, and removes the outbound SAs that aren't wanted any more.
    Finish(u16),
    /// All three of them.
    Pass(u16),
    /// It publishes its keys.
    Publish(u16),
    /// A packet of the first arrives at the second.
    Packet(u16, u16),
    /// The operator writes the node's IpsecNodeState.
    Operator(u16),
    /// The operator looks at the cluster.
    Look,
    /// The node is asked for a new key.
    Rotate(u16),
    /// Its agent dies.
    Crash(u16),
    /// Its agent starts.
    Start(u16),
    /// The node is rebooted.
    Reboot(u16),
    /// Somebody flushes its SAs.
    Flush(u16),
    /// The same, and its agent puts them back in one pass.
    Disturb(u16),
    /// It leaves the cluster.
    Leave(u16),
    /// It joins it again, as another one.
    Join(u16),
    /// It loses the API server.
    Cut(u16),
    /// It is given up for dead.
    GiveUp(u16),
    /// It has the API server again.
    Heal(u16),
    /// The user does the next thing.
    Edit,
    /// Somebody deletes the node's IpsecNodeState. The operator makes another one.
    LoseState(u16),
    /// Somebody deletes its IpsecPeer.
    LosePeer(u16),
    /// The operator makes another one.
    MakePeer(u16),
    /// All objects are put into a backup.
    Backup,
    /// They are as they were then, and so are resourceVersions.
    Restore,
    /// The node's agent, which was there before, notices, and ends.
    TurnBack(u16),
    /// A packet of the first for the second has no SA and asks for one; the agent hears it, or it is lost.
    Ask(u16, u16, bool),
    /// The drain time passes.
    Tick,
    /// The node's agent wakes up.
    Wake(u16),
}

/// A node with everything on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    /// Its Node's UID; another one each time it joins.
    pub uid: NodeUid,
    /// Its clock.
    pub clock: Clock,
    /// It is in the cluster.
    pub present: bool,
    /// It has no API server.
    pub cut: bool,
    /// The ring's file.
    pub disk: Vec<Record>,
    /// Its agent, while it runs.
    pub agent: Option<Agent>,
    /// Its kernel.
    pub kernel: Kernel,
    /// What it has done.
    pub work: Uncounted,
    /// How many keys it has made.
    pub made: u16,
    /// The newest key when a rotation was asked for, until there is a newer one.
    pub asked: Option<KeyId>,
}

impl Host {
    /// Its agent runs, and has seen all that it needs.
    fn is_ready(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.node.ready())
    }
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The time, in drain times.
    pub now: Time,
    /// The objects.
    pub api: Api,
    /// What the operator goes by, where it doesn't always see everything.
    pub looked: Option<Box<Api>>,
    /// The nodes.
    pub hosts: Vec<Host>,
    /// What may still happen.
    pub left: Budget,
    /// How many of the user's edits were made.
    pub edited: usize,
    /// Pairs, sender first, between which packets must arrive: they once did, and neither was rebooted since.
    pub due: BTreeSet<(u16, u16)>,
    /// Nodes that were given up and haven't caught up yet.
    pub behind: BTreeSet<u16>,
    /// Nodes that have joined and have confirmed nothing yet.
    pub joined: BTreeSet<u16>,
    /// Nodes whose IpsecPeer was lost or has other keys in the backup, or that lost their SAs while the policy was being
    /// switched on: until all know their keys (again).
    pub older: BTreeSet<u16>,
    /// Nodes whose agent has seen what came after the backup, and hasn't noticed yet.
    pub turned: BTreeSet<u16>,
    /// The backup.
    pub backup: Option<Box<Api>>,
    /// The backup hadn't the policy.
    pub lost: bool,
    /// Outbound SAs that were ever used, at which node.
    pub used: BTreeSet<(u16, Sa)>,
    /// The first promise that was broken.
    pub broken: Option<Promise>,
    /// How often SAs were flushed, an agent died or objects were lost: each time a key may have been used up before its time.
    pub troubled: usize,
    /// Nodes that have sent nothing in the clear since the policy was there, and those that have accepted nothing.
    pub encrypts: BTreeSet<u16>,
    /// As `encrypts`.
    pub enforces: BTreeSet<u16>,
}

/// The policy's revisions in a model.
pub fn revision(number: usize) -> PolicyRevision {
    PolicyRevision(number as u64)
}

impl World {
    /// A cluster whose nodes have just been booted.
    pub fn booted(scenario: &Scenario) -> Self {
        let nodes = usize::from(scenario.nodes);
        let host = |index: usize| Host {
            uid: NodeUid(index as u128),
            clock: Clock::default(),
            present: true,
            cut: false,
            disk: Vec::new(),
            agent: None,
            kernel: Kernel::default(),
            work: Uncounted::default(),
            made: 0,
            asked: None,
        };
        let from_start = scenario.edits.first() != Some(&Edit::Enable);
        Self {
            now: Time(0),
            api: Api::new(nodes, from_start),
            looked: None,
            hosts: (0..nodes).map(host).collect(),
            left: Budget::default(),
            edited: 0,
            due: BTreeSet::new(),
            behind: BTreeSet::new(),
            joined: (0..scenario.nodes).collect(),
            older: BTreeSet::new(),
            turned: BTreeSet::new(),
            backup: None,
            lost: false,
            used: BTreeSet::new(),
            broken: None,
            troubled: 0,
            encrypts: BTreeSet::new(),
            enforces: BTreeSet::new(),
        }
    }

    /// A cluster that has come to rest, with everything still to happen.
    pub fn settled(scenario: &Scenario) -> Self {
        let mut world = Self::booted(scenario);
        // Broken from here on; but for what an agent is started with.
        let sound = scenario.mutation.filter(|mutation| *mutation == Mutation::NoDrain);
        world.come_to_rest(&Scenario { mutation: sound, ..*scenario });
        if scenario.budget.restores > 0 && scenario.budget.backups == 0 {
            world.back_up();
            world.come_to_rest(scenario);
        }
        world.left = scenario.budget;
        world.now = Time(0);
        world.forget_past(scenario);
        world
    }

    /// Lets everything happen that happens by itself, in turn, until nothing does. Says whether it came to that.
    pub fn come_to_rest(&mut self, scenario: &Scenario) -> bool {
        for _ in 0..10_000 {
            let mut actions = Vec::new();
            self.by_itself(scenario, &mut actions);
            let next = actions.first().copied().or_else(|| self.wakes().then_some(Action::Tick));
            let Some(next) = next else { return true };
            self.act(scenario, next);
        }
        false
    }

    /// Some node waits for time to pass.
    pub fn wakes(&self) -> bool {
        let far = self.now.after(1000);
        self.nodes().filter_map(|node| self.wakes_at(node, self.now)).any(|at| at < far)
    }

    /// When this node wakes up, after what it did at `then`.
    pub(crate) fn wakes_at(&self, node: u16, then: Time) -> Option<Time> {
        let Host { agent: Some(agent), clock, .. } = self.host(node) else { return None };
        agent.node.wake_at(clock.read(then)).map(|at| clock.when(at))
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = u16> + use<> {
        0..u16::try_from(self.hosts.len()).unwrap_or(u16::MAX)
    }

    pub(crate) fn host(&self, node: u16) -> &Host {
        &self.hosts[usize::from(node)]
    }

    /// One step, and a look at what must hold.
    pub fn act(&mut self, scenario: &Scenario, action: Action) {
        self.carry_out(scenario, action);
        for node in self.nodes() {
            self.report(scenario, node);
        }
        self.keep_promises(scenario);
    }

    /// Ordered pairs of nodes that are there.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        let present = |node: &u16| self.host(*node).present;
        self.nodes().filter(present).flat_map(move |from| {
            self.nodes().filter(present).filter(move |to| *to != from).map(move |to| (from, to))
        })
    }

    fn is(scenario: &Scenario, mutation: Mutation) -> bool {
        scenario.mutation == Some(mutation)
    }
}
