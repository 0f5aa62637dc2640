//! Sealing and opening.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, HpkeError, Kem, OpModeR, OpModeS, Serializable as _};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{Context, KeyPair, PublicKey};

type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// HPKE's `info`: keeps these sealed keys apart from anything else under the same key pair.
const INFO: &[u8] = b"esplanade/v1 sealed key";

/// Length of HPKE's encapsulated key, in bytes (RFC 9180 §7.1).
const ENCAPPED_KEY: usize = 32;

/// The recipient's key can't be sealed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealing key is no usable X25519 public key")]
pub struct SealError;

/// Why a sealed key can't be opened. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not base64.
    #[error("the sealed key isn't base64")]
    Base64,
    /// Too short for an encapsulated key and a tag.
    #[error("the sealed key is cut short")]
    Short,
    /// Sealed to another key pair, for another use, or altered.
    #[error("the sealed key doesn't open: it is for another key pair or another use, or was altered")]
    Refused,
}

/// Seals a key to `recipient`: HPKE's encapsulated key, then the ciphertext, base64. Fails for a public key
/// of low order only (RFC 9180 §7.1.4).
pub fn seal(
    recipient: &PublicKey,
    context: &Context<'_>,
    plaintext: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<String, SealError> {
    let (encapped, ciphertext) =
        seal_bytes(recipient, INFO, &context.additional_data(), plaintext, rng).map_err(|_| SealError)?;
    Ok(BASE64.encode([encapped.to_bytes().as_slice(), &ciphertext].concat()))
}

impl KeyPair {
    /// Opens what was sealed to this key pair for `context`.
    pub fn open(&self, context: &Context<'_>, sealed: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let bytes = BASE64.decode(sealed).map_err(|_| OpenError::Base64)?;
        let (encapped, ciphertext) = bytes.split_at_checked(ENCAPPED_KEY).ok_or(OpenError::Short)?;
        let encapped = EncappedKey::from_bytes(encapped).map_err(|_| OpenError::Short)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            self.private(),
            &encapped,
            INFO,
            ciphertext,
            &context.additional_data(),
        )
        .map(Zeroizing::new)
        .map_err(|_| OpenError::Refused)
    }
}

/// RFC 9180 §6.1, `SealBase`.
pub(crate) fn seal_bytes(
    recipient: &PublicKey,
    info: &[u8],
    additional_data: &[u8],
    plaintext: &[u8],
    mut rng: &mut (impl CryptoRng + ?Sized),
) -> Result<(EncappedKey, Vec<u8>), HpkeError> {
    hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &recipient.0,
        info,
        plaintext,
        additional_data,
        &mut rng,
    )
}
