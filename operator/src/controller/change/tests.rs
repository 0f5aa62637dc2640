use esplanade_crds::{IpsecNodeState, IpsecPeer, IpsecPolicy, IpsecSA};
use esplanade_plan::NodeView;
use serde_json::{Value, json};

use super::super::cache::{Event, Seen};
use super::super::index::Input;
use super::*;

fn event<K: serde::de::DeserializeOwned>(kind: &str, object: &Value) -> Event<K> {
    let mut object = object.clone();
    object["apiVersion"] = json!("esplanade.dev/v1alpha1");
    object["kind"] = json!(kind);
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    Event::Changed(Seen { name, version: None, object: Ok(serde_json::from_value(object).unwrap()) })
}

fn with_node(index: &mut Index, name: &str, uid: &str) {
    let node = NodeView { name: name.to_owned(), uid: uid.to_owned(), ..NodeView::default() };
    index.apply(Input::Node(Event::Changed(Seen { name: name.to_owned(), version: None, object: Ok(node) })));
}

fn owned_by(name: &str, uid: &str, owner: &str) -> Value {
    json!({"name": name, "uid": uid, "ownerReferences": [
        {"apiVersion": "v1", "kind": "Node", "name": name, "uid": owner}]})
}

fn with_state(index: &mut Index, name: &str, owner: &str, spec: &IpsecNodeStateSpec) {
    let object = json!({"metadata": owned_by(name, "state-uid", owner), "spec": spec});
    index.apply(Input::NodeState(event::<IpsecNodeState>("IpsecNodeState", &object)));
}

fn with_peer(index: &mut Index, name: &str, owner: &str, spec: &IpsecPeerSpec) {
    let object = json!({"metadata": owned_by(name, "peer-uid", owner), "spec": spec});
    index.apply(Input::Peer(event::<IpsecPeer>("IpsecPeer", &object)));
}

fn peer_spec(address: &str) -> IpsecPeerSpec {
    IpsecPeerSpec { addresses: vec![address.to_owned()], ..IpsecPeerSpec::default() }
}

/// A plan for one node.
fn plan_for(name: &str, owner: &str) -> Plan {
    let mut plan = Plan::default();
    plan.node_states.insert(name.to_owned(), (IpsecNodeStateSpec::default(), owner.to_owned()));
    plan.peers.insert(name.to_owned(), peer_spec("192.0.2.1"));
    plan
}

fn differences(index: &Index, plan: &Plan) -> Vec<(String, What)> {
    changes(index, plan, &BTreeSet::new()).into_iter().map(|change| (change.name, change.what)).collect()
}

#[test]
fn what_isnt_there_is_made_with_its_node_as_owner_and_peers_come_first() {
    let mut index = Index::default();
    with_node(&mut index, "a", "node-uid");
    let owner = || "node-uid".to_owned();
    assert_eq!(
        differences(&index, &plan_for("a", "node-uid")),
        [
            ("a".to_owned(), What::Peer { owner: owner(), spec: peer_spec("192.0.2.1") }),
            (
                "a".to_owned(),
                What::NodeState { owner: owner(), version: None, spec: IpsecNodeStateSpec::default() }
            ),
        ]
    );
}

#[test]
fn what_is_as_it_should_be_is_left_alone_and_only_the_difference_is_written() {
    let mut index = Index::default();
    with_node(&mut index, "a", "node-uid");
    with_state(&mut index, "a", "node-uid", &IpsecNodeStateSpec::default());
    with_peer(&mut index, "a", "node-uid", &peer_spec("192.0.2.1"));
    let mut plan = plan_for("a", "node-uid");
    assert_eq!(differences(&index, &plan), []);
    plan.peers.insert("a".to_owned(), peer_spec("192.0.2.9"));
    let written = What::Peer { owner: "node-uid".to_owned(), spec: peer_spec("192.0.2.9") };
    assert_eq!(differences(&index, &plan), [("a".to_owned(), written)]);
}

