//! Are two SAs' algorithms and keys the same?

use esplanade_model::{Crypto, Key};

/// The same algorithms and keys. Under lockdown the kernel shows zeroes instead of keys: those are taken for the same.
pub(crate) fn same_crypto(wanted: &Crypto, observed: &Crypto) -> bool {
    match (wanted, observed) {
        (Crypto::Aead(a, key), Crypto::Aead(b, there)) => a == b && same_key(key, there),
        (Crypto::Authenticate(a, key), Crypto::Authenticate(b, there)) => a == b && same_key(key, there),
        (
            Crypto::EncryptThenAuthenticate { cipher, cipher_key, authentication, authentication_key },
            Crypto::EncryptThenAuthenticate {
                cipher: cipher_there,
                cipher_key: cipher_key_there,
                authentication: authentication_there,
                authentication_key: authentication_key_there,
            },
        ) => {
            cipher == cipher_there
                && authentication == authentication_there
                && same_key(cipher_key, cipher_key_there)
                && same_key(authentication_key, authentication_key_there)
        }
        (Crypto::Deflate, Crypto::Deflate) => true,
        _ => false,
    }
}

fn same_key(wanted: &Key, observed: &Key) -> bool {
    wanted == observed || (observed.is_redacted() && wanted.len() == observed.len())
}
