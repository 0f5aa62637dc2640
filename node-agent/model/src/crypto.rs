//! Algorithms, by their names in RFC 8221 and in the kernel, and the keys that go with them.

use crate::key::{Key, KeyLengthError};

/// An encryption algorithm that needs integrity beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cipher {
    /// No encryption (RFC 2410).
    Null,
    /// AES-CBC with a 128-bit key (RFC 3602).
    AesCbc128,
    /// AES-CBC with a 192-bit key.
    AesCbc192,
    /// AES-CBC with a 256-bit key.
    AesCbc256,
}

/// An algorithm that encrypts and authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aead {
    /// AES-GCM with a 16-byte ICV and a 128-bit key (RFC 4106).
    AesGcm128,
    /// AES-GCM with a 16-byte ICV and a 192-bit key.
    AesGcm192,
    /// AES-GCM with a 16-byte ICV and a 256-bit key.
    AesGcm256,
    /// ChaCha20 and Poly1305 (RFC 7634).
    ChaCha20Poly1305,
}

/// An integrity algorithm (RFC 4868).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authentication {
    /// HMAC-SHA2-256-128.
    HmacSha256,
    /// HMAC-SHA2-384-192.
    HmacSha384,
    /// HMAC-SHA2-512-256.
    HmacSha512,
}

/// An algorithm that RFC 8221 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("RFC 8221 forbids or discourages {0}")]
pub struct WeakAlgorithm(pub &'static str);

/// No algorithm has that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such algorithm")]
pub struct UnknownAlgorithm;

/// Why a name isn't an algorithm for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Known, and not to be used.
    #[error(transparent)]
    Weak(#[from] WeakAlgorithm),
    /// Not known.
    #[error(transparent)]
    Unknown(#[from] UnknownAlgorithm),
}

const WEAK: &[&str] = &[
    "DES-CBC",
    "3DES-CBC",
    "BLOWFISH-CBC",
    "CAST-CBC",
    "HMAC-MD5-96",
    "HMAC-SHA1-96",
    "DES-MAC",
    "KPDK-MD5",
];

/// Why the name is in none of our tables.
fn not_ours(name: &str) -> CryptoError {
    match WEAK.iter().find(|weak| **weak == name) {
        Some(weak) => WeakAlgorithm(weak).into(),
        None => UnknownAlgorithm.into(),
    }
}

impl Cipher {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Null, Self::AesCbc128, Self::AesCbc192, Self::AesCbc256];

    /// The cipher with this name in the API.
    pub fn parse(name: &str) -> Result<Self, CryptoError> {
        Self::ALL.iter().copied().find(|one| one.name() == name).ok_or_else(|| not_ours(name))
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::AesCbc128 => "AES-CBC-128",
            Self::AesCbc192 => "AES-CBC-192",
            Self::AesCbc256 => "AES-CBC-256",
        }
    }

    /// Its name in the kernel (`net/xfrm/xfrm_algo.c`).
    pub fn kernel_name(self) -> &'static str {
        match self {
            Self::Null => "ecb(cipher_null)",
            Self::AesCbc128 | Self::AesCbc192 | Self::AesCbc256 => "cbc(aes)",
        }
    }

    /// Length of its key, in bytes.
    pub fn key_len(self) -> usize {
        match self {
            Self::Null => 0,
            Self::AesCbc128 => 16,
            Self::AesCbc192 => 24,
            Self::AesCbc256 => 32,
        }
    }
}

impl Aead {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::AesGcm128, Self::AesGcm192, Self::AesGcm256, Self::ChaCha20Poly1305];

    /// The AEAD with this name in the API.
    pub fn parse(name: &str) -> Result<Self, CryptoError> {
        Self::ALL.iter().copied().find(|one| one.name() == name).ok_or_else(|| not_ours(name))
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesGcm128 => "AES-GCM-16-128",
            Self::AesGcm192 => "AES-GCM-16-192",
            Self::AesGcm256 => "AES-GCM-16-256",
            Self::ChaCha20Poly1305 => "CHACHA20-POLY1305",
        }
    }

    /// Its name in the kernel (`net/xfrm/xfrm_algo.c`).
    pub fn kernel_name(self) -> &'static str {
        match self {
            Self::AesGcm128 | Self::AesGcm192 | Self::AesGcm256 => "rfc4106(gcm(aes))",
            Self::ChaCha20Poly1305 => "rfc7539esp(chacha20,poly1305)",
        }
    }

    /// Length of its key and the 4 bytes of salt after it, in bytes (RFC 4106 §8.1, RFC 7634 §2).
    pub fn key_len(self) -> usize {
        match self {
            Self::AesGcm128 => 16 + 4,
            Self::AesGcm192 => 24 + 4,
            Self::AesGcm256 | Self::ChaCha20Poly1305 => 32 + 4,
        }
    }

    /// Length of its Integrity Check Value, in bits.
    pub fn icv_bits(self) -> u32 {
        128
    }
}

