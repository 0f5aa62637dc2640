//! What may happen in a model, and how often.

use esplanade_keying::node::Settings;

/// Breaks a rule. In the world around the code, never in the code itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// R1: a key is published before the inbound SAs are there.
    PublishFirst,
    /// R2: inbound SAs for a peer's new key are not installed, only said to be.
    NotOnSight,
    /// R3: the watermark is what was seen, not what is in the kernel.
    WatermarkSeen,
    /// R4: the newest key is sent on whether or not the peer has acknowledged it.
    NewestAtOnce,
    /// R5: the older key goes without an acknowledgement.
    RetireUnacknowledged,
    /// R5: the older key goes without a drain time.
    NoDrain,
    /// R6: a restarted agent has forgotten its keys.
    ForgetRing,
    /// R6: a restarted agent takes an old list of its peers.
    StaleList,
    /// R7: an outbound SA that vanished starts again from 0.
    FromZero,
    /// R8: nobody rotates at a soft limit.
    NoRotation,
    /// Phases: a node goes on without the others' confirmation.
    Unconfirmed,
    /// Phases: an earlier revision goes when its successor is only told.
    DropPredecessor,
    /// Edits: a node sends under the new revision as soon as it is told of it.
    SwitchAtOnce,
    /// In force: a policy that a node isn't told of any more is switched off there.
    NotToldIsOff,
    /// In force: a node goes back to an earlier phase wherever it is told one.
    GoDown,
    /// In force: what is reported on a deleted IpsecNodeState is written into the one made in its place.
    ReportToAnother,
    /// In force: a node that doesn't answer is told no more of a policy that is switched off.
    OffUnheard,
    /// In force: an earlier revision goes though the newer one still waits until what is sent arrives.
    NotHeld,
    /// On demand: inbound SAs are made as well only when something is sent to the peer.
    InboundOnDemand,
}

/// Bounds of a model: how often each thing may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// A node is asked for a new key.
    pub rotations: u8,
    /// An agent dies; it is started again some time later.
    pub crashes: u8,
    /// A node is rebooted.
    pub reboots: u8,
    /// Somebody flushes a node's SAs.
    pub flushes: u8,
    /// A watch breaks, and the peers are listed anew.
    pub lists: u8,
    /// A node leaves the cluster, and joins it again as another one.
    pub leaves: u8,
    /// A node loses the API server, and is given up after a while.
    pub cuts: u8,
    /// The drain time passes.
    pub ticks: u8,
    /// The user does the next thing of the scenario.
    pub edits: u8,
    /// The operator looks at the cluster, and goes by that until it looks again. 0: it always sees everything.
    pub looks: u8,
    /// Somebody deletes an IpsecNodeState.
    pub states_lost: u8,
    /// Somebody deletes an IpsecPeer.
    pub peers_lost: u8,
    /// Somebody makes a backup of all objects. 0: there is one of what is there in the beginning.
    pub backups: u8,
    /// The API server is restored from it.
    pub restores: u8,
    /// A packet asks for an SA that is made on demand.
    pub asks: u8,
}

/// A model.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Names it in docs and tests.
    pub name: &'static str,
    /// How many nodes.
    pub nodes: u16,
    /// What may happen.
    pub budget: Budget,
    /// An agent carries out all that is wanted in one go; else it may die in the middle of that.
    pub whole_passes: bool,
    /// Packets acknowledge keys as well.
    pub packets: bool,
    /// The policy's outbound SAs are made when a packet asks for one.
    pub on_demand: bool,
    /// What the user does, in this order; the policy is there from the start if the first edit isn't `Enable`.
    pub edits: &'static [Edit],
    /// Inbound SAs whose SPI is taken: at this node, under its how-manieth key, with this peer's how-manieth key.
    pub collisions: &'static [(u16, u16, u16, u16)],
    /// What is broken.
    pub mutation: Option<Mutation>,
    /// Durations of the protocol.
    pub settings: Settings,
}

