//! What holds whatever the objects are.

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::Config;

use esplanade_crds::{
    Action, AntiReplay, IpFamily, IpsecPolicy, IpsecSA, Lifetime, LifetimeLimits, Mode, ProblemKind, Protocol,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::build::{
    address_end, at, encryption, integrity, key, mk_node, mk_policy, mk_sa, mk_secret, node, node_end, nodes,
    pod_cidrs,
};
use super::world::World;
use crate::{Plan, Snapshot};

/// How an object is made different from a good one.
type Edits = Vec<u8>;

fn edits() -> impl Strategy<Value = Edits> {
    proptest::collection::vec(0_u8..24, 0..3)
}

fn edited_sa(name: &str, ends: (&str, &str), spi: u32, edits: &Edits) -> IpsecSA {
    let mut sa = mk_sa(name, ends.0, ends.1, spi);
    for edit in edits {
        let spec = &mut sa.spec;
        match edit {
            0 => spec.spi = None,
            1 => {
                spec.lifetime = Some(Lifetime {
                    soft: None,
                    hard: Some(LifetimeLimits { packets: Some(9), ..Default::default() }),
                })
            }
            2 => spec.mode = Mode::Transport,
            3 => (spec.protocol, spec.encryption) = (Protocol::AH, None),
            4 => spec.protocol = Protocol::IPComp,
            5 => spec.encryption = encryption("AES-GCM-16-256"),
            6 => (spec.integrity, spec.allow_insecure_manual_aead) = (None, true),
            7 => spec.integrity = integrity("HMAC-MD5-96"),
            8 => spec.source = node_end("nowhere"),
            9 => spec.destination = address_end("198.51.100.7"),
            10 => spec.destination = address_end("10.0.0.2"),
            11 => spec.ip_family = Some(IpFamily::IPv6),
            12 => spec.integrity.iter_mut().for_each(|one| one.key_secret_ref = key("none", "auth")),
            13 => spec.integrity = integrity("HMAC-SHA2-512-256"),
            14 => spec.anti_replay = Some(AntiReplay { window: 0, extended_sequence_numbers: true }),
            15 => spec.spi = Some(3),
            16 => spec.source = spec.destination.clone(),
            17 => sa.metadata.creation_timestamp = Some(at(-10)),
            18 => sa.metadata.creation_timestamp = None,
            19 => sa.metadata.generation = None,
            _ => {}
        }
    }
    sa
}

fn edited_policy(name: &str, sas: &[&str], edits: &Edits) -> IpsecPolicy {
    let mut policy = mk_policy(name, sas);
    for edit in edits {
        let spec = &mut policy.spec;
        match edit {
            0 => spec.protection = None,
            1 => (spec.action, spec.protection) = (Action::Bypass, None),
            2 => spec.action = Action::Discard,
            3 => spec.from.clear(),
            4 => spec.from = vec![nodes()],
            5 => spec.to = vec![nodes()],
            6 => spec.from[..].iter_mut().for_each(|one| one.nodes = Some(node("a"))),
            7 => spec.from.iter_mut().for_each(|one| one.pod_cidrs = Some(node("nowhere"))),
            8 => spec.protection.iter_mut().for_each(|one| one.mode = Mode::Transport),
            9 => spec.protection.iter_mut().for_each(|one| one.protocol = Protocol::AH),
            10 => spec.protection.iter_mut().for_each(|one| one.per_cpu = true),
            11 => spec.priority = 2000,
            12 => spec.to = vec![pod_cidrs()],
            13 => policy.metadata.creation_timestamp = Some(at(-10)),
            14 => policy.metadata.creation_timestamp = None,
            _ => {}
        }
    }
    policy
}

/// A cluster of good and bad objects, named so that none is named twice.
fn snapshots() -> impl Strategy<Value = Snapshot> {
    const ENDS: [(&str, &str); 6] = [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")];
    let sas = proptest::collection::vec((select(ENDS.as_slice()), 0_u32..4, edits()), 0..8);
    let names: Vec<String> = (0..9).map(|number| format!("sa-{number}")).collect();
    let policies = proptest::collection::vec((subsequence(names, 0..5), edits()), 0..4);
    (sas, policies, any::<bool>()).prop_map(|(sas, policies, secret)| {
        let sas = sas.iter().enumerate();
        let policies = policies.iter().enumerate();
        let keys = mk_secret(&[("enc", [1; 32].as_slice()), ("auth", [2; 32].as_slice())]);
        Snapshot {
            unreadable: Default::default(),
            namespace: "esplanade".into(),
            nodes: vec![
                mk_node("a", &["10.0.0.1", "fd00::1"], &["10.244.1.0/24"]),
                mk_node("b", &["10.0.0.2", "fd00::2"], &["10.244.2.0/24", "fd00:2::/64"]),
                mk_node("c", &["fd00::3"], &[]),
            ],
            policies: policies
                .map(|(number, (sas, edits))| {
                    let sas: Vec<&str> = sas.iter().map(String::as_str).collect();
                    edited_policy(&format!("policy-{number}"), &sas, edits)
                })
                .collect(),
            sas: sas
                .map(|(number, (ends, spi, edits))| {
                    edited_sa(&format!("sa-{number}"), *ends, 0x1000 + spi, edits)
                })
                .collect(),
            secrets: secret.then(|| ("keys".to_owned(), keys)).into_iter().collect(),
            ..Default::default()
        }
    })
}

/// The plan without what is random in it.
fn without_ciphertexts(mut plan: Plan) -> Plan {
    for (spec, _) in plan.node_states.values_mut() {
        for sa in &mut spec.security_associations {
            let encryption = sa.encryption.iter_mut().flat_map(|one| &mut one.key);
            for key in encryption.chain(sa.integrity.iter_mut().map(|one| &mut one.key)) {
                key.sealed.clear();
            }
        }
    }
    plan
}

fn config() -> Config {
    Config { cases: 48, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Carried out and confirmed, the plan is the plan again, sealed keys and times of conditions included.
    #[test]
    fn a_plan_carried_out_changes_nothing_more(snapshot in snapshots()) {
        let mut world = World::of(snapshot);
        world.settle();
        let first = world.plan();
        world.apply(&first);
        let snapshot = format!("{:?}", world.snapshot);
        let second = world.plan();
        prop_assert_eq!(&first, &second);
        world.apply(&second);
        prop_assert_eq!(snapshot, format!("{:?}", world.snapshot));
    }

    /// Every step on the way there can be repeated, too.
    #[test]
    fn the_same_snapshot_gives_the_same_plan(snapshot in snapshots(), steps in 0..3) {
        let mut world = World::of(snapshot);
        for _ in 0..steps {
            let plan = world.plan();
            world.apply(&plan);
            world.agents_confirm();
        }
        world.second = 50;
        let first = world.plan();
        world.second = 50;
        prop_assert_eq!(without_ciphertexts(first), without_ciphertexts(world.plan()));
    }

    #[test]
    fn the_order_of_objects_does_not_matter(snapshot in snapshots(), turns: Vec<Index>) {
        let mut world = World::of(snapshot);
        let plan = world.plan();
        world.apply(&plan);
        world.agents_confirm();
        world.second = 50;
        let first = world.plan();
        for turn in turns {
            rotate(&mut world.snapshot.nodes, turn);
            rotate(&mut world.snapshot.policies, turn);
            rotate(&mut world.snapshot.sas, turn);
            rotate(&mut world.snapshot.node_states, turn);
            rotate(&mut world.snapshot.peers, turn);
            world.snapshot.sas.reverse();
        }
        world.second = 50;
        prop_assert_eq!(without_ciphertexts(first), without_ciphertexts(world.plan()));
    }

    /// Whatever comes beside them, good objects with SPIs and names of their own stay as they are.
    #[test]
    fn others_never_change_the_plan_for_an_unrelated_object(snapshot in snapshots()) {
        let mut world = World::of(snapshot);
        world.snapshot.secrets.insert(
            "good".into(),
            mk_secret(&[("enc", [3; 32].as_slice()), ("auth", [4; 32].as_slice())]),
        );
        let nothing = Snapshot { policies: Vec::new(), sas: Vec::new(), ..world.snapshot.clone() };
        let mut alone = World::of(nothing);
        for world in [&mut world, &mut alone] {
            for (name, ends, spi) in [("good-1", ("a", "b"), 0x9001), ("good-2", ("b", "a"), 0x9002)] {
                let mut sa = mk_sa(name, ends.0, ends.1, spi);
                sa.spec.encryption.iter_mut().for_each(|one| one.key_secret_ref = Some(key("good", "enc")));
                sa.spec.integrity.iter_mut().for_each(|one| one.key_secret_ref = key("good", "auth"));
                world.snapshot.sas.push(sa);
            }
            let mut good = mk_policy("good", &["good-1", "good-2"]);
            // Another one of its priority could contradict it.
            good.spec.priority = 1;
            world.snapshot.policies.push(good);
            world.settle();
        }
        let (plan, alone) = (without_ciphertexts(world.plan()), without_ciphertexts(alone.plan()));
        prop_assert_eq!(plan.policy_status["good"].phase.as_deref(), Some("Ready"));
        for node in ["a", "b"] {
            let (spec, expected) = (&plan.node_states[node].0, &alone.node_states[node].0);
            for sa in &expected.security_associations {
                prop_assert!(spec.security_associations.contains(sa));
            }
            for policy in &expected.policies {
                prop_assert!(spec.policies.contains(policy));
            }
            for selectors in &alone.peers[node].selectors {
                prop_assert!(plan.peers[node].selectors.contains(selectors));
            }
        }
        let told = |plan: &Plan| {
            let mut conditions = plan.policy_status["good"].conditions.clone();
            conditions.extend(plan.sa_status["good-1"].conditions.clone());
            let words = |one: Condition| (one.type_, one.status, one.reason, one.message);
            conditions.into_iter().map(words).collect::<Vec<_>>()
        };
        prop_assert_eq!(told(&plan), told(&alone));
    }

    /// Whatever agents report, and whatever was there before, there is a plan with a status for every object.
    #[test]
    fn there_is_always_a_plan(
        snapshot in snapshots(),
        before in snapshots(),
        problem in ".{0,12}",
        version in "[0-9x]{0,3}",
        forget: bool,
    ) {
        let mut world = World::of(before);
        world.settle();
        (world.snapshot.policies, world.snapshot.sas) = (snapshot.policies, snapshot.sas);
        world.snapshot.secrets = snapshot.secrets;
        world.problem("a", ProblemKind::IpsecSA, "sa-0", &problem, &problem);
        world.agent("b").peers_applied_through = Some(version);
        if forget {
            world.agent("c").sealing_key = None;
        }
        let plan = world.plan();
        prop_assert_eq!(plan.policy_status.len(), world.snapshot.policies.len());
        prop_assert_eq!(plan.sa_status.len(), world.snapshot.sas.len());
        prop_assert_eq!(plan.node_states.len(), 3);
        for status in plan.sa_status.values() {
            prop_assert!(status.conditions.iter().all(|one| !one.reason.is_empty()));
            prop_assert!(status.nodes.len() <= 2);
        }
    }
}

fn rotate<T>(items: &mut [T], turn: Index) {
    if !items.is_empty() {
        items.rotate_left(turn.index(items.len()));
    }
}
