//! What reading the kernel's databases brings, a record at a time.

use std::net::IpAddr;

use crate::{ObservedPolicy, ObservedSa, PolicyKey, ReplayState, Reqid, SaId, Used};

/// One SA as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // it is taken apart at once
pub enum SaRecord {
    /// It carries our tags.
    Ours(ObservedSa),
    /// Somebody else's, with its name if one of ours could have it.
    Foreign(Option<SaId>),
    /// Not an SA yet: made by an acquire or for an SPI (`xfrm_find_acq`).
    Larval,
    /// Made by the kernel itself beside a tunnel of IPComp, for packets that aren't worth compressing
    /// (`ipcomp4_tunnel_create`). Nobody's, and gone with the tunnel.
    OfKernel,
}

impl SaRecord {
    /// Its name, if one of ours could have it.
    pub fn name(&self) -> Option<SaId> {
        match self {
            Self::Ours(sa) => Some(sa.id),
            Self::Foreign(name) => *name,
            Self::Larval | Self::OfKernel => None,
        }
    }
}

/// One policy as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyRecord {
    /// It carries our tags.
    Ours(ObservedPolicy),
    /// Somebody else's.
    Foreign {
        /// The kernel's name for it.
        index: u32,
        /// What names it besides, if it could name one of ours.
        key: Option<PolicyKey>,
    },
    /// A single socket's.
    OfSocket,
}

impl PolicyRecord {
    /// Its name, if one of ours could have it.
    pub fn name(&self) -> Option<&PolicyKey> {
        match self {
            Self::Ours(policy) => Some(&policy.key),
            Self::Foreign { key, .. } => key.as_ref(),
            Self::OfSocket => None,
        }
    }
}

/// A record without a look at what it says: equal numbers mean equal records, as surely as 64 bits can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Glance {
    /// Of all that stays the same while packets pass, keys too.
    pub print: u64,
    /// Of an SA's sequence numbers and replay window, and of what is used up where something limits that.
    pub counters: u64,
}

/// What a glance at an SA says to who has seen it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognised {
    /// It is another one, or not as it was.
    No,
    /// Just as it was.
    Same,
    /// As it was but for what it counts.
    Counted,
}

/// Takes the databases in as they are read. A record that it recognises isn't decoded.
pub trait Reader {
    /// The SAs come now, all of them, from the first: again where a change disturbed them.
    fn begin_sas(&mut self);

    /// The policies come now, as for SAs.
    fn begin_policies(&mut self);

    /// An SA. If it isn't recognised, [`Reader::sa`] follows; if it has counted, [`Reader::sa_counted`].
    fn glance_at_sa(&mut self, _: Glance) -> Recognised {
        Recognised::No
    }

    /// A policy; whether it is recognised. If not, [`Reader::policy`] follows.
    fn glance_at_policy(&mut self, _: Glance) -> bool {
        false
    }

    /// Where the SA that was just recognised has come to.
    fn sa_counted(&mut self, _: ReplayState, _: Used) {}

    /// An SA.
    fn sa(&mut self, glance: Glance, record: SaRecord);

    /// A policy.
    fn policy(&mut self, glance: Glance, record: PolicyRecord);

    /// There is no SA of this name; told only of those that were looked up.
    fn no_sa(&mut self, _: SaId) {}

    /// There is no policy of this name; told only of those that were looked up.
    fn no_policy(&mut self, _: PolicyKey) {}
}

/// What somebody else did. It says where to look, not what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // there are never many
pub enum Event {
    /// Something happened to an SA.
    Sa(SaId),
    /// An SA is gone; this is the last of it, and nothing was sent or received through it since.
    SaEnded(ObservedSa),
    /// An SA has reached a limit (`XFRM_MSG_EXPIRE`). The kernel tells it once.
    SaExpired {
        /// Of this SA.
        id: SaId,
        /// The hard one: the kernel has deleted the SA. The soft one is a warning.
        hard: bool,
        /// What was used up by then.
        used: Used,
    },
    /// An authentic packet came through an inbound SA from elsewhere than the SA says (`XFRM_MSG_MAPPING`): the address
    /// translation before its sender has another mapping.
    SaMapped {
        /// Through this SA.
        id: SaId,
        /// From this address.
        source: IpAddr,
        /// And this UDP port.
        port: u16,
    },
    /// A packet that a policy of ours wants to protect has no SA for it (`XFRM_MSG_ACQUIRE`). The kernel tells it only where
    /// somebody listens, once for as long as its larval SA stays (net.core.xfrm_acq_expires).
    Asked {
        /// What the policy's template says.
        reqid: Reqid,
    },
    /// All SAs are gone, or all of one protocol (`XFRM_MSG_FLUSHSA`).
    Flushed,
    /// Something happened to a policy.
    Policy(PolicyKey),
    /// Something happened to many, or to who knows what.
    Anything,
}
