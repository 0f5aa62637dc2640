//! Many requests in one datagram, and which answer is about which.
//!
//! The kernel carries all messages of a datagram out in order under one lock, the ones after an error too
//! (`netlink_rcv_skb`). It always answers an error, and a success only where it was asked to. So only the last message
//! asks: no error means success, and the last one's answer means that there is no more to come.

use std::ops::Range;

use esplanade_model::Refusal;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use zeroize::Zeroizing;

use super::reply::{Message, Messages};
use super::request::Request;
use crate::KernelError;

/// Length of `struct nlmsghdr`.
pub const HEADER_LENGTH: usize = 16;
/// The longest datagram. The default send buffer would take three of them.
pub const MAX_BYTES: usize = 64 * 1024;
/// The most messages of a datagram. Their errors fit the default receive buffer, should it not be allowed to grow:
/// each takes 768 bytes of it.
pub const MAX_MESSAGES: usize = 128;

/// Splits requests into datagrams, in order.
///
/// # Errors
/// A request is longer than a datagram.
pub fn split(requests: &[Request]) -> Result<Vec<Range<usize>>, KernelError> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, request) in requests.iter().enumerate() {
        let length = length(request);
        if length > MAX_BYTES {
            return Err(KernelError::TooLong(length));
        }
        if bytes + length > MAX_BYTES || at - start == MAX_MESSAGES {
            ranges.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += length;
    }
    if start < requests.len() {
        ranges.push(start..requests.len());
    }
    Ok(ranges)
}

/// The requests as one datagram, numbered from `first_sequence`. `port` comes back in the events they cause.
pub fn datagram(requests: &[Request], first_sequence: u32, port: u32) -> Zeroizing<Vec<u8>> {
    // All of it at once: growing would leave keys behind in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(requests.iter().map(length).sum()));
    let mut sequence = first_sequence;
    for (at, request) in requests.iter().enumerate() {
        let ack = if at + 1 == requests.len() { NLM_F_ACK } else { 0 };
        push(&mut bytes, request.message_type, NLM_F_REQUEST | ack, sequence, port, &request.body);
        sequence = sequence.wrapping_add(1);
    }
    bytes
}

/// A request for a whole database.
pub fn dump(message_type: u16, sequence: u32, port: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, message_type, NLM_F_REQUEST | NLM_F_DUMP, sequence, port, &[]);
    bytes
}

fn length(request: &Request) -> usize {
    HEADER_LENGTH + request.body.len().next_multiple_of(4)
}

fn push(bytes: &mut Vec<u8>, message_type: u16, flags: u16, sequence: u32, port: u32, body: &[u8]) {
    let length = u32::try_from(HEADER_LENGTH + body.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(message_type.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(port.to_ne_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The answers to one datagram.
#[derive(Debug)]
pub struct Answers {
    first_sequence: u32,
    gone: Vec<Option<i32>>,
    results: Vec<Result<(), Refusal>>,
    complete: bool,
}

impl Answers {
    /// To these requests, numbered from `first_sequence`.
    pub fn to(requests: &[Request], first_sequence: u32) -> Self {
        Self {
            first_sequence,
            gone: requests.iter().map(|request| request.gone).collect(),
            results: vec![Ok(()); requests.len()],
            complete: requests.is_empty(),
        }
    }

    /// Takes a datagram from the kernel in.
    ///
    /// # Errors
    /// It is malformed.
    pub fn take(&mut self, datagram: &[u8]) -> Result<(), KernelError> {
        for message in Messages::of(datagram) {
            let message = message?;
            // Any other is an answer to something earlier, which nobody waits for any more.
            let at = message.sequence.wrapping_sub(self.first_sequence) as usize;
            if at >= self.results.len() {
                continue;
            }
            if let Message::ERROR = message.message_type {
                if let Err(refusal) = message.error()? {
                    let gone = self.gone[at] == Some(refusal.errno);
                    self.results[at] = if gone { Ok(()) } else { Err(refusal) };
                }
                self.complete |= at + 1 == self.results.len();
            }
        }
        Ok(())
    }

    /// Everything was answered.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// One result for each request.
    pub fn into_results(self) -> Vec<Result<(), Refusal>> {
        self.results
    }
}
