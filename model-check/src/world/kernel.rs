//! A node's kernel, as far as it matters.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_keying::{NodeUid, Sa};
use esplanade_rollout::Level;

use super::Told;

/// SAs and policies of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Kernel {
    /// Inbound SAs.
    pub inbound: BTreeSet<Sa>,
    /// Outbound SAs, the one made last at the end.
    pub outbound: Vec<Sa>,
    /// Outbound SAs that are gone, with packets that may still be on their way.
    pub on_the_way: BTreeSet<Sa>,
    /// Peers that a packet has asked an SA for, without an answer yet: larval SAs. What comes next doesn't ask again.
    pub larval: BTreeSet<NodeUid>,
    /// Each revision of the policy with its phase, and where that was to end: the agent's record `policies-in-force`. A
    /// rebooted node restores them before it sends anything.
    pub levels: BTreeMap<usize, Told>,
}

/// What a node has done so far; for measurements, and no part of the state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// SAs added to its kernel and removed.
    pub sas: usize,
    /// SPIs and keys derived: an X25519 operation each.
    pub derived: usize,
    /// Events of IpsecPeers taken in.
    pub events: usize,
    /// Changes to its status.
    pub reports: usize,
}

/// Work that tells no two states apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uncounted(pub Work);

impl PartialEq for Uncounted {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Uncounted {}

impl std::hash::Hash for Uncounted {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl Kernel {
    /// How far a revision is.
    pub fn level(&self, revision: usize) -> Level {
        self.levels.get(&revision).map(|told| told.level).unwrap_or_default()
    }

    /// Something that is sent is protected.
    pub fn encrypts(&self) -> bool {
        self.levels.values().any(|told| told.level >= Level::Encrypt)
    }

    /// Clear text is dropped.
    pub fn enforces(&self) -> bool {
        self.levels.values().any(|told| told.level == Level::Enforce)
    }

    /// What is sent to a peer goes out on this SA: the one made last (`xfrm_state_find`). The kernel knows no revisions.
    pub fn sends_on(&self, peer: NodeUid) -> Option<Sa> {
        self.outbound.iter().rev().find(|sa| sa.peer == peer && self.encrypts()).copied()
    }
}
