//! Operations as messages.

use std::fmt;

use esplanade_model::{Direction, Op, PolicyIndex, SaId};
use netlink_packet_core::{Emitable, NlasIterator};
use netlink_packet_xfrm::constants::{
    XFRM_MSG_DELPOLICY, XFRM_MSG_DELSA, XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA, XFRM_MSG_UPDPOLICY,
};
use netlink_packet_xfrm::{UserPolicyId, UserSaId};
use zeroize::Zeroizing;

use super::attributes::Attributes;
use super::{address, policy, sa};

/// A message to the kernel without its `nlmsghdr`. Wiped when dropped, never printed.
pub struct Request {
    /// `XFRM_MSG_…`
    pub message_type: u16,
    /// The fixed header and the attributes.
    pub body: Zeroizing<Vec<u8>>,
    /// The error number that says that what is to be deleted isn't there.
    pub gone: Option<i32>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request(type {:#x}, {} bytes)", self.message_type, self.body.len())
    }
}

/// The message that carries the operation out.
pub fn encode(op: &Op) -> Request {
    match op {
        Op::AddInbound { sa, state } => {
            let (info, attributes) = sa::encode(&sa.0, sa.0.replay, state.as_ref());
            request(XFRM_MSG_NEWSA, &info, &attributes)
        }
        Op::AddOutbound { sa, state } => {
            let replay = super::replay::outbound(sa.0.replay);
            let (info, attributes) = sa::encode(&sa.0, replay, state.as_ref());
            request(XFRM_MSG_NEWSA, &info, &attributes)
        }
        Op::DeleteSa(id) => delete_sa(*id),
        Op::AddPolicy { policy, index } => {
            let (info, attributes) = policy::encode(policy, *index);
            request(XFRM_MSG_NEWPOLICY, &info, &attributes)
        }
        Op::UpdatePolicy { policy, index } => {
            let (info, attributes) = policy::encode(policy, *index);
            request(XFRM_MSG_UPDPOLICY, &info, &attributes)
        }
        Op::DeletePolicy { direction, index, interface_id } => {
            delete_policy(*direction, *index, *interface_id)
        }
    }
}

fn delete_sa(id: SaId) -> Request {
    let wire = UserSaId {
        daddr: address::encode(id.destination),
        spi: id.spi.get(),
        family: address::family(id.destination),
        proto: id.protocol.number(),
    };
    Request { gone: Some(libc::ESRCH), ..request(XFRM_MSG_DELSA, &wire, &Attributes::default()) }
}

/// By index: by selector, the kernel walks the whole tree.
fn delete_policy(direction: Direction, index: PolicyIndex, interface_id: u32) -> Request {
    let wire = UserPolicyId {
        index: index.get(),
        direction: policy::direction(direction),
        ..UserPolicyId::default()
    };
    let mut attributes = Attributes::default();
    sa::interface_id(interface_id, &mut attributes);
    Request { gone: Some(libc::ENOENT), ..request(XFRM_MSG_DELPOLICY, &wire, &attributes) }
}

fn request(message_type: u16, header: &impl Emitable, attributes: &Attributes) -> Request {
    let list = attributes.as_slice();
    let (start, length) = (header.buffer_len(), list.buffer_len());
    // At its full length at once: growing would leave keys behind in freed memory.
    let mut body = Zeroizing::new(vec![0; start + length]);
    header.emit(&mut body[..start]);
    list.emit(&mut body[start..]);
    debug_assert!(NlasIterator::new(&body[start..]).all(|item| item.is_ok()));
    Request { message_type, body, gone: None }
}