/// What time is measured in: the drain time is 1, ages are out of reach.
pub const UNTIMED: Settings = Settings { drain: 1, rotate: 1_000_000, vanished: 1, hard: 1_000_000 };

/// What a user can do with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edit {
    /// Makes it.
    Enable,
    /// Changes it: a new revision.
    Change,
    /// Changes it back: the revision before.
    Undo,
    /// Deletes it.
    Delete,
    /// Makes it once more, after the backup hadn't it: another object of its name.
    Again,
}

pub(crate) const NONE: Budget = Budget {
    rotations: 0,
    crashes: 0,
    reboots: 0,
    flushes: 0,
    lists: 0,
    leaves: 0,
    cuts: 0,
    ticks: 0,
    edits: 0,
    looks: 0,
    states_lost: 0,
    peers_lost: 0,
    backups: 0,
    restores: 0,
    asks: 0,
};

pub(crate) const TWO: Scenario = Scenario {
    name: "",
    nodes: 2,
    budget: NONE,
    whole_passes: true,
    packets: false,
    on_demand: false,
    edits: &[],
    collisions: &[],
    mutation: None,
    settings: UNTIMED,
};

const THREE: Scenario = Scenario { nodes: 3, ..TWO };

/// Those of `make test`.
pub const SHORT: &[Scenario] = &[
    Scenario { name: "rotations", budget: Budget { rotations: 2, ticks: 2, ..NONE }, ..TWO },
    Scenario { name: "broken watches", budget: Budget { rotations: 2, lists: 1, ticks: 1, ..NONE }, ..TWO },
    Scenario { name: "packets", budget: Budget { rotations: 2, ticks: 1, ..NONE }, packets: true, ..TWO },
    Scenario {
        name: "crashes",
        budget: Budget { rotations: 1, crashes: 1, ticks: 1, ..NONE },
        whole_passes: false,
        ..TWO
    },
    Scenario {
        name: "flushes",
        budget: Budget { crashes: 1, flushes: 1, ticks: 2, ..NONE },
        whole_passes: false,
        ..TWO
    },
    Scenario { name: "reboots", budget: Budget { rotations: 1, reboots: 1, ..NONE }, ..TWO },
    Scenario {
        name: "collisions",
        budget: Budget { rotations: 2, ticks: 3, ..NONE },
        collisions: &[(0, 0, 1, 1), (1, 2, 0, 1)],
        ..TWO
    },
    Scenario { name: "three nodes", budget: Budget { rotations: 2, ticks: 1, ..NONE }, ..THREE },
    Scenario { name: "joins", budget: Budget { rotations: 1, leaves: 1, ..NONE }, ..TWO },
    Scenario { name: "cut off", budget: Budget { rotations: 1, cuts: 1, ticks: 2, ..NONE }, ..TWO },
    Scenario {
        name: "phases",
        budget: Budget { edits: 3, ticks: 1, ..NONE },
        edits: &[Edit::Enable, Edit::Change, Edit::Delete],
        ..TWO
    },
    Scenario {
        name: "phases, crashes",
        budget: Budget { crashes: 1, edits: 2, ticks: 1, ..NONE },
        edits: &[Edit::Enable, Edit::Delete],
        ..TWO
    },
    Scenario {
        name: "phases, late operator",
        budget: Budget { edits: 2, looks: 4, ticks: 1, ..NONE },
        edits: &[Edit::Enable, Edit::Delete],
        ..TWO
    },
    Scenario {
        name: "edits",
        budget: Budget { edits: 2, ticks: 1, ..NONE },
        edits: &[Edit::Change, Edit::Change],
        ..TWO
    },
    Scenario {
        name: "edits, undone",
        budget: Budget { edits: 2, ..NONE },
        edits: &[Edit::Change, Edit::Undo],
        ..TWO
    },
    Scenario {
        name: "edits, rotations",
        budget: Budget { rotations: 1, edits: 1, ticks: 1, ..NONE },
        edits: &[Edit::Change],
        ..TWO
    },
    Scenario {
        name: "edits, crashes",
        budget: Budget { crashes: 1, edits: 1, ticks: 1, ..NONE },
        edits: &[Edit::Change],
        whole_passes: false,
        ..TWO
    },
    Scenario {
        name: "edits, cut off",
        budget: Budget { cuts: 1, edits: 1, ticks: 1, ..NONE },
        edits: &[Edit::Change],
        ..TWO
    },
    Scenario {
        name: "switched off, cut off",
        budget: Budget { cuts: 1, edits: 1, ticks: 1, ..NONE },
        edits: &[Edit::Delete],
        ..TWO
    },
    Scenario {
        name: "edits, late operator",
        budget: Budget { edits: 1, looks: 3, ticks: 1, ..NONE },
        edits: &[Edit::Change],
        ..TWO
    },
    Scenario {
        name: "objects lost",
        budget: Budget { edits: 2, states_lost: 1, ticks: 1, ..NONE },
        edits: &[Edit::Enable, Edit::Delete],
        ..TWO
    },
    Scenario {
        name: "objects lost, rotations",
        budget: Budget { rotations: 1, states_lost: 2, ticks: 1, ..NONE },
        ..TWO
    },
    Scenario {
        name: "objects lost, crashes",
        budget: Budget { crashes: 1, edits: 1, states_lost: 1, ticks: 1, ..NONE },
        edits: &[Edit::Enable],
        ..TWO
    },
    Scenario {
        name: "objects lost, edits",
        budget: Budget { edits: 1, states_lost: 1, ticks: 1, ..NONE },
        edits: &[Edit::Change],
        ..TWO
    },
    Scenario { name: "peers lost", budget: Budget { rotations: 1, peers_lost: 1, ticks: 1, ..NONE }, ..TWO },
    Scenario { name: "restored", budget: Budget { rotations: 1, restores: 1, ..NONE }, ..TWO },
    Scenario {
        name: "restored, applied again",
        budget: Budget { edits: 2, restores: 1, ..NONE },
        edits: &[Edit::Enable, Edit::Again],
        ..TWO
    },
    Scenario {
        name: "on demand",
        budget: Budget { rotations: 1, asks: 2, ticks: 1, ..NONE },
        on_demand: true,
        ..TWO
    },
    Scenario {
        name: "on demand, phases",
        budget: Budget { edits: 2, asks: 2, ticks: 1, ..NONE },
        on_demand: true,
        edits: &[Edit::Enable, Edit::Delete],
        ..TWO
    },
    Scenario {
        name: "on demand, crashes",
        budget: Budget { rotations: 1, crashes: 1, asks: 2, ticks: 1, ..NONE },
        on_demand: true,
        ..TWO
    },
];

/// Those of `make model`, besides.
pub const DEEP: &[Scenario] = &[
    Scenario {
        name: "crashes with packets",
        budget: Budget { rotations: 1, crashes: 1, ticks: 2, ..NONE },
        whole_passes: false,
        packets: true,
        ..TWO
    },
    Scenario {
        name: "flushes while keys rotate",
        budget: Budget { rotations: 1, crashes: 1, flushes: 1, ticks: 1, ..NONE },
        whole_passes: false,
        ..TWO
    },
    Scenario {
        name: "reboots and retirement",
        budget: Budget { rotations: 1, reboots: 1, ticks: 1, ..NONE },
        ..TWO
    },
    Scenario {
        name: "joins and retirement",
        budget: Budget { rotations: 1, leaves: 1, ticks: 1, ..NONE },
        ..TWO
    },
    Scenario {
        name: "edited and switched off, cut off",
        budget: Budget { cuts: 1, edits: 2, ..NONE },
        edits: &[Edit::Change, Edit::Delete],
        ..TWO
    },
    Scenario {
        name: "phases and drains",
        budget: Budget { edits: 3, ticks: 2, ..NONE },
        edits: &[Edit::Enable, Edit::Change, Edit::Delete],
        ..TWO
    },
];
