use esplanade_crds::{Action, Mode, NodePolicy, Phase, Protocol};

use super::in_order;

fn policy(name: &str, priority: u16, action: Action) -> NodePolicy {
    NodePolicy {
        name: name.into(),
        uid: String::new(),
        revision: String::new(),
        phase: Phase::Enforce,
        target: Default::default(),
        priority,
        action,
        mode: Mode::Tunnel,
        protocol: Protocol::ESP,
        compression: esplanade_crds::Compression::None,
        interface_id: 0,
        mark: None,
        icmp_errors: false,
        offload: esplanade_crds::Offload::None,
        local_override: false,
        traffic: vec![],
        gateways: vec![],
        outside: None,
        automatic: None,
    }
}

#[test]
fn priority_then_action_then_name() {
    let policies = [
        policy("b", 500, Action::Bypass),
        policy("z", 500, Action::Discard),
        policy("d", 500, Action::Protect),
        policy("c", 500, Action::Protect),
        policy("last", 1000, Action::Discard),
        policy("first", 0, Action::Bypass),
    ];
    let order: Vec<_> =
        in_order(&policies).into_iter().map(|(n, policy)| (n, policy.name.as_str())).collect();
    assert_eq!(
        order,
        [(10_064, "first"), (74_000, "z"), (74_032, "c"), (74_033, "d"), (74_064, "b"), (138_000, "last"),]
    );
}

#[test]
fn a_crowd_of_one_priority_stays_in_its_band() {
    let policies: Vec<_> = (0..40).map(|n| policy(&format!("p{n:02}"), 7, Action::Protect)).collect();
    let order = in_order(&policies);
    assert!(order.is_sorted_by_key(|(n, _)| *n));
    let (first, last) = (order.first().map(|one| one.0), order.last().map(|one| one.0));
    assert_eq!((first, last), (Some(10_928), Some(10_959)));
    let bypass = [policy("p", 7, Action::Bypass)];
    let next = in_order(&bypass);
    assert_eq!(next.first().map(|one| one.0), Some(10_960));
}

#[test]
fn of_two_revisions_the_one_that_is_further_comes_first_at_the_newests_place() {
    let revision = |revision: &str, phase, priority| NodePolicy {
        revision: revision.into(),
        phase,
        ..policy("p", priority, Action::Protect)
    };
    let order = |one, other| {
        let policies = [policy("o", 7, Action::Protect), one, other, policy("q", 7, Action::Protect)];
        let order = in_order(&policies);
        order
            .into_iter()
            .map(|(n, policy)| (n, format!("{}{}", policy.name, policy.revision)))
            .collect::<Vec<_>>()
    };
    let words = |order: [(u32, &str); 4]| order.map(|(n, name)| (n, name.to_owned())).to_vec();
    assert_eq!(
        order(revision("1", Phase::Enforce, 900), revision("2", Phase::Encrypt, 7)),
        words([(10_928, "o"), (10_929, "p1"), (10_930, "p2"), (10_930, "q")])
    );
    assert_eq!(
        order(revision("1", Phase::Enforce, 900), revision("2", Phase::Enforce, 7)),
        words([(10_928, "o"), (10_929, "p2"), (10_930, "p1"), (10_930, "q")])
    );
}
