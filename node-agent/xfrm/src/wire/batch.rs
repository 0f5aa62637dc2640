//! Many requests in one datagram, and which answer is about which.
//!
//! The kernel carries all messages of a datagram out in order under one lock, the ones after an error too
//! (`netlink_rcv_skb`). It always answers an error, and a success only where it was asked to. So only the last message
//! asks: no error means success, and the last one's answer means that there is no more to come.

use esplanade_model::{Op, PolicyKey, Refusal, SaId};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use zeroize::{Zeroize, Zeroizing};

use super::reply::{Message, Messages};
use super::request::{self, Kind, Request, Sink};
use crate::KernelError;

/// Length of `struct nlmsghdr`.
pub const HEADER_LENGTH: usize = 16;
/// Where `nlmsg_flags` is in it.
const FLAGS: usize = 6;

/// How large a datagram may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In bytes.
    pub bytes: usize,
    /// In messages: their errors, or their answers, must fit the receive buffer all at once.
    pub messages: usize,
}

impl Limits {
    /// More makes it no faster: at this many, the work in the kernel is all that counts.
    pub const LARGEST: Self = Self { bytes: 1024 * 1024, messages: 2048 };
    /// What an error takes of the receive buffer, in bytes, with room to spare (768 with a few words).
    const ERROR: usize = 1024;
    /// What a record takes of it: the kernel makes a page's room for each (`NLMSG_DEFAULT_SIZE`), with room to spare.
    const RECORD: usize = 8 * 1024;

    /// The longest question, with room to spare.
    const LOOK_UP: usize = 256;

    /// For operations through a socket with these buffers, in bytes as the kernel counts them.
    pub fn of_operations(send: usize, receive: usize) -> Self {
        Self::of(send, receive / Self::ERROR)
    }

    /// For look-ups.
    pub fn of_look_ups(send: usize, receive: usize) -> Self {
        let Self { bytes, messages } = Self::of(send, receive / Self::RECORD);
        Self { bytes: bytes.min(messages.saturating_mul(Self::LOOK_UP)), messages }
    }

    fn of(send: usize, messages: usize) -> Self {
        // `netlink_sendmsg` keeps 32 bytes.
        let bytes = send.saturating_sub(32).min(Self::LARGEST.bytes);
        Self { bytes, messages: messages.clamp(1, Self::LARGEST.messages) }
    }
}

/// A datagram in the making, and made again and again in the same place. Wiped when dropped.
pub struct Datagram {
    bytes: Zeroizing<Vec<u8>>,
    /// How much of it was ever used since it was wiped.
    used: usize,
    limits: Limits,
    port: u32,
    first_sequence: u32,
    /// Where the last message begins.
    last: usize,
    /// Of each message, the error number that says that there is nothing.
    gone: Vec<Option<i32>>,
}

impl Datagram {
    /// Room that is kept between uses, in bytes.
    const KEPT: usize = 64 * 1024;

    /// An empty one. `port` comes back in the events that its messages cause.
    pub fn new(limits: Limits, port: u32) -> Self {
        Self {
            bytes: Zeroizing::default(),
            used: 0,
            limits,
            port,
            first_sequence: 0,
            last: 0,
            gone: Vec::new(),
        }
    }

    /// Empties it. Messages are numbered from `first_sequence`.
    pub fn begin(&mut self, first_sequence: u32) {
        self.bytes.clear();
        // All of it at once: growing would leave keys behind in freed memory. It is taken as it is used.
        self.bytes.reserve_exact(self.limits.bytes);
        self.gone.clear();
        self.first_sequence = first_sequence;
    }

    /// Adds an operation; whether there was room.
    ///
    /// # Errors
    /// There is not even room for it alone.
    pub fn operation(&mut self, op: &Op) -> Result<bool, KernelError> {
        let written = request::write(op, self);
        self.added(written)
    }

    /// Adds a question for an SA, as for operations.
    ///
    /// # Errors
    /// As for operations.
    pub fn sa(&mut self, id: SaId) -> Result<bool, KernelError> {
        let written = request::ask_for_sa(id, self);
        self.added(written)
    }

    /// Adds a question for a policy, as for operations.
    ///
    /// # Errors
    /// As for operations.
    pub fn policy(&mut self, key: &PolicyKey) -> Result<bool, KernelError> {
        let written = request::ask_for_policy(key, self);
        self.added(written)
    }

