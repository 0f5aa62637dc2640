//! Policies with automatic keys: acceptance, phases, acknowledgements.

use esplanade_crds::{
    AntiReplay, AutomaticKeying, Compression, Endpoints, Enforcement, Gateway, IpsecPeerStatus,
    IpsecPolicySpec, Keying, Mode, NodeKeys, Phase, PhaseTarget, PolicyInKernel, ProblemKind, Protection,
    Protocol, PublishedKey, Suite, TrafficProtocol, TrafficSelector,
};

use super::build::{at, mk_node, mk_policy, nodes, pod_cidrs};
use super::world::World;
use crate::Plan;

/// Nodes a, b and c, and the policy `pods` as short as can be.
pub(super) fn world() -> World {
    let mut world = World::two_nodes();
    world.snapshot.nodes.push(mk_node("c", &["10.0.0.3"], &["10.244.3.0/24"]));
    (world.snapshot.sas, world.snapshot.policies) = (Vec::new(), vec![mk_policy("pods", &[])]);
    world.policy("pods").spec.protection = None;
    world
}

impl World {
    pub(super) fn write(&mut self) -> Plan {
        let plan = self.plan();
        self.apply(&plan);
        plan
    }

    /// The node's agent publishes these keys.
    pub(super) fn publish(&mut self, node: &str, keys: &[&str]) {
        let key = |id: &&str| PublishedKey {
            id: (*id).to_owned(),
            public_key: String::new(),
            created_at: String::new(),
        };
        let version = self.next_version();
        let peers = &mut self.snapshot.peers;
        let peer = peers.iter_mut().find(|peer| peer.metadata.name.as_deref() == Some(node)).unwrap();
        peer.status = Some(IpsecPeerStatus { keys: keys.iter().map(key).collect() });
        peer.metadata.resource_version = Some(version);
    }

    /// All agents run, have done what they were told, and have published a key each.
    pub(super) fn with_keys() -> Self {
        Self::with_keys_in(world())
    }

    pub(super) fn with_keys_in(mut world: Self) -> Self {
        world.write();
        for node in ["a", "b", "c"] {
            world.publish(node, &[&format!("{node}1")]);
        }
        world.agents_confirm();
        world
    }

    /// With the policy in force.
    pub(super) fn in_force() -> Self {
        Self::in_force_in(world())
    }

    pub(super) fn in_force_in(world: Self) -> Self {
        let mut world = Self::with_keys_in(world);
        for _ in 0..8 {
            world.write();
            world.agents_confirm();
        }
        world.write();
        world
    }

    pub(super) fn phases(&mut self) -> Vec<Option<Phase>> {
        let phase = |node: &str| self.state(node).spec.policies.first().map(|policy| policy.phase);
        ["a", "b", "c"].map(phase).to_vec()
    }
}

const PREPARE: Option<Phase> = Some(Phase::Prepare);
const ENCRYPT: Option<Phase> = Some(Phase::Encrypt);
const ENFORCE: Option<Phase> = Some(Phase::Enforce);

#[test]
fn each_step_waits_for_the_one_before() {
    let mut world = world();
    let plan = world.write();
    assert_eq!(plan.policy("pods", "Accepted"), "True Accepted");
    assert_eq!(world.phases(), [PREPARE; 3]);
    // Nobody has keys yet.
    world.agents_confirm();
    world.write();
    assert_eq!(world.phases(), [PREPARE; 3]);
    for node in ["a", "b", "c"] {
        world.publish(node, &[&format!("{node}1")]);
    }
    // Everyone has done what it was told, and not all know the others' keys.
    world.write();
    assert_eq!(world.phases(), [PREPARE; 3]);
    world.agents_confirm();
    let plan = world.write();
    assert_eq!(
        (world.phases(), plan.policy_status["pods"].phase.as_deref()),
        (vec![ENCRYPT; 3], Some("Prepare"))
    );
    assert!(plan.policy("pods", "Encrypted").starts_with("False"));
    world.agents_confirm();
    world.agent("b").observed_generation = None;
    let plan = world.write();
    assert_eq!(world.phases(), [ENCRYPT; 3]);
    assert_eq!(plan.policy("pods", "Programmed"), "False Pending: waiting for b");
    world.agents_confirm();
    let plan = world.write();
    assert_eq!(world.phases(), [ENFORCE; 3]);
    // What is in the kernels is encrypted already.
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Encrypt"));
    assert!(plan.policy("pods", "Programmed").starts_with("False Pending"));
    world.agents_confirm();
    let plan = world.write();
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Ready"));
    assert!(plan.policy("pods", "Programmed").starts_with("True"));
    assert!(plan.policy("pods", "Encrypted").starts_with("True"));
    let policy = &world.state("a").spec.policies[0];
    let keying = policy.automatic.as_ref().unwrap();
    assert_eq!((keying.suite, keying.rotate_seconds), (Suite::AesGcm256, 24 * 3600));
    assert_eq!(keying.anti_replay, AntiReplay { window: 1024, extended_sequence_numbers: true });
}

