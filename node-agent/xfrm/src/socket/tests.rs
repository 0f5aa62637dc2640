#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;

use std::cell::RefCell;
use std::collections::VecDeque;

use esplanade_model::{InboundSa, Mark, Observed, Op, PolicyKey, Protocol, Refusal, Sa, SaId, Spi};

use super::exchange::{Buffer, Sequence};
use super::link::{Link, PATIENCE};
use super::reading::Reading;
use super::{exchange, read};
use crate::KernelError;
use crate::wire::batch::{Datagram, Limits};
use crate::wire::reply::{Message, Messages};
use crate::wire::tests::sa;
use crate::wire::{Glancer, Observer, encode};

const NEWSA: u16 = 0x10;
const MULTI: u16 = 2;
const DUMP_INTR: u16 = 0x10;

/// Messages in a datagram here.
const MAX_MESSAGES: usize = 128;

fn datagram(link: &impl Link) -> Datagram {
    Datagram::new(Limits { messages: MAX_MESSAGES, ..Limits::LARGEST }, link.port())
}

/// Carries operations out, one result for each.
fn carry_out(
    link: &impl Link,
    sequence: &Sequence,
    ops: &[Op],
) -> Result<Vec<Result<(), Refusal>>, KernelError> {
    let mut results = vec![Ok(()); ops.len()];
    let (mut datagram, mut buffer) = (datagram(link), Buffer::default());
    let refusals = exchange::carry_out(link, sequence, &mut datagram, &mut buffer, &mut ops.iter().cloned())?;
    for (at, refusal) in refusals {
        results[at] = Err(refusal);
    }
    Ok(results)
}

/// Reads both databases.
fn observe(link: &impl Link) -> Result<Observed, KernelError> {
    let mut observer = Observer::default();
    let (glancer, mut buffer) = (Glancer::default(), Buffer::default());
    let mut reading = Reading { glancer: &glancer, buffer: &mut buffer, reader: &mut observer };
    read(link, &Sequence::default(), &mut reading)?;
    Ok(observer.finish())
}

/// Looks single SAs and policies up.
fn look_up(link: &impl Link, sas: &[SaId], policies: &[PolicyKey]) -> Result<Observed, KernelError> {
    let mut observer = Observer::default();
    let (glancer, mut buffer) = (Glancer::default(), Buffer::default());
    let mut reading = Reading { glancer: &glancer, buffer: &mut buffer, reader: &mut observer };
    reading.look_up(link, &Sequence::default(), &mut datagram(link), sas, policies)?;
    Ok(observer.finish())
}

/// Answers each datagram by a function, a datagram of answers at a time.
struct Double<F> {
    answer: RefCell<F>,
    queue: RefCell<VecDeque<Result<Vec<u8>, KernelError>>>,
}

type Answers = Vec<Result<Vec<u8>, KernelError>>;

impl<F: FnMut(&[u32]) -> Answers> Double<F> {
    /// `answer`: the sequence numbers of a datagram's messages to its answers.
    fn new(answer: F) -> Self {
        Self { answer: RefCell::new(answer), queue: RefCell::default() }
    }
}

impl<F: FnMut(&[u32]) -> Answers> Link for Double<F> {
    fn port(&self) -> u32 {
        7
    }

