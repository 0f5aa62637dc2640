//! What names a key without telling it.

use std::fmt;

use esplanade_model::Crypto;
use sha2::{Digest, Sha256};

/// Of a key, or of more. It tells nothing to those who lack the salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of these parts, each behind its length, and of the algorithms and their keys.
    pub(crate) fn of<'a>(
        salt: &[u8; 32],
        parts: impl IntoIterator<Item = &'a [u8]>,
        crypto: &Crypto,
    ) -> Self {
        let mut hasher = Sha256::new_with_prefix(salt);
        let mut put = |part: &[u8]| {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        };
        parts.into_iter().for_each(&mut put);
        for (algorithm, key) in crypto.keys() {
            put(algorithm.as_bytes());
            put(key.expose());
        }
        Self(hasher.finalize().into())
    }

    /// As it is displayed.
    pub(crate) fn parse(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// For a table: it is a hash already.
    pub(crate) fn hash(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Formatted byte by byte, they were most of what writing a record took.
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]));
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}