#[test]
fn sas_on_demand_can_be_had_and_given_up_while_the_policy_is_in_force() {
    let mut world = World::in_force();
    let told = |world: &mut World| {
        world.write();
        world.agents_confirm();
        let plan = world.write();
        assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Ready"));
        world.state("a").spec.policies[0].automatic.as_ref().unwrap().on_demand
    };
    assert!(!told(&mut world));
    let automatic = AutomaticKeying { on_demand: true, ..Default::default() };
    let keying = Keying { automatic: Some(automatic), manual: None };
    world.policy("pods").spec.protection = Some(Protection { keying, ..Default::default() });
    assert!(told(&mut world));
    world.policy("pods").spec.protection = None;
    assert!(!told(&mut world));
}

#[test]
fn permissive_stays_at_encrypt_and_can_be_changed() {
    let mut world = World::in_force();
    let protection = Protection { enforcement: Enforcement::Permissive, ..Default::default() };
    world.policy("pods").spec.protection = Some(protection);
    world.write();
    assert_eq!(world.phases(), [ENCRYPT; 3]);
    world.agents_confirm();
    let plan = world.write();
    assert_eq!(world.phases(), [ENCRYPT; 3]);
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Ready"));
}

#[test]
fn what_a_kernel_lacks_is_told_though_it_keeps_the_node_from_following_the_peers() {
    let mut world = World::with_keys();
    world.write();
    world.problem("c", ProblemKind::IpsecPolicy, "pods", "UnsupportedByKernel", "no AES-GCM");
    for node in ["a", "b", "c"] {
        world.agent(node).peers_applied_through = None;
    }
    let plan = world.write();
    assert_eq!(plan.policy("pods", "Programmed"), "False UnsupportedByKernel: c: no AES-GCM");
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Degraded"));
}

#[test]
fn trouble_at_one_node_stops_all() {
    let mut world = World::with_keys();
    world.write();
    world.agents_confirm();
    world.problem("c", ProblemKind::IpsecPolicy, "pods", "UnsupportedByKernel", "no AES-GCM");
    let before = world.phases();
    for _ in 0..3 {
        world.write();
        world.agents_confirm();
    }
    assert_eq!(world.phases(), before);
    assert!(world.plan().policy("pods", "Programmed").contains("c: no AES-GCM"));
    world.agent("c").problems.clear();
    for _ in 0..4 {
        world.write();
        world.agents_confirm();
    }
    assert_eq!(world.phases(), [ENFORCE; 3]);
}

