use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use esplanade_crds::conditions::reason;
use esplanade_crds::{IpsecNodeStateSpec, IpsecPeerSpec, NodePolicy, PeerSelectors, Phase, PhaseTarget};

use super::{FILE, InForce};
use crate::desired::Input;
use crate::keying::tests::policy;

fn input(policies: Vec<NodePolicy>, peers: &[(&str, &str)]) -> Input {
    let peer = |(name, network): &(&str, &str)| {
        let networks = || vec![(*network).to_owned()];
        let selectors =
            PeerSelectors { policy: "pods".into(), revision: None, from: networks(), to: networks() };
        let spec = IpsecPeerSpec { addresses: vec!["192.0.2.1".into()], selectors: vec![selectors] };
        ((*name).to_owned(), spec)
    };
    Input {
        version: 7,
        uid: Some("uid".into()),
        generation: Some(1),
        spec: Arc::new(IpsecNodeStateSpec { policies, ..Default::default() }),
        peers: Arc::new(peers.iter().map(peer).collect()),
        keyed: Arc::default(),
        rotate_before: None,
        given_up: BTreeSet::new(),
        peers_through: None,
        allocated: vec![],
        problems: vec![],
        api_server: Arc::default(),
        block: false,
    }
}

const PEERS: &[(&str, &str)] = &[("a", "10.1.0.0/24"), ("b", "10.2.0.0/24")];

/// With this policy in the kernel.
fn holding(directory: &Path, policy: NodePolicy) -> InForce {
    let mut in_force = InForce::load(directory, "boot");
    let input = input(vec![policy], PEERS);
    in_force.intend(&input.spec, &input.peers).unwrap();
    in_force.settle(&input.spec, &input.peers);
    in_force
}

/// What lies at these is added for the revision that is kept, and for no other.
fn added(mut input: Input, names: &[&str]) -> Input {
    let peers = Arc::make_mut(&mut input.peers);
    let added = peers.iter_mut().filter(|(name, _)| names.contains(&name.as_str()));
    added.for_each(|(_, peer)| peer.selectors[0].revision = Some("1".into()));
    input
}

fn phases(input: &Input) -> Vec<Phase> {
    input.spec.policies.iter().map(|policy| policy.phase).collect()
}

#[test]
fn what_is_not_told_any_more_is_kept_and_told_of_and_survives_the_agent() {
    let directory = tempfile::tempdir().unwrap();
    holding(directory.path(), policy(Phase::Enforce));
    let mut again = InForce::load(directory.path(), "boot");
    assert!(again.was_found());
    // Neither the node nor its peers are told of it.
    let mut nothing = input(vec![], PEERS);
    Arc::make_mut(&mut nothing.peers).values_mut().for_each(|peer| peer.selectors.clear());
    let completed = again.complete("a", &nothing);
    assert_eq!(phases(&completed), [Phase::Enforce]);
    assert_eq!(completed.peers, added(input(vec![], PEERS), &["a", "b"]).peers);
    assert_eq!(completed.problems[0].category, reason::KEPT);
    assert!(
        completed.problems[0].message.contains("ipsecnodestate a esplanade.dev/give-up-policies=uid-of-pods")
    );
    // Another boot has an empty kernel.
    let mut rebooted = InForce::load(directory.path(), "another boot");
    assert!(!rebooted.was_found() && rebooted.complete("a", &nothing).spec.policies.is_empty());
}

#[test]
fn it_goes_when_somebody_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = input(vec![], PEERS);
    let kept = |policy: NodePolicy, input: &Input| {
        !holding(directory.path(), policy).complete("a", input).spec.policies.is_empty()
    };
    assert!(kept(policy(Phase::Encrypt), &nothing));
    assert!(kept(policy(Phase::Prepare), &nothing), "others may be further");
    let off = NodePolicy { target: PhaseTarget::Absent, ..policy(Phase::Encrypt) };
    assert!(!kept(off, &nothing), "it was being switched off");
    let given_up = Input { given_up: ["uid-of-pods".to_owned()].into(), ..nothing.clone() };
    assert!(!kept(policy(Phase::Enforce), &given_up));
    assert!(!kept(policy(Phase::Enforce), &Input { generation: None, ..nothing }), "the Node is gone");
}

