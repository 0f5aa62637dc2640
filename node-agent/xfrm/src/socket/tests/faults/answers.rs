//! What the kernel says about single requests, and in which order it says it.

use esplanade_model::{Direction, InboundSa, Mark, Op, PolicyIndex};

use super::super::super::exchange::Sequence;
use super::super::{MAX_MESSAGES, carry_out};
use super::{Script, brings, deletions, error, message, refusal};
use crate::KernelError;
use crate::wire::tests::sa;

const LAST: u32 = 9;
const REQUESTS: usize = LAST as usize;

/// Each of them may be about a single SA: no right, no memory, an interrupted module load.
#[test]
fn one_refusal_stops_no_other() {
    for errno in [
        libc::EPERM,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EINTR,
        libc::EAGAIN,
        libc::EEXIST,
        libc::EINVAL,
        libc::ENOSYS,
        libc::EBUSY,
    ] {
        for at in 1..=LAST {
            let last = (at != LAST).then(|| brings(error(LAST, 0)));
            let script = Script::receiving([brings(error(at, errno))].into_iter().chain(last));
            let results = script.carry_out(REQUESTS).unwrap();
            for (number, result) in (1..).zip(results) {
                assert_eq!(result, if number == at { refusal(errno) } else { Ok(()) }, "{errno}, {number}");
            }
            assert_eq!(script.sent.get(), 1);
        }
    }
}

#[test]
fn everything_may_be_refused() {
    let script = Script::receiving((1..=LAST).map(|number| brings(error(number, libc::EPERM))));
    assert_eq!(script.carry_out(REQUESTS).unwrap(), vec![refusal(libc::EPERM); REQUESTS]);
}

#[test]
fn datagrams_go_on_after_a_refusal() {
    let (first, second) = (u32::try_from(MAX_MESSAGES).unwrap(), u32::try_from(MAX_MESSAGES + 2).unwrap());
    let script = Script::receiving([
        brings(error(1, libc::ENOMEM)),
        brings(error(first, libc::ENOMEM)),
        brings(error(second, 0)),
    ]);
    let results = script.carry_out(MAX_MESSAGES + 2).unwrap();
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2);
    assert_eq!((&results[0], &results[MAX_MESSAGES - 1]), (&refusal(libc::ENOMEM), &refusal(libc::ENOMEM)));
    assert_eq!(script.sent.get(), 2);
}

/// Somebody else was faster.
#[test]
fn only_deleting_what_is_gone_is_a_success() {
    let sa = sa();
    let index = PolicyIndex::new(1, Direction::Out);
    let ops = [
        Op::DeleteSa(sa.id(), Mark::NONE),
        Op::DeletePolicy { direction: Direction::Out, index, interface_id: 0, mark: Mark::NONE },
        Op::AddInbound { sa: InboundSa(sa), state: None, used: None },
    ];
    let each = |errno| {
        let script = Script::receiving((1..=3).map(|number| brings(error(number, errno))));
        carry_out(&script.socket(), &Sequence::default(), &ops).unwrap()
    };
    let no = refusal;
    assert_eq!(each(libc::ESRCH), [Ok(()), no(libc::ESRCH), no(libc::ESRCH)]);
    assert_eq!(each(libc::ENOENT), [no(libc::ENOENT), Ok(()), no(libc::ENOENT)]);
    assert_eq!(each(libc::EEXIST), [no(libc::EEXIST), no(libc::EEXIST), no(libc::EEXIST)]);
}

#[test]
fn each_answer_names_its_request_in_whatever_order() {
    let script = Script::receiving([
        brings([error(3, libc::EINVAL), error(1, libc::EEXIST)].concat()),
        brings(error(2, libc::ENOSYS)),
        brings(error(4, 0)),
    ]);
    let errors = [libc::EEXIST, libc::ENOSYS, libc::EINVAL].map(refusal);
    assert_eq!(script.carry_out(4).unwrap(), [&errors[..], &[Ok(())]].concat());
}

/// The kernel answers in order. Should it not: what comes after the last answer is passed over, and what the request
/// came to shows in the dump that follows every write.
#[test]
fn nothing_is_waited_for_after_the_last_answer() {
    let late = error(1, libc::EINVAL);
    // Nor is it any business of the next ones.
    let sequence = Sequence::default();
    let script = Script::receiving([brings(error(3, 0)), brings(late.clone()), brings(error(6, 0))]);
    for _ in 0..2 {
        let results = carry_out(&script.socket(), &sequence, &deletions(3)).unwrap();
        assert_eq!(results, vec![Ok(()); 3]);
    }
    assert!(script.is_played());
    // In the same datagram it counts.
    let script = Script::receiving([brings([error(3, 0), late].concat())]);
    assert_eq!(script.carry_out(3).unwrap(), [refusal(libc::EINVAL), Ok(()), Ok(())]);
}

#[test]
fn answers_of_another_sequence_are_passed_over() {
    let strangers = [0, 4, 5, u32::MAX, u32::MAX / 2].map(|number| brings(error(number, libc::EPERM)));
    let script = Script::receiving(strangers).then([brings(error(3, 0))]);
    assert_eq!(script.carry_out(3).unwrap(), vec![Ok(()); 3]);
    assert!(script.is_played());
}

/// An event, or a record of a dump, isn't an answer.
#[test]
fn messages_of_another_kind_are_passed_over() {
    let script = Script::receiving([brings(message(0x10, 0, 3, &[0; 300])), brings(error(3, libc::EEXIST))]);
    assert_eq!(script.carry_out(3).unwrap(), [Ok(()), Ok(()), refusal(libc::EEXIST)]);
}

#[test]
fn an_answer_without_an_error_number_is_malformed() {
    let script = Script::receiving([brings(message(2, 0, 3, &[0; 3]))]);
    assert!(matches!(script.carry_out(3), Err(KernelError::Malformed(_))));
}
