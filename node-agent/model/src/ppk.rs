//! Post-quantum preshared keys.

use std::ops::RangeInclusive;

/// How long a post-quantum preshared key may be, in bytes: at least 256 bits of entropy (RFC 8784 §6).
pub const PPK_LENGTH: RangeInclusive<usize> = 32..=1024;

/// A post-quantum preshared key of the wrong length. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a post-quantum preshared key has 32 to 1024 bytes (256 bits of entropy or more, RFC 8784 §6), this one has {0}"
)]
pub struct PpkLengthError(
    /// What there is, in bytes.
    pub usize,
);

impl PpkLengthError {
    /// Of so many bytes.
    pub fn check(length: usize) -> Result<(), Self> {
        if PPK_LENGTH.contains(&length) { Ok(()) } else { Err(Self(length)) }
    }
}

#[cfg(test)]
mod tests {
    use super::{PPK_LENGTH, PpkLengthError};

    #[test]
    fn the_words_say_what_is_checked() {
        for length in [*PPK_LENGTH.start(), *PPK_LENGTH.end()] {
            assert_eq!(PpkLengthError::check(length), Ok(()));
            assert!(PpkLengthError(1).to_string().contains(&length.to_string()));
        }
        for length in [PPK_LENGTH.start() - 1, PPK_LENGTH.end() + 1] {
            assert_eq!(PpkLengthError::check(length), Err(PpkLengthError(length)));
        }
    }
}