#[test]
fn a_deleted_one_goes_back_step_by_step_and_another_of_its_name_waits() {
    let mut world = World::in_force();
    world.snapshot.policies.clear();
    let selectors = |plan: &Plan| plan.peers["a"].selectors.len();
    for phase in [ENCRYPT, PREPARE] {
        let plan = world.write();
        assert_eq!((world.phases(), selectors(&plan)), (vec![phase; 3], 1));
        // Not before all have done it.
        world.agent("a").observed_generation = None;
        world.write();
        assert_eq!(world.phases(), [phase; 3]);
        world.agents_confirm();
    }
    let mut anew = mk_policy("pods", &[]);
    (anew.spec.protection, anew.metadata.uid) = (None, Some("another".into()));
    world.snapshot.policies.push(anew);
    let plan = world.write();
    assert_eq!((world.phases(), selectors(&plan)), (vec![None; 3], 1));
    assert!(plan.policy("pods", "Programmed").starts_with("False Pending"));
    // From the beginning, and not before the last one is gone everywhere.
    world.agents_confirm();
    world.write();
    assert_eq!(world.phases(), [PREPARE; 3]);
    assert_eq!(world.state("a").spec.policies[0].uid, "another");
}

#[test]
fn deleted_while_it_is_switched_on_it_goes_back_from_where_it_is() {
    let mut world = World::with_keys();
    world.write();
    assert_eq!(world.phases(), [ENCRYPT; 3]);
    world.agents_confirm();
    world.snapshot.policies.clear();
    world.write();
    assert_eq!(world.phases(), [PREPARE; 3]);
    world.agents_confirm();
    world.write();
    assert_eq!(world.phases(), [None; 3]);
    world.agents_confirm();
    assert!(world.write().peers["a"].selectors.is_empty());
}

#[test]
fn a_dead_node_is_skipped_after_five_minutes_and_named() {
    let mut world = World::with_keys();
    world.agent("c").observed_generation = None;
    // Seconds of the test's clock.
    let dead = |world: &mut World, at_second| {
        world.snapshot.nodes[2].not_ready_since = Some(at(at_second).0);
    };
    let now = world.second;
    dead(&mut world, now);
    world.write();
    assert_eq!(world.phases(), [PREPARE; 3]);
    // The plan is made again when the time is over.
    let again = world.plan().again.unwrap();
    assert_eq!(again.0, at(now + 300).0);
    let long_ago = world.second - 300;
    dead(&mut world, long_ago);
    // It is told to go where the others are.
    steps_without_c(&mut world, 4);
    assert_eq!(world.phases(), [ENFORCE; 3]);
    assert_eq!(world.plan().policy("pods", "Programmed"), "False Pending: waiting for c");
}

/// The others do what they are told, so many times.
fn steps_without_c(world: &mut World, times: usize) {
    for _ in 0..times {
        world.write();
        world.agents_confirm();
        world.agent("c").observed_generation = None;
    }
}

/// c hasn't answered for more than five minutes.
fn give_up(world: &mut World) {
    world.snapshot.nodes[2].not_ready_since = Some(at(world.second - 301).0);
}

#[test]
fn a_dead_node_is_told_off_until_it_is_back_and_nobody_waits_for_it() {
    let mut world = World::in_force();
    give_up(&mut world);
    world.snapshot.policies.clear();
    steps_without_c(&mut world, 6);
    assert_eq!(world.phases(), [None, None, PREPARE]);
    assert_eq!(world.state("c").spec.policies[0].target, PhaseTarget::Absent);
    // Another policy of the name doesn't wait for it,
    let mut anew = mk_policy("pods", &[]);
    (anew.spec.protection, anew.metadata.uid) = (None, Some("another".into()));
    world.snapshot.policies.push(anew);
    steps_without_c(&mut world, 6);
    assert_eq!(world.phases(), [ENFORCE, ENFORCE, PREPARE]);
    let of_c = |world: &mut World| {
        let policies = &world.state("c").spec.policies;
        policies.iter().map(|one| (one.uid.clone(), one.phase, one.target)).collect::<Vec<_>>()
    };
    let told = |uid: &str, phase, target| (uid.to_owned(), phase, target);
    let another = told("another", Phase::Enforce, PhaseTarget::Enforce);
    assert_eq!(of_c(&mut world), [told("uid-of-pods", Phase::Prepare, PhaseTarget::Absent), another.clone()]);
    // nor begins it anew when that is back.
    world.snapshot.nodes[2].not_ready_since = None;
    world.write();
    assert_eq!(of_c(&mut world).len(), 2);
    assert_eq!(world.phases()[..2], [ENFORCE, ENFORCE]);
    world.agents_confirm();
    world.write();
    assert_eq!(of_c(&mut world), [another]);
}

