//! The CPU that an SA is for (`XFRMA_SA_PCPU`), which netlink-packet-xfrm doesn't know.

use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_xfrm::XfrmAttrs;

use super::attributes::Attributes;

/// `XFRMA_SA_PCPU`, 32 bits.
pub(super) const SA_PCPU: u16 = 35;

pub(super) fn encode(cpu: u32) -> XfrmAttrs {
    XfrmAttrs::Other(DefaultNla::new(SA_PCPU, cpu.to_ne_bytes().to_vec()))
}

/// The CPU, none inside for all; none if it isn't as we would write it.
pub(super) fn decode(attributes: &Attributes) -> Option<Option<u32>> {
    let mut all = attributes.as_slice().iter();
    let Some(XfrmAttrs::Other(said)) = all.find(|attribute| attribute.kind() == SA_PCPU) else {
        return Some(None);
    };
    let mut value = [0; 4];
    if said.value_len() != value.len() {
        return None;
    }
    said.emit_value(&mut value);
    Some(Some(u32::from_ne_bytes(value)))
}
