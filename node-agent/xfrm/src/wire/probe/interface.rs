//! Can XFRM interfaces be made? A question for NETLINK_ROUTE.

use esplanade_model::Refusal;
use netlink_packet_core::NLM_F_CREATE;
use zeroize::Zeroizing;

use crate::wire::Request;

const RTM_NEWLINK: u16 = 16;
/// Length of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;

/// An RTM_NEWLINK that makes an XFRM interface without an id, which the kernel refuses (`xfrmi_newlink`). Without
/// NLM_F_CREATE it says the same with interfaces and without: that there is none to change.
pub fn interface() -> Request {
    let info = attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"xfrm\0"));
    let body = [vec![0; IFINFOMSG], info].concat();
    Request { message_type: RTM_NEWLINK, body: Zeroizing::new(body), gone: None, flags: NLM_F_CREATE }
}

/// Whether the answer is about the interface, and not about its kind (EOPNOTSUPP, `rtnl_newlink`).
pub fn makes_interfaces(answer: &Result<(), Refusal>) -> bool {
    matches!(answer, Err(refusal) if refusal.errno == libc::EINVAL)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    // Of a few bytes.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
