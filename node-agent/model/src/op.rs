//! Operations on the kernel's databases.

use std::fmt;
use std::net::IpAddr;

use crate::{
    Direction, InboundSa, Mark, Mode, OutboundSa, Policy, PolicyIndex, PolicyKey, Protocol, ReplayState,
    Reqid, SaId, Used, WantedSa,
};

/// One change of the kernel's databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// NEWSA. `state`: where it goes on from; none starts at 0.
    AddInbound {
        /// The SA.
        sa: InboundSa,
        /// Where it goes on from.
        state: Option<ReplayState>,
        /// What of its lifetime is used up already; none starts anew.
        used: Option<Used>,
    },
    /// NEWSA. It carries traffic as soon as it is there.
    AddOutbound {
        /// The SA.
        sa: OutboundSa,
        /// Where it goes on from; none starts at 0, which must never happen twice with one key.
        state: Option<ReplayState>,
        /// What of its lifetime is used up already; none starts anew.
        used: Option<Used>,
    },
    /// UPDSA. Of an SA it changes its lifetime, which counts on, and its UDP ports (`xfrm_state_update`); the kernel
    /// ignores every other difference.
    UpdateSa(WantedSa),
    /// UPDSA of a larval SA (ALLOCSPI): this one takes its place, all of it.
    FillSa {
        /// The SA.
        sa: InboundSa,
        /// Where it goes on from.
        state: Option<ReplayState>,
        /// What of its lifetime is used up already; none starts anew.
        used: Option<Used>,
    },
    /// NEWAE: the SA goes on from another state, and carries on meanwhile. A ring of another length is refused
    /// (`xfrm_replay_verify_len`); a state of another layout than the SA's changes nothing, and the kernel says that it did.
    SetReplayState {
        /// The SA, as it is in the kernel.
        sa: WantedSa,
        /// Where it goes on from.
        state: ReplayState,
    },
    /// DELSA, with the mark that the SA has.
    DeleteSa(SaId, Mark),
    /// NEWPOLICY under this index.
    AddPolicy {
        /// The policy.
        policy: Policy,
        /// The index to ask for. The kernel takes another one silently where it is taken: verify.
        index: PolicyIndex,
    },
    /// UPDPOLICY: the policy with this key gets other templates, priority or action, and keeps its index.
    UpdatePolicy {
        /// The policy.
        policy: Policy,
        /// The index it has.
        index: PolicyIndex,
    },
    /// DELPOLICY by index.
    DeletePolicy {
        /// The direction, which the kernel wants beside the index.
        direction: Direction,
        /// The index.
        index: PolicyIndex,
        /// The policy's, which the kernel wants as well (`xfrm_policy_byid`).
        interface_id: u32,
        /// The policy's as well.
        mark: Mark,
    },
    /// MIGRATE: these templates of the policy, and the SAs that they name, go on between other addresses. Sequence numbers
    /// and windows go with them, and keys stay. Where nothing of it can be done, nothing is.
    Migrate {
        /// The policy; it keeps its selector.
        key: PolicyKey,
        /// From 1 to [`MAX_MOVES`].
        moves: Vec<Move>,
    },
}

/// The most moves of one operation (`XFRM_MAX_DEPTH`).
pub const MAX_MOVES: usize = 6;

/// Templates and SAs that go on between other addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// Theirs.
    pub protocol: Protocol,
    /// Theirs.
    pub mode: Mode,
    /// Theirs.
    pub reqid: Reqid,
    /// Source and destination so far.
    pub from: (IpAddr, IpAddr),
    /// Source and destination from now on.
    pub to: (IpAddr, IpAddr),
}

/// The kernel refused an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error number, positive.
    pub errno: i32,
    /// What the kernel said besides (extended ACK), in its own words.
    pub message: Option<String>,
}

impl Refusal {
    /// The error number's usual name and text.
    fn errno_text(&self) -> String {
        // `from_raw_os_error` only looks the text up.
        std::io::Error::from_raw_os_error(self.errno).to_string()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{message} ({})", self.errno_text()),
            None => f.write_str(&self.errno_text()),
        }
    }
}

impl std::error::Error for Refusal {}
