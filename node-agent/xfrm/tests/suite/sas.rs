//! SAs, written and read back.

use std::cell::RefCell;
use std::collections::BTreeMap;

use esplanade_model::{
    Capability, Mark, Mode, Observed, Op, Port, ReplayProtection, ReplayState, Sa, SaDirection,
};
use esplanade_xfrm::wire::replay::fitted;
use proptest::test_runner::{Config, TestRunner};

use super::objects::{
    FAMILIES, WINDOWS, every_crypto, extended, inbound, inbound_at, only, outbound, outbound_at, replay, sa,
    selector, selector_v6, spi,
};
use super::{Subject, apply, must, refused, sas, strategies};

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
        for mode in [Mode::Transport, Mode::Tunnel, Mode::Beet] {
            for family in FAMILIES {
                let (source, destination) = family();
                let spi = spi(0x100 + u32::try_from(all.len()).unwrap());
                all.push(Sa { source, destination, spi, mode, crypto: crypto.clone(), ..sa(7) });
            }
        }
    }
    assert_eq!(all.len(), 114);
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

/// Where the kernel knows of directions; else it takes no notice.
pub(crate) fn directions_read_back(kernel: &mut dyn Subject) {
    let knows = kernel.probe().unwrap().contains(&Capability::Direction);
    let windows = WINDOWS.map(replay).into_iter().chain(WINDOWS[1..].iter().map(|window| extended(*window)));
    for (asked, number) in windows.zip(0u32..) {
        let sa =
            |offset, direction| Sa { replay: asked, direction: Some(direction), ..sa(2 * number + offset) };
        let (into, out) = (sa(0, SaDirection::In), sa(1, SaDirection::Out));
        if !knows && asked.extended_sequence_numbers {
            must(kernel, &[inbound(into.clone())]);
            // It wants a window then, and gets none: nobody may tell it what it doesn't know.
            assert_eq!(refused(apply(kernel, &[outbound(out)]), 0).errno, libc::EINVAL);
            continue;
        }
        must(kernel, &[inbound(into.clone()), outbound(out.clone())]);
        let read = sas(kernel);
        let shown = |sa: Sa| Sa { direction: sa.direction.filter(|_| knows), ..sa };
        assert_eq!(read[&into.id()], shown(into));
        let window = ReplayProtection { window: 0, ..asked };
        assert_eq!(read[&out.id()], shown(Sa { replay: window, ..out }));
    }
}

pub(crate) fn directed_sas_go_on_where_they_were(kernel: &mut dyn Subject) {
    if !kernel.probe().unwrap().contains(&Capability::Direction) {
        // `directions_read_back` shows that this kernel has none.
        return;
    }
    for (asked, number) in [replay(32), replay(64), extended(64)].into_iter().zip(0u32..) {
        let sa =
            |offset, direction| Sa { replay: asked, direction: Some(direction), ..sa(2 * number + offset) };
        let (into, out) = (sa(0, SaDirection::In), sa(1, SaDirection::Out));
        let received = ReplayState { sent: 0, received: 70, bitmap: vec![5, 0] };
        let sent = ReplayState { sent: 1 << 20, received: 0, bitmap: vec![] };
        must(kernel, &[inbound_at(into.clone(), received.clone()), outbound_at(out.clone(), sent.clone())]);
        let observed = kernel.dump().unwrap();
        let state = |id| observed.sas.iter().find(|sa| sa.id == id).unwrap().state.clone();
        assert_eq!(state(into.id()), fitted(&received, asked));
        assert_eq!(state(out.id()), sent);
        // One that has sent all it may isn't taken where anybody looks.
        let last = if asked.extended_sequence_numbers { u64::MAX } else { u32::MAX.into() };
        let used_up =
            outbound_at(Sa { spi: spi(0x2000 + number), ..out }, ReplayState { sent: last, ..sent });
        if asked.extended_sequence_numbers {
            assert_eq!(refused(apply(kernel, &[used_up]), 0).errno, libc::EINVAL);
        } else {
            must(kernel, &[used_up]);
        }
    }
}