#[test]
fn a_successor_takes_over_when_it_is_in_force_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut in_force = holding(directory.path(), policy(Phase::Enforce));
    let successor = |phase| NodePolicy { uid: "another".into(), ..policy(phase) };
    let told = input(vec![successor(Phase::Prepare)], PEERS);
    let completed = in_force.complete("a", &told);
    assert_eq!(phases(&completed), [Phase::Enforce, Phase::Prepare], "the one in force first");
    // Told to go on, it isn't there yet.
    let told = input(vec![successor(Phase::Encrypt)], PEERS);
    let completed = in_force.complete("a", &told);
    assert_eq!(phases(&completed), [Phase::Enforce, Phase::Encrypt]);
    in_force.intend(&completed.spec, &completed.peers).unwrap();
    in_force.settle(&completed.spec, &completed.peers);
    // Others may send by the one before.
    let completed = in_force.complete("a", &told);
    assert_eq!(phases(&completed), [Phase::Enforce, Phase::Encrypt]);
    let told = input(vec![successor(Phase::Enforce)], PEERS);
    let completed = in_force.complete("a", &told);
    in_force.intend(&completed.spec, &completed.peers).unwrap();
    in_force.settle(&completed.spec, &completed.peers);
    let completed = in_force.complete("a", &told);
    assert_eq!(phases(&completed), [Phase::Enforce]);
}

#[test]
fn a_successor_that_is_to_end_at_encrypt_takes_over_there_and_one_that_is_to_go_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let kept_beside = |target| {
        let mut in_force = holding(directory.path(), policy(Phase::Encrypt));
        let successor = NodePolicy { uid: "another".into(), target, ..policy(Phase::Encrypt) };
        let told = input(vec![successor], PEERS);
        let completed = in_force.complete("a", &told);
        in_force.intend(&completed.spec, &completed.peers).unwrap();
        in_force.settle(&completed.spec, &completed.peers);
        in_force.complete("a", &told).spec.policies.len() == 2
    };
    assert!(!kept_beside(PhaseTarget::Encrypt));
    assert!(kept_beside(PhaseTarget::Absent));
}

#[test]
fn an_earlier_revision_is_switched_off_with_the_one_that_it_was_edited_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut in_force = holding(directory.path(), policy(Phase::Enforce));
    let newer = |phase, target| NodePolicy { revision: "2".into(), target, ..policy(phase) };
    let completed = in_force.complete("a", &input(vec![newer(Phase::Enforce, PhaseTarget::Enforce)], PEERS));
    assert_eq!(phases(&completed), [Phase::Enforce, Phase::Enforce]);
    assert_eq!(completed.problems, [], "it is on its way out");
    // The node never came so far.
    let completed = in_force.complete("a", &input(vec![newer(Phase::Prepare, PhaseTarget::Absent)], PEERS));
    assert_eq!(phases(&completed), [Phase::Prepare, Phase::Prepare]);
    assert_eq!(completed.problems, []);
    in_force.intend(&completed.spec, &completed.peers).unwrap();
    in_force.settle(&completed.spec, &completed.peers);
    assert_eq!(phases(&in_force.complete("a", &input(vec![], PEERS))), []);
}

#[test]
fn nothing_goes_in_the_clear_to_a_peer_that_is_gone_until_its_network_is_anothers() {
    let directory = tempfile::tempdir().unwrap();
    let mut in_force = holding(directory.path(), policy(Phase::Encrypt));
    let told = |peers| input(vec![policy(Phase::Encrypt)], peers);
    let completed = in_force.complete("a", &told(&PEERS[..1]));
    assert_eq!(completed.peers, added(told(PEERS), &["b"]).peers);
    assert_eq!(completed.problems, []);
    // Not even where it is the node's own, without which there is no policy at all.
    assert_eq!(in_force.complete("a", &told(&[])).peers, added(told(PEERS), &["a", "b"]).peers);
    let taken = input(vec![policy(Phase::Encrypt)], &[PEERS[0], ("c", "10.2.0.0/25")]);
    assert_eq!(in_force.complete("a", &taken).peers, taken.peers);
    // One that is there and has no part any more has left the policy.
    let mut left = told(PEERS);
    Arc::make_mut(&mut left.peers).get_mut("b").unwrap().selectors.clear();
    assert_eq!(in_force.complete("a", &left).peers, left.peers);
}

