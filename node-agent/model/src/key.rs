//! Key material.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Key material (with an AEAD's salt at its end). Wiped when dropped, compared in constant time, never printed.
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// Takes the bytes over.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the wire.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No bytes at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every byte is zero, as the kernel shows keys under lockdown (`xfrm_redact`).
    pub fn is_redacted(&self) -> bool {
        !self.is_empty() && self.0.iter().all(|byte| *byte == 0)
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// A key of the wrong length. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{algorithm} takes a key of {expected} bytes{}, this one has {actual}", if *.salt { " (4 of them salt)" } else { "" })]
pub struct KeyLengthError {
    /// The algorithm's name.
    pub algorithm: &'static str,
    /// What it takes, in bytes, salt included.
    pub expected: usize,
    /// What there is, in bytes.
    pub actual: usize,
    /// The last 4 of the expected bytes are salt.
    pub salt: bool,
}
