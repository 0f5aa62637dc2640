//! Dumps that don't come to a good end.

use super::super::{sa_body, spis};
use super::{Script, brings, done, error, message};
use crate::KernelError;

const NEWSA: u16 = 0x10;
const NEWPOLICY: u16 = 0x13;
const DONE: u16 = 3;
const MULTI: u16 = 2;
const DUMP_INTR: u16 = 0x10;

fn record(sequence: u32, flags: u16, spi: u32) -> Vec<u8> {
    message(NEWSA, MULTI | flags, sequence, &sa_body(spi))
}

#[test]
fn a_disturbed_dump_counts_for_nothing() {
    let script = Script::receiving([
        // Disturbed at the start, and at the end.
        brings([record(1, DUMP_INTR, 0x1000), record(1, 0, 0x1001)].concat()),
        brings(done(1, 0)),
        brings([record(2, 0, 0x1002), done(2, DUMP_INTR)].concat()),
        brings([record(3, 0, 0x1003), done(3, 0)].concat()),
        brings(done(4, 0)),
    ]);
    assert_eq!(spis(&script.dump().unwrap()), [0x1003]);
}

#[test]
fn a_dump_that_is_always_disturbed_is_given_up() {
    let script = Script::receiving((1..=5).map(|number| brings(done(number, DUMP_INTR))));
    let Err(failed @ KernelError::Unstable(5)) = script.dump() else { panic!("it never settles") };
    assert_eq!(failed.category(), "DumpInterrupted");
    assert!(script.is_played());
    assert_eq!(script.sent.get(), 5);
}

#[test]
fn half_a_dump_is_none() {
    // The end is missing; of the second database, too.
    for rest in [vec![], vec![brings(done(1, 0)), brings(message(NEWPOLICY, MULTI, 2, &[0; 168]))]] {
        let script = Script::receiving([brings(record(1, 0, 0x1000))]).then(rest);
        assert!(matches!(script.dump(), Err(KernelError::Timeout(_))));
    }
}

#[test]
fn a_refused_dump_says_why() {
    for errno in [libc::EPERM, libc::EBUSY, libc::ENOMEM, libc::EINTR] {
        let ended = message(DONE, MULTI, 1, &(-errno).to_ne_bytes());
        // At its start, and in the middle.
        for answers in [vec![brings(error(1, errno))], vec![brings(record(1, 0, 0x1000)), brings(ended)]] {
            let Err(failed) = Script::receiving(answers).dump() else { panic!("{errno}: refused") };
            assert_eq!(failed.category(), "DumpRefused");
            let words = failed.to_string();
            assert!(words.starts_with("the kernel refused to show its SAs: "), "{words}");
            assert_eq!(words.contains("CAP_NET_ADMIN is needed"), errno == libc::EPERM, "{words}");
        }
    }
    let script = Script::receiving([brings(done(1, 0)), brings(error(2, libc::EPERM))]);
    assert!(matches!(script.dump(), Err(KernelError::Dump { database: "policies", .. })));
}

#[test]
fn records_of_other_dumps_are_passed_over() {
    let script = Script::receiving([
        brings([record(9, 0, 0x1000), done(9, 0)].concat()),
        brings(error(0, libc::EPERM)),
        brings([record(1, 0, 0x1001), record(0, DUMP_INTR, 0x1002)].concat()),
        // Another kind, under our number.
        brings(message(NEWPOLICY, MULTI, 1, &[0; 168])),
        brings(done(1, 0)),
        brings(done(2, 0)),
    ]);
    assert_eq!(spis(&script.dump().unwrap()), [0x1001]);
}

/// Everything else of the dump could be read: but an SA that isn't seen would be written again, or deleted.
#[test]
fn a_record_shorter_than_its_header_spoils_the_dump() {
    for (number, kind, header) in [(1, NEWSA, 224), (2, NEWPOLICY, 168)] {
        for length in [0, 1, header - 1] {
            let short = brings(message(kind, MULTI, number, &vec![0; length]));
            let before = (number == 2).then(|| brings(done(1, 0)));
            let script = Script::receiving(before).then([short, brings(done(number, 0)), brings(done(2, 0))]);
            let failed = script.dump().unwrap_err();
            assert!(matches!(failed, KernelError::Malformed(_)), "{number}: {length}: {failed}");
        }
    }
}

/// Every other record still counts.
#[test]
fn an_sa_with_an_attribute_cut_short_is_unlike_ours() {
    // Longer than what is left, and shorter than its own header.
    for attribute in [[0xff, 0xff, 0x10, 0], [8, 0, 0x10, 0], [3, 0, 0x10, 0], [0; 4]] {
        let cut = [sa_body(0x1000), attribute.to_vec()].concat();
        let script = Script::receiving([
            brings([message(NEWSA, MULTI, 1, &cut), record(1, 0, 0x1001)].concat()),
            brings(done(1, 0)),
            brings(done(2, 0)),
        ]);
        let observed = script.dump().unwrap();
        assert_eq!(spis(&observed), [0x1000, 0x1001]);
        assert_eq!(observed.sas.iter().map(|sa| sa.sa.is_some()).collect::<Vec<_>>(), [false, true]);
    }
}
