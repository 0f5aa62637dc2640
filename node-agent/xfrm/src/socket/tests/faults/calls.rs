//! System calls that fail, or bring what they shouldn't.

use std::io::ErrorKind;

use esplanade_model::Event;

use super::super::MAX_MESSAGES;
use super::{GOES, OTHER_PORT, Script, brings, done, error, everywhere, fails, message};
use crate::{KernelError, Noticed};

const NEWSA: u16 = 0x10;
const OVERRUN: u16 = 4;
/// Longer than any buffer.
const TOO_LONG: usize = 200_000;

#[test]
fn interrupted_calls_are_made_again() {
    let interrupted = || fails(libc::EINTR);
    let script = Script::sending([fails(libc::EINTR), fails(libc::EINTR)]);
    let script =
        script.then([interrupted(), brings(error(2, libc::EINVAL)), interrupted(), brings(error(3, 0))]);
    let results = script.carry_out(3).unwrap();
    assert_eq!(results, [Ok(()), super::refusal(libc::EINVAL), Ok(())]);
    assert_eq!(script.sent.get(), 3);

    let script = Script::receiving([interrupted(), brings(done(1, 0)), interrupted(), brings(done(2, 0))]);
    assert_eq!(script.dump().unwrap(), esplanade_model::Observed::default());

    let script = Script::receiving([interrupted(), brings(message(NEWSA, 0, 0, &[]))]);
    // The double's messages carry our own port.
    assert_eq!(script.look().unwrap(), Noticed::default());
    assert!(script.is_played());
}

#[test]
fn what_can_not_be_sent_is_not_sent_again() {
    for errno in [libc::EPERM, libc::ENOMEM, libc::ENOBUFS, libc::EAGAIN, libc::EMSGSIZE, libc::EBADF] {
        // The second of three datagrams.
        let last_of_the_first = brings(error(u32::try_from(MAX_MESSAGES).unwrap(), 0));
        let script = Script::sending([GOES, fails(errno)]).then([last_of_the_first]);
        match script.carry_out(3 * MAX_MESSAGES) {
            Err(KernelError::Send(source)) => assert_eq!(source.raw_os_error(), Some(errno)),
            other => panic!("{errno}: {other:?}"),
        }
        assert_eq!(script.sent.get(), 2, "{errno}");

        let script = Script::sending([fails(errno)]);
        assert!(
            matches!(script.dump(), Err(KernelError::Send(source)) if source.raw_os_error() == Some(errno))
        );
        assert_eq!(script.sent.get(), 1, "{errno}");
    }
}

#[test]
fn a_datagram_sent_in_part_is_an_error() {
    let script = Script::sending([Ok(40)]).then([brings(error(3, 0))]);
    let Err(failed @ KernelError::Send(_)) = script.carry_out(3) else { panic!("it isn't whole") };
    assert!(matches!(&failed, KernelError::Send(source) if source.kind() == ErrorKind::WriteZero));
    assert_eq!(failed.category(), "SocketFailed");
}

/// EBADF: closed under us. ENOMEM: the kernel had no room for a piece of a dump (`netlink_dump`).
#[test]
fn a_socket_that_fails_is_an_error() {
    for errno in [libc::EBADF, libc::ENOTSOCK, libc::ENOMEM, libc::EPERM, libc::EIO] {
        for (place, result) in everywhere(|| fails(errno)) {
            match result {
                Err(KernelError::Receive(source)) => {
                    assert_eq!(source.raw_os_error(), Some(errno), "{place}")
                }
                other => panic!("{place}, {errno}: {other:?}"),
            }
        }
    }
}

#[test]
fn lost_answers_are_an_error_whatever_comes_after_them() {
    let script = Script::receiving([fails(libc::ENOBUFS), brings(error(3, 0))]);
    assert!(matches!(script.carry_out(3), Err(KernelError::Overrun)));
    let script = Script::receiving([fails(libc::ENOBUFS), brings(done(1, 0)), brings(done(2, 0))]);
    assert!(matches!(script.dump(), Err(KernelError::Overrun)));
}

#[test]
fn lost_events_are_told_and_the_rest_is_taken_in() {
    let mut foreign = message(NEWSA, 0, 5, &[]);
    foreign[12..16].copy_from_slice(&OTHER_PORT.to_ne_bytes());
    let script = Script::receiving([fails(libc::ENOBUFS), brings(foreign)]);
    // It is too short to say what.
    let events = vec![Event::Anything];
    assert_eq!(script.look().unwrap(), Noticed { changed: true, overrun: true, events });
    assert!(script.is_played());
}

#[test]
fn a_message_that_says_so_is_a_loss_too() {
    let lost = || brings(message(OVERRUN, 0, 1, &[]));
    for (place, result) in everywhere(lost) {
        match place {
            "events" => assert!(result.is_ok()),
            _ => assert!(matches!(result, Err(KernelError::Overrun)), "{place}"),
        }
    }
    assert_eq!(Script::receiving([lost()]).look().unwrap(), Noticed { overrun: true, ..Noticed::default() });
}

#[test]
fn silence_ends() {
    for result in [Script::default().carry_out(3).map(|_| ()), Script::default().dump().map(|_| ())] {
        assert!(matches!(result, Err(KernelError::Timeout(_))));
    }
    // Not an error where nothing is waited for.
    assert_eq!(Script::default().look().unwrap(), Noticed::default());
}

#[test]
fn truncated_datagrams_are_malformed() {
    let long = || brings(vec![0; TOO_LONG]);
    for (place, result) in everywhere(long) {
        assert!(matches!(result, Err(KernelError::Malformed(_))), "{place}");
    }
}

#[test]
fn short_reads_are_malformed() {
    for whole in [error(1, libc::EINVAL), done(1, 0), message(NEWSA, 2, 1, &[0; 300])] {
        // An empty datagram, too: nobody sends one, and a loop over them would have no end.
        for length in 0..whole.len() {
            for (place, result) in everywhere(|| brings(&whole[..length])) {
                assert!(matches!(result, Err(KernelError::Malformed(_))), "{place}: {length}");
            }
        }
    }
}

#[test]
fn others_than_the_kernel_are_not_believed() {
    let lie = |datagram| Ok((datagram, OTHER_PORT));
    let script =
        Script::receiving([lie(error(1, libc::EPERM)), lie(error(3, 0)), brings(error(3, libc::EIO))]);
    assert_eq!(script.carry_out(3).unwrap(), [Ok(()), Ok(()), super::refusal(libc::EIO)]);
    let script = Script::receiving([lie(error(1, libc::EPERM)), brings(done(1, 0)), brings(done(2, 0))]);
    assert!(script.dump().is_ok());
    // However many there are.
    let script = Script::receiving((0..50_000).map(|_| lie(message(NEWSA, 0, 0, &[]))));
    assert_eq!(script.look().unwrap(), Noticed::default());
}
