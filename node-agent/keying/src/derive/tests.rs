use esplanade_crds::Suite;
use esplanade_model::{AddressFamily, AddressPair, Crypto, PpkLengthError};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use super::{Agreement, Cpu, DeriveError, Ppk, SPIS, SaInfo, keymat, split};
use crate::{KeyPair, PublicKey};

const SA: SaInfo<'static> = SaInfo {
    policy: "policy",
    revision: "revision",
    suite: Suite::AesGcm256,
    sender: "sender",
    receiver: "receiver",
    cpu: Cpu::Any,
    addresses: None,
};

fn pair(seed: u64) -> KeyPair {
    KeyPair::generate(&mut StdRng::seed_from_u64(seed))
}

#[test]
fn both_ends_derive_the_same() {
    let (a, b) = (pair(1), pair(2));
    let at_a = Agreement::new(&a, &b.public(), None).unwrap();
    let at_b = Agreement::new(&b, &a.public(), None).unwrap();
    assert_eq!(at_a.outbound(&SA), at_b.inbound(&SA));
    assert_eq!(at_a.inbound(&SA), at_b.outbound(&SA));
    assert_ne!(at_a.inbound(&SA), at_a.outbound(&SA));
}

#[test]
fn whatever_names_the_sa_changes_spi_and_keys() {
    let agreement = Agreement::new(&pair(1), &pair(2).public(), None).unwrap();
    let base = agreement.outbound(&SA).unwrap();
    let others = [
        SaInfo { policy: "other", ..SA },
        SaInfo { revision: "other", ..SA },
        SaInfo { suite: Suite::ChaCha20Poly1305, ..SA },
        SaInfo { sender: "other", ..SA },
        SaInfo { receiver: "other", ..SA },
        SaInfo { cpu: Cpu::Only(0), ..SA },
        SaInfo { addresses: Some(IPV4), ..SA },
        // The same letters, cut elsewhere.
        SaInfo { policy: "policyr", revision: "evision", ..SA },
    ];
    for other in others {
        let other = agreement.outbound(&other).unwrap();
        assert_ne!(base.spi, other.spi);
        assert_ne!(base.crypto, other.crypto);
    }
}

const IPV4: AddressPair = AddressPair { family: AddressFamily::Ipv4, source: 0, destination: 0 };

#[test]
fn each_pair_of_addresses_has_keys_of_its_own_and_both_ends_the_same() {
    let (a, b) = (pair(1), pair(2));
    let at_a = Agreement::new(&a, &b.public(), None).unwrap();
    let at_b = Agreement::new(&b, &a.public(), None).unwrap();
    let pairs = [
        IPV4,
        AddressPair { family: AddressFamily::Ipv6, ..IPV4 },
        AddressPair { source: 1, ..IPV4 },
        AddressPair { destination: 1, ..IPV4 },
    ];
    let mut derived = Vec::new();
    for addresses in pairs {
        let sa = SaInfo { addresses: Some(addresses), ..SA };
        let one = at_a.outbound(&sa).unwrap();
        assert_eq!(at_b.inbound(&sa).unwrap(), one);
        assert!(
            derived.iter().all(|other: &super::Derived| other.spi != one.spi && other.crypto != one.crypto)
        );
        derived.push(one);
    }
}

#[test]
fn a_ppk_is_mixed_in() {
    let ppk = |byte: u8| Ppk::new(Zeroizing::new(vec![byte; 32])).unwrap();
    let derive = |ppk: Option<&Ppk>| {
        Agreement::new(&pair(1), &pair(2).public(), ppk).unwrap().outbound(&SA).unwrap().spi
    };
    let (without, one, other) = (derive(None), derive(Some(&ppk(1))), derive(Some(&ppk(2))));
    assert_ne!(without, one);
    assert_ne!(one, other);
    assert_eq!(Ppk::new(Zeroizing::new(vec![1; 31])).unwrap_err(), PpkLengthError(31));
    assert_eq!(Ppk::new(Zeroizing::new(vec![1; 1025])).unwrap_err(), PpkLengthError(1025));
}

#[test]
fn keys_that_agree_on_nothing_are_refused() {
    // 0, 1 and p, all of small order (RFC 7748 §6.1).
    let mut one = [0; 32];
    one[0] = 1;
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    for bytes in [[0; 32], one, p] {
        let refused = Agreement::new(&pair(1), &PublicKey::from_bytes(bytes), None);
        assert_eq!(refused.unwrap_err(), DeriveError::SmallOrder);
    }
}

#[test]
fn reserved_spis_are_skipped_and_the_keys_follow() {
    let length = keymat::length(Suite::AesGcm128);
    let mut okm = vec![0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 1, 0];
    okm.extend(1..=u8::try_from(length).unwrap());
    let derived = split(&okm, Suite::AesGcm128).unwrap();
    assert_eq!(derived.spi.get(), 256);
    let Crypto::Aead(_, key) = derived.crypto else { panic!("not an AEAD") };
    assert_eq!(key.expose(), (1..=20).collect::<Vec<u8>>());
    assert_eq!(split(&vec![0; 4 * SPIS + length], Suite::AesGcm128), Err(DeriveError::NoSpi));
}

#[test]
fn nothing_secret_is_printed() {
    let ppk = Ppk::new(Zeroizing::new(vec![0xa7; 40])).unwrap();
    assert_eq!(format!("{ppk:?}"), "Ppk(40 bytes)");
    let agreement = Agreement::new(&pair(1), &pair(2).public(), Some(&ppk)).unwrap();
    assert_eq!(format!("{agreement:?}"), format!("Agreement({}, {})", pair(1).id(), pair(2).id()));
    let derived = format!("{:?}", agreement.outbound(&SA).unwrap());
    assert!(derived.contains("Key(36 bytes)") && derived.len() < 200, "{derived}");
}
