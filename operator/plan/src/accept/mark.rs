//! Marks of packets.

use esplanade_crds::Mark;

use super::{invalid, rule};
use crate::finding::Finding;

/// A mark that packets can have.
pub(super) fn check(field: &str, mark: Option<Mark>) -> Result<(), Finding> {
    let Some(mark) = mark else { return Ok(()) };
    rule(
        mark.mask != 0,
        &format!("{field}: mask: 0 has no bits that count: leave {field} out, or write them"),
    )?;
    let inside = Mark { value: mark.value & mark.mask, ..mark };
    if inside != mark {
        return Err(invalid(format!(
            "{field}: value {:#x} has bits outside mask {:#x}, which no packet can have: write value: {}, or a mask \
             with them",
            mark.value, mark.mask, inside.value
        )));
    }
    Ok(())
}

/// There are packets that have both.
pub(crate) fn are_compatible(one: Option<Mark>, other: Option<Mark>) -> bool {
    one.zip(other).is_none_or(|(one, other)| (one.value ^ other.value) & one.mask & other.mask == 0)
}

/// Packets that have the first mark have the second one, as far as the first says.
pub(crate) fn implies(packets: Option<Mark>, other: Option<Mark>) -> bool {
    let value = packets.map_or(0, |mark| mark.value);
    other.is_none_or(|other| value & other.mask == other.value)
}
