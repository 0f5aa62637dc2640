//! Attributes of 32 bits that netlink-packet-xfrm doesn't know (include/uapi/linux/xfrm.h).

use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_xfrm::XfrmAttrs;

use super::attributes::Attributes;

/// `XFRMA_NAT_KEEPALIVE_INTERVAL`: after how many seconds without another packet the kernel sends one.
pub(super) const NAT_KEEPALIVE_INTERVAL: u16 = 34;
/// `XFRMA_SA_PCPU`: the CPU that an SA is for.
pub(super) const SA_PCPU: u16 = 35;

pub(super) fn encode(kind: u16, value: u32) -> XfrmAttrs {
    XfrmAttrs::Other(DefaultNla::new(kind, value.to_ne_bytes().to_vec()))
}

/// Its value, none inside where it isn't there; none if it isn't as we would write it.
pub(super) fn decode(kind: u16, attributes: &Attributes) -> Option<Option<u32>> {
    let mut all = attributes.as_slice().iter();
    let Some(XfrmAttrs::Other(said)) = all.find(|attribute| attribute.kind() == kind) else {
        return Some(None);
    };
    let mut value = [0; 4];
    if said.value_len() != value.len() {
        return None;
    }
    said.emit_value(&mut value);
    Some(Some(u32::from_ne_bytes(value)))
}
