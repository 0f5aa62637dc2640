//! Edits of a policy with automatic keys that is in force: another revision beside the one before.

use std::collections::BTreeSet;

use esplanade_crds::{
    Action, IpsecPolicySpec, Keying, ManualKeying, Mode, Phase, PhaseTarget, PolicyInKernel, ProblemKind,
    Protection, Suite, TrafficProtocol, TrafficSelector,
};

use super::build::{at, mk_node, node, nodes, pod_cidrs};
use super::world::World;

const NODES: [&str; 3] = ["a", "b", "c"];

/// What a node is told: of each revision, by a letter in the order in which they came, `P`repare, e`N`crypt or `E`nforce,
/// `-` behind it where it is to be switched off.
struct Edited {
    world: World,
    revisions: Vec<String>,
}

impl Edited {
    fn in_force() -> Self {
        let mut world = World::in_force();
        let first = world.state("a").spec.policies[0].revision.clone();
        Self { world, revisions: vec![first] }
    }

    fn edit(&mut self, edit: impl FnOnce(&mut IpsecPolicySpec)) {
        edit(&mut self.world.policy("pods").spec);
        self.write();
    }

    fn write(&mut self) {
        self.world.write();
        for node in NODES {
            for policy in &self.world.state(node).spec.policies {
                if !self.revisions.contains(&policy.revision) {
                    self.revisions.push(policy.revision.clone());
                }
            }
        }
    }

    /// All do what they are told, and say so.
    fn confirm(&mut self) {
        self.world.agents_confirm();
        for node in NODES {
            let in_kernel = |policy: &esplanade_crds::NodePolicy| PolicyInKernel {
                name: policy.name.clone(),
                uid: policy.uid.clone(),
                revision: policy.revision.clone(),
                phase: policy.phase,
            };
            let policies = self.world.state(node).spec.policies.iter().map(in_kernel).collect();
            self.world.agent(node).policies = policies;
        }
    }

    fn step(&mut self) {
        self.confirm();
        self.write();
    }

