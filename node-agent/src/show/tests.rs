//! What the kernel told, recorded, as it is shown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use esplanade_xfrm::wire::reply::Messages;
use esplanade_xfrm::wire::shown::Shown;

use super::text;

/// The recorded messages of these kinds, by the names of their files.
fn recorded(kinds: &[&str]) -> Vec<(String, Shown)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("xfrm/fuzz/corpus/decode");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut shown = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if kinds.iter().any(|kind| name.starts_with(kind)) {
            let bytes = std::fs::read(&path).unwrap();
            let messages = Messages::of(&bytes).map(|message| Shown::of(&message.unwrap()));
            shown.extend(messages.map(|message| (name.clone(), message)));
        }
    }
    assert!(!shown.is_empty());
    shown
}

fn texts(kinds: &[&str]) -> String {
    recorded(kinds).iter().map(|(name, shown)| format!("── {name}\n{}", text::of(shown))).collect()
}

#[test]
fn events_as_text() {
    insta::assert_snapshot!(texts(&["event-", "totals-"]));
}

#[test]
fn others_sas_and_policies_as_text() {
    insta::assert_snapshot!(texts(&["sa-foreign-00", "sa-larval-", "policy-foreign-00"]));
}

#[test]
fn events_as_json() {
    let mut lines = Vec::new();
    for (_, shown) in recorded(&["event-", "totals-", "sa-ours-001", "policy-ours-001"]) {
        super::json(&shown, &mut lines).unwrap();
    }
    insta::assert_snapshot!(String::from_utf8(lines).unwrap());
}

/// All keys of the corpus have a run of bytes that go up by one, or by 0x11.
#[test]
fn no_key_is_shown() {
    for (name, shown) in recorded(&["sa-", "event-", "datagram-"]) {
        let json = serde_json::to_string(&shown).unwrap();
        for key in ["0102030405", "0011223344", "aabbccdd"] {
            assert!(!json.contains(key), "{name}: {json}");
            assert!(!text::of(&shown).contains(key), "{name}: {json}");
        }
    }
}