#[test]
fn a_dead_node_that_takes_part_no_more_is_told_so_until_it_is_back() {
    let mut world = World::in_force();
    give_up(&mut world);
    world.snapshot.nodes[2].pod_cidrs.clear();
    steps_without_c(&mut world, 2);
    assert_eq!(world.phases(), [ENFORCE, ENFORCE, PREPARE]);
    assert_eq!(world.state("c").spec.policies[0].target, PhaseTarget::Absent);
    world.snapshot.nodes[2].not_ready_since = None;
    world.agents_confirm();
    world.write();
    assert_eq!(world.phases(), [ENFORCE, ENFORCE, None]);
}

#[test]
fn a_node_that_joins_goes_where_the_others_are() {
    let mut world = World::in_force();
    world.snapshot.nodes.push(mk_node("d", &["10.0.0.4"], &["10.244.4.0/24"]));
    world.write();
    world.write();
    assert_eq!(world.phases(), [ENFORCE; 3]);
    assert_eq!(world.state("d").spec.policies[0].phase, Phase::Enforce);
}

#[test]
fn a_key_is_acknowledged_when_every_node_knows_it() {
    let mut world = World::in_force();
    let keys = |world: &mut World| world.state("a").spec.keys.clone();
    let first = NodeKeys { acknowledged: Some("a1".into()), pending: Vec::new() };
    assert_eq!(keys(&mut world), Some(first.clone()));
    world.publish("a", &["a1", "a2"]);
    world.write();
    assert_eq!(keys(&mut world), Some(first.clone()));
    world.agents_confirm();
    world.agent("c").peers_applied_through = Some("1".into());
    world.write();
    assert_eq!(keys(&mut world), Some(first));
    // c is dead.
    world.snapshot.nodes[2].not_ready_since = Some(at(world.second - 300).0);
    world.write();
    let pending = NodeKeys { acknowledged: Some("a2".into()), pending: vec!["c".into()] };
    assert_eq!(keys(&mut world), Some(pending));
    world.snapshot.nodes[2].not_ready_since = None;
    world.agents_confirm();
    world.write();
    assert_eq!(keys(&mut world), Some(NodeKeys { acknowledged: Some("a2".into()), pending: Vec::new() }));
}

/// The agents say where their kernels are.
fn report(world: &mut World, phase: Phase) {
    for node in ["a", "b", "c"] {
        let one = |policy: &esplanade_crds::NodePolicy| PolicyInKernel {
            name: policy.name.clone(),
            uid: policy.uid.clone(),
            revision: policy.revision.clone(),
            phase,
        };
        let policies = world.state(node).spec.policies.iter().map(one).collect();
        world.agent(node).policies = policies;
    }
}

#[test]
fn what_the_nodes_have_reached_outlives_their_objects() {
    let mut world = World::in_force();
    world.snapshot.node_states.clear();
    world.write();
    // Nobody knows yet; and the agents don't do it, for the policy isn't switched off.
    let told = world.state("a").spec.policies[0].clone();
    assert_eq!((world.phases(), told.target), (vec![PREPARE; 3], PhaseTarget::Enforce));
    report(&mut world, Phase::Enforce);
    world.write();
    assert_eq!(world.phases(), [ENFORCE; 3]);
    // Of another policy of the name it says nothing.
    let mut world = World::in_force();
    report(&mut world, Phase::Enforce);
    for state in &mut world.snapshot.node_states {
        state.spec.policies.clear();
        state.status.as_mut().unwrap().policies[0].uid = "another".into();
    }
    world.write();
    assert_eq!(world.phases(), [PREPARE; 3]);
}

