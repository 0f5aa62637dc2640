//! What is read goes to a [`Reader`].

use esplanade_model::{Glance, PolicyKey, PolicyRecord, Reader, Recognised, SaId, SaRecord};
use netlink_packet_xfrm::constants::{XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA};

use super::exchange::{self, Buffer, Sequence};
use super::link::Link;
use crate::KernelError;
use crate::wire::batch::Datagram;
use crate::wire::reply::{Message, Messages};
use crate::wire::{Decode, Dumped, Glancer, decode_state};

/// Dumps that were interrupted, before giving up.
const DUMP_ATTEMPTS: u32 = 5;

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
    ) -> Result<(), KernelError> {
        for _ in 0..DUMP_ATTEMPTS {
            match of {
                Dumped::Sas => self.reader.begin_sas(),
                Dumped::Policies => self.reader.begin_policies(),
            }
            let Self { glancer, buffer, reader } = self;
            let undisturbed =
                exchange::dump(link, sequence, buffer, of, |message| match message.message_type {
                    kind if kind == of.record() => record(*reader, glancer, of, message.body),
                    _ => Ok(()),
                })?;
            if undisturbed {
                return Ok(());
            }
        }
        Err(KernelError::Unstable(DUMP_ATTEMPTS))
    }

    /// Looks single SAs and policies up.
    pub(super) fn look_up(
        &mut self,
        link: &impl Link,
        sequence: &Sequence,
        datagram: &mut Datagram,
        sas: &[SaId],
        policies: &[PolicyKey],
    ) -> Result<(), KernelError> {
        let Self { glancer, buffer, reader } = self;
        let questions = sas.iter().map(|id| Question::Sa(*id)).chain(policies.iter().map(Question::Policy));
        let mut questions = questions.peekable();
        let mut asked = Vec::new();
        while questions.peek().is_some() {
            let first = sequence.next();
            datagram.begin(first);
            asked.clear();
            while let Some(question) = questions.peek() {
                if !question.put(datagram)? {
                    break;
                }
                asked.push(Some(*question));
                questions.next();
            }
            sequence.take(datagram.len());
            link.send(datagram.bytes())?;
            let mut open = asked.len();
            while open > 0 {
                for message in Messages::of(buffer.receive(link)?) {
                    let message = message?;
                    let at = message.sequence.wrapping_sub(first) as usize;
                    // Anything else is an answer to something earlier.
                    let Some(Some(question)) = asked.get(at).copied() else { continue };
                    let is_gone = |errno| datagram.is_gone(at, errno);
                    if question.is_answered(&message, is_gone, *reader, glancer)? {
                        asked[at] = None;
                        open -= 1;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is looked up.
#[derive(Clone, Copy)]
enum Question<'a> {
    Sa(SaId),
    Policy(&'a PolicyKey),
}

impl Question<'_> {
    /// Adds it to a datagram; whether there was room.
    fn put(self, datagram: &mut Datagram) -> Result<bool, KernelError> {
        match self {
            Self::Sa(id) => datagram.sa(id),
            Self::Policy(key) => datagram.policy(key),
        }
    }

    /// Tells the reader what a message says; whether it was the answer. `is_gone`: the error number says that there is
    /// nothing.
    fn is_answered(
        self,
        message: &Message<'_>,
        is_gone: impl Fn(i32) -> bool,
        reader: &mut dyn Reader,
        glancer: &Glancer,
    ) -> Result<bool, KernelError> {
        match (message.message_type, self) {
            (Message::ERROR, _) => match message.error()? {
                Ok(()) => return Ok(false),
                Err(refusal) if is_gone(refusal.errno) => self.is_not_there(reader),
                Err(refusal) => return Err(KernelError::Dump { database: self.of().name(), refusal }),
            },
            (XFRM_MSG_NEWSA, Self::Sa(id)) => {
                let record = SaRecord::decode(message.body)?;
                // A larval one has no name yet.
                match record.name() == Some(id) {
                    true => reader.sa(glancer.sa(message.body), record),
                    false => self.is_not_there(reader),
                }
            }
            (XFRM_MSG_NEWPOLICY, Self::Policy(key)) => {
                let record = PolicyRecord::decode(message.body)?;
                // Old kernels take one with a mark for one without, where the mark is 0.
                match record.name() == Some(key) {
                    true => reader.policy(glancer.policy(message.body), record),
                    false => self.is_not_there(reader),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn is_not_there(self, reader: &mut dyn Reader) {
        match self {
            Self::Sa(id) => reader.no_sa(id),
            Self::Policy(key) => reader.no_policy(*key),
        }
    }

    fn of(self) -> Dumped {
        match self {
            Self::Sa(_) => Dumped::Sas,
            Self::Policy(_) => Dumped::Policies,
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
