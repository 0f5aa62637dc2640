//! Operations as messages.

use std::fmt;

use esplanade_model::{Direction, Mark, Op, PolicyIndex, PolicyKey, Sa, SaId};
use netlink_packet_core::{Emitable, NLM_F_REPLACE, NlasIterator};
use netlink_packet_xfrm::constants::{
    XFRM_MSG_DELPOLICY, XFRM_MSG_DELSA, XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA, XFRM_MSG_MIGRATE, XFRM_MSG_NEWAE,
    XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA, XFRM_MSG_UPDPOLICY, XFRM_MSG_UPDSA,
};
use netlink_packet_xfrm::{UserPolicyId, UserSaId};
use zeroize::Zeroizing;

use super::attributes::Attributes;
use super::{address, mark, migrate, policy, replay_state, sa, selector};

/// A message to the kernel without its `nlmsghdr`. Wiped when dropped, never printed.
pub struct Request {
    /// `XFRM_MSG_…`
    pub message_type: u16,
    /// The fixed header and the attributes.
    pub body: Zeroizing<Vec<u8>>,
    /// The error number that says that what is to be deleted isn't there.
    pub gone: Option<i32>,
    /// `NLM_F_…` beside `NLM_F_REQUEST` and those that ask for an answer.
    pub flags: u16,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request(type {:#x}, {} bytes)", self.message_type, self.body.len())
    }
}

/// What is said of a message besides its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// As [`Request::message_type`].
    pub(super) message_type: u16,
    /// As [`Request::gone`].
    pub(super) gone: Option<i32>,
    /// As [`Request::flags`].
    pub(super) flags: u16,
}

/// Where messages are written to.
pub(super) trait Sink {
    /// Room of this length for the body of a message; none where there isn't so much.
    fn room(&mut self, kind: Kind, length: usize) -> Option<&mut [u8]>;
}

/// The message that carries the operation out.
pub fn encode(op: &Op) -> Request {
    let mut request = Request { message_type: 0, body: Zeroizing::default(), gone: None, flags: 0 };
    // It makes all the room there is need for.
    let _ = write(op, &mut request);
    request
}

impl Sink for Request {
    fn room(&mut self, kind: Kind, length: usize) -> Option<&mut [u8]> {
        let Kind { message_type, gone, flags } = kind;
        // At its full length at once: growing would leave keys behind in freed memory.
        *self = Self { message_type, gone, body: Zeroizing::new(vec![0; length]), flags };
        Some(&mut self.body)
    }
}

/// Writes the message that carries the operation out; whether there was room for it, and if not, how much it needs.
pub(super) fn write(op: &Op, to: &mut impl Sink) -> Result<(), usize> {
    match op {
        Op::AddInbound { sa, state, used } => {
            let (info, attributes) = sa::encode(&sa.0, sa.0.replay, state.as_ref(), used.as_ref());
            request(XFRM_MSG_NEWSA, &info, &attributes, to)
        }
        Op::AddOutbound { sa, state, used } => {
            let replay = super::replay::outbound(&sa.0);
            let (info, attributes) = sa::encode(&sa.0, replay, state.as_ref(), used.as_ref());
            request(XFRM_MSG_NEWSA, &info, &attributes, to)
        }
        Op::FillSa { sa, state, used } => {
            let (info, attributes) = sa::encode(&sa.0, sa.0.replay, state.as_ref(), used.as_ref());
            request(XFRM_MSG_UPDSA, &info, &attributes, to)
        }
        Op::UpdateSa(wanted) => {
            let replay = super::replay::in_kernel(wanted);
            // The device would be given the SA once more for the message, which doesn't change that of the one there.
            let bare = Sa { offload: None, ..wanted.sa().clone() };
            let (info, attributes) = sa::encode(&bare, replay, None, None);
            request(XFRM_MSG_UPDSA, &info, &attributes, to)
        }
        Op::SetReplayState { sa, state } => {
            let (wire, attributes) = replay_state::encode(sa, Some(state));
            // Without it the kernel refuses (`xfrm_new_ae`).
            let kind = Kind { message_type: XFRM_MSG_NEWAE, gone: None, flags: NLM_F_REPLACE };
            message(kind, &wire, &attributes, to)
        }
        Op::DeleteSa(id, mark) => {
            let (wire, attributes) = sa_id(*id, *mark);
            of_what_may_be_gone(XFRM_MSG_DELSA, libc::ESRCH, &wire, &attributes, to)
        }
        Op::AddPolicy { policy, index } => {
            let (info, attributes) = policy::encode(policy, *index);
            request(XFRM_MSG_NEWPOLICY, &info, &attributes, to)
        }
        Op::UpdatePolicy { policy, index } => {
            let (info, attributes) = policy::encode(policy, *index);
            request(XFRM_MSG_UPDPOLICY, &info, &attributes, to)
        }
        Op::Migrate { key, moves } => {
            let (wire, attributes) = migrate::encode(key, moves);
            request(XFRM_MSG_MIGRATE, &wire, &attributes, to)
        }
        Op::DeletePolicy { direction, index, interface_id, mark } => {
            let (wire, attributes) = policy_index(*direction, *index, *interface_id, *mark);
            of_what_may_be_gone(XFRM_MSG_DELPOLICY, libc::ENOENT, &wire, &attributes, to)
        }
    }
}

