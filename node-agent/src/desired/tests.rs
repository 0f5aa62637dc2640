use std::collections::BTreeSet;
use std::time::Instant;

use esplanade_crds::{
    IpsecNodeState, IpsecNodeStateSpec, IpsecNodeStateStatus, IpsecPeer, IpsecPeerSpec, NodeKeys,
};
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, ObjectMeta};
use kube::runtime::watcher::Event;

use super::{DELETION_GRACE, Desired, NotYet};

fn meta(name: &str, version: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        uid: Some(format!("uid-{name}")),
        resource_version: Some(version.to_owned()),
        generation: Some(3),
        ..ObjectMeta::default()
    }
}

fn invalid<K>(name: &str, version: &str) -> DeserializeGuard<K> {
    let error = "unknown variant `QUANTUM`".to_owned();
    DeserializeGuard(Err(InvalidObject { error, metadata: meta(name, version) }))
}

fn peer(name: &str, version: &str, address: &str) -> DeserializeGuard<IpsecPeer> {
    let spec = IpsecPeerSpec { addresses: vec![address.to_owned()], selectors: vec![] };
    DeserializeGuard(Ok(IpsecPeer { metadata: meta(name, version), spec, status: None }))
}

fn state(name: &str, pending: &str) -> DeserializeGuard<IpsecNodeState> {
    let keys = Some(NodeKeys { acknowledged: None, pending: vec![pending.to_owned()] });
    let spec = IpsecNodeStateSpec { keys, ..IpsecNodeStateSpec::default() };
    DeserializeGuard(Ok(IpsecNodeState { metadata: meta(name, "7"), spec, status: None }))
}

/// Nothing yet, and the API server is where it always was.
fn new() -> Desired {
    let mut desired = Desired::new("a", "boot", BTreeSet::new(), false);
    assert!(desired.api_server(Event::InitDone));
    desired
}

/// With the lists of both kinds taken in: node a's state, and no peers.
fn listed(now: Instant) -> Desired {
    let mut desired = new();
    for event in [Event::Init, Event::InitApply(state("a", "x")), Event::InitDone] {
        desired.node_state(event, now);
    }
    list_peers(&mut desired, []);
    desired
}

fn list_peers<const N: usize>(desired: &mut Desired, peers: [DeserializeGuard<IpsecPeer>; N]) {
    desired.peer(Event::Init);
    for peer in peers {
        assert!(!desired.peer(Event::InitApply(peer)), "a list counts when it is complete");
    }
    assert!(desired.peer(Event::InitDone));
}

fn through(desired: &Desired) -> Option<u64> {
    desired.input(Instant::now()).unwrap().peers_through
}

#[test]
fn nothing_is_done_before_both_lists_are_complete() {
    let now = Instant::now();
    let mut desired = new();
    assert_eq!(desired.input(now).unwrap_err(), NotYet::Lists);
    desired.node_state(Event::Init, now);
    desired.node_state(Event::InitApply(state("a", "x")), now);
    desired.node_state(Event::InitDone, now);
    desired.peer(Event::Init);
    desired.peer(Event::InitApply(peer("a", "5", "192.0.2.1")));
    assert_eq!(desired.input(now).unwrap_err(), NotYet::Lists);
    desired.peer(Event::InitDone);
    let input = desired.input(now).unwrap();
    assert_eq!((input.generation, input.peers_through, input.peers.len()), (Some(3), Some(5), 1));
    // Nor before it is known where the API server is.
    desired.api_server = super::ApiServer::new(BTreeSet::new());
    assert_eq!(desired.input(now).unwrap_err(), NotYet::Lists);
}

#[test]
fn nothing_is_done_without_the_nodes_own_object() {
    let now = Instant::now();
    let mut desired = new();
    desired.node_state(Event::Init, now);
    desired.node_state(Event::InitApply(state("b", "x")), now);
    desired.node_state(Event::InitDone, now);
    list_peers(&mut desired, []);
    assert_eq!(desired.input(now).unwrap_err(), NotYet::NoNodeState);
    assert_eq!(desired.target(), None);
    assert!(desired.node_state(Event::Apply(state("a", "x")), now));
    assert!(desired.input(now).is_ok());
    assert_eq!(desired.target().map(|target| target.uid.as_str()), Some("uid-a"));
}

