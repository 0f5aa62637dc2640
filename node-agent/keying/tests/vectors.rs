//! The test vectors of docs/keying.md: whoever implements the derivation from that page gets what we get.

#![allow(clippy::unwrap_used)] // a vector that cannot be read fails the test

use esplanade_crds::Suite;
use esplanade_keying::derive::{Agreement, Cpu, Ppk, SaInfo};
use esplanade_keying::{KeyPair, PublicKey};
use esplanade_model::{AddressFamily, AddressPair, Crypto};
use serde::Deserialize;
use zeroize::Zeroizing;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Vectors {
    policy: String,
    sender: End,
    receiver: End,
    #[allow(dead_code)] // for other implementations: ours has no name for what is between the steps
    secret: String,
    security_associations: Vec<Sa>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct End {
    uid: String,
    private_key: String,
    public_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sa {
    suite: Suite,
    revision: String,
    cpu: String,
    addresses: Option<String>,
    #[serde(default)]
    ppk: String,
    #[serde(default)]
    #[allow(dead_code)] // as `secret`
    prk: String,
    #[serde(default)]
    #[allow(dead_code)] // as `secret`
    info: String,
    spi: String,
    key_and_salt: Option<String>,
    encryption_key: Option<String>,
    integrity_key: Option<String>,
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn bytes32(hex: &str) -> [u8; 32] {
    bytes(hex).try_into().unwrap()
}

/// As `info` has it.
fn pair_of(text: &str) -> AddressPair {
    let parts: Vec<&str> = text.split(' ').collect();
    let [family, source, destination] = parts[..] else { unreachable!("{text}") };
    let family = if family == "IPv6" { AddressFamily::Ipv6 } else { AddressFamily::Ipv4 };
    let pair =
        AddressPair { family, source: source.parse().unwrap(), destination: destination.parse().unwrap() };
    assert_eq!(pair.to_string(), text);
    pair
}

fn vectors() -> Vectors {
    let page = include_str!("../../../docs/keying.md");
    let block = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    serde_json::from_str(block).unwrap()
}

#[test]
fn every_vector_is_derived_at_both_ends() {
    let vectors = vectors();
    let pair = |end: &End| {
        let pair = KeyPair::from_bytes(&bytes32(&end.private_key));
        assert_eq!(pair.public(), PublicKey::from_bytes(bytes32(&end.public_key)));
        pair
    };
    let (sender, receiver) = (pair(&vectors.sender), pair(&vectors.receiver));
    let mut suites: Vec<Suite> = Vec::new();
    for sa in &vectors.security_associations {
        let ppk = (!sa.ppk.is_empty()).then(|| Ppk::new(Zeroizing::new(bytes(&sa.ppk))).unwrap());
        let info = SaInfo {
            policy: &vectors.policy,
            revision: &sa.revision,
            suite: sa.suite,
            sender: &vectors.sender.uid,
            receiver: &vectors.receiver.uid,
            cpu: sa.cpu.parse().map_or(Cpu::Any, Cpu::Only),
            addresses: sa.addresses.as_deref().map(pair_of),
        };
        let at_sender = Agreement::new(&sender, &receiver.public(), ppk.as_ref()).unwrap();
        let at_receiver = Agreement::new(&receiver, &sender.public(), ppk.as_ref()).unwrap();
        let derived = at_sender.outbound(&info).unwrap();
        assert_eq!(at_receiver.inbound(&info).unwrap(), derived);

        assert_eq!(derived.spi.to_string(), sa.spi);
        let keys = match &derived.crypto {
            Crypto::Aead(_, key) => (Some(key), None, None),
            Crypto::EncryptThenAuthenticate { cipher_key, authentication_key, .. } => {
                (None, Some(cipher_key), Some(authentication_key))
            }
            Crypto::Authenticate(_, key) => (None, None, Some(key)),
            Crypto::Deflate => (None, None, None),
        };
        let wanted = [&sa.key_and_salt, &sa.encryption_key, &sa.integrity_key];
        for (key, wanted) in [keys.0, keys.1, keys.2].into_iter().zip(wanted) {
            assert_eq!(key.map(|key| key.expose().to_vec()), wanted.as_deref().map(bytes), "{:?}", sa.suite);
        }
        if !suites.contains(&sa.suite) {
            suites.push(sa.suite);
        }
    }
    assert_eq!(suites.len(), 8, "a suite has no vector");
    assert!(vectors.security_associations.iter().any(|sa| sa.addresses.is_some()), "transport mode has none");
}
