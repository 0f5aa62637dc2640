//! What names nodes, policies and SAs here.

use std::fmt;

use esplanade_model::AddressPair;
use sha2::{Digest as _, Sha256};

use crate::KeyId;

/// A Node, for as long as it has this UID: 16 bytes of the SHA-256 of `metadata.uid`. A Node that is deleted and made
/// again is another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeUid(pub u128);

impl NodeUid {
    /// For this `metadata.uid`.
    pub fn of(uid: &str) -> Self {
        Self(Sha256::digest(uid).iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte)))
    }
}

impl fmt::Debug for NodeUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node:{:x}", self.0)
    }
}

/// A policy in one of its revisions: 8 bytes of the SHA-256 of the IpsecPolicy's UID and the revision. In transport mode,
/// what of it goes between one pair of addresses: an SA of its own carries that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyRevision(pub u64);

impl PolicyRevision {
    /// For this `metadata.uid` and revision.
    pub fn of(uid: &str, revision: &str) -> Self {
        Self::first(Self::hashed(uid, revision))
    }

    /// What of it goes between these addresses, the own one first.
    pub fn between(uid: &str, revision: &str, addresses: &AddressPair) -> Self {
        Self::first(Self::hashed(uid, revision).chain_update([0]).chain_update(addresses.to_string()))
    }

    fn hashed(uid: &str, revision: &str) -> Sha256 {
        Sha256::new().chain_update(uid).chain_update([0]).chain_update(revision)
    }

    fn first(hashed: Sha256) -> Self {
        Self(hashed.finalize().iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }
}

impl fmt::Debug for PolicyRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy:{:x}", self.0)
    }
}

/// An SA with a peer as one end names it; which way it goes is said beside it. The other end's name for it has `own`
/// and `theirs` swapped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sa {
    /// The peer.
    pub peer: NodeUid,
    /// For this policy's traffic.
    pub policy: PolicyRevision,
    /// Under this key of one's own.
    pub own: KeyId,
    /// Under this key of the peer's.
    pub theirs: KeyId,
}

impl fmt::Debug for Sa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}/{:x}×{:x}", self.peer, self.policy, self.own.0, self.theirs.0)
    }
}

/// Milliseconds since the node was booted (CLOCK_BOOTTIME): the same clock before and after a restart of the agent, and
/// never set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// So many milliseconds later.
    pub fn after(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

/// A `metadata.resourceVersion` of IpsecPeers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

#[cfg(test)]
mod tests {
    use esplanade_model::{AddressFamily, AddressPair};

    use super::{NodeUid, PolicyRevision};

    #[test]
    fn names_differ_where_objects_do() {
        assert_ne!(NodeUid::of("a"), NodeUid::of("b"));
        assert_ne!(PolicyRevision::of("a", "b"), PolicyRevision::of("a", "c"));
        assert_ne!(PolicyRevision::of("ab", "c"), PolicyRevision::of("a", "bc"));
        assert_eq!(PolicyRevision::of("a", "b"), PolicyRevision::of("a", "b"));
        let pair = AddressPair { family: AddressFamily::Ipv4, source: 0, destination: 1 };
        let between = |pair| PolicyRevision::between("a", "b", &pair);
        assert_ne!(between(pair), PolicyRevision::of("a", "b"));
        assert_ne!(between(pair), between(pair.reversed()));
        assert_ne!(between(pair), between(AddressPair { family: AddressFamily::Ipv6, ..pair }));
    }
}
