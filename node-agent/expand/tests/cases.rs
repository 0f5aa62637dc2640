//! Cases as folders: `state.yaml` (the IpsecNodeState's spec and the node's name), `peers.yaml` (IpsecPeer specs by
//! name), `wanted.txt` (what the kernel should hold, and the problems). `BLESS=1` writes `wanted.txt` anew.
//!
//! A sealed key in `state.yaml` reads `hex:…`: the test seals it. The recipient `this` is the node's own key.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use esplanade_crds::{IpsecNodeStateSpec, IpsecPeerSpec, SealedKey};
use esplanade_expand::expand;
use esplanade_seal::{Context, KeyPair, Source, Usage, seal};
use rand::SeedableRng;
use rand::rngs::StdRng;

mod print;

#[test]
fn cases() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut folders: Vec<_> =
        fs::read_dir(&fixtures).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    assert!(folders.len() >= 10, "the fixtures are there: {folders:?}");
    let wrong: Vec<_> = folders.iter().filter_map(|folder| differs(folder)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a case.
fn differs(folder: &Path) -> Option<String> {
    let pair = KeyPair::from_bytes(&[7; 32]);
    let text = fs::read_to_string(folder.join("state.yaml")).unwrap();
    let mut state: BTreeMap<String, serde_yaml::Value> = serde_yaml::from_str(&text).unwrap();
    let node: String =
        serde_yaml::from_value(state.remove("node").expect("state.yaml names its node")).unwrap();
    let spec = state.remove("spec").expect("state.yaml has a spec");
    let mut spec: IpsecNodeStateSpec = serde_yaml::from_value(spec).unwrap();
    seal_keys(&mut spec, &pair);
    let peers: BTreeMap<String, IpsecPeerSpec> =
        serde_yaml::from_str(&fs::read_to_string(folder.join("peers.yaml")).unwrap()).unwrap();

    let got = print::expansion(&expand(&node, &spec, &peers, Some(&pair)));
    let path = folder.join("wanted.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &got).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    (got != wanted).then(|| format!("── {}\nwanted:\n{wanted}\ngot:\n{got}", path.display()))
}

fn seal_keys(spec: &mut IpsecNodeStateSpec, pair: &KeyPair) {
    let mut rng = StdRng::seed_from_u64(1);
    let mut one = |sa: &str, usage, key: &mut SealedKey| {
        if key.recipient == "this" {
            key.recipient = pair.public().id();
        }
        if let Some(hex) = key.sealed.strip_prefix("hex:") {
            let source = Source {
                uid: &key.source.uid,
                resource_version: &key.source.resource_version,
                key: &key.source.key,
            };
            let context = Context { security_association: sa, usage, source };
            key.sealed = seal(pair.public(), &context, &unhex(hex), &mut rng).unwrap();
        }
    };
    for sa in &mut spec.security_associations {
        if let Some(key) = sa.encryption.as_mut().and_then(|encryption| encryption.key.as_mut()) {
            one(&sa.name, Usage::Encryption, key);
        }
        if let Some(integrity) = &mut sa.integrity {
            one(&sa.name, Usage::Integrity, &mut integrity.key);
        }
    }
}

/// Two hex digits and how often: `ab*32`, or plain hex digits.
fn unhex(text: &str) -> Vec<u8> {
    if let Some((digits, times)) = text.split_once('*') {
        return vec![u8::from_str_radix(digits, 16).unwrap(); times.parse().unwrap()];
    }
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}
