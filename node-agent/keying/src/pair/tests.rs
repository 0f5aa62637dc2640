use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::{KeyId, KeyPair, PublicKey, PublicKeyError};

fn bytes(hex: &str) -> [u8; 32] {
    let digits = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
    std::array::from_fn(digits)
}

#[test]
fn rfc_7748_section_6_1() {
    let alice =
        KeyPair::from_bytes(&bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
    let bob = KeyPair::from_bytes(&bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
    assert_eq!(
        alice.public().as_bytes(),
        &bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    );
    let secret = bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(alice.agree(&bob.public()).unwrap().as_slice(), secret);
    assert_eq!(bob.agree(&alice.public()).unwrap().as_slice(), secret);
}

#[test]
fn a_restored_pair_is_the_same() {
    let pair = KeyPair::generate(&mut StdRng::seed_from_u64(1));
    let again = KeyPair::from_bytes(&pair.to_bytes());
    assert_eq!(pair, again);
    assert_eq!(pair.public(), again.public());
    assert_ne!(pair, KeyPair::generate(&mut StdRng::seed_from_u64(2)));
}

#[test]
fn ids_are_read_as_they_are_written() {
    let id = KeyPair::generate(&mut StdRng::seed_from_u64(1)).id();
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(KeyId(0xab).to_string(), "00000000000000ab");
    for bad in ["", "ab", "00000000000000AB", "+0000000000000ab", "00000000000000ab0", "éééééééé"] {
        assert!(bad.parse::<KeyId>().is_err(), "{bad:?}");
    }
}

#[test]
fn public_keys_are_32_bytes_in_base64() {
    let public = KeyPair::generate(&mut StdRng::seed_from_u64(1)).public();
    assert_eq!(PublicKey::from_base64(&public.to_base64()), Ok(public));
    assert_eq!(PublicKey::from_base64("@"), Err(PublicKeyError::Base64));
    assert_eq!(PublicKey::from_base64("AAAA"), Err(PublicKeyError::Length(3)));
}

#[test]
fn nothing_secret_is_printed() {
    let pair = KeyPair::from_bytes(&[0xa7; 32]);
    let printed = format!("{pair:?}");
    assert_eq!(printed, format!("KeyPair({})", pair.id()));
    assert!(!printed.contains("a7a7") && !printed.contains("167"));
}
