//! Marks (`XFRMA_MARK`, `XFRMA_SET_MARK`, `XFRMA_SET_MARK_MASK`).

use esplanade_model::Mark;
use netlink_packet_xfrm::{Mark as Wire, XfrmAttrs};

use super::attributes::Attributes;

/// None at all where no bit counts: it is how the kernel shows that.
pub(super) fn encode(mark: Mark, attributes: &mut Attributes) {
    if mark.mask() != 0 {
        attributes.push(XfrmAttrs::Mark(Wire { value: mark.value(), mask: mark.mask() }));
    }
}

/// None for one that isn't in normal form: no packet has it, and no SA with it can be found.
pub(super) fn decode(attributes: &Attributes) -> Option<Mark> {
    let wire = attributes.as_slice().iter().find_map(|attribute| match attribute {
        XfrmAttrs::Mark(wire) => Some(*wire),
        _ => None,
    });
    let Some(wire) = wire else { return Some(Mark::NONE) };
    let mark = Mark::masked(wire.value, wire.mask);
    (mark.value() == wire.value).then_some(mark)
}

/// Always with its mask: the kernel would take all bits.
pub(super) fn encode_output(mark: Mark, attributes: &mut Attributes) {
    if mark.mask() != 0 {
        attributes.push(XfrmAttrs::MarkVal(mark.value()));
        attributes.push(XfrmAttrs::MarkMask(mark.mask()));
    }
}

/// None for one that isn't in normal form.
pub(super) fn decode_output(attributes: &Attributes) -> Option<Mark> {
    let (mut value, mut mask) = (0, 0);
    for attribute in attributes.as_slice() {
        match attribute {
            XfrmAttrs::MarkVal(one) => value = *one,
            XfrmAttrs::MarkMask(one) => mask = *one,
            _ => {}
        }
    }
    let mark = Mark::masked(value, mask);
    (mark.value() == value).then_some(mark)
}
