//! Algorithms by name, under the rules of RFC 8221.

use esplanade_crds::conditions::reason;
use esplanade_crds::{Encryption, Integrity};
use esplanade_model::{Aead, Authentication, Cipher, CryptoError};

use super::{KeyUse, invalid};
use crate::finding::Finding;

/// What encrypts.
pub(super) enum Encrypting {
    /// Needs integrity beside it.
    Cipher(KeyUse),
    /// Authenticates as well.
    Aead(KeyUse, &'static str),
}

pub(super) fn encryption(encryption: &Encryption) -> Result<Encrypting, Finding> {
    let name = encryption.algorithm.as_str();
    let secret = encryption.key_secret_ref.clone();
    let encrypting = match (Aead::parse(name), Cipher::parse(name)) {
        (Ok(aead), _) => Encrypting::Aead(
            KeyUse { algorithm: aead.name(), key_len: aead.key_len(), salt: true, secret },
            aead.name(),
        ),
        (_, Ok(cipher)) => Encrypting::Cipher(KeyUse {
            algorithm: cipher.name(),
            key_len: cipher.key_len(),
            salt: false,
            secret,
        }),
        (_, Err(CryptoError::Weak(weak))) => {
            return Err(Finding::new(
                reason::INSECURE_ALGORITHM,
                format!("encryption.algorithm: {weak} (§5): write AES-CBC-128 or AES-CBC-256"),
            ));
        }
        (_, Err(CryptoError::Unknown(_))) => {
            let known: Vec<_> = Cipher::ALL.iter().map(|one| one.name()).collect();
            let insecure: Vec<_> = Aead::ALL.iter().map(|one| one.name()).collect();
            return Err(Finding::new(
                reason::UNKNOWN_ALGORITHM,
                format!(
                    "unknown encryption algorithm {name:?}: write one of {}, or with \
                     allowInsecureManualAead one of {}",
                    known.join(", "),
                    insecure.join(", "),
                ),
            ));
        }
    };
    let null = name == Cipher::Null.name();
    if null == encryption.key_secret_ref.is_some() {
        return Err(invalid(
            "encryption.keySecretRef: {name, key} names the Secret with the key; leave it out only with \
             algorithm: NULL",
        ));
    }
    Ok(encrypting)
}

pub(super) fn integrity(integrity: &Integrity) -> Result<KeyUse, Finding> {
    let name = integrity.algorithm.as_str();
    match Authentication::parse(name) {
        Ok(one) => Ok(KeyUse {
            algorithm: one.name(),
            key_len: one.key_len(),
            salt: false,
            secret: Some(integrity.key_secret_ref.clone()),
        }),
        Err(CryptoError::Weak(weak)) => Err(Finding::new(
            reason::INSECURE_ALGORITHM,
            format!("integrity.algorithm: {weak} (§6): write HMAC-SHA2-256-128 or HMAC-SHA2-512-256"),
        )),
        Err(CryptoError::Unknown(_)) => {
            let known: Vec<_> = Authentication::ALL.iter().map(|one| one.name()).collect();
            Err(Finding::new(
                reason::UNKNOWN_ALGORITHM,
                format!("unknown integrity algorithm {name:?}: write one of {}", known.join(", ")),
            ))
        }
    }
}
