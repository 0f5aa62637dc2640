use clap::Parser as _;
use serde_json::{Value, json};

use super::*;
use crate::Args;

fn state(name: &str, automatic: bool, keys: &Value) -> IpsecNodeState {
    let keying = json!({"suite": "AES-GCM-16-256", "antiReplay": {"window": 64, "extendedSequenceNumbers": true},
        "rotateSeconds": 60});
    let mut policy = json!({"name": "pods", "uid": "u", "revision": "r", "phase": "Enforce", "priority": 500,
        "action": "Protect", "mode": "Tunnel", "protocol": "ESP"});
    if automatic {
        policy["automatic"] = keying;
    }
    serde_json::from_value(json!({"apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecNodeState",
        "metadata": {"name": name}, "spec": {"policies": [policy], "securityAssociations": [], "keys": keys}}))
    .unwrap()
}

fn peer(name: &str, keys: &[&str]) -> IpsecPeer {
    let key = |id: &&str| json!({"id": id, "publicKey": "", "createdAt": "2026-01-01T00:00:00Z"});
    let keys: Vec<Value> = keys.iter().map(key).collect();
    serde_json::from_value(json!({"apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecPeer",
        "metadata": {"name": name}, "spec": {"addresses": [], "selectors": []}, "status": {"keys": keys}}))
    .unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn nodes_are_named_or_all_are_meant() {
    let parse = |args: &[&str]| Args::try_parse_from([&["kubectl-esplanade"], args].concat());
    for good in
        [&["rotate", "--all"][..], &["rotate", "a", "b"], &["rotate", "--all", "--wait", "--timeout", "9"]]
    {
        assert!(parse(good).is_ok(), "{good:?}");
    }
    for bad in [&["rotate"][..], &["rotate", "--all", "a"], &["rotate", "a", "--timeout", "9"]] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn who_is_asked_is_said() {
    let states =
        [state("a", true, &Value::Null), state("b", false, &Value::Null), state("c", true, &Value::Null)];
    let peers = [peer("a", &["a1"]), peer("b", &[]), peer("c", &["c1", "c2"])];
    let all = choose(&[], &states, &peers).unwrap();
    assert_eq!(
        all.in_words(),
        "a: asked for a new key\nc: asked for a new key, once the rotation under way is over\n\
         b: has no automatic keys, nothing to do\n"
    );
    let one = choose(&names(&["a"]), &states, &peers).unwrap();
    assert_eq!(one.asked, [Asked { node: "a".into(), before: BTreeSet::from(["a1".to_owned()]) }]);
    // A policy that is on its way out still has its keys.
    let leaving = choose(&names(&["b"]), &states, &[peer("b", &["b1"])]).unwrap();
    assert_eq!((leaving.asked.len(), leaving.without.len()), (1, 0));
    let error = choose(&names(&["a", "x", "y"]), &states, &peers).unwrap_err();
    assert_eq!(error.to_string(), "no node x, y: there is a, b, c");
    assert_eq!(choose(&[], &[], &[]).unwrap().in_words(), "there are no nodes\n");
}

#[test]
fn a_node_is_done_when_all_know_its_new_key_and_the_old_one_is_gone() {
    let asked = Asked { node: "a".into(), before: BTreeSet::from(["a1".to_owned()]) };
    let progress =
        |keys: &[&str], told: Value| progress(&asked, &[state("a", true, &told)], &[peer("a", keys)]);
    let acknowledged = |id: &str| json!({"acknowledged": id});
    let waits = |progress: &Progress, words: &str| match progress {
        Progress::Waits(said) => said.contains(words),
        Progress::Done(_) => false,
    };
    assert!(waits(&progress(&["a1"], acknowledged("a1")), "no new key"));
    assert!(waits(&progress(&[], acknowledged("a1")), "no new key"));
    assert!(waits(&progress(&["a1", "a2"], acknowledged("a1")), "acknowledged"));
    assert!(waits(&progress(&["a1", "a2"], acknowledged("a2")), "old key"));
    assert_eq!(progress(&["a2"], acknowledged("a2")), Progress::Done("has a new key, and no other".into()));
    assert_eq!(
        progress(&["a1", "a2"], json!({"acknowledged": "a2", "pending": ["b", "c"]})),
        Progress::Done("has a new key; the old one stays for peers that don't answer: b, c".into())
    );
    assert!(waits(&super::progress(&asked, &[], &[]), "gone"));
}
