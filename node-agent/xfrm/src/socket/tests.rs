#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;

use std::cell::RefCell;
use std::collections::VecDeque;

use esplanade_model::{Op, Protocol, Refusal, SaId, Spi};

use super::exchange::{Sequence, carry_out, dump};
use super::link::{Link, PATIENCE};
use crate::KernelError;
use crate::wire::batch::MAX_MESSAGES;
use crate::wire::reply::{Message, Messages};
use crate::wire::{Dumped, Request, encode};

const GETSA: u16 = 0x12;
const NEWSA: u16 = 0x10;
const MULTI: u16 = 2;
const DUMP_INTR: u16 = 0x10;

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

fn done(sequence: u32, flags: u16) -> Vec<u8> {
    message(Message::DONE, MULTI | flags, sequence, &0i32.to_ne_bytes())
}

fn requests(count: usize) -> Vec<Request> {
    let id = |spi| SaId {
        destination: [192, 0, 2, 1].into(),
        protocol: Protocol::Esp,
        spi: Spi::new(spi).unwrap(),
    };
    (256..).take(count).map(|spi| encode(&Op::DeleteSa(id(spi)))).collect()
}

#[test]
fn each_datagram_is_answered_before_the_next() {
    let mut datagrams = Vec::new();
    let link = Double::new(|numbers| {
        datagrams.push(numbers.len());
        let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
        vec![Ok(error(first + 1, libc::EINVAL)), Ok(error(last, 0))]
    });
    let results = carry_out(&link, &mut Sequence::default(), &requests(300)).unwrap();
    let refused: Vec<_> =
        results.iter().enumerate().filter(|(_, result)| result.is_err()).map(|(at, _)| at).collect();
    assert_eq!(refused, [1, MAX_MESSAGES + 1, 2 * MAX_MESSAGES + 1]);
    drop(link);
    assert_eq!(datagrams, [MAX_MESSAGES, MAX_MESSAGES, 300 - 2 * MAX_MESSAGES]);
}

#[test]
fn lost_answers_are_an_error() {
    let link = Double::new(|_| vec![Err(KernelError::Overrun)]);
    let result = carry_out(&link, &mut Sequence::default(), &requests(3));
    assert!(matches!(result, Err(KernelError::Overrun)));
    let link = Double::new(|_| vec![]);
    let result = carry_out(&link, &mut Sequence::default(), &requests(3));
    assert!(matches!(result, Err(KernelError::Timeout(_))));
}

fn bodies(link: &impl Link) -> Result<Vec<Vec<u8>>, KernelError> {
    let records = dump(link, &mut Sequence::default(), Dumped::Sas, GETSA)?;
    Ok(records.bodies().map(<[u8]>::to_vec).collect())
}

#[test]
fn a_dump_comes_in_pieces() {
    let link = Double::new(|numbers| {
        let record = |body: &[u8]| message(NEWSA, MULTI, numbers[0], body);
        vec![
            Ok([record(b"one."), record(b"two.")].concat()),
            // Of an earlier dump, and of another kind.
            Ok([message(NEWSA, MULTI, numbers[0] - 1, b"old."), done(numbers[0] - 1, 0)].concat()),
            Ok(message(0x13, MULTI, numbers[0], b"kind")),
            Ok([record(b"end."), done(numbers[0], 0)].concat()),
        ]
    });
    assert_eq!(bodies(&link).unwrap(), [b"one.", b"two.", b"end."]);
}

#[test]
fn a_disturbed_dump_is_made_again() {
    let mut attempts = 0;
    let link = Double::new(|numbers| {
        attempts += 1;
        let flags = if attempts < 3 { DUMP_INTR } else { 0 };
        let record = message(NEWSA, MULTI | flags, numbers[0], format!("{attempts:04}").as_bytes());
        vec![Ok(record), Ok(done(numbers[0], 0))]
    });
    assert_eq!(bodies(&link).unwrap(), [b"0003"]);
    let link = Double::new(|numbers| vec![Ok(done(numbers[0], DUMP_INTR))]);
    assert!(matches!(bodies(&link), Err(KernelError::Unstable(5))));
}

#[test]
fn a_refused_dump_says_why() {
    let link = Double::new(|numbers| vec![Ok(error(numbers[0], libc::EPERM))]);
    let Err(KernelError::Dump { database: "SAs", refusal }) = bodies(&link) else { panic!("not refused") };
    assert_eq!(refusal, Refusal { errno: libc::EPERM, message: None });
}
