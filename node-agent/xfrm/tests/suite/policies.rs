//! Policies, written, changed and read back.

use std::cell::RefCell;
use std::collections::BTreeMap;

use esplanade_model::{
    Action, Direction, Mark, Mode, Observed, ObservedPolicy, Op, Policy, PolicyFlags, PolicyIndex, Port,
    Protocol, Selector, Template,
};
use proptest::test_runner::{Config, TestRunner};

use super::objects::{
    DIRECTIONS, add, add_all, delete, only, policy, reqid, selector, selector_v6, transport, tunnel, v6,
};
use super::{Subject, must, policies, strategies};

fn reads_back(kernel: &mut dyn Subject, policies: impl IntoIterator<Item = Policy>) {
    let wanted: BTreeMap<_, _> = policies.into_iter().map(|policy| (policy.key(), policy)).collect();
    must(kernel, &add_all(wanted.values().cloned()));
    for _ in 0..2 {
        let observed = super::policies(kernel);
        let read = observed.into_iter().map(|(key, one)| (key, one.policy.expect("does not read back")));
        assert_eq!(read.collect::<BTreeMap<_, _>>(), wanted);
    }
}

pub(crate) fn every_selector_reads_back(kernel: &mut dyn Subject) {
    const TCP: u8 = 6;
    const ICMP: u8 = 1;
    const ICMPV6: u8 = 58;
    let all = |text: &str| Selector::new(text.parse().unwrap(), text.parse().unwrap()).unwrap();
    let mut selectors = Vec::new();
    for base in [selector(1), selector_v6(1), all("0.0.0.0/0"), all("::/0"), all("192.0.2.1/32")] {
        let icmp = if base.source().addr().is_ipv4() { ICMP } else { ICMPV6 };
        selectors.push(base);
        selectors.push(only(base, TCP, Port::ANY, Port::ANY));
        selectors.push(only(base, TCP, Port::ANY, Port::exactly(443)));
        selectors.push(only(base, TCP, Port::exactly(53), Port::ANY));
        selectors.push(only(base, TCP, Port::masked(0x1230, 0xfff0), Port::ANY));
        // Echo request: type and code.
        selectors.push(only(base, icmp, Port::exactly(8), Port::exactly(0)));
    }
    let with = |direction, selector| Policy { selector, ..policy(direction, 1) };
    let both = |selector| DIRECTIONS.map(|direction| with(direction, selector));
    let wanted: Vec<_> = selectors.into_iter().flat_map(both).collect();
    assert_eq!(wanted.len(), 90);
    reads_back(kernel, wanted);
}

pub(crate) fn every_template_reads_back(kernel: &mut dyn Subject) {
    let tunnel_v6 = Template { tunnel: Some((v6(1), v6(2))), ..tunnel(2) };
    let ah = Template { protocol: Protocol::Ah, ..transport(3) };
    let lists = [
        vec![],
        vec![tunnel(1)],
        vec![transport(1)],
        vec![tunnel_v6],
        vec![ah],
        vec![tunnel(1), ah],
        vec![tunnel_v6, ah],
        vec![transport(1), ah],
        vec![tunnel(1), tunnel_v6, transport(3), ah, tunnel(5), tunnel(6)],
        vec![Template { optional: true, ..transport(1) }],
        vec![Template { optional: true, ..tunnel(1) }],
        vec![Template { reqid: None, ..tunnel(1) }],
        vec![Template { optional: true, ..tunnel(1) }, Template { reqid: None, ..tunnel(1) }],
    ];
    let mut wanted = Vec::new();
    for (templates, number) in lists.into_iter().zip(0..) {
        for (selector, direction) in
            DIRECTIONS.iter().flat_map(|one| [(selector(number), *one), (selector_v6(number), *one)])
        {
            let optional = templates.iter().any(|one| one.optional && one.mode == Mode::Tunnel);
            if optional && direction == Direction::Out {
                continue; // See `unfit_templates_are_refused`.
            }
            let templates = templates.clone();
            wanted.push(Policy { selector, templates, ..policy(direction, number) });
        }
    }
    for (action, number) in [(Action::Block, 100), (Action::Allow, 101)] {
        wanted.push(Policy { action, templates: vec![], ..policy(Direction::Out, number) });
    }
    let priorities = [(0, 110), (u32::MAX, 111)];
    wanted.extend(priorities.map(|(priority, number)| Policy { priority, ..policy(Direction::In, number) }));
    reads_back(kernel, wanted);
}