#[test]
fn peers_from_before_the_policy_take_nothing_from_it_while_the_node_is_still_told_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut in_force = holding(directory.path(), policy(Phase::Enforce));
    let told = |target| {
        let mut told = input(vec![NodePolicy { target, ..policy(Phase::Enforce) }], PEERS);
        Arc::make_mut(&mut told.peers).values_mut().for_each(|peer| peer.selectors.clear());
        told
    };
    let older = told(PhaseTarget::Enforce);
    let completed = in_force.complete("a", &older);
    assert_eq!(completed.peers, added(input(vec![], PEERS), &["a", "b"]).peers);
    assert_eq!(completed.problems, [], "it is told");
    // So it is known still when the IpsecNodeState turns as old.
    in_force.intend(&completed.spec, &completed.peers).unwrap();
    in_force.settle(&completed.spec, &completed.peers);
    let completed = in_force.complete("a", &Input { spec: Arc::default(), ..older });
    assert_eq!(completed.peers, added(input(vec![], PEERS), &["a", "b"]).peers);
    assert_eq!(completed.problems[0].category, reason::KEPT);
    // A node that takes part no more is told to switch it off.
    let off = told(PhaseTarget::Absent);
    assert_eq!(in_force.complete("a", &off).peers, off.peers);
}

#[test]
fn what_is_added_changes_the_inputs_version() {
    let directory = tempfile::tempdir().unwrap();
    let mut in_force = holding(directory.path(), policy(Phase::Enforce));
    let told = input(vec![policy(Phase::Enforce)], PEERS);
    let first = in_force.complete("a", &told).version;
    assert_eq!(in_force.complete("a", &told).version, first);
    let gone = input(vec![], PEERS);
    let kept = in_force.complete("a", &gone).version;
    assert_ne!(kept, first);
    assert_eq!(in_force.complete("a", &gone).version, kept);
    let given_up = Input { given_up: ["uid-of-pods".to_owned()].into(), ..gone };
    assert_ne!(in_force.complete("a", &given_up).version, kept);
}

#[test]
fn between_two_phases_the_higher_one_counts_and_no_key_is_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let mut in_force = holding(directory.path(), policy(Phase::Enforce));
    let lower = input(vec![policy(Phase::Encrypt)], PEERS);
    in_force.intend(&lower.spec, &lower.peers).unwrap();
    assert_eq!(InForce::load(directory.path(), "boot").report()[0].phase, Phase::Enforce);
    in_force.settle(&lower.spec, &lower.peers);
    assert_eq!(InForce::load(directory.path(), "boot").report()[0].phase, Phase::Encrypt);
    // What can't be read is as if it weren't there, and isn't taken for nothing.
    std::fs::write(directory.path().join(FILE), "boot\nnonsense").unwrap();
    assert!(!InForce::load(directory.path(), "boot").was_found());
}

#[test]
fn what_a_gateway_that_is_gone_was_for_stays_though_others_lie_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = |peers: &[(&str, &str)]| {
        let mut input = input(vec![policy(Phase::Enforce)], peers);
        for (name, peer) in Arc::make_mut(&mut input.peers) {
            let part = &mut peer.selectors[0];
            match name.as_str() {
                "gateway" => part.to = vec!["0.0.0.0/0".into()],
                _ => part.to.clear(),
            }
        }
        input
    };
    let all = [PEERS, &[("gateway", "10.9.0.0/24")]].concat();
    let mut in_force = InForce::load(directory.path(), "boot");
    let before = gateway(&all);
    in_force.intend(&before.spec, &before.peers).unwrap();
    in_force.settle(&before.spec, &before.peers);
    let completed = in_force.complete("a", &gateway(PEERS));
    assert_eq!(completed.peers, added(gateway(&all), &["gateway"]).peers);
    // One that joins lies in it too, and on the other side.
    let joined = [PEERS, &[("c", "10.3.0.0/24")]].concat();
    let completed = in_force.complete("a", &gateway(&joined));
    assert_eq!(completed.peers["gateway"].selectors[0].to, ["0.0.0.0/0"]);
    // Its own pods' network is another's now.
    let taken = gateway(&[PEERS, &[("c", "10.9.0.0/24")]].concat());
    assert_eq!(in_force.complete("a", &taken).peers, taken.peers);
    // Of a policy with one side, what was beside it all along takes nothing from it.
    let mut in_force = InForce::load(directory.path(), "another boot");
    let all = input(vec![policy(Phase::Enforce)], &[PEERS, &[("gateway", "0.0.0.0/0")]].concat());
    in_force.intend(&all.spec, &all.peers).unwrap();
    in_force.settle(&all.spec, &all.peers);
    let completed = in_force.complete("a", &input(vec![policy(Phase::Enforce)], PEERS));
    assert_eq!(completed.peers, added(all, &["gateway"]).peers);
}
