//! Sequence numbers survive a flush.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{crypto, in_kernel, inbound, observed, outbound, sa, wanted, without_window};
use esplanade_diff::{Memory, diff};
use esplanade_model::{ObservedSa, Op, ReplayState, Sa, WantedSa};

/// Where the wanted SA starts when it has to be made, after dumps that showed these.
fn starts(sa: WantedSa, dumps: &[&[ObservedSa]]) -> Option<ReplayState> {
    let mut memory = Memory::default();
    for dump in dumps {
        memory.learn(&observed(dump, &[]));
    }
    let mut diff = diff(&wanted(&[sa], &[]), &observed(&[], &[]));
    memory.restore(&mut diff);
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
    assert_eq!((state.sent, state.received, state.bitmap.len()), (900 + (1 << 26), 0, 0));
}

#[test]
fn a_sender_seen_before_its_first_packet_may_have_sent_since() {
    assert_eq!(starts(outbound(sa()), &[&[after(0, 0, leaving())]]).unwrap().sent, 1 << 26);
}

#[test]
fn numbers_never_go_back_with_the_same_key() {
    // Somebody made it anew from 0 in between.
    let dumps: [&[ObservedSa]; 2] = [&[after(900, 0, leaving())], &[after(3, 0, leaving())]];
    assert_eq!(starts(outbound(sa()), &dumps).unwrap().sent, 900 + (1 << 26));
}

#[test]
fn another_key_starts_anew() {
    let other = in_kernel(Sa { crypto: crypto(0xb1), ..without_window(sa()) });
    assert_eq!(starts(outbound(sa()), &[&[after(900, 0, other.clone())]]), None);
    // Only the latest key counts.
    let dumps: [&[ObservedSa]; 2] = [&[after(900, 0, other)], &[after(3, 0, leaving())]];
    assert_eq!(starts(outbound(sa()), &dumps).unwrap().sent, 3 + (1 << 26));
}

#[test]
fn a_receiver_accepts_nothing_twice() {
    let state = starts(inbound(sa()), &[&[after(0, 70, in_kernel(sa()))]]).unwrap();
    assert_eq!((state.sent, state.received, state.bitmap), (0, 70, vec![0x1ff, 0]));
    assert_eq!(starts(inbound(sa()), &[&[after(0, 0, in_kernel(sa()))]]), None);
}
