//! The order of operations.

use esplanade_model::Direction;

/// When something is done. What arrives can be read before anything is sent; what is sent stops before it can't be
/// read any more. But what somebody else has deleted of the SPD is put back first: while an outbound policy is away its packets
/// go in the clear, and with it, but without an SA, they are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Outbound policies that somebody else deleted are made again.
    PutBackOutboundPolicies,
    /// The same for inbound and forward policies: without them clear text passes.
    PutBackInboundPolicies,
    /// SAs that end here are made.
    AddInboundSas,
    /// Inbound and forward policies are made.
    AddInboundPolicies,
    /// SAs that start here are made.
    AddOutboundSas,
    /// Outbound policies are made.
    AddOutboundPolicies,
    /// Outbound policies are removed.
    RemoveOutboundPolicies,
    /// SAs that start here are removed.
    RemoveOutboundSas,
    /// Inbound and forward policies are removed.
    RemoveInboundPolicies,
    /// SAs that end here are removed.
    RemoveInboundSas,
}

impl Stage {
    /// Of making a policy of this direction.
    pub fn adding_policy(direction: Direction) -> Self {
        match direction {
            Direction::Out => Self::AddOutboundPolicies,
            Direction::In | Direction::Forward => Self::AddInboundPolicies,
        }
    }

    /// Of making one again that somebody else deleted.
    pub fn putting_back_policy(direction: Direction) -> Self {
        match direction {
            Direction::Out => Self::PutBackOutboundPolicies,
            Direction::In | Direction::Forward => Self::PutBackInboundPolicies,
        }
    }

    /// Of removing one.
    pub fn removing_policy(direction: Direction) -> Self {
        match direction {
            Direction::Out => Self::RemoveOutboundPolicies,
            Direction::In | Direction::Forward => Self::RemoveInboundPolicies,
        }
    }
}