#[test]
fn only_who_switches_off_says_that_clear_text_may_come_back() {
    let mut world = World::in_force();
    let targets = |world: &mut World| ["a", "b", "c"].map(|node| world.state(node).spec.policies[0].target);
    assert_eq!(targets(&mut world), [PhaseTarget::Enforce; 3]);
    let protection = Protection { enforcement: Enforcement::Permissive, ..Default::default() };
    world.policy("pods").spec.protection = Some(protection);
    world.write();
    assert_eq!(targets(&mut world), [PhaseTarget::Encrypt; 3]);
    world.agents_confirm();
    world.snapshot.policies.clear();
    report(&mut world, Phase::Encrypt);
    world.write();
    assert_eq!((world.phases(), targets(&mut world)), (vec![PREPARE; 3], [PhaseTarget::Absent; 3]));
}

#[test]
fn a_node_that_takes_part_no_more_is_told_to_switch_off_before_it_is_told_nothing() {
    let labels = |one: &str| [("part".to_owned(), one.to_owned())].into();
    let selector = k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
        match_labels: Some(labels("yes")),
        ..Default::default()
    };
    let mut world = world();
    world.policy("pods").spec.from[0].pod_cidrs = Some(selector);
    world.snapshot.nodes.iter_mut().for_each(|node| node.labels = labels("yes"));
    world.write();
    for node in ["a", "b", "c"] {
        world.publish(node, &[&format!("{node}1")]);
    }
    for _ in 0..8 {
        world.agents_confirm();
        world.write();
    }
    assert_eq!(world.phases(), [ENFORCE; 3]);
    world.snapshot.nodes[2].labels = labels("no");
    for _ in 0..2 {
        // Until it has done so.
        world.write();
        assert_eq!(world.phases(), [ENFORCE, ENFORCE, PREPARE]);
        assert_eq!(world.state("c").spec.policies[0].target, PhaseTarget::Absent);
    }
    world.agents_confirm();
    world.write();
    assert_eq!(world.phases(), [ENFORCE, ENFORCE, None]);
}

#[test]
fn a_policy_that_can_not_be_read_is_no_deleted_one() {
    let mut world = World::in_force();
    let policy = world.snapshot.policies.pop().unwrap();
    let uid = policy.metadata.uid.clone().unwrap();
    world.snapshot.unreadable.insert("pods".to_owned(), uid);
    let before = (world.state("a").spec.clone(), world.snapshot.peers[0].spec.clone());
    for _ in 0..3 {
        world.write();
        world.agents_confirm();
    }
    assert_eq!((world.state("a").spec.clone(), world.snapshot.peers[0].spec.clone()), before);
    // One of its name that is another is one: this one has been deleted.
    world.snapshot.unreadable.insert("pods".to_owned(), "another".to_owned());
    world.write();
    assert_eq!(world.phases(), [ENCRYPT; 3]);
}

#[test]
fn sas_of_a_policy_that_can_not_be_read_stay_its_own() {
    let mut world = World::settled();
    let policy = world.snapshot.policies.pop().unwrap();
    world.snapshot.unreadable.insert("pods".to_owned(), policy.metadata.uid.unwrap());
    let before = world.state("a").spec.clone();
    world.write();
    assert_eq!(world.state("a").spec, before);
}

/// etcd was restored: resourceVersions count from where they were then.
#[test]
fn an_acknowledgement_from_the_future_is_none() {
    let mut world = World::in_force();
    world.publish("a", &["a1", "a2"]);
    for node in ["b", "c"] {
        world.agent(node).peers_applied_through = Some("9000".to_owned());
        world.state(node).metadata.resource_version = Some("8999".to_owned());
    }
    world.write();
    let acknowledged = |world: &mut World| world.state("a").spec.keys.clone().unwrap().acknowledged;
    assert_eq!(acknowledged(&mut world).as_deref(), Some("a1"));
    assert!(world.plan().policy("pods", "Programmed").starts_with("False Pending: waiting for"));
    for node in ["b", "c"] {
        world.state(node).metadata.resource_version = Some("9001".to_owned());
    }
    world.write();
    assert_eq!(acknowledged(&mut world).as_deref(), Some("a2"));
}