/// Inside a tunnel either family, whatever its own is.
pub(crate) fn every_selector_of_an_sa_reads_back(kernel: &mut dyn Subject) {
    let everything = |text: &str| {
        let all = text.parse().unwrap();
        esplanade_model::Selector::new(all, all).unwrap()
    };
    let any = Port::ANY;
    let shapes = |base| {
        [
            base,
            only(base, 58, any, any),
            only(base, 17, any, Port::exactly(53)),
            only(base, 6, Port::masked(8080, 0xfff0), any),
        ]
    };
    let (v4, v6) = (shapes(selector(1)), shapes(selector_v6(1)));
    let whole = [everything("0.0.0.0/0"), everything("::/0")];
    let mut all = Vec::new();
    for family in FAMILIES {
        let (source, destination) = family();
        let own = if source.is_ipv4() { v4 } else { v6 };
        let tunnels = v4.into_iter().chain(v6).chain(whole).map(|one| (Mode::Tunnel, one));
        let tunnels = tunnels.chain(v4.into_iter().chain(v6).map(|one| (Mode::Beet, one)));
        for (mode, selector) in tunnels.chain(own.map(|one| (Mode::Transport, one))) {
            let spi = spi(0x100 + u32::try_from(all.len()).unwrap());
            all.push(Sa { source, destination, spi, mode, selector: Some(selector), ..sa(7) });
        }
    }
    assert_eq!(all.len(), 44);
    reads_back(kernel, all);
}

pub(crate) fn the_interface_of_an_sa_reads_back(kernel: &mut dyn Subject) {
    let of = |interface_id, number| Sa { interface_id, ..sa(number) };
    reads_back(kernel, [of(0, 1), of(1, 2), of(u32::MAX, 3)]);
    // It isn't part of the name.
    let refusal = super::refused(super::apply(kernel, &[inbound(of(1, 1))]), 0);
    assert_eq!(refusal.errno, libc::EEXIST);
}

pub(crate) fn the_marks_of_an_sa_read_back(kernel: &mut dyn Subject) {
    let of = |mark, output_mark, number| Sa { mark, output_mark, ..sa(number) };
    let (seven, all) = (Mark::masked(7, 0xff), Mark::masked(u32::MAX, u32::MAX));
    // No bit of value 0 isn't no bit.
    let zero = Mark::masked(0, 0xff);
    let marks = [Mark::NONE, seven, all, zero];
    let pairs = marks.into_iter().flat_map(|mark| marks.map(|output| (mark, output)));
    let marked = pairs.zip(1..).map(|((mark, output), number)| of(mark, output, number));
    reads_back(kernel, marked.chain([Sa { icmp_errors: true, ..sa(100) }]));
}

/// The mark isn't part of the name for us, and the kernel wants it anyway.
pub(crate) fn a_marked_sa_is_deleted_by_its_mark(kernel: &mut dyn Subject) {
    let marked = Sa { mark: Mark::masked(7, 0xff), ..sa(1) };
    let id = marked.id();
    must(kernel, &[inbound(marked.clone())]);
    let refusal = super::refused(super::apply(kernel, &[inbound(marked.clone())]), 0);
    assert_eq!(refusal.errno, libc::EEXIST);
    must(kernel, &[Op::DeleteSa(id, Mark::NONE), Op::DeleteSa(id, Mark::masked(8, 0xff))]);
    assert_eq!(
        kernel.dump().unwrap().sas.iter().map(|sa| (sa.id, sa.mark)).collect::<Vec<_>>(),
        [(id, marked.mark)]
    );
    must(kernel, &[Op::DeleteSa(id, marked.mark)]);
    assert_eq!(kernel.dump().unwrap(), Observed::default());
}

pub(crate) fn generated_sas_read_back(kernel: &mut dyn Subject) {
    let config = Config { cases: 4, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let kernel = RefCell::new(kernel);
    TestRunner::new(config)
        .run(&proptest::collection::vec(strategies::sa(), 100), |sas| {
            let kernel = &mut **kernel.borrow_mut();
            // Also after a case that failed.
            let deletions = kernel.dump().unwrap().sas.into_iter().map(|sa| Op::DeleteSa(sa.id, sa.mark));
            must(kernel, &deletions.collect::<Vec<_>>());
            reads_back(kernel, sas);
            Ok(())
        })
        .unwrap();
}

pub(crate) fn deleted_sas_are_gone(kernel: &mut dyn Subject) {
    must(kernel, &[inbound(sa(1)), inbound(sa(2)), outbound(sa(3)), Op::DeleteSa(sa(2).id(), Mark::NONE)]);
    assert_eq!(sas(kernel).into_keys().collect::<Vec<_>>(), [sa(1).id(), sa(3).id()]);
    must(kernel, &[Op::DeleteSa(sa(1).id(), Mark::NONE), Op::DeleteSa(sa(3).id(), Mark::NONE)]);
    assert_eq!(kernel.dump().unwrap(), Observed::default());
}
