//! Parameters of IPTFS (`XFRMA_IPTFS_*`), which netlink-packet-xfrm doesn't know. The kernel takes those of the SA's
//! direction only, and shows all of these.

use std::ops::RangeInclusive;

use esplanade_model::{Iptfs, SaDirection};
use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_xfrm::XfrmAttrs;

use super::attributes::Attributes;

/// `XFRM_MODE_IPTFS`.
pub(super) const MODE: u8 = 5;
const DROP_TIME: u16 = 36;
const REORDER_WINDOW: u16 = 37;
const DONT_FRAGMENT: u16 = 38;
const INITIAL_DELAY: u16 = 39;
const MAX_QUEUE_SIZE: u16 = 40;
const PACKET_SIZE: u16 = 41;
/// All of them.
pub(super) const ATTRIBUTES: RangeInclusive<u16> = DROP_TIME..=PACKET_SIZE;

pub(super) fn encode(iptfs: Iptfs, direction: Option<SaDirection>, attributes: &mut Attributes) {
    let Iptfs { packet_size, dont_fragment, initial_delay, queue, reorder_window, drop_time } = iptfs;
    let mut push = |kind, value: &[u8]| {
        attributes.push(XfrmAttrs::Other(DefaultNla::new(kind, value.to_vec())));
    };
    match direction {
        Some(SaDirection::Out) => {
            if dont_fragment {
                push(DONT_FRAGMENT, &[]);
            }
            push(INITIAL_DELAY, &initial_delay.to_ne_bytes());
            push(MAX_QUEUE_SIZE, &queue.to_ne_bytes());
            push(PACKET_SIZE, &packet_size.to_ne_bytes());
        }
        Some(SaDirection::In) => {
            push(DROP_TIME, &drop_time.to_ne_bytes());
            push(REORDER_WINDOW, &reorder_window.to_ne_bytes());
        }
        // The kernel refuses it.
        None => {}
    }
}

/// An outbound SA's length of packets.
pub(super) fn packet_size(bytes: u32) -> XfrmAttrs {
    XfrmAttrs::Other(DefaultNla::new(PACKET_SIZE, bytes.to_ne_bytes().to_vec()))
}

/// What isn't there is as in the default; none if something isn't as we would write it.
pub(super) fn decode(attributes: &Attributes) -> Option<Iptfs> {
    let mut iptfs = Iptfs::default();
    for attribute in attributes.as_slice() {
        let XfrmAttrs::Other(attribute) = attribute else { continue };
        if !ATTRIBUTES.contains(&attribute.kind()) {
            continue;
        }
        let mut value = vec![0; attribute.value_len()];
        attribute.emit_value(&mut value);
        let word = || Some(u32::from_ne_bytes(value.as_slice().try_into().ok()?));
        match attribute.kind() {
            DONT_FRAGMENT => iptfs.dont_fragment = true,
            INITIAL_DELAY => iptfs.initial_delay = word()?,
            MAX_QUEUE_SIZE => iptfs.queue = word()?,
            PACKET_SIZE => iptfs.packet_size = word()?,
            DROP_TIME => iptfs.drop_time = word()?,
            _ => iptfs.reorder_window = u16::from_ne_bytes(value.as_slice().try_into().ok()?),
        }
    }
    Some(iptfs)
}
