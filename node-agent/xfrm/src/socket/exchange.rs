//! Requests and their answers over a link.

use std::sync::atomic::{AtomicU32, Ordering};

use esplanade_model::{Glance, Op, PolicyKey, PolicyRecord, Reader, Recognised, Refusal, SaId, SaRecord};
use netlink_packet_xfrm::constants::{XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA};
use zeroize::Zeroizing;

use super::link::Link;
use crate::KernelError;
use crate::wire::batch::{self, Datagram};
use crate::wire::reply::{Message, Messages};
use crate::wire::{Decode, Dumped, Glancer, decode_state};

/// The kernel sends dumps in pieces of 32 KiB, or of one record if that's longer.
const BUFFER: usize = 128 * 1024;
/// Dumps that were interrupted, before giving up.
const DUMP_ATTEMPTS: u32 = 5;

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
    fn receive(&mut self, link: &impl Link) -> Result<&[u8], KernelError> {
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

/// A question, and the answer to it.
#[derive(Clone, Copy)]
enum Question<'a> {
    Sa(SaId),
    Policy(&'a PolicyKey),
}

/// Looks single SAs and policies up.
pub(super) fn look_up(
    link: &impl Link,
    sequence: &Sequence,
    datagram: &mut Datagram,
    reading: &mut Reading<'_>,
    (sas, policies): (&[SaId], &[PolicyKey]),
) -> Result<(), KernelError> {
    let questions = sas.iter().map(|id| Question::Sa(*id)).chain(policies.iter().map(Question::Policy));
    let mut questions = questions.peekable();
    let mut asked = Vec::new();
    while questions.peek().is_some() {
        let first = sequence.next();
        datagram.begin(first);
        asked.clear();
        while let Some(question) = questions.peek() {
            let fits = match question {
                Question::Sa(id) => datagram.sa(*id)?,
                Question::Policy(key) => datagram.policy(key)?,
            };
            if !fits {
                break;
            }
            asked.push(Some(*question));
            questions.next();
        }
        sequence.take(datagram.len());
        link.send(datagram.bytes())?;
        let mut open = asked.len();
        while open > 0 {
            let length = link.receive(&mut reading.buffer.0)?;
            let bytes = reading.buffer.0.get(..length).unwrap_or_default();
            for message in Messages::of(bytes) {
                let message = message?;
                let at = message.sequence.wrapping_sub(first) as usize;
                // Anything else is an answer to something earlier.
                let Some(Some(question)) = asked.get(at).copied() else { continue };
                match (message.message_type, question) {
                    (Message::ERROR, question) => match message.error()? {
                        Ok(()) => continue,
                        Err(refusal) if datagram.is_gone(at, refusal.errno) => match question {
                            Question::Sa(id) => reading.reader.no_sa(id),
                            Question::Policy(key) => reading.reader.no_policy(*key),
                        },
                        Err(refusal) => {
                            let database = match question {
                                Question::Sa(_) => Dumped::Sas.name(),
                                Question::Policy(_) => Dumped::Policies.name(),
                            };
                            return Err(KernelError::Dump { database, refusal });
                        }
                    },
                    (XFRM_MSG_NEWSA, Question::Sa(id)) => {
                        let record = SaRecord::decode(message.body)?;
                        // A larval one has no name yet.
                        match record.name() == Some(id) {
                            true => reading.reader.sa(reading.glancer.sa(message.body), record),
                            false => reading.reader.no_sa(id),
                        }
                    }
                    (XFRM_MSG_NEWPOLICY, Question::Policy(key)) => {
                        let record = PolicyRecord::decode(message.body)?;
                        // Old kernels take one with a mark for one without, where the mark is 0.
                        match record.name() == Some(key) {
                            true => reading.reader.policy(reading.glancer.policy(message.body), record),
                            false => reading.reader.no_policy(*key),
                        }
                    }
                    _ => continue,
                }
                asked[at] = None;
                open -= 1;
            }
        }
    }
    Ok(())
}

/// Who reads, and with what.
pub(super) struct Reading<'a> {
    pub(super) glancer: &'a Glancer,
    pub(super) buffer: &'a mut Buffer,
    pub(super) reader: &'a mut dyn Reader,
}

impl Reading<'_> {
    /// Reads a whole database.
    pub(super) fn dump(
        &mut self,
        link: &impl Link,
        sequence: &Sequence,
        of: Dumped,
        message_type: u16,
    ) -> Result<(), KernelError> {
        for _ in 0..DUMP_ATTEMPTS {
            match of {
                Dumped::Sas => self.reader.begin_sas(),
                Dumped::Policies => self.reader.begin_policies(),
            }
            if self.dump_once(link, sequence.take(1), of, message_type)? {
                return Ok(());
            }
        }
        Err(KernelError::Unstable(DUMP_ATTEMPTS))
    }

    /// Whether no change disturbed the dump.
    fn dump_once(
        &mut self,
        link: &impl Link,
        sequence: u32,
        of: Dumped,
        message_type: u16,
    ) -> Result<bool, KernelError> {
        let record_type = match of {
            Dumped::Sas => XFRM_MSG_NEWSA,
            Dumped::Policies => XFRM_MSG_NEWPOLICY,
        };
        let mut disturbed = false;
        link.send(&batch::dump(message_type, sequence, link.port()))?;
        loop {
            let length = link.receive(&mut self.buffer.0)?;
            let datagram = self.buffer.0.get(..length).unwrap_or_default();
            for message in Messages::of(datagram) {
                let message = message?;
                if message.sequence != sequence {
                    continue;
                }
                disturbed |= message.is_disturbed();
                let outcome = match message.message_type {
                    Message::DONE => message.done(),
                    Message::ERROR => message.error()?,
                    kind => {
                        if kind == record_type {
                            record(self.reader, self.glancer, of, message.body)?;
                        }
                        continue;
                    }
                };
                return match outcome {
                    Ok(()) => Ok(!disturbed),
                    Err(refusal) => Err(KernelError::Dump { database: of.name(), refusal }),
                };
            }
        }
    }
}

fn record(reader: &mut dyn Reader, glancer: &Glancer, of: Dumped, body: &[u8]) -> Result<(), KernelError> {
    match of {
        Dumped::Sas => {
            let glance: Glance = glancer.sa(body);
            match reader.glance_at_sa(glance) {
                Recognised::Same => {}
                Recognised::Counted => {
                    let (state, used) = decode_state(body)?;
                    reader.sa_counted(state, used);
                }
                Recognised::No => reader.sa(glance, SaRecord::decode(body)?),
            }
        }
        Dumped::Policies => {
            let glance = glancer.policy(body);
            if !reader.glance_at_policy(glance) {
                reader.policy(glance, PolicyRecord::decode(body)?);
            }
        }
    }
    Ok(())
}
