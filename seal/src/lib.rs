//! Sealing of keys from Secrets to one node (HPKE, RFC 9180).
//!
//! The operator seals each key to the public half that a node's agent publishes; only that agent can open
//! it. What the key is for ([`Context`]) is authenticated with it, so that a sealed key can't be moved to
//! another security association or policy, or passed off as another version of its Secret.
//!
//! Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, in base mode (RFC 9180 §5.1.1, §7).

mod context;
mod keys;
mod sealing;

pub use context::{Context, Source, Usage};
pub use keys::{KeyPair, PublicKey, PublicKeyError};
pub use sealing::{OpenError, SealError, seal};

#[cfg(test)]
mod tests;
