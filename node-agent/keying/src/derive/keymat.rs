//! Keying material, split as the suites' RFCs say.

use esplanade_crds::Suite;
use esplanade_model::{Aead, Authentication, Cipher, Crypto, Key};

/// What a suite is made of.
enum Parts {
    /// Key, then 4 bytes of salt (RFC 4106 §8.1, RFC 7634 §2).
    Aead(Aead),
    /// The encryption key, then the integrity key (RFC 7296 §2.17).
    Both(Cipher, Authentication),
    /// The integrity key.
    Integrity(Authentication),
}

fn parts(suite: Suite) -> (&'static str, Parts) {
    use Authentication::{HmacSha256, HmacSha512};
    match suite {
        Suite::AesGcm128 => ("AES-GCM-16-128", Parts::Aead(Aead::AesGcm128)),
        Suite::AesGcm256 => ("AES-GCM-16-256", Parts::Aead(Aead::AesGcm256)),
        Suite::ChaCha20Poly1305 => ("CHACHA20-POLY1305", Parts::Aead(Aead::ChaCha20Poly1305)),
        Suite::AesCbc128Sha256 => {
            ("AES-CBC-128-HMAC-SHA2-256-128", Parts::Both(Cipher::AesCbc128, HmacSha256))
        }
        Suite::AesCbc256Sha256 => {
            ("AES-CBC-256-HMAC-SHA2-256-128", Parts::Both(Cipher::AesCbc256, HmacSha256))
        }
        Suite::AesCbc256Sha512 => {
            ("AES-CBC-256-HMAC-SHA2-512-256", Parts::Both(Cipher::AesCbc256, HmacSha512))
        }
        Suite::Sha256 => ("HMAC-SHA2-256-128", Parts::Integrity(HmacSha256)),
        Suite::Sha512 => ("HMAC-SHA2-512-256", Parts::Integrity(HmacSha512)),
    }
}

/// The suite's name in the API.
pub(super) fn name(suite: Suite) -> &'static str {
    parts(suite).0
}

/// How many bytes of keying material an SA of this suite takes.
pub(super) fn length(suite: Suite) -> usize {
    match parts(suite).1 {
        Parts::Aead(aead) => aead.key_len(),
        Parts::Both(cipher, authentication) => cipher.key_len() + authentication.key_len(),
        Parts::Integrity(authentication) => authentication.key_len(),
    }
}

/// The algorithms with keys of zeroes: to ask what can be done with them.
pub fn sample(suite: Suite) -> Option<Crypto> {
    crypto(suite, &vec![0; length(suite)])
}

/// The algorithms with the keys that `keymat` begins with; none if it is too short.
pub(super) fn crypto(suite: Suite, keymat: &[u8]) -> Option<Crypto> {
    let take = |from: usize, length: usize| Some(Key::from(keymat.get(from..from + length)?));
    match parts(suite).1 {
        Parts::Aead(aead) => Crypto::aead(aead, take(0, aead.key_len())?).ok(),
        Parts::Both(cipher, authentication) => Crypto::encrypt_then_authenticate(
            cipher,
            take(0, cipher.key_len())?,
            authentication,
            take(cipher.key_len(), authentication.key_len())?,
        )
        .ok(),
        Parts::Integrity(authentication) => {
            Crypto::authenticate(authentication, take(0, authentication.key_len())?).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use esplanade_crds::Suite;

    use super::name;

    #[test]
    fn names_are_those_of_the_api() {
        for suite in [
            Suite::AesGcm128,
            Suite::AesGcm256,
            Suite::ChaCha20Poly1305,
            Suite::AesCbc128Sha256,
            Suite::AesCbc256Sha256,
            Suite::AesCbc256Sha512,
            Suite::Sha256,
            Suite::Sha512,
        ] {
            assert_eq!(serde_json::to_value(suite).unwrap(), name(suite));
        }
    }
}
