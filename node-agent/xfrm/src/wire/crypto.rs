//! Algorithms and keys (`struct xfrm_algo`, `xfrm_algo_auth`, `xfrm_algo_aead`).

use esplanade_model::{Aead, Authentication, Cipher, Crypto, Key};
use netlink_packet_xfrm::{Alg, AlgAead, AlgAuth, XFRM_ALG_NAME_LEN, XfrmAttrs};

use super::attributes::Attributes;

pub(super) fn encode(crypto: &Crypto, attributes: &mut Attributes) {
    match crypto {
        Crypto::Aead(aead, key) => attributes.push(XfrmAttrs::EncryptionAlgAead(AlgAead {
            alg_name: name(aead.kernel_name()),
            alg_key_len: bits(key),
            alg_icv_len: aead.icv_bits(),
            alg_key: key.expose().to_vec(),
        })),
        Crypto::EncryptThenAuthenticate { cipher, cipher_key, authentication, authentication_key } => {
            attributes.push(authenticate(*authentication, authentication_key));
            attributes.push(XfrmAttrs::EncryptionAlg(Alg {
                alg_name: name(cipher.kernel_name()),
                alg_key_len: bits(cipher_key),
                alg_key: cipher_key.expose().to_vec(),
            }));
        }
        Crypto::Authenticate(authentication, key) => attributes.push(authenticate(*authentication, key)),
        Crypto::Deflate => attributes.push(XfrmAttrs::CompressionAlg(Alg {
            alg_name: name(DEFLATE),
            alg_key_len: 0,
            alg_key: Vec::new(),
        })),
    }
}

/// In the kernel (`net/xfrm/xfrm_algo.c`).
const DEFLATE: &str = "deflate";

/// Always with the ICV's length: `XFRMA_ALG_AUTH` would make 96 bits of hmac(sha256).
fn authenticate(authentication: Authentication, key: &Key) -> XfrmAttrs {
    XfrmAttrs::AuthenticationAlgTrunc(AlgAuth {
        alg_name: name(authentication.kernel_name()),
        alg_key_len: bits(key),
        alg_trunc_len: authentication.icv_bits(),
        alg_key: key.expose().to_vec(),
    })
}

fn name(name: &str) -> [u8; XFRM_ALG_NAME_LEN] {
    let mut bytes = [0; XFRM_ALG_NAME_LEN];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

fn bits(key: &Key) -> u32 {
    u32::try_from(key.len() * 8).unwrap_or(u32::MAX)
}

/// What the attributes say of algorithms.
#[derive(Default)]
pub(super) struct Algorithms<'a> {
    aead: Option<&'a AlgAead>,
    cipher: Option<&'a Alg>,
    authentication: Option<&'a AlgAuth>,
    /// `XFRMA_ALG_AUTH`, which the kernel shows beside the truncated one.
    plain_authentication: bool,
    compression: Option<&'a Alg>,
}

impl<'a> Algorithms<'a> {
    pub(super) fn of(attributes: &'a Attributes) -> Self {
        let mut found = Self::default();
        for attribute in attributes.as_slice() {
            match attribute {
                XfrmAttrs::EncryptionAlgAead(one) => found.aead = Some(one),
                XfrmAttrs::EncryptionAlg(one) => found.cipher = Some(one),
                XfrmAttrs::AuthenticationAlgTrunc(one) => found.authentication = Some(one),
                XfrmAttrs::AuthenticationAlg(_) => found.plain_authentication = true,
                XfrmAttrs::CompressionAlg(one) => found.compression = Some(one),
                _ => {}
            }
        }
        found
    }

    /// There are none: the SA is larval (or its protocol needs none).
    pub(super) fn none(&self) -> bool {
        self.aead.is_none()
            && self.cipher.is_none()
            && self.authentication.is_none()
            && !self.plain_authentication
            && self.compression.is_none()
    }

    /// The algorithms, where they are in our tables with keys of the right length.
    pub(super) fn decode(&self) -> Option<Crypto> {
        if let Some(compression) = self.compression {
            let alone = Self { compression: None, ..*self }.none();
            let known = compression.alg_name == name(DEFLATE) && compression.alg_key_len == 0;
            return (alone && known).then_some(Crypto::Deflate);
        }
        match (self.aead, self.cipher, self.authentication) {
            (Some(aead), None, None) => decode_aead(aead),
            (None, Some(cipher), Some(authentication)) => {
                let (authentication, authentication_key) = decode_authentication(authentication)?;
                let (cipher, cipher_key) = decode_cipher(cipher)?;
                Crypto::encrypt_then_authenticate(cipher, cipher_key, authentication, authentication_key).ok()
            }
            (None, None, Some(authentication)) => {
                let (authentication, key) = decode_authentication(authentication)?;
                Crypto::authenticate(authentication, key).ok()
            }
            _ => None,
        }
    }
}

fn decode_aead(alg: &AlgAead) -> Option<Crypto> {
    let key = key(&alg.alg_key, alg.alg_key_len)?;
    let is_it = |one: &&Aead| {
        name(one.kernel_name()) == alg.alg_name
            && one.key_len() == key.len()
            && one.icv_bits() == alg.alg_icv_len
    };
    let aead = Aead::ALL.iter().find(is_it)?;
    Crypto::aead(*aead, key).ok()
}

fn decode_cipher(alg: &Alg) -> Option<(Cipher, Key)> {
    let key = key(&alg.alg_key, alg.alg_key_len)?;
    let is_it = |one: &&Cipher| name(one.kernel_name()) == alg.alg_name && one.key_len() == key.len();
    Cipher::ALL.iter().find(is_it).map(|cipher| (*cipher, key))
}

fn decode_authentication(alg: &AlgAuth) -> Option<(Authentication, Key)> {
    let key = key(&alg.alg_key, alg.alg_key_len)?;
    let is_it = |one: &&Authentication| {
        name(one.kernel_name()) == alg.alg_name && one.icv_bits() == alg.alg_trunc_len
    };
    Authentication::ALL.iter().find(is_it).map(|authentication| (*authentication, key))
}

/// None if the bytes aren't as many as the length in bits says.
fn key(bytes: &[u8], bits: u32) -> Option<Key> {
    (bytes.len() as u64 * 8 == u64::from(bits)).then(|| Key::from(bytes))
}
