//! Sequence numbers and replay windows.

use std::cell::RefCell;
use std::collections::BTreeMap;

use esplanade_model::{
    Capability, InboundSa, Mark, Op, OutboundSa, ReplayState, Sa, SaDirection, SaId, Used, WantedSa,
};

use esplanade_xfrm::wire::replay::fitted;
use proptest::test_runner::{Config, TestRunner};

use super::objects::{extended, inbound, inbound_at, outbound, outbound_at, replay, sa};
use super::{Subject, apply, must, refused, sas, strategies};

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

/// SAs of each layout, and where they are to go on from.
fn moves(kernel: &mut dyn Subject) -> Vec<(WantedSa, ReplayState)> {
    let sent = |sent| ReplayState { sent, ..ReplayState::default() };
    let received = |received, bitmap: &[u32]| ReplayState { sent: 0, received, bitmap: bitmap.to_vec() };
    let out = |sa: Sa| WantedSa::Outbound(OutboundSa(sa));
    let into = |sa: Sa| WantedSa::Inbound(InboundSa(sa));
    let big = (3 << 32) + 17;
    let mut all = vec![
        (out(Sa { replay: replay(0), ..sa(1) }), sent(4711)),
        (out(Sa { replay: replay(64), ..sa(2) }), sent(4711)),
        (out(Sa { replay: extended(64), ..sa(3) }), sent(big)),
        (out(Sa { mark: Mark::masked(7, 0xff), ..sa(4) }), sent(u64::from(u32::MAX))),
        (into(Sa { replay: replay(32), ..sa(5) }), received(1 << 31, &[0x8000_00f1])),
        (into(Sa { replay: replay(64), ..sa(6) }), received(1_000_000, &[0xdead_beef, 0x0bad_cafe])),
        (into(Sa { replay: extended(33), ..sa(7) }), received(big, &[0x1234_5679, 0xffff_fffe])),
    ];
    if kernel.probe().unwrap().contains(&Capability::Direction) {
        let direction = Some(SaDirection::Out);
        all.push((out(Sa { replay: extended(64), direction, ..sa(8) }), sent(big)));
        // What NEWSA refuses.
        all.push((out(Sa { replay: extended(64), direction, ..sa(9) }), sent(u64::MAX)));
    }
    all
}

fn added(sa: &WantedSa) -> Op {
    match sa {
        WantedSa::Inbound(sa) => inbound(sa.0.clone()),
        WantedSa::Outbound(sa) => outbound(sa.0.clone()),
    }
}

pub(crate) fn a_state_is_set_in_place(kernel: &mut dyn Subject) {
    let moves = moves(kernel);
    must(kernel, &moves.iter().map(|(sa, _)| added(sa)).collect::<Vec<_>>());
    let before = sas(kernel);
    let set = moves.iter().map(|(sa, state)| Op::SetReplayState { sa: sa.clone(), state: state.clone() });
    // The last of a batch is written otherwise than those before it.
    must(kernel, &set.collect::<Vec<_>>());
    assert_eq!(states(kernel), moves.iter().map(|(sa, state)| (sa.sa().id(), state.clone())).collect());
    assert_eq!(sas(kernel), before, "and nothing else of them");
}

pub(crate) fn the_state_of_one_sa_is_told(kernel: &mut dyn Subject) {
    let moves = moves(kernel);
    let gone = WantedSa::Inbound(InboundSa(sa(77)));
    assert_eq!(kernel.replay_state(&gone).unwrap(), None);
    let used = Used { bytes: 1000, packets: 10, added: 1_700_000_001, first_used: 1_700_000_002 };
    let add = moves.iter().map(|(sa, state)| match (sa.clone(), Some(state.clone())) {
        // A state that NEWSA refuses.
        (WantedSa::Outbound(sa), _) if state.sent == u64::MAX => {
            Op::AddOutbound { sa, state: None, used: Some(used) }
        }
        (WantedSa::Outbound(sa), state) => Op::AddOutbound { sa, state, used: Some(used) },
        (WantedSa::Inbound(sa), state) => Op::AddInbound { sa, state, used: Some(used) },
    });
    must(kernel, &add.collect::<Vec<_>>());
    for (sa, state) in moves.iter().filter(|(_, state)| state.sent != u64::MAX) {
        assert_eq!(kernel.replay_state(sa).unwrap(), Some((state.clone(), used)), "{}", sa.sa().id());
    }
    assert_eq!(kernel.replay_state(&gone).unwrap(), None);
}

pub(crate) fn a_state_that_does_not_fit_changes_nothing(kernel: &mut dyn Subject) {
    let state = ReplayState { sent: 0, received: 100, bitmap: vec![0xf0f0_f0f1; 4] };
    let set = |replay, number| Op::SetReplayState {
        sa: WantedSa::Inbound(InboundSa(Sa { replay, ..sa(number) })),
        state: state.clone(),
    };
    must(kernel, &[inbound(Sa { replay: replay(64), ..sa(1) }), inbound(Sa { replay: replay(32), ..sa(2) })]);
    let before = kernel.raw();
    // A ring of another length.
    for other in [replay(128), replay(33 + 64), extended(32)] {
        let result = refused(apply(kernel, &[set(other, 1), set(other, 1)]).split_off(1), 0);
        assert_eq!(result.errno, libc::EINVAL, "{other:?}");
    }
    // A ring for an SA that has none, which the kernel takes, and does nothing with.
    must(kernel, &[set(replay(64), 2)]);
    // No SA at all.
    assert_eq!(refused(apply(kernel, &[set(replay(64), 3)]), 0).errno, libc::ESRCH);
    assert_eq!(kernel.raw(), before);
}
