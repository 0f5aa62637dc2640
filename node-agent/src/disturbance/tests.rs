use std::cell::Cell;
use std::time::Duration;

use esplanade_sync::Losses;
use jiff::Timestamp;

use super::{Disturbances, Dropped, Moment, counters};

const NOTHING: Losses = Losses { sas: 0, policies: 0 };

/// Milliseconds after a start.
fn at(ms: u32) -> Moment {
    let time = Timestamp::from_millisecond(1_800_000_000_000 + i64::from(ms)).unwrap();
    (Duration::from_millis(ms.into()), time)
}

fn dropped(inbound: u64, outbound: u64) -> impl Fn() -> Option<Dropped> {
    move || Some([("XfrmInNoStates".to_owned(), inbound), ("XfrmOutNoStates".to_owned(), outbound)].into())
}

/// A pass of 10 ms.
fn pass(all: &mut Disturbances, ms: u32, (sas, policies): (usize, usize), count: u64) {
    all.passed((at(ms), at(ms + 10)), Losses { sas, policies }, true, false, dropped(count, 0));
}

fn words(all: &Disturbances) -> String {
    all.told().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn a_flush_in_two_steps_is_told_once_it_is_over() {
    let mut all = Disturbances::default();
    all.looked(at(0), dropped(5, 1));
    all.looked(at(10_000), dropped(6, 1));
    assert_eq!((all.due(at(10_000).0), all.told()), (None, None));
    all.passed((at(12_000), at(12_020)), Losses { sas: 4, policies: 0 }, true, false, dropped(9, 1));
    pass(&mut all, 12_100, (0, 44), 10);
    assert_eq!((all.due(at(12_110).0), all.told()), (Some(Duration::from_secs(1)), None));
    all.passed((at(13_110), at(13_110)), NOTHING, true, false, dropped(12, 3));
    assert_eq!(all.due(at(13_110).0), None);
    assert_eq!(
        words(&all),
        "somebody else deleted 4 SAs and 44 policies between 2027-01-15T08:00:12.000Z and 2027-01-15T08:00:12.100Z; \
         all was back within 20 ms of the agent's noticing. From 2027-01-15T08:00:10Z to 2027-01-15T08:00:13Z the \
         kernel dropped 8 packets (XfrmInNoStates 6, XfrmOutNoStates 2)"
    );
}

#[test]
fn what_follows_soon_is_the_same_and_what_follows_late_is_another() {
    let mut all = Disturbances::default();
    all.looked(at(0), dropped(0, 0));
    pass(&mut all, 1000, (1, 0), 1);
    all.looked(at(2100), dropped(1, 0));
    assert!(words(&all).contains("deleted 1 SA and 0 policies at"), "{}", words(&all));
    pass(&mut all, 20_000, (2, 1), 7);
    assert!(words(&all).contains("deleted 1 SA and"), "not over yet: {}", words(&all));
    all.looked(at(21_100), dropped(7, 0));
    assert!(words(&all).contains("deleted 3 SAs and 1 policy between"), "{}", words(&all));
    assert!(words(&all).contains("dropped 7 packets"), "{}", words(&all));
    // What was dropped in between isn't of this one.
    all.looked(at(60_000), dropped(100, 0));
    pass(&mut all, 61_000, (1, 0), 101);
    all.looked(at(62_100), dropped(101, 0));
    assert!(words(&all).contains("deleted 1 SA and 0"), "{}", words(&all));
    assert!(words(&all).contains("dropped 1 packet (XfrmInNoStates 1)"), "{}", words(&all));
}

#[test]
fn what_does_not_come_back_is_said_and_what_can_not_be_known_as_well() {
    let mut all = Disturbances::default();
    let losses = Losses { sas: 1, policies: 2 };
    all.passed((at(0), at(10)), losses, false, true, || None);
    all.passed((at(1500), at(1510)), NOTHING, false, true, || None);
    let said = words(&all);
    assert!(said.contains("; not all is back. How many packets were dropped isn't known"), "{said}");
    assert!(said.ends_with("nodeAgent.defaultAction: Block prevents that"), "{said}");
    all.passed((at(5000), at(5010)), NOTHING, true, true, || None);
    all.passed((at(6010), at(6010)), NOTHING, true, true, || None);
    assert!(words(&all).contains("all was back within 5010 ms"), "{}", words(&all));
    // Only SAs: nothing goes in the clear without them.
    let mut all = Disturbances::default();
    all.passed((at(0), at(10)), Losses { sas: 1, policies: 0 }, true, true, || None);
    all.looked(at(1010), || None);
    assert!(!words(&all).contains("clear"), "{}", words(&all));
}

#[test]
fn what_was_dropped_is_asked_only_where_it_counts() {
    let (mut all, asked) = (Disturbances::default(), Cell::new(0));
    let dropped = || {
        asked.set(asked.get() + 1);
        dropped(asked.get(), 0)()
    };
    all.looked(at(0), dropped);
    for ms in [0, 500, 989] {
        all.passed((at(ms), at(ms + 10)), NOTHING, true, false, dropped);
    }
    assert_eq!(asked.get(), 1, "a moment ago");
    all.looked(at(1000), dropped);
    assert_eq!(asked.get(), 2);
    let losses = Losses { sas: 1, policies: 0 };
    all.passed((at(2500), at(2510)), losses, true, false, dropped);
    assert_eq!(asked.get(), 2, "more may be dropped yet");
    all.passed((at(3510), at(3510)), NOTHING, true, false, dropped);
    assert!(words(&all).contains("From 2027-01-15T08:00:01Z to 2027-01-15T08:00:03Z"), "{}", words(&all));
    assert!(words(&all).contains("dropped 1 packet "), "{}", words(&all));
    all.looked(at(30_000), dropped);
    assert_eq!(asked.get(), 3, "of the next one, should there be one, nothing counts yet");
}

#[test]
fn counters_keep_the_kernels_names() {
    let text = "XfrmInError             \t0\nXfrmInNoStates          \t12\nnonsense\n";
    let expected = [("XfrmInError".to_owned(), 0), ("XfrmInNoStates".to_owned(), 12)];
    assert_eq!(counters(text), expected.into());
}