#[test]
fn objects_of_a_node_that_is_gone_are_removed() {
    let mut index = Index::default();
    with_state(&mut index, "a", "node-uid", &IpsecNodeStateSpec::default());
    with_peer(&mut index, "a", "node-uid", &peer_spec("192.0.2.1"));
    assert_eq!(
        differences(&index, &Plan::default()),
        [
            ("a".to_owned(), What::Remove(Kind::IpsecPeer, "peer-uid".to_owned())),
            ("a".to_owned(), What::Remove(Kind::IpsecNodeState, "state-uid".to_owned())),
        ]
    );
}

#[test]
fn objects_of_an_earlier_node_of_the_same_name_are_removed_before_new_ones_are_made() {
    let mut index = Index::default();
    with_node(&mut index, "a", "second");
    with_state(&mut index, "a", "first", &IpsecNodeStateSpec::default());
    with_peer(&mut index, "a", "second", &peer_spec("192.0.2.1"));
    let removal = What::Remove(Kind::IpsecNodeState, "state-uid".to_owned());
    assert_eq!(differences(&index, &plan_for("a", "second")), [("a".to_owned(), removal)]);
}

#[test]
fn objects_of_a_node_that_cant_be_read_stay() {
    let mut index = Index::default();
    let error = Unreadable { uid: "u".to_owned(), generation: None, error: "?".to_owned() };
    let unreadable = Seen { name: "a".to_owned(), version: None, object: Err(error) };
    index.apply(Input::Node(Event::Changed(unreadable)));
    with_state(&mut index, "a", "node-uid", &IpsecNodeStateSpec::default());
    assert_eq!(differences(&index, &Plan::default()), []);
}

#[test]
fn statuses_are_written_when_they_differ_and_only_on_objects_that_are_there() {
    let mut index = Index::default();
    let sa = json!({"metadata": {"name": "a-to-b", "uid": "sa-uid"},
        "spec": {"source": {"node": "a"}, "destination": {"node": "b"}}, "status": {"spi": 4096}});
    index.apply(Input::Sa(event::<IpsecSA>("IpsecSA", &sa)));
    let policy =
        json!({"metadata": {"name": "pods", "uid": "policy-uid"}, "spec": {"from": [{"podCIDRs": {}}]}});
    index.apply(Input::Policy(event::<IpsecPolicy>("IpsecPolicy", &policy)));
    let mut plan = Plan::default();
    for name in ["a-to-b", "gone"] {
        plan.sa_status.insert(name.to_owned(), IpsecSAStatus { spi: Some(4096), ..IpsecSAStatus::default() });
    }
    assert_eq!(differences(&index, &Plan { policy_status: [].into(), ..plan.clone() }), []);
    plan.policy_status.insert("pods".to_owned(), IpsecPolicyStatus::default());
    let status = IpsecSAStatus { spi: Some(4097), ..IpsecSAStatus::default() };
    plan.sa_status.insert("a-to-b".to_owned(), status.clone());
    assert_eq!(
        differences(&index, &plan),
        [
            ("a-to-b".to_owned(), What::SaStatus { uid: "sa-uid".to_owned(), status }),
            (
                "pods".to_owned(),
                What::PolicyStatus { uid: "policy-uid".to_owned(), status: IpsecPolicyStatus::default() }
            ),
        ]
    );
}

#[test]
fn users_of_objects_that_cant_be_read_are_told_once() {
    let mut index = Index::default();
    let error = Unreadable { uid: "u".to_owned(), generation: Some(1), error: "unknown variant".to_owned() };
    let seen = Seen { name: "pods".to_owned(), version: None, object: Err(error.clone()) };
    index.apply(Input::Policy(Event::Changed(seen)));
    let what = What::Unreadable(Kind::IpsecPolicy, error.clone());
    assert_eq!(differences(&index, &Plan::default()), [("pods".to_owned(), what)]);
    let told = [(Kind::IpsecPolicy, error)].into();
    assert_eq!(changes(&index, &Plan::default(), &told), []);
}
