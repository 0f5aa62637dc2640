//! Sequence numbers survive a flush.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{crypto, in_kernel, inbound, learn, observed, outbound, restore, sa, wanted, without_window};
use esplanade_diff::{Memory, diff};
use esplanade_model::{ObservedSa, Op, ReplayState, Sa, Used, WantedSa};

/// What is taken for sent at once.
const AT_ONCE: u64 = 2 << 21;

/// Where the wanted SA starts when it has to be made, right after dumps that showed these.
fn starts(sa: WantedSa, dumps: &[&[ObservedSa]]) -> Option<ReplayState> {
    starts_after(sa, dumps, Duration::ZERO)
}

/// Where it starts when it has to be made so long after the last of the dumps that showed these.
fn starts_after(sa: WantedSa, dumps: &[&[ObservedSa]], later: Duration) -> Option<ReplayState> {
    let mut memory = Memory::default();
    let start = Duration::from_secs(1000);
    for dump in dumps {
        learn(&mut memory, dump, start);
    }
    let mut diff = diff(&wanted(&[sa], &[]), &observed(&[], &[]));
    diff.steps.iter_mut().for_each(|step| restore(&memory, &mut step.op, start + later));
    match diff.steps.as_slice() {
        [step] => match &step.op {
            Op::AddInbound { state, .. } | Op::AddOutbound { state, .. } => state.clone(),
            op => panic!("{op:?}"),
        },
        steps => panic!("{steps:?}"),
    }
}

fn after(sent: u64, received: u64, mut sa: ObservedSa) -> ObservedSa {
    sa.state.sent = sent;
    sa.state.received = received;
    sa
}

fn leaving() -> ObservedSa {
    in_kernel(without_window(sa()))
}

#[test]
fn one_never_seen_starts_at_0() {
    assert_eq!(starts(outbound(sa()), &[]), None);
    assert_eq!(starts(outbound(sa()), &[&[]]), None);
}

#[test]
fn a_sender_goes_on_well_past_what_was_seen() {
    let state =
        starts(outbound(sa()), &[&[after(5, 0, leaving())], &[after(900, 0, leaving())], &[]]).unwrap();
    assert_eq!((state.sent, state.received, state.bitmap.len()), (900 + AT_ONCE, 0, 0));
}

#[test]
fn a_sender_seen_before_its_first_packet_may_have_sent_since() {
    assert_eq!(starts(outbound(sa()), &[&[after(0, 0, leaving())]]).unwrap().sent, AT_ONCE);
}

#[test]
fn numbers_never_go_back_with_the_same_key() {
    // Somebody made it anew from 0 in between: the old one may have come further than was seen.
    let dumps: [&[ObservedSa]; 2] = [&[after(900, 0, leaving())], &[after(3, 0, leaving())]];
    assert_eq!(starts(outbound(sa()), &dumps).unwrap().sent, 900 + 2 * AT_ONCE);
}

#[test]
fn another_key_starts_anew() {
    let other = in_kernel(Sa { crypto: crypto(0xb1), ..without_window(sa()) });
    assert_eq!(starts(outbound(sa()), &[&[after(900, 0, other.clone())]]), None);
    // Only the latest key counts.
    let dumps: [&[ObservedSa]; 2] = [&[after(900, 0, other)], &[after(3, 0, leaving())]];
    assert_eq!(starts(outbound(sa()), &dumps).unwrap().sent, 3 + AT_ONCE);
}

#[test]
fn a_receiver_accepts_nothing_twice() {
    let state = starts(inbound(sa()), &[&[after(0, 70, in_kernel(sa()))]]).unwrap();
    assert_eq!((state.sent, state.received, state.bitmap), (0, 70, vec![0x1ff, 0]));
    assert_eq!(starts(inbound(sa()), &[&[after(0, 0, in_kernel(sa()))]]), None);
}

#[test]
fn the_longer_a_sender_was_not_seen_the_more_it_may_have_sent() {
    let dumps: [&[ObservedSa]; 1] = [&[after(900, 0, leaving())]];
    let sent = |seconds| {
        let state = starts_after(outbound(sa()), &dumps, Duration::from_secs(seconds)).unwrap();
        state.sent - 900
    };
    // 10 Gbit/s in packets of 1500 bytes for a minute.
    assert!(sent(60) > 60 * 10_000_000_000 / 8 / 1500, "{}", sent(60));
    assert_eq!(sent(10) - sent(0), 10 << 21);
    // A receiver of extended sequence numbers could not follow.
    assert_eq!(sent(1 << 40), 1 << 31);
}