#[test]
fn a_deleted_object_clears_the_kernel_after_a_while_and_a_missing_one_never() {
    let now = Instant::now();
    let mut desired = listed(now);
    // A list without it: the API server may have lost its data.
    desired.node_state(Event::Init, now);
    desired.node_state(Event::InitDone, now);
    assert_eq!(desired.input(now + 10 * DELETION_GRACE).unwrap_err(), NotYet::NoNodeState);

    let mut desired = listed(now);
    assert!(desired.node_state(Event::Delete(state("a", "x")), now));
    assert_eq!(desired.input(now).unwrap_err(), NotYet::Deleted(now + DELETION_GRACE));
    assert_eq!(desired.target(), None);
    let input = desired.input(now + DELETION_GRACE).unwrap();
    assert_eq!((input.generation, input.spec.keys.as_ref()), (None, None));
    // Nor does a list forget it.
    desired.node_state(Event::Init, now);
    desired.node_state(Event::InitDone, now);
    assert!(desired.input(now + DELETION_GRACE).is_ok());
    // It comes back.
    assert!(desired.node_state(Event::Apply(state("a", "x")), now));
    assert_eq!(desired.input(now).unwrap().generation, Some(3));
}

#[test]
fn history_has_turned_back_when_less_is_there_than_was_seen_before_asking() {
    let now = Instant::now();
    let mut desired = listed(now);
    assert_eq!(desired.turned_back(7), None);
    assert_eq!(desired.turned_back(7), None);
    // What came while the answer was on its way says nothing.
    desired.peer(Event::Apply(peer("b", "12", "192.0.2.2")));
    desired.peer(Event::Delete(peer("b", "15", "192.0.2.2")));
    assert_eq!(desired.turned_back(11), None);
    assert_eq!(desired.turned_back(15), None);
    assert_eq!(desired.turned_back(14), Some(15));
}

#[test]
fn an_object_deleted_alone_clears_nothing() {
    let now = Instant::now();
    let mut desired = listed(now);
    desired.peer(Event::Apply(peer("a", "5", "192.0.2.1")));
    assert!(desired.node_state(Event::Delete(state("a", "x")), now));
    assert_eq!(desired.input(now + 10 * DELETION_GRACE).unwrap_err(), NotYet::NoNodeState);
    // With the Node, its IpsecPeer goes as well.
    desired.peer(Event::Delete(peer("a", "6", "192.0.2.1")));
    assert_eq!(desired.input(now).unwrap_err(), NotYet::Deleted(now + DELETION_GRACE));
    assert_eq!(desired.input(now + DELETION_GRACE).unwrap().generation, None);
}

#[test]
fn policies_that_are_to_be_given_up_are_named_by_an_annotation() {
    let now = Instant::now();
    let mut desired = listed(now);
    let DeserializeGuard(Ok(mut object)) = state("a", "x") else { panic!("readable") };
    let uids = (esplanade_crds::GIVE_UP_ANNOTATION.to_owned(), "one, two".to_owned());
    object.metadata.annotations = Some([uids].into());
    assert!(desired.node_state(Event::Apply(DeserializeGuard(Ok(object.clone()))), now));
    assert_eq!(desired.input(now).unwrap().given_up, ["one", "two"].map(String::from).into());
    assert!(!desired.node_state(Event::Apply(DeserializeGuard(Ok(object))), now));
}

#[test]
fn a_status_alone_is_nothing_to_do() {
    let now = Instant::now();
    let mut desired = listed(now);
    let DeserializeGuard(Ok(mut object)) = state("a", "x") else { panic!("readable") };
    object.status = Some(IpsecNodeStateStatus { boot_id: Some("b".into()), ..Default::default() });
    let version = desired.input(now).unwrap().version;
    assert!(!desired.node_state(Event::Apply(DeserializeGuard(Ok(object.clone()))), now));
    assert_eq!(desired.target().unwrap().status, object.status);
    assert_eq!(desired.input(now).unwrap().version, version);
    assert!(desired.node_state(Event::Apply(state("a", "y")), now));
    assert_ne!(desired.input(now).unwrap().version, version);
}

/// Its status is another object's, and is written after a pass.
#[test]
fn an_object_made_anew_is_something_to_do_whatever_it_says() {
    let now = Instant::now();
    let mut desired = listed(now);
    let anew = |uid: &str| {
        let DeserializeGuard(Ok(mut object)) = state("a", "x") else { panic!("it can be read") };
        object.metadata.uid = Some(uid.to_owned());
        DeserializeGuard(Ok(object))
    };
    assert!(!desired.node_state(Event::Apply(anew("uid-a")), now));
    // While no watch was there.
    desired.node_state(Event::Init, now);
    assert!(desired.node_state(Event::InitApply(anew("another")), now));
    assert_eq!(desired.input(now).unwrap().uid.as_deref(), Some("another"));
}

