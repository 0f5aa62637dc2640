//! What holds for all policies of a network namespace.

use crate::Action;

/// From which prefix lengths on the kernel finds a policy by a hash of its networks (`struct xfrmu_spdhthresh`). Those with
/// a shorter prefix it finds in trees; those with longer ones lie together where they agree in the first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold {
    /// Of this node's side: the source of outbound policies, the destination of the others.
    pub local: u8,
    /// Of the other side.
    pub remote: u8,
}

/// Those of both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// IPv4's.
    pub v4: Threshold,
    /// IPv6's.
    pub v6: Threshold,
}

impl Default for Thresholds {
    /// A kernel's own: only policies between single addresses are hashed (`xfrm_policy_init`).
    fn default() -> Self {
        Self { v4: Threshold { local: 32, remote: 32 }, v6: Threshold { local: 128, remote: 128 } }
    }
}

/// What becomes of packets that no policy covers (`struct xfrm_userpolicy_default`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefaultActions {
    /// Of those delivered to this node itself.
    pub inbound: Action,
    /// Of those passing through.
    pub forward: Action,
    /// Of those leaving.
    pub outbound: Action,
}

impl DefaultActions {
    /// The same in every direction.
    pub fn all(action: Action) -> Self {
        Self { inbound: action, forward: action, outbound: action }
    }
}
