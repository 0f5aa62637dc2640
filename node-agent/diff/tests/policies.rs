//! What is done about a policy, by what differs; and the order of everything.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;

use common::{
    in_kernel, inbound, observed, outbound, policy, policy_in_kernel, sa, selector, template, wanted,
};
use esplanade_diff::diff;
use esplanade_model::{
    Action, Direction, Mark, Mode, ObservedPolicy, Op, Policy, PolicyIndex, Port, Protocol, Reqid, Sa, Spi,
    Template,
};

type Change = (&'static str, fn(&mut Policy));

/// Changes that leave the policy its name in the kernel.
const SAME_NAME: &[Change] = &[
    ("priority", |policy| policy.priority += 1),
    ("action", |policy| policy.action = Action::Block),
    ("no templates", |policy| policy.templates.clear()),
    ("more templates", |policy| policy.templates.push(template())),
    ("template's protocol", |policy| change_template(policy, |one| one.protocol = Protocol::Ah)),
    ("template's mode", |policy| change_template(policy, |one| one.mode = Mode::Transport)),
    ("template's reqid", |policy| change_template(policy, |one| one.reqid = Some(Reqid::from_hash(2)))),
    ("any reqid", |policy| change_template(policy, |one| one.reqid = None)),
    ("template's addresses", |policy| change_template(policy, |one| one.tunnel = None)),
    ("template's optionality", |policy| change_template(policy, |one| one.optional = true)),
    ("ICMP errors", |policy| policy.flags.icmp_errors = true),
    ("local override", |policy| policy.flags.local_override = true),
];

/// Changes that make it another policy.
const OTHER_NAME: &[Change] = &[
    ("interface", |policy| policy.interface_id = 7),
    ("mark", |policy| policy.mark = Mark::masked(7, 0xff)),
    ("mark's mask", |policy| policy.mark = Mark::masked(0, 0xff)),
    ("interface by index", |policy| policy.selector.interface_index = 2),
    ("direction", |policy| policy.direction = Direction::Forward),
    ("networks", |policy| policy.selector = selector("10.1.0.0/16", "10.2.0.0/24")),
    ("protocol", |policy| policy.selector.protocol = 6),
    ("source port", |policy| policy.selector.source_port = Port::exactly(80)),
    ("destination port", |policy| policy.selector.destination_port = Port::masked(80, 0xfffe)),
];

fn change_template(policy: &mut Policy, change: fn(&mut Template)) {
    policy.templates.iter_mut().for_each(change);
}

fn ops(wanted_policies: &[Policy], there: &[ObservedPolicy]) -> Vec<Op> {
    let diff = diff(&wanted(&[], wanted_policies), &observed(&[], there));
    assert!(diff.conflicts.is_empty(), "{:?}", diff.conflicts);
    diff.steps.into_iter().map(|step| step.op).collect()
}

#[test]
fn nothing_to_do_for_what_is_there() {
    for direction in [Direction::In, Direction::Out, Direction::Forward] {
        assert_eq!(ops(&[policy(direction)], &[policy_in_kernel(policy(direction), 5)]), []);
    }
}

#[test]
fn a_change_is_made_in_one_step() {
    for (name, change) in SAME_NAME {
        let mut changed = policy(Direction::Out);
        change(&mut changed);
        let there = policy_in_kernel(policy(Direction::Out), 5);
        let expected = [Op::UpdatePolicy { policy: changed.clone(), index: there.index }];
        assert_eq!(ops(&[changed], &[there]), expected, "{name}");
    }
}

#[test]
fn another_name_is_another_policy() {
    for (name, change) in OTHER_NAME {
        let mut changed = policy(Direction::Out);
        change(&mut changed);
        let there = policy_in_kernel(policy(Direction::Out), 5);
        let gone = Op::DeletePolicy {
            direction: Direction::Out,
            index: there.index,
            interface_id: 0,
            mark: Mark::NONE,
        };
        let ops = ops(std::slice::from_ref(&changed), &[there]);
        let [Op::AddPolicy { policy: added, index }, deleted] = ops.as_slice() else {
            panic!("{name}: add, then delete: {ops:?}")
        };
        assert_eq!((added, deleted), (&changed, &gone), "{name}");
        assert_eq!(index.get() & 7, changed.direction.kernel(), "{name}");
    }
}

#[test]
fn one_that_is_not_like_ours_is_made_so() {
    let there = ObservedPolicy { policy: None, ..policy_in_kernel(policy(Direction::In), 5) };
    let expected = [Op::UpdatePolicy { policy: policy(Direction::In), index: there.index }];
    assert_eq!(ops(&[policy(Direction::In)], &[there]), expected);
}

#[test]
fn a_foreign_policy_in_the_way_is_a_conflict_and_nothing_is_done() {
    let mut wanted_policy = policy(Direction::Out);
    wanted_policy.selector.protocol = 6;
    wanted_policy.selector.destination_port = Port::exactly(80);
    let mut there = observed(&[], &[]);
    there.foreign_policies.push(wanted_policy.key());
    let diff = diff(&wanted(&[], &[wanted_policy]), &there);
    assert_eq!(diff.steps, []);
    let messages: Vec<_> = diff.conflicts.iter().map(|one| one.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the kernel has an outbound policy for 10.1.0.0/24 to 10.2.0.0/24, protocol 6, destination port 80/0xffff \
          that another program made; it is left alone. Remove it there"
        ]
    );
}