#[test]
fn an_unreadable_state_counts_as_it_was_and_is_told() {
    let now = Instant::now();
    let mut desired = listed(now);
    assert!(desired.node_state(Event::Apply(invalid("a", "8")), now));
    assert!(!desired.node_state(Event::Apply(invalid("a", "9")), now), "told already");
    let input = desired.input(now).unwrap();
    assert_eq!(input.spec.keys.as_ref().unwrap().pending, ["x"]);
    let messages: Vec<_> = input.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        ["IpsecNodeState a can't be read, so what it said before counts: unknown variant `QUANTUM`"]
    );
    assert!(desired.node_state(Event::Apply(state("a", "x")), now), "readable again");
    assert!(desired.input(now).unwrap().problems.is_empty());

    let mut never = new();
    never.node_state(Event::Init, now);
    never.node_state(Event::InitApply(invalid("a", "8")), now);
    never.node_state(Event::InitDone, now);
    list_peers(&mut never, []);
    assert_eq!(never.input(now).unwrap_err(), NotYet::NoNodeState);
}

#[test]
fn the_watermark_is_the_highest_version_taken_in() {
    let mut desired = listed(Instant::now());
    assert_eq!(through(&desired), None);
    list_peers(&mut desired, [peer("a", "90", "192.0.2.1"), peer("b", "100", "192.0.2.2")]);
    assert_eq!(through(&desired), Some(100), "as numbers, not as texts");
    desired.peer(Event::Apply(peer("a", "105", "192.0.2.1")));
    assert_eq!(through(&desired), Some(105));
    desired.peer(Event::Delete(peer("b", "110", "192.0.2.2")));
    assert_eq!(through(&desired), Some(110));
    assert_eq!(desired.input(Instant::now()).unwrap().peers.len(), 1);
    // A list says of itself only what is in it: lower, and never too high.
    list_peers(&mut desired, [peer("a", "105", "192.0.2.1")]);
    assert_eq!(through(&desired), Some(105));
}

#[test]
fn a_list_that_is_interrupted_changes_nothing() {
    let mut desired = listed(Instant::now());
    list_peers(&mut desired, [peer("a", "1", "192.0.2.1"), peer("b", "2", "192.0.2.2")]);
    desired.peer(Event::Init);
    desired.peer(Event::InitApply(peer("a", "9", "192.0.2.9")));
    desired.peer(Event::Init);
    let input = desired.input(Instant::now()).unwrap();
    assert_eq!((input.peers.len(), input.peers_through), (2, Some(2)));
    desired.peer(Event::InitApply(peer("c", "7", "192.0.2.3")));
    desired.peer(Event::InitDone);
    let input = desired.input(Instant::now()).unwrap();
    assert_eq!(input.peers.keys().collect::<Vec<_>>(), ["c"]);
    assert_eq!(input.peers_through, Some(7));
}

#[test]
fn the_watermark_stays_below_what_cannot_be_read() {
    let mut desired = listed(Instant::now());
    list_peers(&mut desired, [peer("a", "1", "192.0.2.1"), peer("b", "2", "192.0.2.2")]);
    desired.peer(Event::Apply(invalid("b", "6")));
    desired.peer(Event::Apply(peer("a", "9", "192.0.2.1")));
    let input = desired.input(Instant::now()).unwrap();
    assert_eq!(input.peers_through, Some(5));
    assert_eq!(input.peers["b"].addresses, ["192.0.2.2"], "as it was");
    assert_eq!(input.problems.len(), 1);
    // The same from a list.
    list_peers(&mut desired, [peer("a", "9", "192.0.2.1"), invalid("b", "6")]);
    let input = desired.input(Instant::now()).unwrap();
    assert_eq!((input.peers_through, input.peers.len()), (Some(5), 2));
    desired.peer(Event::Apply(peer("b", "12", "192.0.2.2")));
    let input = desired.input(Instant::now()).unwrap();
    assert_eq!((input.peers_through, input.problems.len()), (Some(12), 0));
}

#[test]
fn a_pass_keeps_what_it_was_given() {
    let mut desired = listed(Instant::now());
    list_peers(&mut desired, [peer("a", "1", "192.0.2.1")]);
    let before = desired.input(Instant::now()).unwrap();
    desired.peer(Event::Apply(peer("a", "2", "192.0.2.9")));
    assert_eq!(before.peers["a"].addresses, ["192.0.2.1"]);
}
