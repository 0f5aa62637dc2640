//! A node's key pair, and what names it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// Names a key among all nodes' keys: the first 8 bytes of the public half's SHA-256, in the API as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u64);

/// Not a key's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key's id has 16 hex digits")]
pub struct KeyIdError;

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(hex) {
            return Err(KeyIdError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| KeyIdError)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Both halves of a node's key. The private half is wiped when dropped and never printed.
#[derive(Clone)]
pub struct KeyPair {
    private: StaticSecret,
    public: PublicKey,
}

impl KeyPair {
    /// A new key pair.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut private = Zeroizing::new([0; 32]);
        rng.fill_bytes(private.as_mut_slice());
        Self::from_bytes(&private)
    }

    /// The key pair with this private half (RFC 7748 §5 clamps it when it is used).
    pub fn from_bytes(private: &[u8; 32]) -> Self {
        let private = StaticSecret::from(*private);
        let public = PublicKey(x25519_dalek::PublicKey::from(&private).to_bytes());
        Self { private, public }
    }

    /// The private half, to be kept where only the agent can read it.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.private.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Names the pair.
    pub fn id(&self) -> KeyId {
        self.public.id()
    }

    /// X25519; none if the result is all zero, as it is with a peer's key of small order (RFC 7748 §6.1).
    pub(crate) fn agree(&self, peer: &PublicKey) -> Option<Zeroizing<[u8; 32]>> {
        let secret = self.private.diffie_hellman(&x25519_dalek::PublicKey::from(peer.0));
        secret.was_contributory().then(|| Zeroizing::new(secret.to_bytes()))
    }
}

impl PartialEq for KeyPair {
    fn eq(&self, other: &Self) -> bool {
        self.private.as_bytes().ct_eq(other.private.as_bytes()).into()
    }
}

impl Eq for KeyPair {}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.id())
    }
}

/// The public half of a node's key: 32 bytes (RFC 7748 §5), as they were published.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub(crate) [u8; 32]);

/// Not an X25519 public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not base64.
    #[error("the public key isn't base64")]
    Base64,
    /// Not 32 bytes.
    #[error("a public key has 32 bytes, this one has {0}")]
    Length(usize),
}

impl PublicKey {
    /// These 32 bytes. All of them are accepted here; those that agree on nothing are refused by
    /// [`Agreement::new`](crate::derive::Agreement::new).
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 32 bytes in base64.
    pub fn from_base64(text: &str) -> Result<Self, PublicKeyError> {
        let bytes = BASE64.decode(text).map_err(|_| PublicKeyError::Base64)?;
        let length = bytes.len();
        bytes.try_into().map(Self).map_err(|_| PublicKeyError::Length(length))
    }

    /// 32 bytes in base64.
    pub fn to_base64(&self) -> String {
        BASE64.encode(self.0)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Names the key.
    pub fn id(&self) -> KeyId {
        let digest = Sha256::digest(self.0);
        KeyId(digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}
