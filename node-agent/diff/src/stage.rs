//! The order of operations.

use esplanade_model::Direction;

/// When something is done. What arrives can be read before anything is sent; what is sent stops before it can't be
/// read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    AddInboundSas,
    AddInboundPolicies,
    AddOutboundSas,
    AddOutboundPolicies,
    RemoveOutboundPolicies,
    RemoveOutboundSas,
    RemoveInboundPolicies,
    RemoveInboundSas,
}

impl Stage {
    pub(crate) fn adding_policy(direction: Direction) -> Self {
        match direction {
            Direction::Out => Self::AddOutboundPolicies,
            Direction::In | Direction::Forward => Self::AddInboundPolicies,
        }
    }

    pub(crate) fn removing_policy(direction: Direction) -> Self {
        match direction {
            Direction::Out => Self::RemoveOutboundPolicies,
            Direction::In | Direction::Forward => Self::RemoveInboundPolicies,
        }
    }
}
