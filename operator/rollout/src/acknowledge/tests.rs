use super::{Acknowledged, Listener, acknowledge};

fn listener(name: &'static str, applied_through: u64, skipped: bool) -> Listener<&'static str> {
    Listener { name, applied_through: (applied_through > 0).then_some(applied_through), skipped }
}

fn known(key: u8, pending: &[&'static str]) -> Acknowledged<u8, &'static str> {
    Acknowledged { key: Some(key), pending: pending.to_vec() }
}

#[test]
fn a_key_is_acknowledged_when_every_peer_has_come_so_far() {
    let before = known(1, &[]);
    let listeners = [listener("b", 9, false), listener("c", 10, false)];
    assert_eq!(acknowledge(&before, &[1, 2], 10, &listeners), known(1, &[]));
    let listeners = [listener("b", 10, false), listener("c", 11, false)];
    assert_eq!(acknowledge(&before, &[1, 2], 10, &listeners), known(2, &[]));
}

#[test]
fn a_node_without_peers_has_its_key_acknowledged() {
    assert_eq!(acknowledge(&Acknowledged::default(), &[1], 10, &[] as &[Listener<&str>]), known(1, &[]));
}

#[test]
fn who_never_reported_is_waited_for() {
    let listeners = [listener("b", 0, false)];
    assert_eq!(acknowledge(&Acknowledged::default(), &[1], 1, &listeners), Acknowledged::default());
}

#[test]
fn who_does_not_answer_is_listed_until_it_has_caught_up() {
    let one = acknowledge(&known(1, &[]), &[1, 2], 10, &[listener("b", 10, false), listener("c", 3, true)]);
    assert_eq!(one, known(2, &["c"]));
    // It answers again, but isn't there yet; then it is.
    let two = acknowledge(&one, &[1, 2], 10, &[listener("b", 10, false), listener("c", 9, false)]);
    assert_eq!(two, known(2, &["c"]));
    let three = acknowledge(&two, &[1, 2], 10, &[listener("b", 10, false), listener("c", 10, false)]);
    assert_eq!(three, known(2, &[]));
}

#[test]
fn a_change_of_other_things_takes_nothing_back() {
    // The IpsecPeer has a new version, its keys are the same.
    let after =
        acknowledge(&known(2, &[]), &[1, 2], 20, &[listener("b", 10, false), listener("c", 10, true)]);
    assert_eq!(after, known(2, &[]));
}

#[test]
fn what_was_acknowledged_is_forgotten_with_the_key() {
    // The node was rebooted: its keys are others.
    let after = acknowledge(&known(2, &["c"]), &[7], 20, &[listener("b", 10, false)]);
    assert_eq!(after, Acknowledged::default());
}

#[test]
fn without_keys_nothing_is_acknowledged() {
    assert_eq!(acknowledge(&known(2, &["b"]), &[], 20, &[listener("b", 20, false)]), Acknowledged::default());
}
