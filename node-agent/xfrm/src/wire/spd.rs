//! What holds for all policies of a network namespace.

use esplanade_model::{Action, DefaultActions, Threshold, Thresholds};
use netlink_packet_xfrm::constants::{
    XFRM_MSG_NEWSPDINFO, XFRM_MSG_SETDEFAULT, XFRMA_SPD_IPV4_HTHRESH, XFRMA_SPD_IPV6_HTHRESH,
};
use zeroize::Zeroizing;

use super::attributes;
use super::request::Request;

/// The body of GETSPDINFO: flags, of which there are none.
pub const ASK: [u8; 4] = [0; 4];

/// The thresholds in the body of NEWSPDINFO.
pub fn decode_thresholds(body: &[u8]) -> Option<Thresholds> {
    let (_, list) = body.split_at_checked(ASK.len())?;
    let of = |attribute| match *attributes::value(list, attribute)? {
        [local, remote, ..] => Some(Threshold { local, remote }),
        _ => None,
    };
    Some(Thresholds { v4: of(XFRMA_SPD_IPV4_HTHRESH)?, v6: of(XFRMA_SPD_IPV6_HTHRESH)? })
}

/// NEWSPDINFO.
pub fn encode_thresholds(Thresholds { v4, v6 }: Thresholds) -> Request {
    let mut body = ASK.to_vec();
    for (attribute, Threshold { local, remote }) in
        [(XFRMA_SPD_IPV4_HTHRESH, v4), (XFRMA_SPD_IPV6_HTHRESH, v6)]
    {
        // A `struct nlattr`: its length, its type, what it says, and room to the next multiple of four.
        body.extend(6u16.to_ne_bytes());
        body.extend(attribute.to_ne_bytes());
        body.extend([local, remote, 0, 0]);
    }
    Request { message_type: XFRM_MSG_NEWSPDINFO, body: Zeroizing::new(body), gone: None, flags: 0 }
}

/// The body of GETDEFAULT, which the kernel doesn't look at.
pub const ASK_DEFAULT: [u8; 3] = [0; 3];

/// `XFRM_USERPOLICY_BLOCK` and `XFRM_USERPOLICY_ACCEPT`.
const BLOCK: u8 = 1;
const ACCEPT: u8 = 2;

/// The answer to GETDEFAULT.
pub fn decode_default(body: &[u8]) -> Option<DefaultActions> {
    let action = |number| match number {
        BLOCK => Some(Action::Block),
        ACCEPT => Some(Action::Allow),
        _ => None,
    };
    let [inbound, forward, outbound, ..] = *body else { return None };
    Some(DefaultActions { inbound: action(inbound)?, forward: action(forward)?, outbound: action(outbound)? })
}

/// SETDEFAULT.
pub fn encode_default(DefaultActions { inbound, forward, outbound }: DefaultActions) -> Request {
    let number = |action| match action {
        Action::Block => BLOCK,
        Action::Allow => ACCEPT,
    };
    let body = [inbound, forward, outbound].map(number).to_vec();
    Request { message_type: XFRM_MSG_SETDEFAULT, body: Zeroizing::new(body), gone: None, flags: 0 }
}