    fn told(&mut self, node: &str) -> String {
        let policies = self.world.state(node).spec.policies.clone();
        let word = |policy: &esplanade_crds::NodePolicy| {
            let number = self.revisions.iter().position(|one| *one == policy.revision).unwrap() + 1;
            let phase = match policy.phase {
                Phase::Prepare => "P",
                Phase::Encrypt => "N",
                Phase::Enforce => "E",
            };
            let off = if policy.target == PhaseTarget::Absent { "-" } else { "" };
            format!("{number}{phase}{off}")
        };
        policies.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// All three are told the same.
    fn all(&mut self) -> String {
        let told: BTreeSet<String> = NODES.map(|node| self.told(node)).into();
        told.into_iter().collect::<Vec<_>>().join(" / ")
    }

    fn condition(&mut self, type_: &str) -> String {
        self.world.plan().policy("pods", type_)
    }

    fn phase(&mut self) -> String {
        self.world.plan().policy_status["pods"].phase.clone().unwrap()
    }
}

fn suite(suite: Suite) -> impl FnOnce(&mut IpsecPolicySpec) {
    move |spec| spec.protection = Some(Protection { suite: Some(suite), ..Default::default() })
}

fn icmp(spec: &mut IpsecPolicySpec) {
    spec.traffic = vec![TrafficSelector::all_of(TrafficProtocol::ICMP)];
}

#[test]
fn the_new_revision_comes_up_beside_the_old_one_which_goes_when_it_is_in_force() {
    let mut edited = Edited::in_force();
    let peers = edited.world.snapshot.peers.clone();
    edited.edit(suite(Suite::ChaCha20Poly1305));
    assert_eq!((edited.condition("Accepted").as_str(), edited.all().as_str()), ("True Accepted", "1E 2P"));
    let suites: Vec<Suite> = edited
        .world
        .state("a")
        .spec
        .policies
        .iter()
        .map(|one| one.automatic.as_ref().unwrap().suite)
        .collect();
    assert_eq!(suites, [Suite::AesGcm256, Suite::ChaCha20Poly1305]);
    // Each step waits for all.
    edited.write();
    assert_eq!(edited.all(), "1E 2P");
    for next in ["1E 2N", "1E 2E", "1N- 2E", "1P- 2E"] {
        // What the edit leaves as it is is encrypted all the time.
        assert_eq!(edited.phase(), "Updating");
        edited.confirm();
        assert!(edited.condition("Encrypted").starts_with("True"), "{}", edited.condition("Encrypted"));
        edited.write();
        assert_eq!(edited.all(), next);
    }
    edited.step();
    assert_eq!(edited.all(), "2E");
    edited.confirm();
    assert_eq!(
        (edited.phase().as_str(), edited.condition("Programmed").as_str()),
        ("Ready", "True Programmed: in the kernel of a, b, c")
    );
    // Where nobody's networks have changed, nothing was published.
    assert_eq!(edited.world.snapshot.peers, peers);
}

#[test]
fn a_node_that_is_behind_or_in_trouble_holds_all() {
    let mut edited = Edited::in_force();
    edited.edit(suite(Suite::ChaCha20Poly1305));
    edited.confirm();
    edited.world.agent("b").observed_generation = None;
    edited.write();
    assert_eq!(edited.all(), "1E 2P");
    edited.confirm();
    edited.world.problem("c", ProblemKind::IpsecPolicy, "pods", "UnsupportedByKernel", "no ChaCha20");
    edited.write();
    assert_eq!(edited.all(), "1E 2P");
    assert!(edited.condition("Programmed").contains("c: no ChaCha20"));
    // Another edit takes the place of one that nobody sends by.
    edited.edit(suite(Suite::AesGcm128));
    assert_eq!(edited.all(), "1E 2P- 3P");
    edited.world.agent("c").problems.clear();
    edited.step();
    assert_eq!(edited.all(), "1E 3N");
}

#[test]
fn undone_before_anybody_sends_by_it_it_is_dropped() {
    let mut edited = Edited::in_force();
    edited.edit(suite(Suite::ChaCha20Poly1305));
    edited.edit(|spec| spec.protection = None);
    assert_eq!(edited.all(), "2P- 1E");
    edited.step();
    assert_eq!(edited.all(), "1E");
}

#[test]
fn undone_later_it_stays_until_all_are_back() {
    let mut edited = Edited::in_force();
    edited.edit(suite(Suite::ChaCha20Poly1305));
    edited.step();
    assert_eq!(edited.all(), "1E 2N");
    edited.edit(|spec| spec.protection = None);
    assert_eq!(edited.all(), "2N 1E");
    for next in ["2P- 1E", "1E"] {
        edited.step();
        assert_eq!(edited.all(), next);
    }
}

#[test]
fn a_third_revision_waits_for_nothing_and_both_before_stay() {
    let mut edited = Edited::in_force();
    edited.edit(suite(Suite::ChaCha20Poly1305));
    edited.step();
    edited.edit(suite(Suite::AesGcm128));
    assert_eq!(edited.all(), "1E 2N 3P");
    for next in ["1E 2N 3N", "1E 2N 3E", "1N- 2P- 3E", "1P- 3E", "3E"] {
        edited.step();
        assert_eq!(edited.all(), next);
    }
}

#[test]
fn deleted_while_it_is_edited_both_revisions_go_back_together() {
    let mut edited = Edited::in_force();
    edited.edit(suite(Suite::ChaCha20Poly1305));
    edited.step();
    edited.world.snapshot.policies.clear();
    edited.step();
    assert_eq!(edited.all(), "1N- 2N-");
    for next in ["1P- 2P-", ""] {
        edited.step();
        assert_eq!(edited.all(), next);
    }
}

#[test]
fn a_dead_node_is_not_waited_for() {
    let mut edited = Edited::in_force();
    edited.world.snapshot.nodes[2].not_ready_since = Some(at(edited.world.second - 300).0);
    edited.edit(suite(Suite::ChaCha20Poly1305));
    for _ in 0..5 {
        edited.confirm();
        edited.world.agent("c").observed_generation = None;
        edited.write();
    }
    assert_eq!((edited.told("a"), edited.told("b")), ("2E".to_owned(), "2E".to_owned()));
}

#[test]
fn who_has_let_go_of_a_revision_is_not_told_of_it_anew_while_another_has_it() {
    let mut edited = Edited::in_force();
    edited.world.snapshot.nodes[2].not_ready_since = Some(at(edited.world.second - 300).0);
    edited.edit(suite(Suite::ChaCha20Poly1305));
    // What is written to the dead node's IpsecNodeState comes to nothing.
    let dead = edited.world.state("c").clone();
    let next = |edited: &mut Edited, confirms: bool| {
        if confirms {
            edited.confirm();
        }
        *edited.world.state("c") = dead.clone();
        edited.write();
        edited.told("a")
    };
    for told in ["1E 2N", "1E 2E", "1N- 2E", "1P- 2E", "2E"] {
        assert_eq!(next(&mut edited, true), told);
    }
    // Nor before it has said so.
    assert_eq!(next(&mut edited, false), "2E");
    assert_eq!(next(&mut edited, true), "2E");
}

#[test]
fn a_node_that_joins_meanwhile_is_told_of_both() {
    let mut edited = Edited::in_force();
    edited.edit(suite(Suite::ChaCha20Poly1305));
    edited.world.snapshot.nodes.push(mk_node("d", &["10.0.0.4"], &["10.244.4.0/24"]));
    edited.write();
    assert_eq!(edited.told("d"), "1E 2P");
    edited.write();
    assert_eq!(edited.told("d"), "1E 2P");
}

#[test]
fn what_is_covered_anew_is_switched_on_and_what_is_no_longer_off() {
    let mut edited = Edited::in_force();
    edited.edit(icmp);
    assert_eq!(edited.all(), "1E 2P");
    let traffic: Vec<usize> =
        edited.world.state("a").spec.policies.iter().map(|one| one.traffic.len()).collect();
    assert_eq!(traffic, [0, 1]);
    edited.confirm();
    // It isn't said of traffic that is only being switched on.
    assert!(edited.condition("Encrypted").starts_with("False Pending"));
    for next in ["1E 2N", "1E 2E", "1N- 2E", "1P- 2E", "2E"] {
        edited.step();
        assert_eq!(edited.all(), next);
    }
}

/// What is published of node a: the revision's number, or none, with how many networks.
fn published(edited: &mut Edited, node: &str) -> Vec<(Option<usize>, usize)> {
    let peers = &edited.world.snapshot.peers;
    let peer = peers.iter().find(|peer| peer.metadata.name.as_deref() == Some(node)).unwrap();
    let number = |revision: &String| edited.revisions.iter().position(|one| one == revision).unwrap() + 1;
    let one = |one: &esplanade_crds::PeerSelectors| (one.revision.as_ref().map(number), one.from.len());
    peer.spec.selectors.iter().map(one).collect()
}

#[test]
fn other_endpoints_are_published_beside_those_before() {
    let mut edited = Edited::in_force();
    edited.edit(|spec| spec.from = vec![pod_cidrs(), nodes()]);
    assert_eq!(
        (edited.all().as_str(), published(&mut edited, "c")),
        ("1E 2P", vec![(Some(1), 1), (Some(2), 2)])
    );
    // Not before all have seen it.
    edited.confirm();
    edited.world.agent("b").peers_applied_through = Some("1".into());
    edited.write();
    assert_eq!(edited.all(), "1E 2P");
    for next in ["1E 2N", "1E 2E", "1N- 2E", "1P- 2E"] {
        edited.step();
        assert_eq!((edited.all().as_str(), published(&mut edited, "c").len()), (next, 2));
    }
    edited.step();
    edited.write();
    assert_eq!((edited.all().as_str(), published(&mut edited, "c")), ("2E", vec![(None, 2)]));
    edited.confirm();
    assert_eq!(edited.phase(), "Ready");
}

#[test]
fn deleted_meanwhile_a_node_that_was_dead_is_told_of_the_revision_that_others_send_by() {
    let mut edited = Edited::in_force();
    // Its agent never hears of the edit.
    edited.world.snapshot.nodes[2].not_ready_since = Some(at(edited.world.second - 301).0);
    edited.edit(suite(Suite::ChaCha20Poly1305));
    edited.step();
    assert_eq!(edited.told("a"), "1E 2N");
    let first = edited.world.state("c").spec.policies[0].clone();
    edited.world.state("c").spec.policies = vec![first];
    edited.world.snapshot.nodes[2].not_ready_since = None;
    edited.world.snapshot.policies.clear();
    edited.write();
    assert_eq!((edited.told("a"), edited.told("c")), ("1E- 2N-".to_owned(), "1E- 2E-".to_owned()));
    for told in ["1N- 2N-", "1P- 2P-", ""] {
        edited.step();
        assert_eq!(edited.all(), told);
    }
}

#[test]
fn a_node_that_is_selected_no_more_goes_back_with_the_others() {
    let mut edited = Edited::in_force();
    for (at, name) in NODES.iter().enumerate() {
        edited.world.snapshot.nodes[at].labels = [("part".to_owned(), (*name).to_owned())].into();
    }
    edited.edit(|spec| {
        let mut selector = node("a");
        (selector.match_labels, selector.match_expressions) = (None, Some(vec![not_c()]));
        spec.from[0].pod_cidrs = Some(selector);
    });
    let each = |edited: &mut Edited| (edited.told("a"), edited.told("c"));
    let told = |a: &str, c: &str| (a.to_owned(), c.to_owned());
    assert_eq!(each(&mut edited), told("1E 2P", "1E"));
    assert_eq!(
        (published(&mut edited, "a"), published(&mut edited, "c")),
        (vec![(None, 1)], vec![(Some(1), 1)])
    );
    for (a, c) in [("1E 2N", "1E"), ("1E 2E", "1E"), ("1N- 2E", "1N-"), ("1P- 2E", "1P-"), ("2E", "")] {
        edited.step();
        assert_eq!(each(&mut edited), told(a, c));
    }
    edited.write();
    assert_eq!((published(&mut edited, "a"), published(&mut edited, "c")), (vec![(None, 1)], vec![]));
}

fn not_c() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
        key: "part".into(),
        operator: "NotIn".into(),
        values: Some(vec!["c".into()]),
    }
}

#[test]
fn what_revisions_can_not_have_in_common_is_refused_and_stays() {
    let edit = |edit: fn(&mut IpsecPolicySpec)| {
        let mut world = World::in_force();
        let before = world.state("a").spec.policies.clone();
        edit(&mut world.policy("pods").spec);
        let plan = world.write();
        assert_eq!(world.state("a").spec.policies, before);
        plan.policy("pods", "Accepted")
    };
    let mode = edit(|spec| {
        spec.from = vec![nodes()];
        spec.protection = Some(Protection { mode: Mode::Transport, ..Default::default() });
    });
    assert!(
        mode.contains("mode of a policy in force") && mode.contains("write mode: Tunnel, as it was"),
        "{mode}"
    );
    let bypass = edit(|spec| (spec.action, spec.protection) = (Action::Bypass, None));
    assert!(bypass.starts_with("False NotImplemented: action and keying of a policy in force"), "{bypass}");
    let manual = edit(|spec| {
        let manual = Some(ManualKeying { security_associations: vec!["a-to-b".into()] });
        spec.protection =
            Some(Protection { keying: Keying { automatic: None, manual }, ..Default::default() });
    });
    assert!(manual.contains("leave keying.manual out; or apply what you want as another policy"), "{manual}");
}
