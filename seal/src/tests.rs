use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hpke::Serializable as _;
use proptest::prelude::{any, prop_assert_eq, prop_assert_ne, proptest};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_core::{TryCryptoRng, TryRng};

use crate::sealing::seal_bytes;
use crate::{Context, KeyPair, OpenError, PublicKey, PublicKeyError, SealError, Source, Usage, seal};

const CONTEXT: Context<'_> = Context {
    object: "a-to-b",
    usage: Usage::Encryption,
    source: Source { uid: "7a0c", resource_version: "41", key: "encryption" },
};

const KEY: &[u8] = b"a key of thirty-two bytes to use";

/// The recipient's public key in RFC 9180 A.2.1.
const RFC_PUBLIC: &str = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

#[test]
fn what_is_sealed_opens_with_the_right_key_and_context() {
    let mut rng = rng();
    let pair = KeyPair::generate(&mut rng);
    let sealed = seal(pair.public(), &CONTEXT, KEY, &mut rng).unwrap();
    assert_eq!(pair.open(&CONTEXT, &sealed).unwrap().as_slice(), KEY);
}

#[test]
fn another_recipient_is_refused() {
    let mut rng = rng();
    let (pair, other) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
    let sealed = seal(pair.public(), &CONTEXT, KEY, &mut rng).unwrap();
    assert_eq!(other.open(&CONTEXT, &sealed).unwrap_err(), OpenError::Refused);
}

#[test]
fn every_part_of_the_context_counts() {
    let mut rng = rng();
    let pair = KeyPair::generate(&mut rng);
    let sealed = seal(pair.public(), &CONTEXT, KEY, &mut rng).unwrap();
    let source = CONTEXT.source;
    for other in [
        Context { object: "b-to-a", ..CONTEXT },
        Context { usage: Usage::Integrity, ..CONTEXT },
        Context { usage: Usage::Ppk, ..CONTEXT },
        Context { source: Source { uid: "7a0d", ..source }, ..CONTEXT },
        Context { source: Source { resource_version: "42", ..source }, ..CONTEXT },
        Context { source: Source { key: "integrity", ..source }, ..CONTEXT },
        // The same characters, split elsewhere.
        Context { source: Source { uid: "7a0c4", resource_version: "1", ..source }, ..CONTEXT },
    ] {
        assert_eq!(pair.open(&other, &sealed).unwrap_err(), OpenError::Refused, "{other:?}");
    }
}

#[test]
fn garbage_fails_with_a_typed_error() {
    let pair = KeyPair::generate(&mut rng());
    assert_eq!(pair.open(&CONTEXT, "no base64!").unwrap_err(), OpenError::Base64);
    assert_eq!(pair.open(&CONTEXT, "").unwrap_err(), OpenError::Short);
    assert_eq!(pair.open(&CONTEXT, &BASE64.encode([1; 31])).unwrap_err(), OpenError::Short);
    assert_eq!(pair.open(&CONTEXT, &BASE64.encode([1; 32])).unwrap_err(), OpenError::Refused);
    // An encapsulated key of low order.
    assert_eq!(pair.open(&CONTEXT, &BASE64.encode([0; 80])).unwrap_err(), OpenError::Refused);
}

#[test]
fn a_public_key_is_32_bytes_in_base64() {
    assert_eq!(PublicKey::from_base64("?").unwrap_err(), PublicKeyError::Base64);
    assert_eq!(PublicKey::from_base64("AAAA").unwrap_err(), PublicKeyError::Length(3));
}

#[test]
fn a_public_key_of_low_order_is_not_sealed_to() {
    let zero = PublicKey::from_base64(&BASE64.encode([0; 32])).unwrap();
    assert_eq!(seal(&zero, &CONTEXT, KEY, &mut rng()).unwrap_err(), SealError);
}

#[test]
fn the_id_is_stable_and_survives_text_and_bytes() {
    let known = PublicKey::from_base64(&BASE64.encode(unhex(RFC_PUBLIC))).unwrap();
    assert_eq!(known.id(), "9e07479c8d8279a4");
    let pair = KeyPair::from_bytes(&[1; 32]);
    assert_eq!(PublicKey::from_base64(&pair.public().to_base64()).unwrap(), *pair.public());
    assert_eq!(KeyPair::from_bytes(&pair.to_bytes()).public(), pair.public());
}

#[test]
fn nothing_prints_a_key() {
    let mut rng = rng();
    let pair = KeyPair::generate(&mut rng);
    let private = pair.to_bytes();
    let sealed = seal(pair.public(), &CONTEXT, KEY, &mut rng).unwrap();
    let error = KeyPair::generate(&mut rng).open(&CONTEXT, &sealed).unwrap_err();
    let printed = format!("{pair:?} {:?} {error:?} {error}", pair.public());
    for secret in [private.as_slice(), KEY] {
        assert!(!printed.contains(&BASE64.encode(secret)));
        assert!(!printed.contains(&hex(secret)));
        assert!(!printed.contains(&format!("{secret:?}")));
    }
}

#[test]
fn a_generator_behind_a_reference_will_do() {
    let mut rng = rng();
    let rng: &mut dyn rand_core::CryptoRng = &mut rng;
    let pair = KeyPair::generate(rng);
    assert!(seal(pair.public(), &CONTEXT, KEY, rng).is_ok());
}

/// RFC 9180 A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode, sequence number 0.
#[test]
fn the_rfcs_vector() {
    let mut recipient = Fixed(unhex("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df"));
    let pair = KeyPair::generate(&mut recipient);
    assert_eq!(pair.public().to_base64(), BASE64.encode(unhex(RFC_PUBLIC)));
    let mut ephemeral = Fixed(unhex("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b"));
    let (encapped, ciphertext) = seal_bytes(
        pair.public(),
        b"Ode on a Grecian Urn",
        b"Count-0",
        b"Beauty is truth, truth beauty",
        &mut ephemeral,
    )
    .unwrap();
    assert_eq!(hex(&encapped.to_bytes()), "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a");
    assert_eq!(
        hex(&ciphertext),
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"
    );
}

proptest! {
    #[test]
    fn any_key_round_trips_and_any_change_is_noticed(
        seed: u64,
        key in proptest::collection::vec(any::<u8>(), 0..80),
        at: proptest::sample::Index,
        flip in 1u8..,
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let pair = KeyPair::generate(&mut rng);
        let sealed = seal(pair.public(), &CONTEXT, &key, &mut rng).unwrap();
        let opened = pair.open(&CONTEXT, &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), key.as_slice());
        prop_assert_ne!(seal(pair.public(), &CONTEXT, &key, &mut rng).unwrap(), sealed.clone());

        let mut bytes = BASE64.decode(&sealed).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        // X25519 ignores the top bit of the encapsulated key, HPKE's key schedule doesn't.
        prop_assert_eq!(pair.open(&CONTEXT, &BASE64.encode(bytes)).unwrap_err(), OpenError::Refused);
    }
}

/// Gives out these bytes once.
struct Fixed(Vec<u8>);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("whole keys are asked for")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("whole keys are asked for")
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        into.copy_from_slice(&self.0.drain(..into.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
