//! Requests and their answers over a link.

use std::sync::atomic::{AtomicU32, Ordering};

use esplanade_model::{Op, Refusal, ReplayState, Spi, Unnumbered, Used, WantedSa};
use zeroize::Zeroizing;

use super::link::Link;
use crate::KernelError;
use crate::wire::batch::{self, Datagram};
use crate::wire::reply::{Message, Messages};
use crate::wire::{Dumped, allocate, replay_state as wire};

/// The kernel sends dumps in pieces of 32 KiB, or of one record if that's longer (`netlink_dump`).
const BUFFER: usize = 64 * 1024;

/// Numbers messages.
#[derive(Debug, Default)]
pub(super) struct Sequence(AtomicU32);

impl Sequence {
    /// The next one.
    pub(super) fn next(&self) -> u32 {
        self.0.load(Ordering::Relaxed).wrapping_add(1)
    }

    /// The first of `count` numbers that nothing else has.
    pub(super) fn take(&self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.0.fetch_add(count, Ordering::Relaxed).wrapping_add(1)
    }
}

/// Room for what comes. Wiped when dropped.
pub(super) struct Buffer(Zeroizing<Vec<u8>>);

impl Default for Buffer {
    fn default() -> Self {
        Self(Zeroizing::new(vec![0; BUFFER]))
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Buffer")
    }
}

impl Buffer {
    /// The next datagram.
    pub(super) fn receive(&mut self, link: &impl Link) -> Result<&[u8], KernelError> {
        let length = link.receive(&mut self.0)?;
        Ok(self.0.get(..length).unwrap_or_default())
    }
}

/// Sends the operations, as many as fit in each datagram; the refusals, each with the place of its operation.
pub(super) fn carry_out(
    link: &impl Link,
    sequence: &Sequence,
    datagram: &mut Datagram,
    buffer: &mut Buffer,
    ops: &mut dyn Iterator<Item = Op>,
) -> Result<Vec<(usize, Refusal)>, KernelError> {
    let mut refusals = Vec::new();
    let mut before = 0;
    let mut next = ops.next();
    while next.is_some() {
        datagram.begin(sequence.next());
        while let Some(op) = &next {
            if !datagram.operation(op)? {
                break;
            }
            next = ops.next();
        }
        let count = datagram.len();
        sequence.take(count);
        let mut answers = datagram.ask_for_answer();
        link.send(datagram.bytes())?;
        while !answers.is_complete() {
            answers.take(buffer.receive(link)?)?;
        }
        let results = answers.into_results().into_iter().enumerate();
        refusals.extend(results.filter_map(|(at, result)| Some((before + at, result.err()?))));
        before += count;
    }
    datagram.wipe();
    Ok(refusals)
}

/// One question, whose answer is one message, or a refusal.
pub(super) fn ask<T>(
    link: &impl Link,
    sequence: &Sequence,
    buffer: &mut Buffer,
    (message_type, body): (u16, &[u8]),
    take: impl FnOnce(&Message<'_>) -> Result<T, KernelError>,
) -> Result<Result<T, Refusal>, KernelError> {
    let sequence = sequence.take(1);
    link.send(&batch::question(message_type, body, sequence, link.port()))?;
    loop {
        for message in Messages::of(buffer.receive(link)?) {
            let message = message?;
            if message.sequence != sequence {
                continue;
            }
            if message.message_type != Message::ERROR {
                return take(&message).map(Ok);
            }
            if let Err(refusal) = message.error()? {
                return Ok(Err(refusal));
            }
        }
    }
}

/// Asks for an SPI, which is the answer.
pub(super) fn allocate_spi(
    link: &impl Link,
    sequence: &Sequence,
    buffer: &mut Buffer,
    sa: &Unnumbered,
) -> Result<Result<Spi, Refusal>, KernelError> {
    let body = allocate::encode(sa);
    ask(link, sequence, buffer, (allocate::REQUEST, &body), |message| allocate::decode(message.body))
}

/// Asks where an SA is.
pub(super) fn replay_state(
    link: &impl Link,
    sequence: &Sequence,
    buffer: &mut Buffer,
    sa: &WantedSa,
) -> Result<Option<(ReplayState, Used)>, KernelError> {
    let body = wire::question(sa);
    match ask(link, sequence, buffer, (wire::REQUEST, &body), |message| wire::decode(message, sa))? {
        Ok(answer) => Ok(Some(answer)),
        Err(refusal) if refusal.errno == libc::ESRCH => Ok(None),
        Err(refusal) => Err(KernelError::Dump { database: Dumped::Sas.name(), refusal }),
    }
}

/// Reads a whole database once, and hands on each message of it; whether no change disturbed that.
pub(super) fn dump(
    link: &impl Link,
    sequence: &Sequence,
    buffer: &mut Buffer,
    of: Dumped,
    mut each: impl FnMut(&Message<'_>) -> Result<(), KernelError>,
) -> Result<bool, KernelError> {
    let sequence = sequence.take(1);
    let mut disturbed = false;
    link.send(&batch::dump(of.request(), sequence, link.port()))?;
    loop {
        for message in Messages::of(buffer.receive(link)?) {
            let message = message?;
            if message.sequence != sequence {
                continue;
            }
            disturbed |= message.is_disturbed();
            let outcome = match message.message_type {
                Message::DONE => message.done(),
                Message::ERROR => message.error()?,
                _ => {
                    each(&message)?;
                    continue;
                }
            };
            let refused = |refusal| KernelError::Dump { database: of.name(), refusal };
            return outcome.map(|()| !disturbed).map_err(refused);
        }
    }
}
