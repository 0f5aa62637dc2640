//! Automatic keying: each node makes its own X25519 keys, publishes the public halves, and derives the keys of its SAs
//! with every other node's. Nothing secret leaves a node.
//!
//! - [`mod@derive`]: two nodes' keys → the SPI and the keys of an SA. `docs/keying.md` has test vectors.
//! - [`Ring`]: a node's own keys, as they outlive a restart of its agent (and not one of the node).
//! - [`node::Node`]: a node's part of the protocol.
//! - [`in_force`]: how far its kernel has each revision of a policy.
//!
//! Pure: what is read, written and sent, what time it is and what is random, are the caller's.

pub mod derive;
mod ids;
pub mod in_force;
pub mod node;
mod pair;
mod ring;

pub use ids::{NodeUid, PolicyRevision, Sa, Time, Version};
pub use pair::{KeyId, KeyIdError, KeyPair, PublicKey, PublicKeyError};
pub use ring::{Record, Ring, RingError, Stage};