impl Authentication {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// The algorithm with this name in the API.
    pub fn parse(name: &str) -> Result<Self, CryptoError> {
        Self::ALL.iter().copied().find(|one| one.name() == name).ok_or_else(|| not_ours(name))
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "HMAC-SHA2-256-128",
            Self::HmacSha384 => "HMAC-SHA2-384-192",
            Self::HmacSha512 => "HMAC-SHA2-512-256",
        }
    }

    /// Its name in the kernel (`net/xfrm/xfrm_algo.c`).
    pub fn kernel_name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac(sha256)",
            Self::HmacSha384 => "hmac(sha384)",
            Self::HmacSha512 => "hmac(sha512)",
        }
    }

    /// Length of its key, in bytes (RFC 4868 §2.1.1).
    pub fn key_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// Length of its truncated ICV, in bits. Always sent: without it the kernel truncates hmac(sha256) to 96.
    pub fn icv_bits(self) -> u32 {
        match self {
            Self::HmacSha256 => 128,
            Self::HmacSha384 => 192,
            Self::HmacSha512 => 256,
        }
    }
}

/// Algorithms with their keys, in the combinations that RFC 8221 §4 leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Crypto {
    /// ESP with an AEAD.
    Aead(Aead, Key),
    /// ESP with encryption (maybe NULL) and integrity.
    EncryptThenAuthenticate {
        /// Encryption.
        cipher: Cipher,
        /// Its key.
        cipher_key: Key,
        /// Integrity.
        authentication: Authentication,
        /// Its key.
        authentication_key: Key,
    },
    /// AH.
    Authenticate(Authentication, Key),
    /// IPComp with DEFLATE (RFC 2394), which has no key.
    Deflate,
}

impl Crypto {
    /// An AEAD with its key and salt.
    pub fn aead(aead: Aead, key: Key) -> Result<Self, KeyLengthError> {
        check(aead.name(), aead.key_len(), &key, true)?;
        Ok(Self::Aead(aead, key))
    }

    /// Encryption and integrity.
    pub fn encrypt_then_authenticate(
        cipher: Cipher,
        cipher_key: Key,
        authentication: Authentication,
        authentication_key: Key,
    ) -> Result<Self, KeyLengthError> {
        check(cipher.name(), cipher.key_len(), &cipher_key, false)?;
        check(authentication.name(), authentication.key_len(), &authentication_key, false)?;
        Ok(Self::EncryptThenAuthenticate { cipher, cipher_key, authentication, authentication_key })
    }

    /// Integrity alone.
    pub fn authenticate(authentication: Authentication, key: Key) -> Result<Self, KeyLengthError> {
        check(authentication.name(), authentication.key_len(), &key, false)?;
        Ok(Self::Authenticate(authentication, key))
    }

    /// The keys, each with its algorithm's name in the kernel; that of encryption first.
    pub fn keys(&self) -> impl Iterator<Item = (&'static str, &Key)> {
        let (first, second) = match self {
            Self::Aead(aead, key) => (Some((aead.kernel_name(), key)), None),
            Self::Authenticate(authentication, key) => (Some((authentication.kernel_name(), key)), None),
            Self::EncryptThenAuthenticate { cipher, cipher_key, authentication, authentication_key } => {
                let second = (authentication.kernel_name(), authentication_key);
                (Some((cipher.kernel_name(), cipher_key)), Some(second))
            }
            Self::Deflate => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The kernel shows zeroes in place of the keys.
    pub fn is_redacted(&self) -> bool {
        self.keys().any(|(_, key)| key.is_redacted())
    }

    /// The same algorithms with keys of the same lengths, which `make` makes.
    #[must_use]
    pub fn with_keys(&self, make: impl Fn(usize) -> Key) -> Self {
        match self {
            Self::Aead(aead, key) => Self::Aead(*aead, make(key.len())),
            Self::Authenticate(authentication, key) => Self::Authenticate(*authentication, make(key.len())),
            Self::EncryptThenAuthenticate { cipher, cipher_key, authentication, authentication_key } => {
                Self::EncryptThenAuthenticate {
                    cipher: *cipher,
                    cipher_key: make(cipher_key.len()),
                    authentication: *authentication,
                    authentication_key: make(authentication_key.len()),
                }
            }
            Self::Deflate => Self::Deflate,
        }
    }

    /// The protocol that these algorithms are for.
    pub fn protocol(&self) -> crate::Protocol {
        match self {
            Self::Aead(..) | Self::EncryptThenAuthenticate { .. } => crate::Protocol::Esp,
            Self::Authenticate(..) => crate::Protocol::Ah,
            Self::Deflate => crate::Protocol::IpComp,
        }
    }
}

fn check(algorithm: &'static str, expected: usize, key: &Key, salt: bool) -> Result<(), KeyLengthError> {
    if key.len() == expected {
        Ok(())
    } else {
        Err(KeyLengthError { algorithm, expected, actual: key.len(), salt })
    }
}
