//! A node's own keys, as they outlive a restart of its agent.
//!
//! The bytes belong into a file of a tmpfs (mode 0600): what is on a disk is never forgotten, and a node that was
//! rebooted must not remember (rule R6). What can't be read is no ring: the node makes a new key.

mod bytes;

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::{KeyId, KeyPair, NodeUid, Sa, Time};

pub use bytes::RingError;

/// How far a key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Nobody else knows of it.
    Created,
    /// Peers may know of it. Said before it is published.
    Published,
    /// To be published no longer, then forgotten.
    Retiring,
}

/// What is kept of a key beside its private half.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// Names the key.
    pub id: KeyId,
    /// When it was made.
    pub created: Time,
    /// When its successor is due.
    pub rotate: Time,
    /// How far it has come.
    pub stage: Stage,
    /// The outbound SAs that were ever made under it, so that none is made a second time (rule R7).
    pub made: BTreeSet<Sa>,
}

/// A node's own keys, oldest to newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// The Node whose keys these are. To another one they are of no use: keys of SAs depend on it.
    pub node: NodeUid,
    /// Each key with what is kept of it.
    pub keys: Vec<(KeyPair, Record)>,
}

impl Ring {
    /// The private half of a key.
    pub fn pair(&self, id: KeyId) -> Option<&KeyPair> {
        self.keys.iter().find(|(pair, _)| pair.id() == id).map(|(pair, _)| pair)
    }

    /// What belongs into the file.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        bytes::encode(self)
    }

    /// What the file holds.
    pub fn decode(bytes: &[u8]) -> Result<Self, RingError> {
        bytes::decode(bytes)
    }

    /// The ring of `node` in the file, or an empty one and why.
    pub fn restore(node: NodeUid, bytes: &[u8]) -> (Self, Option<RingError>) {
        let empty = Self { node, keys: Vec::new() };
        match Self::decode(bytes) {
            Ok(ring) if ring.node == node => (ring, None),
            Ok(_) => (empty, Some(RingError::OtherNode)),
            Err(error) => (empty, Some(error)),
        }
    }
}

#[cfg(test)]
mod tests;
