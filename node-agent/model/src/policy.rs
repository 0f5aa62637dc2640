//! Policies: entries of the Security Policy Database (RFC 4301 §4.4.1).

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use crate::identity::pair;
use crate::{Mark, Mode, Protocol, Reqid, Selector};

/// Which packets a policy is looked up for (`XFRM_POLICY_IN` …).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Delivered to this node itself.
    In,
    /// Leaving this node, its own or forwarded.
    Out,
    /// Passing through this node.
    Forward,
}

impl Direction {
    /// Its number in the kernel.
    pub fn kernel(self) -> u32 {
        match self {
            Self::In => 0,
            Self::Out => 1,
            Self::Forward => 2,
        }
    }
}

/// What happens to a packet that a policy covers (`xfrm_userpolicy_info.action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Passed: through the templates if there are any, else in the clear.
    Allow,
    /// Dropped.
    Block,
}

/// What an SA must be like to carry or to have carried the traffic (`xfrm_user_tmpl`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Template {
    /// The protocol.
    pub protocol: Protocol,
    /// The mode.
    pub mode: Mode,
    /// The SA's reqid. None, inbound: whichever it has.
    pub reqid: Option<Reqid>,
    /// The SA's outer source and destination, of one family; with a tunnel ([`Mode::is_tunnel`]) only.
    pub tunnel: Option<(IpAddr, IpAddr)>,
    /// Inbound: clear text is accepted as well (`optional`). The kernel refuses it outbound in tunnel mode.
    pub optional: bool,
}

/// A policy, as we write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The direction.
    pub direction: Direction,
    /// The packets.
    pub selector: Selector,
    /// Id of the XFRM interface through which they go (`if_id`); 0 for those through none.
    pub interface_id: u32,
    /// The mark that they have.
    pub mark: Mark,
    /// The lowest that matches counts.
    pub priority: u32,
    /// What happens to them.
    pub action: Action,
    /// The SAs to go through, in order; at most 6.
    pub templates: Vec<Template>,
    /// What else the kernel is told.
    pub flags: PolicyFlags,
}

/// Flags of a policy (`xfrm_userpolicy_info.flags`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PolicyFlags {
    /// ICMP errors about the packets are treated as those are (`XFRM_POLICY_ICMP`, RFC 4301 §6.2).
    pub icmp_errors: bool,
    /// Users may override it (`XFRM_POLICY_LOCALOK`). No kernel looks at it.
    pub local_override: bool,
}

impl Policy {
    /// One without templates, marks, flags and an XFRM interface.
    pub fn new(direction: Direction, selector: Selector, priority: u32, action: Action) -> Self {
        Self {
            direction,
            selector,
            interface_id: 0,
            mark: Mark::NONE,
            priority,
            action,
            templates: Vec::new(),
            flags: PolicyFlags::default(),
        }
    }

    /// There are packets that it and the other are looked up for.
    pub fn overlaps(&self, other: &Self) -> bool {
        (self.direction, self.interface_id) == (other.direction, other.interface_id)
            && self.mark.overlaps(other.mark)
            && self.selector.overlaps(&other.selector)
    }

    /// It is looked up for whatever the other is looked up for.
    pub fn covers(&self, other: &Self) -> bool {
        (self.direction, self.interface_id) == (other.direction, other.interface_id)
            && self.mark.covers(other.mark)
            && self.selector.covers(&other.selector)
    }

    /// What names it in the kernel.
    pub fn key(&self) -> PolicyKey {
        let Self { direction, selector, interface_id, mark, .. } = *self;
        PolicyKey { direction, selector, interface_id, mark }
    }
}

/// What names a policy in the kernel (`xfrm_policy_insert`): priority and templates are not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyKey {
    /// The direction.
    pub direction: Direction,
    /// The packets.
    pub selector: Selector,
    /// Id of the XFRM interface through which they go; 0 for those through none.
    pub interface_id: u32,
    /// The mark that they have.
    pub mark: Mark,
}

/// In few words, as for [`SaId`](crate::SaId).
impl Hash for PolicyKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { direction, selector, interface_id, mark } = self;
        selector.hash(state);
        state.write_u64(pair(direction.kernel(), *interface_id));
        state.write_u64(pair(mark.value(), mark.mask()));
    }
}
