//! What nodes are told, and what everyone is told of them.

use esplanade_crds::{
    Action, AntiReplay, AutomaticKeying, Enforcement, IpsecNodeStateSpec, IpsecPeerSpec, Mode, PeerSelectors,
    Phase, TrafficProtocol, TrafficSelector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::build::{key, mk_node, mk_policy, mk_sa, node, nodes, pod_cidrs};
use super::world::World;
use crate::secrets_wanted;

#[test]
fn every_node_has_its_objects_also_without_policies() {
    let mut world = World::two_nodes();
    world.snapshot.policies.clear();
    world.snapshot.sas.clear();
    let plan = world.plan();
    assert_eq!(plan.node_states["a"], (IpsecNodeStateSpec::default(), "uid-of-a".to_owned()));
    assert_eq!(
        plan.peers["b"],
        IpsecPeerSpec { addresses: vec!["10.0.0.2".into(), "fd00::2".into()], selectors: Vec::new() }
    );
}

#[test]
fn what_a_node_is_told() {
    let mut world = World::settled();
    world.sa("a-to-b").spec.anti_replay = Some(AntiReplay { window: 64, extended_sequence_numbers: true });
    let mut spec = world.plan().node_states["a"].0.clone();
    // Sealed keys are others each time.
    for sa in &mut spec.security_associations {
        sa.integrity.as_mut().unwrap().key.recipient = "RECIPIENT".into();
        sa.encryption.as_mut().unwrap().key.as_mut().unwrap().recipient = "RECIPIENT".into();
        sa.encryption.as_mut().unwrap().key.as_mut().unwrap().sealed = "sealed".into();
        sa.integrity.as_mut().unwrap().key.sealed = "sealed".into();
    }
    insta::assert_yaml_snapshot!(spec, @r#"
    policies:
      - name: pods
        uid: uid-of-pods
        revision: 7f73ef0e558b17ec
        phase: Enforce
        priority: 500
        action: Protect
        mode: Tunnel
        protocol: ESP
    securityAssociations:
      - name: a-to-b
        policy: pods
        source:
          node: a
          address: 10.0.0.1
        destination:
          node: b
          address: 10.0.0.2
        spi: 4097
        protocol: ESP
        mode: Tunnel
        encryption:
          algorithm: AES-CBC-256
          key:
            recipient: RECIPIENT
            sealed: sealed
            source:
              uid: uid-of-keys
              resourceVersion: "7"
              key: enc
        integrity:
          algorithm: HMAC-SHA2-256-128
          key:
            recipient: RECIPIENT
            sealed: sealed
            source:
              uid: uid-of-keys
              resourceVersion: "7"
              key: auth
        antiReplay:
          window: 64
          extendedSequenceNumbers: true
      - name: b-to-a
        policy: pods
        source:
          node: b
          address: 10.0.0.2
        destination:
          node: a
          address: 10.0.0.1
        spi: 4098
        protocol: ESP
        mode: Tunnel
        encryption:
          algorithm: AES-CBC-256
          key:
            recipient: RECIPIENT
            sealed: sealed
            source:
              uid: uid-of-keys
              resourceVersion: "7"
              key: enc
        integrity:
          algorithm: HMAC-SHA2-256-128
          key:
            recipient: RECIPIENT
            sealed: sealed
            source:
              uid: uid-of-keys
              resourceVersion: "7"
              key: auth
        antiReplay:
          window: 0
          extendedSequenceNumbers: false
    podCIDRs:
      - 10.244.1.0/24
    "#);
}

#[test]
fn who_takes_part_stands_in_the_peers() {
    let plan = World::two_nodes().plan();
    let both = vec!["10.244.1.0/24".to_owned()];
    let selectors = PeerSelectors { policy: "pods".into(), revision: None, from: both.clone(), to: both };
    assert_eq!(plan.peers["a"].selectors, [selectors]);
}

#[test]
fn nodes_are_their_addresses_and_sides_are_kept_apart() {
    let mut world = World::two_nodes();
    let spec = &mut world.policy("pods").spec;
    spec.from = vec![nodes()];
    let mut to = pod_cidrs();
    to.pod_cidrs = Some(node("b"));
    spec.to = vec![to];
    let plan = world.plan();
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let at = |node: &str| plan.peers[node].selectors[0].clone();
    assert_eq!((at("a").from, at("a").to), (texts(&["10.0.0.1/32", "fd00::1/128"]), Vec::new()));
    assert_eq!(
        (at("b").from, at("b").to),
        (texts(&["10.0.0.2/32", "fd00::2/128"]), texts(&["10.244.2.0/24"]))
    );
}

#[test]
fn a_node_that_takes_no_part_is_told_nothing() {
    let mut world = World::settled();
    world.snapshot.nodes.push(mk_node("c", &["10.0.0.3"], &[]));
    let plan = world.plan();
    assert_eq!(plan.node_states["c"].0, IpsecNodeStateSpec::default());
    assert!(plan.peers["c"].selectors.is_empty());
}

#[test]
fn labels_select_nodes() {
    let matched = |operator: &str, values: &[&str]| {
        let mut world = World::two_nodes();
        world.snapshot.nodes.push(mk_node("c", &["10.0.0.3"], &["10.244.3.0/24"]));
        for (node, tier) in world.snapshot.nodes.iter_mut().zip(["gold", "silver"]) {
            node.labels.insert("tier".into(), tier.into());
        }
        let values = values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let requirement = LabelSelectorRequirement {
            key: "tier".into(),
            operator: operator.into(),
            values: (!values.is_empty()).then_some(values),
        };
        let spec = &mut world.policy("pods").spec;
        spec.from[0].pod_cidrs =
            Some(LabelSelector { match_labels: None, match_expressions: Some(vec![requirement]) });
        let plan = world.plan();
        ["a", "b", "c"].into_iter().filter(|node| !plan.policies_at(node).is_empty()).collect::<String>()
    };
    assert_eq!(matched("In", &["gold", "bronze"]), "a");
    assert_eq!(matched("NotIn", &["gold"]), "bc");
    assert_eq!(matched("Exists", &[]), "ab");
    assert_eq!(matched("DoesNotExist", &[]), "c");
}

#[test]
fn permissive_stays_at_encrypt() {
    let mut world = World::two_nodes();
    assert_eq!(world.plan().node_states["a"].0.policies[0].phase, Phase::Enforce);
    world.policy("pods").spec.protection.as_mut().unwrap().enforcement = Enforcement::Permissive;
    assert_eq!(world.plan().node_states["a"].0.policies[0].phase, Phase::Encrypt);
}

#[test]
fn the_revision_changes_with_selectors_and_algorithms_only() {
    let mut world = World::two_nodes();
    let revision = |world: &mut World| world.plan().node_states["a"].0.policies[0].revision.clone();
    let first = revision(&mut world);
    assert_eq!(first.len(), 16);
    let spec = &mut world.policy("pods").spec;
    spec.priority = 7;
    spec.protection.as_mut().unwrap().enforcement = Enforcement::Permissive;
    assert_eq!(revision(&mut world), first);
    let tcp = TrafficSelector::all_of(TrafficProtocol::TCP);
    world.policy("pods").spec.traffic.push(tcp);
    let second = revision(&mut world);
    assert_ne!(second, first);
    world.policy("pods").spec.protection.as_mut().unwrap().mode = Mode::Transport;
    world.policy("pods").spec.from = vec![nodes()];
    assert_ne!(revision(&mut world), second);
}

#[test]
fn discard_and_bypass_are_told_without_templates() {
    let mut world = World::settled();
    for action in [Action::Discard, Action::Bypass] {
        let spec = &mut world.policy("pods").spec;
        (spec.action, spec.protection) = (action, None);
        let plan = world.plan();
        assert_eq!(plan.node_states["b"].0.policies[0].action, action);
        assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    }
}

#[test]
fn an_ipsec_sa_of_no_policy_is_installed_by_itself() {
    let mut world = World::settled();
    world.snapshot.policies.clear();
    let plan = world.plan();
    assert_eq!(plan.installed_at("a"), ["a-to-b", "b-to-a"]);
    assert!(plan.node_states["a"].0.security_associations.iter().all(|sa| sa.policy.is_none()));
}

#[test]
fn the_secrets_that_objects_name_are_wanted_also_those_of_bad_ones() {
    let mut bad = mk_sa("bad", "a", "b", 1);
    bad.spec.integrity.as_mut().unwrap().key_secret_ref.name = "others".into();
    let mut policy = mk_policy("pods", &["good"]);
    let automatic = AutomaticKeying { ppk_secret_ref: Some(key("ppk", "k")), ..Default::default() };
    policy.spec.protection.as_mut().unwrap().keying.automatic = Some(automatic);
    let wanted = secrets_wanted(&[mk_sa("good", "a", "b", 0x1000), bad], &[policy, mk_policy("other", &[])]);
    assert_eq!(wanted.into_iter().collect::<Vec<_>>(), ["keys", "others", "ppk"]);
}

#[test]
fn marks_and_flags_are_told_and_a_mark_makes_another_revision() {
    let mut world = World::settled();
    let before = world.plan().node_states["a"].0.policies[0].revision.clone();
    let mark = |value, mask| Some(esplanade_crds::Mark { value, mask });
    world.policy("pods").spec.mark = mark(7, 0xff);
    let protection = world.policy("pods").spec.protection.as_mut().unwrap();
    (protection.icmp_errors, protection.local_override) = (true, true);
    world.sa("a-to-b").spec.mark = mark(7, 0xf);
    world.sa("a-to-b").spec.output_mark = mark(0x100, 0xff00);
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    for node in ["a", "b"] {
        let spec = &plan.node_states[node].0;
        let policy = &spec.policies[0];
        assert_eq!((policy.mark, policy.icmp_errors, policy.local_override), (mark(7, 0xff), true, true));
        assert_ne!(policy.revision, before);
        let sas: Vec<_> = spec
            .security_associations
            .iter()
            .map(|sa| (sa.name.as_str(), sa.mark, sa.output_mark, sa.icmp_errors))
            .collect();
        assert_eq!(sas, [("a-to-b", mark(7, 0xf), mark(0x100, 0xff00), true), ("b-to-a", None, None, true)]);
    }
    // What a refused policy had stays with it.
    world.apply(&plan);
    world.policy("pods").spec.from.clear();
    let plan = world.plan();
    assert!(plan.node_states["a"].0.security_associations.iter().all(|sa| sa.icmp_errors));
}

#[test]
fn an_interface_is_told_of_policies_and_sas_and_makes_another_revision() {
    let mut world = World::settled();
    let revision = |plan: &crate::Plan| plan.node_states["a"].0.policies[0].revision.clone();
    let before = revision(&world.plan());
    for name in ["a-to-b", "b-to-a"] {
        world.sa(name).spec.interface_id = 7;
    }
    world.policy("pods").spec.protection.as_mut().unwrap().interface_id = 7;
    let plan = world.plan();
    assert_eq!(plan.policy("pods", "ResolvedRefs"), "True ResolvedRefs");
    for node in ["a", "b"] {
        let spec = &plan.node_states[node].0;
        assert_eq!(spec.policies.iter().map(|one| one.interface_id).collect::<Vec<_>>(), [7]);
        assert_eq!(spec.security_associations.iter().map(|one| one.interface_id).collect::<Vec<_>>(), [7, 7]);
    }
    assert_ne!(revision(&plan), before);
}

#[test]
fn a_cpu_is_told_of_an_sa_and_its_policy_stays_as_it_is() {
    let mut world = World::settled();
    let revision = |plan: &crate::Plan| plan.node_states["a"].0.policies[0].revision.clone();
    let before = revision(&world.plan());
    let mut sa = mk_sa("of-1", "a", "b", 0x3001);
    sa.spec.cpu = Some(1);
    world.snapshot.sas.push(sa);
    world.policy("pods").spec = mk_policy("pods", &["a-to-b", "b-to-a", "of-1"]).spec;
    let plan = world.plan();
    let sas = &plan.node_states["a"].0.security_associations;
    assert_eq!(sas.iter().filter_map(|one| one.cpu).collect::<Vec<_>>(), [1]);
    assert_eq!(revision(&plan), before);
}

#[test]
fn iptfs_and_its_parameters_are_told_of_both_ends() {
    let mut world = World::settled();
    let iptfs = esplanade_crds::Iptfs { packet_size: 400, ..Default::default() };
    for sa in &mut world.snapshot.sas {
        sa.spec.mode = Mode::IPTFS;
        sa.spec.iptfs = Some(iptfs);
    }
    if let Some(protection) = &mut world.policy("pods").spec.protection {
        protection.mode = Mode::IPTFS;
    }
    let plan = world.plan();
    for node in ["a", "b"] {
        let state = &plan.node_states[node].0;
        assert_eq!(state.policies[0].mode, Mode::IPTFS);
        assert_eq!(state.security_associations.len(), 2);
        assert!(
            state.security_associations.iter().all(|sa| (sa.mode, sa.iptfs) == (Mode::IPTFS, Some(iptfs)))
        );
    }
}
