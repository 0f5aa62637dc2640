//! An SA with a hard lifetime comes back only where its key can't be worn out.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::num::NonZeroU64;
use std::time::Duration;

use common::{crypto, in_kernel, inbound, learn, outbound, sa, without_window};
use esplanade_diff::{Memory, Numbers, Outlook, Start, Wear};
use esplanade_model::{Lifetime, Limits, ObservedSa, Sa, Spi, Used, WantedSa};
use zeroize::Zeroizing;

const USED: Used = Used { bytes: 9000, packets: 90, added: 1_700_000_000, first_used: 1_700_000_001 };

fn limit(n: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(n)
}

/// Ends after 100 packets.
fn limited() -> Sa {
    let hard = Limits { packets: limit(100), ..Limits::default() };
    Sa { lifetime: Lifetime { hard, ..Lifetime::default() }, ..without_window(sa()) }
}

fn there(sa: Sa) -> ObservedSa {
    ObservedSa { used: USED, ..in_kernel(sa) }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What becomes of a wanted SA that isn't there, `now`.
fn missing(memory: &mut Memory, sa: &WantedSa, now: Duration) -> Result<Start, Outlook> {
    match memory.outlook(sa.sa(), now) {
        Outlook::Good => Ok(memory.start(sa, now)),
        other => Err(other),
    }
}

fn worn(missing: Result<Start, Outlook>) -> String {
    match missing {
        Err(Outlook::Worn(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn used(missing: Result<Start, Outlook>) -> Option<Used> {
    missing.unwrap().used
}

/// Its hard lifetime ends.
fn expires(memory: &mut Memory, sa: &Sa) {
    memory.expired(sa.id(), Used { packets: 100, ..USED });
}
#[test]
fn one_that_expired_never_comes_back_with_its_key() {
    for sa in [outbound(limited()), inbound(limited())] {
        let mut memory = Memory::default();
        learn(&mut memory, &[there(limited())], seconds(1));
        expires(&mut memory, &limited());
        assert_eq!(worn(missing(&mut memory, &sa, seconds(2))), "100 packets");
        // Not under another SPI, nor without a limit, nor after somebody flushed what isn't there.
        memory.flushed();
        let elsewhere = outbound(Sa { spi: Spi::new(5000).unwrap(), ..limited() });
        worn(missing(&mut memory, &elsewhere, seconds(3)));
        worn(missing(&mut memory, &outbound(without_window(self::sa())), seconds(4)));
        // The other direction has counters of its own.
        let back = Sa { source: limited().destination, destination: limited().source, ..limited() };
        assert_eq!(used(missing(&mut memory, &outbound(back), seconds(5))), None);
        // A new key is another matter.
        let renewed = outbound(Sa { crypto: crypto(0xa2), ..limited() });
        assert_eq!(used(missing(&mut memory, &renewed, seconds(6))), None);
    }
}

#[test]
fn one_that_somebody_deleted_comes_back_with_what_was_used_up() {
    let told: [fn(&mut Memory); 2] = [Memory::flushed, |memory| memory.end(&there(limited()), seconds(1))];
    for told in told {
        let mut memory = Memory::default();
        learn(&mut memory, &[there(limited())], seconds(1));
        told(&mut memory);
        assert_eq!(used(missing(&mut memory, &outbound(limited()), seconds(2))), Some(USED));
    }
}

#[test]
fn one_that_vanished_waits_for_what_the_kernel_tells_and_not_for_long() {
    let mut memory = Memory::default();
    learn(&mut memory, &[there(limited())], seconds(1));
    assert_eq!(missing(&mut memory, &outbound(limited()), seconds(2)), Err(Outlook::Open));
    let why = worn(missing(&mut memory, &outbound(limited()), seconds(4)));
    assert_eq!(why, "it vanished while nobody looked");

    let mut memory = Memory::default();
    learn(&mut memory, &[there(limited())], seconds(1));
    assert_eq!(missing(&mut memory, &outbound(limited()), seconds(2)), Err(Outlook::Open));
    memory.flushed();
    assert_eq!(used(missing(&mut memory, &outbound(limited()), seconds(3))), Some(USED));
}

#[test]
fn without_a_hard_limit_nothing_waits() {
    let mut memory = Memory::default();
    learn(&mut memory, &[there(without_window(sa()))], seconds(1));
    assert_eq!(used(missing(&mut memory, &outbound(without_window(sa())), seconds(2))), Some(USED));
}

#[test]
fn one_that_wears_out_before_the_next_dump_is_known_too() {
    let mut memory = Memory::default();
    assert_eq!(used(missing(&mut memory, &outbound(limited()), seconds(1))), None);
    memory.made(&limited(), Some(0), seconds(1));
    expires(&mut memory, &limited());
    worn(missing(&mut memory, &outbound(limited()), seconds(2)));
}

#[test]
fn one_that_we_deleted_is_not_worn_out() {
    let mut memory = Memory::default();
    learn(&mut memory, &[there(limited())], seconds(1));
    memory.unmade(limited().id(), seconds(1));
    assert_eq!(used(missing(&mut memory, &outbound(limited()), seconds(60))), Some(USED));
}

fn salt(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

/// Another process that goes on with this record.
fn next(record: &str) -> Memory {
    Memory::new(Wear::read(salt(1), record).unwrap(), Numbers::default())
}

#[test]
fn the_record_outlives_the_process() {
    let mut memory = Memory::new(Wear::new(salt(1)), Numbers::default());
    learn(&mut memory, &[there(limited())], seconds(1));
    let installed = memory.take_record().unwrap();
    assert_eq!(memory.take_record(), None);
    learn(&mut memory, &[there(limited())], seconds(2));
    assert_eq!(memory.take_record(), None, "nothing new");

    expires(&mut memory, &limited());
    worn(missing(&mut memory, &outbound(limited()), seconds(3)));
    let over = memory.take_record().unwrap();
    assert!(worn(missing(&mut next(&over), &outbound(limited()), seconds(1))).contains("100 packets"));

    // It ended while no agent ran: how isn't known.
    let mut restarted = next(&installed);
    assert!(worn(missing(&mut restarted, &outbound(limited()), seconds(1))).contains("while no agent ran"));
    worn(missing(&mut next(&restarted.take_record().unwrap()), &outbound(limited()), seconds(1)));

    // Still there: as if nothing had happened.
    let mut restarted = next(&installed);
    learn(&mut restarted, &[there(limited())], seconds(1));
    restarted.flushed();
    assert_eq!(used(missing(&mut restarted, &outbound(limited()), seconds(2))), Some(USED));

    // Taken away on purpose.
    let mut memory = next(&installed);
    learn(&mut memory, &[there(limited())], seconds(1));
    memory.unmade(limited().id(), seconds(1));
    assert_eq!(memory.take_record().unwrap(), "");
}

#[test]
fn a_record_tells_nothing_without_its_salt() {
    let record = |byte| {
        let mut memory = Memory::new(Wear::new(salt(byte)), Numbers::default());
        learn(&mut memory, &[there(limited())], seconds(1));
        memory.take_record().unwrap()
    };
    assert_eq!(record(1), record(1));
    assert_ne!(record(1), record(2));
    assert!(!record(1).contains("a1a1"), "the key");
    for broken in ["x", "zz installed", "worn", &record(1)[1..], "\n"] {
        assert!(Wear::read(salt(1), broken).is_err(), "{broken:?}");
    }
}

#[test]
fn a_new_spi_does_not_start_the_sequence_numbers_or_the_lifetime_anew() {
    let mut memory = Memory::default();
    learn(&mut memory, &[there(limited())], seconds(1));
    let moved = |crypto| Sa { spi: Spi::new(5000).unwrap(), crypto, ..limited() };
    let start = missing(&mut memory, &outbound(moved(crypto(0xa1))), seconds(1)).unwrap();
    assert!(start.state.is_some_and(|state| state.sent > 7 + (1 << 20)) && start.used == Some(USED));
    // A receiver takes what comes under the new SPI: it is authenticated.
    let start = missing(&mut memory, &inbound(moved(crypto(0xa1))), seconds(1)).unwrap();
    assert_eq!(start, Start { state: None, used: Some(USED) });
    assert_eq!(missing(&mut memory, &outbound(moved(crypto(0xa2))), seconds(1)), Ok(Start::default()));
}

#[test]
fn limits_are_reached_where_they_are() {
    let now = USED.added + 50;
    for (soft, told) in [
        (Limits { packets: limit(90), ..Limits::default() }, Some("90 packets")),
        (Limits { packets: limit(91), ..Limits::default() }, None),
        (Limits { bytes: limit(9000), ..Limits::default() }, Some("9000 bytes")),
        (Limits { bytes: limit(9001), ..Limits::default() }, None),
        (Limits { time: limit(50), ..Limits::default() }, Some("50 s")),
        (Limits { time: limit(51), ..Limits::default() }, None),
        (Limits::default(), None),
    ] {
        assert_eq!(soft.reached(&USED, now).as_deref(), told, "{soft:?}");
    }
}
