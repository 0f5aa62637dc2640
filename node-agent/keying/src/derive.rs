//! From two nodes' keys to an SA's SPI and keys. `docs/keying.md` says the same in words, with test vectors.

mod info;
mod keymat;
pub use keymat::sample;

use std::fmt;

use esplanade_crds::Suite;
use esplanade_model::{Crypto, PpkLengthError, Spi};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::pair::{KeyPair, PublicKey};

pub use info::{Cpu, SaInfo};

/// The salt of the extraction: names the scheme and its version.
const SALT: &[u8] = b"esplanade/v1";

/// How often a reserved SPI is skipped before giving up: each time has a chance of 2⁻²⁴.
const SPIS: usize = 16;

/// A cluster's secret for post-quantum protection (RFC 8784's idea): from a random generator, not from a password. Wiped
/// when dropped, never printed.
#[derive(Clone)]
pub struct Ppk(Zeroizing<Vec<u8>>);

impl Ppk {
    /// Takes the bytes over.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, PpkLengthError> {
        PpkLengthError::check(bytes.len()).map(|()| Self(bytes))
    }
}

impl fmt::Debug for Ppk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ppk({} bytes)", self.0.len())
    }
}

/// Why there is no SA between two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeriveError {
    /// The peer's public key is one of those that agree on the same secret with everybody (RFC 7748 §6.1).
    #[error("the peer's public key is of small order")]
    SmallOrder,
    /// Every SPI offered is reserved. Has a chance of 2⁻³⁸⁴.
    #[error("no usable SPI")]
    NoSpi,
    /// A name is longer than 65535 bytes.
    #[error("a name is too long")]
    TooLong,
}

/// What two nodes share by one key of each: enough to derive every SA between them under these keys. Wiped when
/// dropped, never printed.
#[derive(Clone)]
pub struct Agreement {
    /// HKDF's pseudorandom key.
    prk: Zeroizing<[u8; 32]>,
    own: PublicKey,
    peer: PublicKey,
}

/// An SA's SPI, algorithms and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// The SPI.
    pub spi: Spi,
    /// The algorithms with their keys.
    pub crypto: Crypto,
}

impl Agreement {
    /// X25519, then HKDF-Extract; with a PPK behind the shared secret.
    pub fn new(own: &KeyPair, peer: &PublicKey, ppk: Option<&Ppk>) -> Result<Self, DeriveError> {
        let secret = own.agree(peer).ok_or(DeriveError::SmallOrder)?;
        let ppk: &[u8] = ppk.map_or(&[], |ppk| ppk.0.as_slice());
        let mut ikm = Zeroizing::new(Vec::with_capacity(secret.len() + ppk.len()));
        ikm.extend_from_slice(secret.as_slice());
        ikm.extend_from_slice(ppk);
        let (prk, _) = Hkdf::<Sha256>::extract(Some(SALT), &ikm);
        Ok(Self { prk: Zeroizing::new(prk.into()), own: own.public(), peer: *peer })
    }

    /// The SA that this node sends on.
    pub fn outbound(&self, sa: &SaInfo<'_>) -> Result<Derived, DeriveError> {
        self.derive(sa, &self.own, &self.peer)
    }

    /// The SA that this node receives on.
    pub fn inbound(&self, sa: &SaInfo<'_>) -> Result<Derived, DeriveError> {
        self.derive(sa, &self.peer, &self.own)
    }

    fn derive(
        &self,
        sa: &SaInfo<'_>,
        sender: &PublicKey,
        receiver: &PublicKey,
    ) -> Result<Derived, DeriveError> {
        let info = sa.encode(sender, receiver)?;
        let mut okm = Zeroizing::new(vec![0; 4 * SPIS + keymat::length(sa.suite)]);
        // A PRK has the hash's length, and 255 blocks are more than any suite needs.
        let expanded = Hkdf::<Sha256>::from_prk(self.prk.as_slice()).ok();
        let expanded = expanded.and_then(|hkdf| hkdf.expand(&info, &mut okm).ok());
        expanded.ok_or(DeriveError::TooLong)?;
        split(&okm, sa.suite)
    }
}

impl fmt::Debug for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Agreement({}, {})", self.own.id(), self.peer.id())
    }
}

/// The first 4 bytes that aren't a reserved SPI, and the keys after them.
fn split(okm: &[u8], suite: Suite) -> Result<Derived, DeriveError> {
    let mut rest = okm;
    for _ in 0..SPIS {
        let Some((first, after)) = rest.split_first_chunk::<4>() else { break };
        if let Some(spi) = Spi::new(u32::from_be_bytes(*first)) {
            let crypto = keymat::crypto(suite, after).ok_or(DeriveError::NoSpi)?;
            return Ok(Derived { spi, crypto });
        }
        rest = after;
    }
    Err(DeriveError::NoSpi)
}

#[cfg(test)]
mod tests;
