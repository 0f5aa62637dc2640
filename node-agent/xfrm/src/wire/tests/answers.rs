//! Which answer is about which request, and what it says.

use esplanade_model::{Op, Refusal};

use super::{add, delete};
use crate::KernelError;
use crate::wire::batch::{Answers, Datagram, HEADER_LENGTH, Limits};
use crate::wire::reply::{Message, Messages};
use crate::wire::{Request, encode};

const CAPPED: u16 = 0x100;
const TLVS: u16 = 0x200;

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_LENGTH + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(99u32.to_ne_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An `nlmsgerr` about a request of 20 bytes.
fn error(sequence: u32, errno: i32, flags: u16, tail: &[u8]) -> Vec<u8> {
    let mut body = (-errno).to_ne_bytes().to_vec();
    body.extend(message(0x10, 0, sequence, &[7; 20]).iter().take(if flags & CAPPED == 0 { 36 } else { 16 }));
    body.extend(tail);
    message(Message::ERROR, flags, sequence, &body)
}

fn read(datagram: &[u8]) -> Result<(), Refusal> {
    Messages::of(datagram).next().unwrap().unwrap().error().unwrap()
}

fn refusal(errno: i32, message: Option<&str>) -> Result<(), Refusal> {
    Err(Refusal { errno, message: message.map(str::to_owned) })
}

#[test]
fn words_are_found_among_other_attributes() {
    let tail = [attribute(2, &[8, 0, 0, 0]), attribute(1, b"Invalid window\0")].concat();
    assert_eq!(read(&error(1, 22, CAPPED | TLVS, &tail)), refusal(22, Some("Invalid window")));
    // Behind the whole request, where the kernel sends it back.
    assert_eq!(read(&error(1, 22, TLVS, &tail)), refusal(22, Some("Invalid window")));
}

#[test]
fn errors_without_words_have_none() {
    assert_eq!(read(&error(1, 22, CAPPED, &[])), refusal(22, None));
    assert_eq!(read(&error(1, 22, 0, &[])), refusal(22, None));
    assert_eq!(read(&error(1, 22, CAPPED | TLVS, &attribute(1, b"\0"))), refusal(22, None));
    assert_eq!(read(&error(1, 22, CAPPED | TLVS, &attribute(1, b"cut")[..6])), refusal(22, None));
    // Without the flag it isn't an attribute.
    assert_eq!(read(&error(1, 22, CAPPED, &attribute(1, b"no\0"))), refusal(22, None));
    assert_eq!(read(&error(1, 0, CAPPED, &[])), Ok(()));
}

#[test]
fn a_dump_ends_well_or_badly() {
    let done = |body: &[u8], flags| {
        let datagram = message(Message::DONE, flags, 1, body);
        Messages::of(&datagram).next().unwrap().unwrap().done()
    };
    assert_eq!(done(&[], 0), Ok(()));
    assert_eq!(done(&0i32.to_ne_bytes(), 0), Ok(()));
    let body = [(-12i32).to_ne_bytes().to_vec(), attribute(1, b"No memory\0")].concat();
    assert_eq!(done(&body, TLVS), refusal(12, Some("No memory")));
}

#[test]
fn cut_messages_are_malformed() {
    let whole = error(1, 22, CAPPED, &[]);
    for length in 1..whole.len() {
        let mut messages = Messages::of(&whole[..length]);
        assert!(matches!(messages.next(), Some(Err(KernelError::Malformed(_)))), "{length}");
        assert!(messages.next().is_none());
    }
    let short = message(Message::ERROR, 0, 1, &[0; 4]);
    assert!(Messages::of(&short).next().unwrap().unwrap().error().is_err());
    // A length that stands still.
    assert!(matches!(Messages::of(&[0; 16]).next(), Some(Err(_))));
}

fn answers(requests: &[Request], datagrams: &[Vec<u8>]) -> (bool, Vec<Result<(), Refusal>>) {
    let mut answers = Answers::to(requests.iter().map(|request| request.gone), 10);
    for datagram in datagrams {
        assert!(!answers.is_complete());
        answers.take(datagram).unwrap();
    }
    (answers.is_complete(), answers.into_results())
}

fn requests(count: u32) -> Vec<Request> {
    (0..count).map(|_| encode(&add())).collect()
}

#[test]
fn silence_is_success_once_the_last_is_answered() {
    let ack = error(12, 0, CAPPED, &[]);
    assert_eq!(answers(&requests(3), &[]), (false, vec![Ok(()); 3]));
    assert_eq!(answers(&requests(3), std::slice::from_ref(&ack)), (true, vec![Ok(()); 3]));
    let bad = error(11, 17, CAPPED, &[]);
    assert!(!answers(&requests(3), std::slice::from_ref(&bad)).0);
    let results = vec![Ok(()), refusal(17, None), Ok(())];
    assert_eq!(answers(&requests(3), &[bad.clone(), ack.clone()]), (true, results.clone()));
    // All in one datagram.
    assert_eq!(answers(&requests(3), &[[bad, ack].concat()]), (true, results));
}

#[test]
fn an_error_of_the_last_ends_it_too() {
    let results = vec![Ok(()), Ok(()), refusal(22, None)];
    assert_eq!(answers(&requests(3), &[error(12, 22, CAPPED, &[])]), (true, results));
}

#[test]
fn answers_to_earlier_requests_count_for_nothing() {
    let stale = [error(9, 22, CAPPED, &[]), error(13, 22, CAPPED, &[]), error(2, 0, CAPPED, &[])];
    assert_eq!(answers(&requests(3), &stale), (false, vec![Ok(()); 3]));
}

#[test]
fn numbers_go_round() {
    let mut answers = Answers::to([None; 3], u32::MAX);
    answers.take(&error(0, 22, CAPPED, &[])).unwrap();
    answers.take(&error(1, 0, CAPPED, &[])).unwrap();
    assert!(answers.is_complete());
    assert_eq!(answers.into_results(), [Ok(()), refusal(22, None), Ok(())]);
}

#[test]
fn what_is_gone_need_not_be_deleted() {
    let requests = [encode(&delete(0x1000)), encode(&delete(0x1001)), encode(&add())];
    let datagrams = [(10, libc::ESRCH), (11, libc::EPERM), (12, libc::ESRCH)]
        .map(|(sequence, errno)| error(sequence, errno, CAPPED, &[]));
    let results = vec![Ok(()), refusal(libc::EPERM, None), refusal(libc::ESRCH, None)];
    assert_eq!(answers(&requests, &datagrams), (true, results));
}

/// Of how many messages and bytes the datagrams are that carry these operations.
fn datagrams(limits: Limits, ops: &[Op]) -> Vec<(usize, usize)> {
    let (mut datagram, mut sizes) = (Datagram::new(limits, 1), Vec::new());
    datagram.begin(1);
    for op in ops {
        if !datagram.operation(op).unwrap() {
            sizes.push((datagram.len(), datagram.bytes().len()));
            datagram.begin(1);
            assert!(datagram.operation(op).unwrap());
        }
    }
    sizes.push((datagram.len(), datagram.bytes().len()));
    sizes
}

#[test]
fn batches_are_bounded() {
    let large: Vec<_> = (0..1000).map(|_| add()).collect();
    let small: Vec<_> = (0..1000).map(|number| delete(0x1000 + number)).collect();
    let limits = Limits { bytes: 64 * 1024, messages: 300 };
    for ops in [large, small] {
        let sizes = datagrams(limits, &ops);
        assert!(sizes.iter().all(|(messages, bytes)| *messages <= 300 && *bytes <= 64 * 1024), "{sizes:?}");
        assert_eq!(sizes.iter().map(|(messages, _)| messages).sum::<usize>(), 1000);
        assert!(sizes[0].0 == 300 || sizes[0].1 > 63 * 1024, "{sizes:?}");
    }
    let mut tiny = Datagram::new(Limits { bytes: 100, messages: 1 }, 1);
    tiny.begin(1);
    assert!(matches!(tiny.operation(&add()), Err(KernelError::TooLong(length)) if length > 100));
}

#[test]
fn limits_come_from_the_buffers() {
    assert_eq!(Limits::of_operations(16 << 20, 16 << 20), Limits::LARGEST);
    // The system's defaults, where more isn't allowed.
    let small = Limits::of_operations(212_992, 212_992);
    assert_eq!((small.bytes, small.messages), (212_960, 208));
    assert_eq!(Limits::of_look_ups(212_992, 212_992).messages, 26);
    assert_eq!(Limits::of_look_ups(0, 0), Limits { bytes: 0, messages: 1 });
}

#[test]
fn only_the_last_of_a_batch_asks_for_an_answer() {
    const NLM_F_ACK: u16 = 4;
    let mut datagram = Datagram::new(Limits::LARGEST, 77);
    datagram.begin(10);
    for _ in 0..3 {
        datagram.operation(&add()).unwrap();
    }
    datagram.ask_for_answer();
    let flags: Vec<_> = Messages::of(datagram.bytes())
        .map(|message| message.unwrap())
        .map(|message| (message.sequence, message.port, message.flags() & NLM_F_ACK != 0))
        .collect();
    assert_eq!(flags, [(10, 77, false), (11, 77, false), (12, 77, true)]);
    // As if each were encoded by itself.
    let bodies: Vec<_> =
        Messages::of(datagram.bytes()).map(|message| message.unwrap().body.to_vec()).collect();
    assert_eq!(bodies, vec![encode(&add()).body.to_vec(); 3]);
}
