//! What a dump of the kernel's databases shows.

use std::collections::BTreeSet;

use crate::{Mark, Policy, PolicyIndex, PolicyKey, Sa, SaId, Used};

/// Sequence numbers and replay window of an SA in the kernel, to be carried over when the SA has to be made again with
/// the same key (`xfrm_replay_state_esn`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayState {
    /// The last sequence number sent.
    pub sent: u64,
    /// The highest sequence number received.
    pub received: u64,
    /// Which packets came: bit i (of word i / 32, bit i % 32) stands for packet `received - i`. Packets too old for the
    /// window, and so refused, count as come; the ones before the first are 0. Empty while nothing was received, and
    /// with no window. (The kernel's layouts differ with the window; the codec turns them into this one.)
    pub bitmap: Vec<u32>,
}

/// An SA in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedSa {
    /// What names it.
    pub id: SaId,
    /// Its mark, without which the kernel doesn't find it.
    pub mark: Mark,
    /// The SA, where it is one that we could have written; none if some attribute isn't like ours. The window of an
    /// outbound SA reads as the kernel has it.
    pub sa: Option<Sa>,
    /// Its sequence numbers.
    pub state: ReplayState,
    /// What of its lifetime is used up.
    pub used: Used,
}

/// A policy in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedPolicy {
    /// The kernel's name for it.
    pub index: PolicyIndex,
    /// What names it besides.
    pub key: PolicyKey,
    /// The policy, where it is one that we could have written.
    pub policy: Option<Policy>,
}

/// What the kernel holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// SAs that are ours.
    pub sas: Vec<ObservedSa>,
    /// Policies that are ours.
    pub policies: Vec<ObservedPolicy>,
    /// SAs of others that a name of ours could collide with.
    pub foreign_sas: Vec<SaId>,
    /// Policies of others that a selector of ours could collide with, where their selector is one that we can express.
    pub foreign_policies: Vec<PolicyKey>,
    /// Every SA of others, larval ones not counted.
    pub foreign_sa_count: usize,
    /// Every policy of others, those of single sockets not counted.
    pub foreign_policy_count: usize,
    /// Every policy's index in our range, ours or not: not to be given again.
    pub taken_indexes: BTreeSet<u32>,
}
