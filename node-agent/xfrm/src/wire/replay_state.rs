//! NEWAE and GETAE: where an SA is, told and asked for without its keys.

use esplanade_model::{ReplayState, Used, WantedSa};
use netlink_packet_core::Emitable;
use netlink_packet_xfrm::constants::{XFRM_MSG_GETAE, XFRM_MSG_NEWAE};
use netlink_packet_xfrm::{AsyncEventId, UserSaInfo, XFRM_ASYNC_EVENT_ID_LEN, XfrmAttrs};

use super::attributes::Attributes;
use super::replay::{self, WireReplay};
use super::reply::Message;
use super::{address, request, sa};
use crate::KernelError;

/// The type of the message that asks.
pub(crate) const REQUEST: u16 = XFRM_MSG_GETAE;

/// What names the SA (`struct xfrm_aevent_id`), and the state that it is to have.
pub(super) fn encode(wanted: &WantedSa, state: Option<&ReplayState>) -> (AsyncEventId, Attributes) {
    let sa = wanted.sa();
    let (sa_id, mut attributes) = request::sa_id(sa.id(), sa.mark);
    let wire = AsyncEventId {
        sa_id,
        saddr: address::encode(sa.source),
        reqid: sa.reqid.get(),
        ..AsyncEventId::default()
    };
    if let Some(state) = state {
        let layout = replay::in_kernel(wanted);
        // A window of the legacy layout has no attribute without a state, and here is one.
        replay::encode(layout, Some(state), &mut attributes);
    }
    (wire, attributes)
}

/// The body of the message that asks where the SA is. The kernel finds it by its mark.
pub(crate) fn question(wanted: &WantedSa) -> Vec<u8> {
    let (wire, attributes) = encode(wanted, None);
    let list = attributes.as_slice();
    let mut body = vec![0; XFRM_ASYNC_EVENT_ID_LEN + list.buffer_len()];
    let (head, rest) = body.split_at_mut(XFRM_ASYNC_EVENT_ID_LEN);
    wire.emit(head);
    list.emit(rest);
    body
}

/// What a NEWAE that is the answer says. It doesn't tell the size of a window in the legacy layout: it is taken to be the
/// wanted one's.
///
/// # Errors
/// It is none, or shorter than its fixed header.
pub(crate) fn decode(message: &Message<'_>, wanted: &WantedSa) -> Result<(ReplayState, Used), KernelError> {
    let rest = message.body.get(XFRM_ASYNC_EVENT_ID_LEN..);
    let Some(rest) = rest.filter(|_| message.message_type == XFRM_MSG_NEWAE) else {
        return Err(KernelError::Malformed("no answer to where an SA is"));
    };
    let attributes = Attributes::parse(rest);
    let window = replay::in_kernel(wanted).window.min(replay::LEGACY_WINDOW);
    let info =
        UserSaInfo { replay_window: u8::try_from(window).unwrap_or_default(), ..UserSaInfo::default() };
    let used = attributes.as_slice().iter().find_map(|attribute| match attribute {
        XfrmAttrs::LifetimeBytes(wire) => Some(sa::used(wire)),
        _ => None,
    });
    Ok((WireReplay::of(&info, &attributes).state(), used.unwrap_or_default()))
}