    fn send(&self, datagram: &[u8]) -> Result<(), KernelError> {
        let numbers: Vec<_> = Messages::of(datagram).map(|message| message.unwrap().sequence).collect();
        self.queue.borrow_mut().extend(self.answer.borrow_mut()(&numbers));
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize, KernelError> {
        let answer = self.queue.borrow_mut().pop_front().unwrap_or(Err(KernelError::Timeout(PATIENCE)))?;
        buffer[..answer.len()].copy_from_slice(&answer);
        Ok(answer.len())
    }
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    bytes.extend([sequence.to_ne_bytes(), 7u32.to_ne_bytes()].concat());
    bytes.extend(body);
    bytes
}

fn error(sequence: u32, errno: i32) -> Vec<u8> {
    let body = [(-errno).to_ne_bytes().to_vec(), message(NEWSA, 0, sequence, &[])].concat();
    message(Message::ERROR, 0x100, sequence, &body)
}

/// Of an SA of ours.
fn sa_body(spi: u32) -> Vec<u8> {
    let sa = Sa { spi: Spi::new(spi).unwrap(), ..sa() };
    encode(&Op::AddInbound { sa: InboundSa(sa), state: None, used: None }).body.to_vec()
}

fn spis(observed: &Observed) -> Vec<u32> {
    observed.sas.iter().map(|sa| sa.id.spi.get()).collect()
}

fn done(sequence: u32, flags: u16) -> Vec<u8> {
    message(Message::DONE, MULTI | flags, sequence, &0i32.to_ne_bytes())
}

fn id(spi: u32) -> SaId {
    SaId { destination: [192, 0, 2, 2].into(), protocol: Protocol::Esp, spi: Spi::new(spi).unwrap() }
}

fn deletions(count: usize) -> Vec<Op> {
    (256..).take(count).map(|spi| Op::DeleteSa(id(spi), Mark::NONE)).collect()
}

#[test]
fn each_datagram_is_answered_before_the_next() {
    let mut datagrams = Vec::new();
    let link = Double::new(|numbers| {
        datagrams.push(numbers.len());
        let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
        vec![Ok(error(first + 1, libc::EINVAL)), Ok(error(last, 0))]
    });
    let results = carry_out(&link, &Sequence::default(), &deletions(300)).unwrap();
    let refused: Vec<_> =
        results.iter().enumerate().filter(|(_, result)| result.is_err()).map(|(at, _)| at).collect();
    assert_eq!(refused, [1, MAX_MESSAGES + 1, 2 * MAX_MESSAGES + 1]);
    drop(link);
    assert_eq!(datagrams, [MAX_MESSAGES, MAX_MESSAGES, 300 - 2 * MAX_MESSAGES]);
}

#[test]
fn lost_answers_are_an_error() {
    let link = Double::new(|_| vec![Err(KernelError::Overrun)]);
    let result = carry_out(&link, &Sequence::default(), &deletions(3));
    assert!(matches!(result, Err(KernelError::Overrun)));
    let link = Double::new(|_| vec![]);
    let result = carry_out(&link, &Sequence::default(), &deletions(3));
    assert!(matches!(result, Err(KernelError::Timeout(_))));
}

#[test]
fn a_dump_comes_in_pieces() {
    let record = |number: u32, spi| message(NEWSA, MULTI, number, &sa_body(spi));
    let link = Double::new(|numbers| {
        let [number] = numbers else { panic!("one dump at a time") };
        vec![
            Ok([record(*number, 256), record(*number, 257)].concat()),
            // Of an earlier dump, and of another kind.
            Ok([record(number - 1, 258), done(number - 1, 0)].concat()),
            Ok(message(0x14, MULTI, *number, b"kind")),
            Ok(if *number == 1 { [record(1, 259), done(1, 0)].concat() } else { done(*number, 0) }),
        ]
    });
    // The second database is made of SAs here, which are no policies.
    assert_eq!(spis(&observe(&link).unwrap()), [256, 257, 259]);
}

#[test]
fn a_disturbed_dump_is_made_again() {
    let mut attempts = 0;
    let link = Double::new(|numbers| {
        attempts += 1;
        let flags = if attempts < 3 { DUMP_INTR } else { 0 };
        let record = message(NEWSA, MULTI | flags, numbers[0], &sa_body(256 + attempts));
        vec![Ok(record), Ok(done(numbers[0], 0))]
    });
    assert_eq!(spis(&observe(&link).unwrap()), [259]);
    let link = Double::new(|numbers| vec![Ok(done(numbers[0], DUMP_INTR))]);
    assert!(matches!(observe(&link), Err(KernelError::Unstable(5))));
}

#[test]
fn a_refused_dump_says_why() {
    let link = Double::new(|numbers| vec![Ok(error(numbers[0], libc::EPERM))]);
    let Err(KernelError::Dump { database: "SAs", refusal }) = observe(&link) else { panic!("not refused") };
    assert_eq!(refusal, Refusal { errno: libc::EPERM, message: None });
}

#[test]
fn each_look_up_is_answered() {
    let ids: Vec<_> = (256..556).map(id).collect();
    // Every third is there; the answers come backwards, some together.
    let link = Double::new(|numbers| {
        let answer = |number: u32| match number % 3 {
            0 => message(NEWSA, 0, number, &sa_body(255 + number)),
            _ => error(number, libc::ESRCH),
        };
        let answers = numbers.iter().rev().map(|number| answer(*number)).collect::<Vec<_>>();
        answers.chunks(2).map(|some| Ok(some.concat())).collect()
    });
    let observed = look_up(&link, &ids, &[]).unwrap();
    let mut found = spis(&observed);
    found.sort_unstable();
    assert_eq!(
        found,
        (1..=300).filter(|number| number % 3 == 0).map(|number| 255 + number).collect::<Vec<_>>()
    );
}

#[test]
fn a_look_up_that_fails_is_an_error() {
    for (errno, failed) in [(libc::EPERM, "DumpRefused"), (libc::ENOENT, "DumpRefused")] {
        let link = Double::new(|numbers| vec![Ok(error(numbers[0], errno))]);
        assert_eq!(look_up(&link, &[id(256)], &[]).unwrap_err().category(), failed, "{errno}");
    }
    // The other answer never comes.
    let link = Double::new(|numbers| vec![Ok(error(numbers[0], libc::ESRCH))]);
    assert!(matches!(look_up(&link, &[id(256), id(257)], &[]), Err(KernelError::Timeout(_))));
    // One answer for each: what comes twice, and what says that all is well, is none.
    let link = Double::new(|numbers| {
        let first = numbers[0];
        vec![Ok([error(first, libc::ESRCH), error(first, libc::ESRCH), error(first + 1, 0)].concat())]
    });
    assert!(matches!(look_up(&link, &[id(256), id(257)], &[]), Err(KernelError::Timeout(_))));
    let link = Double::new(|numbers| vec![Ok(message(NEWSA, 0, numbers[0], &[0; 223]))]);
    assert!(matches!(look_up(&link, &[id(256)], &[]), Err(KernelError::Malformed(_))));
}