#[test]
fn what_concerns_each_node_by_itself_changes_at_once() {
    let mut world = World::in_force();
    world.policy("pods").spec.priority = 7;
    assert_eq!(world.write().policy("pods", "Accepted"), "True Accepted");
    assert_eq!((world.state("a").spec.policies[0].priority, world.phases()), (7, vec![ENFORCE; 3]));
}

fn gateway() -> Endpoints {
    let gateway = Some(Gateway { address: Some("198.51.100.7".into()), node: None });
    Endpoints { cidrs: Some(vec!["203.0.113.0/24".into()]), gateway, ..Default::default() }
}

fn udp(port: u16) -> TrafficSelector {
    TrafficSelector { port: Some(port), ..TrafficSelector::all_of(TrafficProtocol::UDP) }
}

#[test]
fn what_is_not_implemented_is_named() {
    let accepted = |edit: &dyn Fn(&mut IpsecPolicySpec)| {
        let mut world = world();
        let spec = &mut world.policy("pods").spec;
        spec.protection = Some(Protection::default());
        edit(spec);
        world.plan().policy("pods", "Accepted")
    };
    assert_eq!(accepted(&|_| {}), "True Accepted");
    assert_eq!(accepted(&|spec| spec.from = vec![nodes(), pod_cidrs()]), "True Accepted");
    assert!(
        accepted(&|spec| spec.to = vec![gateway()])
            .contains("no agent outside the cluster; write gateway: {node: NAME} if a node")
    );
    let overlay = |spec: &mut IpsecPolicySpec| {
        spec.from = vec![nodes()];
        spec.protection.as_mut().unwrap().mode = Mode::Transport;
        spec.traffic = vec![udp(8472)];
    };
    assert_eq!(accepted(&overlay), "True Accepted");
    let all = |spec: &mut IpsecPolicySpec| {
        overlay(spec);
        spec.traffic.clear();
    };
    assert_eq!(accepted(&all), "True Accepted");
    let edit = |edit: fn(&mut Protection)| accepted(&|spec| edit(spec.protection.as_mut().unwrap()));
    assert!(edit(|one| one.mode = Mode::BEET).contains("write mode: Tunnel"));
    assert!(edit(|one| one.compression = Compression::Deflate).contains("with compression"));
    assert!(edit(|one| one.protocol = Protocol::IPComp).contains("write protocol: ESP"));
    for limit in [0, -1] {
        let limited = accepted(&|spec| {
            let keying = &mut spec.protection.as_mut().unwrap().keying;
            keying.automatic.get_or_insert_default().max_bytes = Some(limit);
        });
        assert!(
            limited.starts_with("False Invalid: keying.automatic.maxBytes: write 1 or more"),
            "{limited}"
        );
    }
    let every = |every: &'static str| {
        accepted(&|spec| {
            let keying = &mut spec.protection.as_mut().unwrap().keying;
            keying.automatic.get_or_insert_default().rotate_every = Some(every.into());
        })
    };
    assert_eq!(every("30s"), "True Accepted");
    for bad in ["29s", "85h", "soon"] {
        assert!(
            every(bad).starts_with("False Invalid: keying.automatic.rotateEvery: write 30s to 84h"),
            "{bad}"
        );
    }
}

#[test]
fn limits_are_told_and_change_nothing_of_the_revision() {
    let mut world = World::in_force();
    let before = world.plan().node_states["a"].0.policies[0].clone();
    let automatic = AutomaticKeying { max_packets: Some(1), max_bytes: Some(i64::MAX), ..Default::default() };
    let keying = Keying { automatic: Some(automatic), manual: None };
    world.policy("pods").spec.protection = Some(Protection { keying, ..Default::default() });
    let plan = world.write();
    assert_eq!(plan.policy("pods", "Accepted"), "True Accepted");
    let told = &plan.node_states["a"].0.policies[0];
    assert_eq!((&told.revision, told.phase), (&before.revision, before.phase));
    let keying = told.automatic.as_ref().unwrap();
    assert_eq!((keying.max_packets, keying.max_bytes), (Some(1), Some(i64::MAX)));
}
