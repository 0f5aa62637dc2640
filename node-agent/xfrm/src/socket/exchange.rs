//! Requests and their answers over a link.

use esplanade_model::Refusal;
use netlink_packet_xfrm::constants::{XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA};
use zeroize::Zeroizing;

use super::link::Link;
use crate::KernelError;
use crate::wire::batch::{self, Answers};
use crate::wire::reply::{Message, Messages};
use crate::wire::{Dumped, Request};

/// The kernel sends dumps in pieces of 32 KiB, or of one record if that's longer.
const BUFFER: usize = 128 * 1024;
/// Dumps that were interrupted, before giving up.
const DUMP_ATTEMPTS: u32 = 5;

/// Numbers messages.
#[derive(Debug, Default)]
pub(super) struct Sequence(u32);

impl Sequence {
    /// The first of `count` numbers that nothing else has.
    fn take(&mut self, count: usize) -> u32 {
        let first = self.0.wrapping_add(1);
        self.0 = self.0.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        first
    }
}

/// Sends the requests; one result for each.
pub(super) fn carry_out(
    link: &impl Link,
    sequence: &mut Sequence,
    requests: &[Request],
) -> Result<Vec<Result<(), Refusal>>, KernelError> {
    let mut buffer = vec![0; BUFFER];
    let mut results = Vec::with_capacity(requests.len());
    for range in batch::split(requests)? {
        let requests = &requests[range];
        let first = sequence.take(requests.len());
        link.send(&batch::datagram(requests, first, link.port()))?;
        let mut answers = Answers::to(requests, first);
        while !answers.is_complete() {
            let length = link.receive(&mut buffer)?;
            answers.take(&buffer[..length])?;
        }
        results.extend(answers.into_results());
    }
    Ok(results)
}

/// The records of one database. Wiped when dropped.
pub(super) struct Records {
    datagrams: Vec<Zeroizing<Vec<u8>>>,
    message_type: u16,
    sequence: u32,
}

impl Records {
    pub(super) fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        let messages = self.datagrams.iter().flat_map(|datagram| Messages::of(datagram));
        // Malformed ones ended the dump.
        messages
            .flatten()
            .filter(|message| message.sequence == self.sequence && message.message_type == self.message_type)
            .map(|message| message.body)
    }
}

/// Reads a whole database.
pub(super) fn dump(
    link: &impl Link,
    sequence: &mut Sequence,
    of: Dumped,
    message_type: u16,
) -> Result<Records, KernelError> {
    for _ in 0..DUMP_ATTEMPTS {
        if let Some(records) = dump_once(link, sequence.take(1), of, message_type)? {
            return Ok(records);
        }
    }
    Err(KernelError::Unstable(DUMP_ATTEMPTS))
}

/// None if a change disturbed the dump.
fn dump_once(
    link: &impl Link,
    sequence: u32,
    of: Dumped,
    message_type: u16,
) -> Result<Option<Records>, KernelError> {
    let (database, record_type) = match of {
        Dumped::Sas => ("SAs", XFRM_MSG_NEWSA),
        Dumped::Policies => ("policies", XFRM_MSG_NEWPOLICY),
    };
    let mut records = Records { datagrams: Vec::new(), message_type: record_type, sequence };
    let mut buffer = Zeroizing::new(vec![0; BUFFER]);
    let mut disturbed = false;
    link.send(&batch::dump(message_type, sequence, link.port()))?;
    loop {
        let length = link.receive(&mut buffer)?;
        let datagram = &buffer[..length];
        for message in Messages::of(datagram) {
            let message = message?;
            if message.sequence != sequence {
                continue;
            }
            disturbed |= message.is_disturbed();
            let outcome = match message.message_type {
                Message::DONE => message.done(),
                Message::ERROR => message.error()?,
                _ => continue,
            };
            return match outcome {
                Ok(()) if disturbed => Ok(None),
                Ok(()) => {
                    records.datagrams.push(Zeroizing::new(datagram.to_vec()));
                    Ok(Some(records))
                }
                Err(refusal) => Err(KernelError::Dump { database, refusal }),
            };
        }
        records.datagrams.push(Zeroizing::new(datagram.to_vec()));
    }
}
