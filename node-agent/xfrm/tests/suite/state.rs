//! Sequence numbers and replay windows.

use std::cell::RefCell;
use std::collections::BTreeMap;

use esplanade_model::{Mark, Op, ReplayState, Sa, SaId};

use esplanade_xfrm::wire::replay::fitted;
use proptest::test_runner::{Config, TestRunner};

use super::objects::{extended, inbound, inbound_at, outbound, outbound_at, replay, sa};
use super::{Subject, must, strategies};

fn states(kernel: &mut dyn Subject) -> BTreeMap<SaId, ReplayState> {
    kernel.dump().unwrap().sas.into_iter().map(|sa| (sa.id, sa.state)).collect()
}

pub(crate) fn an_sa_without_state_starts_at_zero(kernel: &mut dyn Subject) {
    let with = |number, replay| Sa { replay, ..sa(number) };
    must(
        kernel,
        &[
            inbound(with(1, replay(32))),
            inbound(with(2, replay(1024))),
            inbound(with(3, extended(64))),
            outbound(with(4, replay(32))),
            outbound(with(5, extended(64))),
        ],
    );
    assert!(states(kernel).into_values().all(|state| state == ReplayState::default()));
}

pub(crate) fn sequence_numbers_go_on_after_a_replacement(kernel: &mut dyn Subject) {
    let big = (3 << 32) + 17;
    let sent = |sent| ReplayState { sent, ..ReplayState::default() };
    let received = |received, bitmap: &[u32]| ReplayState { sent: 0, received, bitmap: bitmap.to_vec() };
    let outbound_cases = [(replay(32), sent(4711)), (extended(64), sent(big))];
    let inbound_cases = [
        (replay(0), received(0, &[])),
        (replay(32), received(7, &[0b101_0101])),
        (replay(32), received(1 << 31, &[0x8000_00f1])),
        (replay(64), received(9, &[0b1_0000_0001, 0])),
        (replay(64), received(1_000_000, &[0xdead_beef, 0x0bad_cafe])),
        // Older than the window counts as come.
        (replay(40), received(1_000_000, &[0xdead_beef, 0xffff_ff5a])),
        (extended(64), received(big, &[0x1234_5679, 0x9abc_def0])),
        (extended(33), received(100, &[1, 0xffff_fffe])),
    ];
    let mut wanted = BTreeMap::new();
    let mut add = Vec::new();
    for ((replay, state), number) in outbound_cases.into_iter().zip(0..) {
        let sa = Sa { replay, ..sa(number) };
        wanted.insert(sa.id(), state.clone());
        add.push(outbound_at(sa, state));
    }
    for ((replay, state), number) in inbound_cases.into_iter().zip(100..) {
        let sa = Sa { replay, ..sa(number) };
        wanted.insert(sa.id(), state.clone());
        add.push(inbound_at(sa, state));
    }
    must(kernel, &add);
    assert_eq!(states(kernel), wanted);

    // Each replaced by itself, as a change of its addresses would.
    let again = add.into_iter().zip(wanted.keys()).flat_map(|(op, _)| {
        let id = match &op {
            Op::AddInbound { sa, .. } => sa.0.id(),
            Op::AddOutbound { sa, .. } => sa.0.id(),
            _ => unreachable!(),
        };
        [Op::DeleteSa(id, Mark::NONE), op]
    });
    must(kernel, &again.collect::<Vec<_>>());
    assert_eq!(states(kernel), wanted);
}

pub(crate) fn windows_move_into_other_windows(kernel: &mut dyn Subject) {
    let start = ReplayState { sent: 0, received: 100, bitmap: vec![0xf0f0_f0f1] };
    must(kernel, &[inbound_at(Sa { replay: replay(32), ..sa(1) }, start)]);
    // Wider: what was too old for the narrow window stays refused. Narrower: the rest is forgotten.
    for (window, bitmap) in [
        (replay(64), vec![0xf0f0_f0f1, u32::MAX]),
        (replay(128), vec![0xf0f0_f0f1, u32::MAX, u32::MAX, 0xf]),
        (replay(8), vec![0xffff_fff1]),
        (replay(32), vec![0xffff_fff1]),
    ] {
        let before = states(kernel)[&sa(1).id()].clone();
        must(
            kernel,
            &[Op::DeleteSa(sa(1).id(), Mark::NONE), inbound_at(Sa { replay: window, ..sa(1) }, before)],
        );
        let after = ReplayState { sent: 0, received: 100, bitmap };
        assert_eq!(states(kernel)[&sa(1).id()], after, "{window:?}");
    }
}

pub(crate) fn generated_states_read_back(kernel: &mut dyn Subject) {
    let config = Config { cases: 200, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let kernel = RefCell::new(kernel);
    TestRunner::new(config)
        .run(&(strategies::replay(), strategies::state()), |(replay, state)| {
            let kernel = &mut **kernel.borrow_mut();
            let wanted = fitted(&state, replay);
            must(kernel, &[Op::DeleteSa(sa(1).id(), Mark::NONE), inbound_at(Sa { replay, ..sa(1) }, state)]);
            assert_eq!(states(kernel)[&sa(1).id()], wanted);
            Ok(())
        })
        .unwrap();
}