#[test]
fn no_index_is_given_twice() {
    let index_of = |there: &esplanade_model::Observed| {
        let diff = diff(&wanted(&[], &[policy(Direction::Out)]), there);
        match diff.steps.as_slice() {
            [step] => match step.op {
                Op::AddPolicy { index, .. } => index,
                _ => panic!("{step:?}"),
            },
            steps => panic!("{steps:?}"),
        }
    };
    let mut there = observed(&[], &[]);
    let mut given = BTreeSet::new();
    for _ in 0..10 {
        let index = index_of(&there);
        assert!(PolicyIndex::owned(index.get()).is_some());
        assert!(given.insert(index), "{index:?} is taken");
        there.taken_indexes.insert(index.get());
    }
}

#[test]
fn order() {
    let named = |spi| Sa { spi: Spi::new(spi).unwrap(), ..sa() };
    let old = |direction| Policy { selector: selector("10.8.0.0/24", "10.9.0.0/24"), ..policy(direction) };
    let wanted = wanted(
        &[outbound(named(256)), inbound(named(257)), outbound(named(258))],
        &[policy(Direction::Out), policy(Direction::Forward), policy(Direction::In)],
    );
    // 258 has to be replaced; 300 goes out under the old policy, 301 comes in.
    let stale = in_kernel(Sa { mode: Mode::Transport, ..named(258) });
    let mut arriving = in_kernel(Sa { reqid: Reqid::from_hash(9), ..named(301) });
    arriving.state.sent = 0;
    let mut leaving = in_kernel(named(300));
    leaving.state.sent = 0;
    let there = observed(
        &[arriving, leaving, stale],
        &[
            policy_in_kernel(old(Direction::In), 1),
            policy_in_kernel(old(Direction::Forward), 2),
            policy_in_kernel(old(Direction::Out), 3),
        ],
    );
    let order: Vec<_> = diff(&wanted, &there).steps.into_iter().map(|step| shorthand(&step.op)).collect();
    assert_eq!(
        order,
        [
            "add in 0x00000101",
            "add Forward",
            "add In",
            "add out 0x00000100",
            "delete 0x00000102",
            "add out 0x00000102",
            "add Out",
            "delete Out",
            "delete 0x0000012c",
            "delete In",
            "delete Forward",
            "delete 0x0000012d",
        ]
    );
}

fn shorthand(op: &Op) -> String {
    match op {
        Op::UpdateSa(sa) => format!("update {}", sa.sa().spi),
        Op::AddInbound { sa, .. } => format!("add in {}", sa.0.spi),
        Op::AddOutbound { sa, .. } => format!("add out {}", sa.0.spi),
        Op::FillSa { sa, .. } => format!("fill {}", sa.0.spi),
        Op::SetReplayState { sa, .. } => format!("set {}", sa.sa().spi),
        Op::DeleteSa(id, _) => format!("delete {}", id.spi),
        Op::AddPolicy { policy, .. } => format!("add {:?}", policy.direction),
        Op::UpdatePolicy { policy, .. } => format!("update {:?}", policy.direction),
        Op::DeletePolicy { direction, .. } => format!("delete {direction:?}"),
        Op::Migrate { key, .. } => format!("migrate {:?}", key.direction),
    }
}
