//! The key pair of a node.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, Serializable as _};
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub(crate) type PrivateHalf = <X25519HkdfSha256 as Kem>::PrivateKey;
pub(crate) type PublicHalf = <X25519HkdfSha256 as Kem>::PublicKey;

/// Both halves of a node's sealing key. The private half is wiped when dropped and never printed.
#[derive(Clone)]
pub struct KeyPair {
    private: PrivateHalf,
    public: PublicKey,
}

impl KeyPair {
    /// A new key pair.
    pub fn generate(mut rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let (private, public) = X25519HkdfSha256::gen_keypair_with_rng(&mut rng);
        Self { private, public: PublicKey(public) }
    }

    /// The key pair with this private half (clamped, RFC 7748 §5).
    pub fn from_bytes(private: &[u8; 32]) -> Self {
        // Only a wrong length is an error.
        #[allow(clippy::expect_used)]
        let private = PrivateHalf::from_bytes(private).expect("32 bytes are a private key");
        let public = PublicKey(X25519HkdfSha256::sk_to_pk(&private));
        Self { private, public }
    }

    /// The private half, to be kept where only the agent can read it.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.private.write_exact(bytes.as_mut_slice());
        bytes
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn private(&self) -> &PrivateHalf {
        &self.private
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public.id())
    }
}

/// The public half: where keys for a node are sealed to.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(pub(crate) PublicHalf);

/// Not an X25519 public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not base64.
    #[error("the sealing key isn't base64")]
    Base64,
    /// Not 32 bytes.
    #[error("a sealing key has 32 bytes, this one has {0}")]
    Length(usize),
}

impl PublicKey {
    /// Reads 32 bytes in base64.
    pub fn from_base64(text: &str) -> Result<Self, PublicKeyError> {
        let bytes = BASE64.decode(text).map_err(|_| PublicKeyError::Base64)?;
        let public = PublicHalf::from_bytes(&bytes).map_err(|_| PublicKeyError::Length(bytes.len()))?;
        Ok(Self(public))
    }

    /// 32 bytes in base64.
    pub fn to_base64(&self) -> String {
        BASE64.encode(self.0.to_bytes())
    }

    /// Names the key: the first 16 hex digits of its SHA-256.
    pub fn id(&self) -> String {
        Sha256::digest(self.0.to_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}