pub(crate) fn generated_policies_read_back(kernel: &mut dyn Subject) {
    let config = Config { cases: 4, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let kernel = RefCell::new(kernel);
    TestRunner::new(config)
        .run(&proptest::collection::vec(strategies::policy(), 100), |policies| {
            let kernel = &mut **kernel.borrow_mut();
            // Also after a case that failed.
            let delete = |one: ObservedPolicy| Op::DeletePolicy {
                direction: one.key.direction,
                index: one.index,
                interface_id: one.key.interface_id,
                mark: one.key.mark,
            };
            let deletions = kernel.dump().unwrap().policies.into_iter().map(delete);
            must(kernel, &deletions.collect::<Vec<_>>());
            reads_back(kernel, policies);
            Ok(())
        })
        .unwrap();
}

pub(crate) fn an_update_keeps_the_index(kernel: &mut dyn Subject) {
    for direction in DIRECTIONS {
        must(kernel, &[add(policy(direction, 1), 5)]);
        let index = PolicyIndex::new(5, direction);
        let changed = Policy {
            priority: 7,
            templates: vec![Template { reqid: Some(reqid(99)), ..transport(1) }],
            ..policy(direction, 1)
        };
        must(kernel, &[Op::UpdatePolicy { policy: changed.clone(), index }]);
        let read = &policies(kernel)[&changed.key()];
        assert_eq!((read.index, read.policy.as_ref()), (index, Some(&changed)));
        let blocked = Policy { action: Action::Block, templates: vec![], ..changed };
        must(kernel, &[Op::UpdatePolicy { policy: blocked.clone(), index }]);
        let read = &policies(kernel)[&blocked.key()];
        assert_eq!((read.index, read.policy.as_ref()), (index, Some(&blocked)));
    }
}

pub(crate) fn an_update_adds_what_is_missing(kernel: &mut dyn Subject) {
    let index = PolicyIndex::new(3, Direction::In);
    must(kernel, &[Op::UpdatePolicy { policy: policy(Direction::In, 1), index }]);
    assert_eq!(policies(kernel)[&policy(Direction::In, 1).key()].index, index);
}

pub(crate) fn deleted_policies_are_gone(kernel: &mut dyn Subject) {
    must(kernel, &add_all(DIRECTIONS.map(|direction| policy(direction, 1))));
    assert_eq!(policies(kernel).len(), 3);
    must(kernel, &[delete(Direction::Out, 1)]);
    let left = [policy(Direction::In, 1).key(), policy(Direction::Forward, 1).key()];
    assert_eq!(policies(kernel).into_keys().collect::<Vec<_>>(), left);
    must(kernel, &[delete(Direction::In, 0), delete(Direction::Forward, 2)]);
    assert_eq!(kernel.dump().unwrap(), Observed::default());
}

pub(crate) fn deleting_what_is_gone_is_a_success(kernel: &mut dyn Subject) {
    must(kernel, &[add(policy(Direction::In, 1), 1)]);
    let before = kernel.raw();
    let other =
        |direction, index, interface_id, mark| Op::DeletePolicy { direction, index, interface_id, mark };
    must(
        kernel,
        &[
            Op::DeleteSa(super::objects::sa(1).id(), Mark::NONE),
            delete(Direction::Out, 9),
            // An index of another direction names nothing.
            other(Direction::Out, PolicyIndex::new(1, Direction::In), 0, Mark::NONE),
            // Neither does one of another interface, or with another mark.
            other(Direction::In, PolicyIndex::new(1, Direction::In), 7, Mark::NONE),
            other(Direction::In, PolicyIndex::new(1, Direction::In), 0, Mark::masked(7, 0xff)),
        ],
    );
    assert_eq!(kernel.raw(), before);
}

pub(crate) fn a_taken_index_is_replaced(kernel: &mut dyn Subject) {
    must(kernel, &[add(policy(Direction::Out, 1), 4), add(policy(Direction::Out, 2), 4)]);
    let observed = kernel.dump().unwrap();
    // The second has an index that isn't ours, so it counts as somebody else's.
    assert_eq!(observed.policies.len(), 1);
    assert_eq!(observed.policies[0].key, policy(Direction::Out, 1).key());
    assert_eq!(observed.foreign_policies, [policy(Direction::Out, 2).key()]);
    let taken = PolicyIndex::new(4, Direction::Out).get();
    assert_eq!(observed.taken_indexes.into_iter().collect::<Vec<_>>(), [taken]);
}

/// A mark is part of a policy's name, and so is the interface by its index.
pub(crate) fn policies_of_marks_and_interfaces_are_others(kernel: &mut dyn Subject) {
    let of = |mark, interface_index, direction| {
        let mut policy = Policy { mark, ..policy(direction, 1) };
        policy.selector.interface_index = interface_index;
        policy
    };
    let marks = [Mark::NONE, Mark::masked(7, 0xff), Mark::masked(7, 0xf), Mark::masked(0, 0xff)];
    let names = marks.into_iter().flat_map(|mark| [0, 1, 9].map(|index| (mark, index)));
    let all: Vec<_> =
        names.flat_map(|(mark, index)| DIRECTIONS.map(|direction| of(mark, index, direction))).collect();
    reads_back(kernel, all.clone());
    let (key, mark) = (of(marks[1], 1, Direction::In).key(), marks[1]);
    let index = policies(kernel)[&key].index;
    must(kernel, &[Op::DeletePolicy { direction: Direction::In, index, interface_id: 0, mark }]);
    let left: Vec<_> = policies(kernel).into_keys().collect();
    assert_eq!(left.len(), all.len() - 1);
    assert!(!left.contains(&key));
}

pub(crate) fn flags_read_back(kernel: &mut dyn Subject) {
    let all = [(true, false), (false, true), (true, true)];
    let policies = all.into_iter().zip(1..).map(|((icmp_errors, local_override), number)| Policy {
        flags: PolicyFlags { icmp_errors, local_override },
        ..policy(Direction::Out, number)
    });
    reads_back(kernel, policies);
}

/// The interface is part of a policy's name, and not of an SA's.
pub(crate) fn policies_of_interfaces_are_others(kernel: &mut dyn Subject) {
    let of = |interface_id, direction| Policy { interface_id, ..policy(direction, 1) };
    let all: Vec<_> =
        [0, 1, u32::MAX].into_iter().flat_map(|id| DIRECTIONS.map(|direction| of(id, direction))).collect();
    reads_back(kernel, all.clone());
    let index = policies(kernel)[&of(1, Direction::In).key()].index;
    must(kernel, &[Op::DeletePolicy { direction: Direction::In, index, interface_id: 1, mark: Mark::NONE }]);
    let left: Vec<_> = policies(kernel).into_keys().collect();
    assert_eq!(left.len(), all.len() - 1);
    assert!(!left.contains(&of(1, Direction::In).key()));
}