    fn added(&mut self, written: Result<(), usize>) -> Result<bool, KernelError> {
        match written {
            Ok(()) => Ok(true),
            Err(length) if self.gone.is_empty() => Err(KernelError::TooLong(HEADER_LENGTH + length)),
            Err(_) => Ok(false),
        }
    }

    /// How many messages it has.
    pub fn len(&self) -> usize {
        self.gone.len()
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty()
    }

    /// Lets its last message ask for an answer; what answers there are to all of them.
    pub fn ask_for_answer(&mut self) -> Answers {
        if let Some(bytes) = self.bytes.get_mut(self.last + FLAGS..self.last + FLAGS + 2) {
            let flags = u16::from_ne_bytes([bytes[0], bytes[1]]);
            bytes.copy_from_slice(&(flags | NLM_F_ACK).to_ne_bytes());
        }
        Answers::to(self.gone.iter().copied(), self.first_sequence)
    }

    /// Whether the error number says that what message `at` is about isn't there.
    pub fn is_gone(&self, at: usize, errno: i32) -> bool {
        self.gone.get(at).is_some_and(|gone| *gone == Some(errno))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties and wipes it, and gives its room back if much of it was used.
    pub fn wipe(&mut self) {
        self.bytes.resize(self.used, 0);
        self.bytes.as_mut_slice().zeroize();
        if self.used > Self::KEPT {
            // Wiped as far as it was used: all of it needn't be.
            drop(std::mem::take(&mut *self.bytes));
            self.gone = Vec::new();
        }
        self.used = 0;
        self.bytes.clear();
        self.gone.clear();
    }
}

impl std::fmt::Debug for Datagram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Datagram({} messages, {} bytes)", self.gone.len(), self.bytes.len())
    }
}

impl Sink for Datagram {
    fn room(&mut self, kind: Kind, length: usize) -> Option<&mut [u8]> {
        let Kind { message_type, gone, flags } = kind;
        let at = self.bytes.len();
        let end = at + HEADER_LENGTH + length.next_multiple_of(4);
        if end > self.limits.bytes || self.gone.len() == self.limits.messages {
            return None;
        }
        let number = u32::try_from(self.gone.len()).unwrap_or(u32::MAX);
        let sequence = self.first_sequence.wrapping_add(number);
        self.bytes.extend(header(message_type, NLM_F_REQUEST | flags, sequence, self.port, length));
        self.bytes.resize(end, 0);
        self.used = self.used.max(end);
        self.last = at;
        self.gone.push(gone);
        self.bytes.get_mut(at + HEADER_LENGTH..at + HEADER_LENGTH + length)
    }
}

/// The requests as one datagram, numbered from `first_sequence`. `port` comes back in the events they cause.
pub fn datagram(requests: &[Request], first_sequence: u32, port: u32) -> Zeroizing<Vec<u8>> {
    // All of it at once: growing would leave keys behind in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(requests.iter().map(length).sum()));
    let mut sequence = first_sequence;
    for (at, request) in requests.iter().enumerate() {
        let ack = if at + 1 == requests.len() { NLM_F_ACK } else { 0 };
        push(
            &mut bytes,
            request.message_type,
            NLM_F_REQUEST | request.flags | ack,
            sequence,
            port,
            &request.body,
        );
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

/// A request for one thing, which is the answer.
pub fn question(message_type: u16, body: &[u8], sequence: u32, port: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, message_type, NLM_F_REQUEST, sequence, port, body);
    bytes
}

fn length(request: &Request) -> usize {
    HEADER_LENGTH + request.body.len().next_multiple_of(4)
}

fn push(bytes: &mut Vec<u8>, message_type: u16, flags: u16, sequence: u32, port: u32, body: &[u8]) {
    bytes.extend(header(message_type, flags, sequence, port, body.len()));
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// `struct nlmsghdr` before a body of this length.
fn header(message_type: u16, flags: u16, sequence: u32, port: u32, length: usize) -> [u8; HEADER_LENGTH] {
    let length = u32::try_from(HEADER_LENGTH + length).unwrap_or(u32::MAX);
    let mut bytes = [0; HEADER_LENGTH];
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&message_type.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes[12..].copy_from_slice(&port.to_ne_bytes());
    bytes
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
    /// To requests that are numbered from `first_sequence`. `gone`: of each, [`Request::gone`].
    pub fn to(gone: impl IntoIterator<Item = Option<i32>>, first_sequence: u32) -> Self {
        let gone: Vec<_> = gone.into_iter().collect();
        Self { first_sequence, results: vec![Ok(()); gone.len()], complete: gone.is_empty(), gone }
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
