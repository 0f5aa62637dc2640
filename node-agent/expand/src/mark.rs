//! Marks of packets.

use esplanade_model::Mark;

pub(crate) fn parse(mark: Option<esplanade_crds::Mark>) -> Mark {
    mark.map_or(Mark::NONE, |mark| Mark::masked(mark.value, mark.mask))
}