#[test]
fn an_sa_that_vanished_is_not_seen_in_dumps_without_it() {
    let mut memory = Memory::default();
    let second = Duration::from_secs(1);
    learn(&mut memory, &[after(900, 0, leaving())], second);
    learn(&mut memory, &[], second * 31);
    let mut diff = diff(&wanted(&[outbound(sa())], &[]), &observed(&[], &[]));
    diff.steps.iter_mut().for_each(|step| restore(&memory, &mut step.op, second * 31));
    let Op::AddOutbound { state: Some(state), .. } = &diff.steps[0].op else { panic!("{diff:?}") };
    assert_eq!(state.sent, 900 + AT_ONCE + (30 << 21));
}

/// Where the outbound SA goes on from a second after what `told` told.
fn goes_on(told: impl FnOnce(&mut Memory)) -> u64 {
    let mut memory = Memory::default();
    let second = Duration::from_secs(1);
    memory.see(&after(900, 0, leaving()), second);
    told(&mut memory);
    memory.start(&outbound(sa()), second * 31).state.unwrap().sent
}

#[test]
fn what_is_told_to_be_the_last_is() {
    let last = after(5000, 0, leaving());
    let second = Duration::from_secs(1);
    assert_eq!(goes_on(|_| {}), 900 + AT_ONCE + (30 << 21));
    assert_eq!(goes_on(|memory| memory.end(&last, second * 30)), 5000);
    // Whoever says less is late.
    assert_eq!(goes_on(|memory| memory.end(&after(3, 0, leaving()), second * 30)), 900);
    // One that came again counts on.
    let again: [fn(&mut Memory); 4] = [
        |memory| memory.see(&after(5001, 0, leaving()), Duration::from_secs(31)),
        |memory| memory.may_have_come_again(sa().id()),
        Memory::any_may_have_come_again,
        |memory| {
            let state = ReplayState { sent: 4, ..ReplayState::default() };
            memory.count(sa().id(), state, Used::default(), Duration::from_secs(31));
        },
    ];
    for again in again {
        let sent = goes_on(|memory| {
            memory.end(&last, second * 30);
            again(memory);
        });
        assert!(sent >= 5000 + AT_ONCE, "{sent}");
    }
}

#[test]
fn a_receiver_goes_on_where_it_was_told_to_have_ended() {
    let mut memory = Memory::default();
    memory.see(&after(0, 60, in_kernel(sa())), Duration::ZERO);
    memory.end(&after(0, 70, in_kernel(sa())), Duration::ZERO);
    let state = memory.start(&inbound(sa()), Duration::ZERO).state.unwrap();
    assert_eq!((state.received, state.bitmap), (70, vec![0x1ff, 0]));
}

#[test]
fn counting_is_seeing() {
    let mut memory = Memory::default();
    let second = Duration::from_secs(1);
    memory.see(&after(900, 0, leaving()), second);
    memory.count(
        sa().id(),
        ReplayState { sent: 1000, ..ReplayState::default() },
        Used::default(),
        second * 31,
    );
    assert_eq!(memory.start(&outbound(sa()), second * 31).state.unwrap().sent, 1000 + AT_ONCE);
    memory.still_there(sa().id(), second * 61);
    assert_eq!(memory.start(&outbound(sa()), second * 61).state.unwrap().sent, 1000 + AT_ONCE);
    // Never backwards.
    memory.still_there(sa().id(), second);
    memory.count(sa().id(), ReplayState { sent: 3, ..ReplayState::default() }, Used::default(), second * 61);
    assert_eq!(memory.start(&outbound(sa()), second * 61).state.unwrap().sent, 1000 + AT_ONCE);
}

#[test]
fn one_between_other_addresses_is_the_same_one() {
    let moved = |sa: Sa| Sa { source: [198, 51, 100, 1].into(), destination: [198, 51, 100, 2].into(), ..sa };
    let seen = [after(900, 0, leaving())];
    let state = starts(outbound(moved(sa())), &[&seen, &[]]).unwrap();
    assert_eq!(state.sent, 900 + AT_ONCE);
    // With another key, or under another name, it is another.
    let rekeyed = Sa { crypto: crypto(2), ..moved(sa()) };
    assert_eq!(starts(outbound(rekeyed), &[&seen, &[]]), None);
    let other = Sa { spi: esplanade_model::Spi::new(sa().spi.get() + 1).unwrap(), ..moved(sa()) };
    assert_eq!(starts(outbound(other), &[&seen, &[]]), None);
}

#[test]
fn one_that_comes_back_goes_on_where_it_was_in_between() {
    let moved = Sa { destination: [198, 51, 100, 2].into(), ..sa() };
    let there = after(70_000_000, 0, in_kernel(without_window(moved)));
    let here = after(900, 0, leaving());
    let (here, there) = ([here], [there]);
    for dumps in [[&here[..], &there], [&there, &here]] {
        assert_eq!(starts(outbound(sa()), &dumps).unwrap().sent, 70_000_000 + AT_ONCE);
    }
}
