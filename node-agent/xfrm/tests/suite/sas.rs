//! SAs, written and read back.

use std::cell::RefCell;
use std::collections::BTreeMap;

use esplanade_model::{Mode, Observed, Op, Sa};
use proptest::test_runner::{Config, TestRunner};

use super::objects::{FAMILIES, WINDOWS, every_crypto, extended, inbound, outbound, replay, sa, spi};
use super::{Subject, must, sas, strategies};

pub(crate) fn empty_databases_show_nothing(kernel: &mut dyn Subject) {
    assert_eq!(kernel.dump().unwrap(), Observed::default());
    assert_eq!(kernel.apply(&[]).unwrap(), []);
}

/// Adds the SAs as inbound ones and reads the same back; twice.
fn reads_back(kernel: &mut dyn Subject, sas: impl IntoIterator<Item = Sa>) {
    let wanted: BTreeMap<_, _> = sas.into_iter().map(|sa| (sa.id(), sa)).collect();
    let ops: Vec<_> = wanted.values().cloned().map(inbound).collect();
    must(kernel, &ops);
    assert_eq!(super::sas(kernel), wanted);
    assert_eq!(super::sas(kernel), wanted);
}

pub(crate) fn every_combination_of_algorithms_reads_back(kernel: &mut dyn Subject) {
    let mut all = Vec::new();
    for crypto in every_crypto() {
        for mode in [Mode::Transport, Mode::Tunnel] {
            for family in FAMILIES {
                let (source, destination) = family();
                let spi = spi(0x100 + u32::try_from(all.len()).unwrap());
                all.push(Sa { source, destination, spi, mode, crypto: crypto.clone(), ..sa(7) });
            }
        }
    }
    assert_eq!(all.len(), 76);
    reads_back(kernel, all);
}

pub(crate) fn every_replay_window_reads_back(kernel: &mut dyn Subject) {
    let windows = WINDOWS.map(replay).into_iter().chain(WINDOWS[1..].iter().map(|window| extended(*window)));
    let all: Vec<_> = windows.zip(0..).map(|(replay, number)| Sa { replay, ..sa(number) }).collect();
    reads_back(kernel, all.clone());

    // The same as outbound ones have the smallest window there is.
    let away = |sa: Sa| Sa { destination: sa.source, source: sa.destination, ..sa };
    let ops: Vec<_> = all.iter().cloned().map(|sa| outbound(away(sa))).collect();
    must(kernel, &ops);
    let read = sas(kernel);
    for sa in all.into_iter().map(away) {
        let window = if sa.replay.extended_sequence_numbers { extended(1) } else { replay(0) };
        assert_eq!(read[&sa.id()], Sa { replay: window, ..sa });
    }
}

pub(crate) fn generated_sas_read_back(kernel: &mut dyn Subject) {
    let config = Config { cases: 4, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let kernel = RefCell::new(kernel);
    TestRunner::new(config)
        .run(&proptest::collection::vec(strategies::sa(), 100), |sas| {
            let kernel = &mut **kernel.borrow_mut();
            // Also after a case that failed.
            let deletions = kernel.dump().unwrap().sas.into_iter().map(|sa| Op::DeleteSa(sa.id));
            must(kernel, &deletions.collect::<Vec<_>>());
            reads_back(kernel, sas);
            Ok(())
        })
        .unwrap();
}

pub(crate) fn deleted_sas_are_gone(kernel: &mut dyn Subject) {
    must(kernel, &[inbound(sa(1)), inbound(sa(2)), outbound(sa(3)), Op::DeleteSa(sa(2).id())]);
    assert_eq!(sas(kernel).into_keys().collect::<Vec<_>>(), [sa(1).id(), sa(3).id()]);
    must(kernel, &[Op::DeleteSa(sa(1).id()), Op::DeleteSa(sa(3).id())]);
    assert_eq!(kernel.dump().unwrap(), Observed::default());
}