/// Writes the message that asks for an SA without a mark.
pub(super) fn ask_for_sa(id: SaId, to: &mut impl Sink) -> Result<(), usize> {
    let (wire, attributes) = sa_id(id, Mark::NONE);
    of_what_may_be_gone(XFRM_MSG_GETSA, libc::ESRCH, &wire, &attributes, to)
}

/// Writes the message that asks for a policy, whatever its index.
pub(super) fn ask_for_policy(key: &PolicyKey, to: &mut impl Sink) -> Result<(), usize> {
    let wire = UserPolicyId {
        selector: selector::encode(&key.selector),
        index: 0,
        direction: policy::direction(key.direction),
    };
    let mut attributes = Attributes::default();
    sa::interface_id(key.interface_id, &mut attributes);
    mark::encode(key.mark, &mut attributes);
    of_what_may_be_gone(XFRM_MSG_GETPOLICY, libc::ENOENT, &wire, &attributes, to)
}

pub(super) fn sa_id(id: SaId, mark: Mark) -> (UserSaId, Attributes) {
    let wire = UserSaId {
        daddr: address::encode(id.destination),
        spi: id.spi.get(),
        family: address::family(id.destination),
        proto: id.protocol.number(),
    };
    let mut attributes = Attributes::default();
    mark::encode(mark, &mut attributes);
    (wire, attributes)
}

/// By index: to delete it by selector, the kernel walks the whole tree.
fn policy_index(
    direction: Direction,
    index: PolicyIndex,
    interface_id: u32,
    mark: Mark,
) -> (UserPolicyId, Attributes) {
    let wire = UserPolicyId {
        index: index.get(),
        direction: policy::direction(direction),
        ..UserPolicyId::default()
    };
    let mut attributes = Attributes::default();
    sa::interface_id(interface_id, &mut attributes);
    mark::encode(mark, &mut attributes);
    (wire, attributes)
}

pub(super) fn request(
    message_type: u16,
    header: &impl Emitable,
    attributes: &Attributes,
    to: &mut impl Sink,
) -> Result<(), usize> {
    message(Kind { message_type, gone: None, flags: 0 }, header, attributes, to)
}

/// Of something that may be gone already.
fn of_what_may_be_gone(
    message_type: u16,
    gone: i32,
    header: &impl Emitable,
    attributes: &Attributes,
    to: &mut impl Sink,
) -> Result<(), usize> {
    message(Kind { message_type, gone: Some(gone), flags: 0 }, header, attributes, to)
}

fn message(
    kind: Kind,
    header: &impl Emitable,
    attributes: &Attributes,
    to: &mut impl Sink,
) -> Result<(), usize> {
    let list = attributes.as_slice();
    let (start, length) = (header.buffer_len(), list.buffer_len());
    let Some(room) = to.room(kind, start + length) else { return Err(start + length) };
    header.emit(&mut room[..start]);
    list.emit(&mut room[start..]);
    debug_assert!(NlasIterator::new(&room[start..]).all(|item| item.is_ok()));
    Ok(())
}
