//! What the kernel sends: messages of a datagram, errors with the kernel's words.

use esplanade_model::Refusal;
use netlink_packet_core::NlasIterator;

use super::batch::HEADER_LENGTH;
use crate::KernelError;

/// Only the request's header comes back with an error (`NLM_F_CAPPED`).
const CAPPED: u16 = 0x100;
/// Attributes follow the request in an error (`NLM_F_ACK_TLVS`).
const ACK_TLVS: u16 = 0x200;
/// The dump was disturbed by a change (`NLM_F_DUMP_INTR`).
const DUMP_INTR: u16 = 0x10;
/// The kernel's words (`NLMSGERR_ATTR_MSG`).
const ATTR_MSG: u16 = 1;

/// A message without Debug: there may be keys in it.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// `XFRM_MSG_…`, or one of the constants below.
    pub message_type: u16,
    flags: u16,
    /// The number of the request that it answers or that caused it.
    pub sequence: u32,
    /// The port that caused it, as the request said; 0 is the kernel.
    pub port: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages of a datagram. One that says that others were lost is [`KernelError::Overrun`].
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// All messages of the datagram.
    pub fn of(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, KernelError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = Message::first(self.rest);
        self.rest = match &message {
            Some((_, length)) => self.rest.get(length.next_multiple_of(4)..).unwrap_or_default(),
            None => &[],
        };
        Some(match message {
            Some((Message { message_type: Message::OVERRUN, .. }, _)) => Err(KernelError::Overrun),
            Some((message, _)) => Ok(message),
            None => Err(KernelError::Malformed("a message cut short")),
        })
    }
}

impl<'a> Message<'a> {
    /// `NLMSG_ERROR`
    pub const ERROR: u16 = 2;
    /// `NLMSG_DONE`
    pub const DONE: u16 = 3;
    /// `NLMSG_OVERRUN`: messages were lost. Never sent by today's kernels, which say ENOBUFS.
    const OVERRUN: u16 = 4;

    fn first(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (length, rest) = take_u32(bytes)?;
        let length = usize::try_from(length).ok()?;
        let (message_type, rest) = take_u16(rest)?;
        let (flags, rest) = take_u16(rest)?;
        let (sequence, rest) = take_u32(rest)?;
        let (port, _) = take_u32(rest)?;
        let body = bytes.get(HEADER_LENGTH..length)?;
        Some((Self { message_type, flags, sequence, port, body }, length))
    }

    /// `NLM_F_…`
    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// Whether the dump that it belongs to was disturbed.
    pub fn is_disturbed(&self) -> bool {
        self.flags & DUMP_INTR != 0
    }

    /// What an `NLMSG_ERROR` says: nothing wrong, or what.
    ///
    /// # Errors
    /// It is cut short.
    pub fn error(&self) -> Result<Result<(), Refusal>, KernelError> {
        let cut = || KernelError::Malformed("an error cut short");
        let (code, request) = take_u32(self.body).ok_or_else(cut)?;
        let (request_length, _) = take_u32(request).ok_or_else(cut)?;
        let skip = match self.flags & CAPPED {
            0 => usize::try_from(request_length).unwrap_or(usize::MAX).checked_next_multiple_of(4),
            _ => Some(HEADER_LENGTH),
        };
        let attributes = skip.and_then(|skip| request.get(skip..)).unwrap_or_default();
        Ok(self.outcome(code, attributes))
    }

    /// What an `NLMSG_DONE` says of the dump that it ends.
    pub fn done(&self) -> Result<(), Refusal> {
        match take_u32(self.body) {
            Some((code, attributes)) => self.outcome(code, attributes),
            None => Ok(()),
        }
    }

    fn outcome(&self, code: u32, attributes: &[u8]) -> Result<(), Refusal> {
        let code = code.cast_signed();
        if code == 0 {
            return Ok(());
        }
        let attributes = if self.flags & ACK_TLVS != 0 { attributes } else { &[] };
        Err(Refusal { errno: code.saturating_neg(), message: words(attributes) })
    }
}

/// The kernel's words among the attributes of an extended ACK.
fn words(attributes: &[u8]) -> Option<String> {
    let message = NlasIterator::new(attributes).flatten().find(|attribute| attribute.kind() == ATTR_MSG)?;
    let text = message.value().split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u32::from_ne_bytes(*number), rest))
}

fn take_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u16::from_ne_bytes(*number), rest))
}
