//! How long an SA lasts, and how much of that is used up.

use std::num::NonZeroU64;

/// What an SA may carry, and for how long (`struct xfrm_lifetime_cfg`). None doesn't limit. The kernel takes 0 bytes or
/// packets for a limit that is reached at once, and 0 seconds for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Seconds since the SA was added.
    pub time: Option<NonZeroU64>,
    /// Bytes carried.
    pub bytes: Option<NonZeroU64>,
    /// Packets carried: so many go through, the next one doesn't (`xfrm_state_check_expire`).
    pub packets: Option<NonZeroU64>,
}

impl Limits {
    /// There is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// One of them that this use has reached by `now` (seconds since 1970), in words.
    pub fn reached(&self, used: &Used, now: u64) -> Option<String> {
        let reached = |limit: Option<NonZeroU64>, used: u64| limit.filter(|limit| used >= limit.get());
        if let Some(limit) = reached(self.packets, used.packets) {
            return Some(format!("{limit} packets"));
        }
        if let Some(limit) = reached(self.bytes, used.bytes) {
            return Some(format!("{limit} bytes"));
        }
        let age = if used.added == 0 { 0 } else { now.saturating_sub(used.added) };
        reached(self.time, age).map(|limit| format!("{limit} s"))
    }
}

/// When an SA wears out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifetime {
    /// Reaching one of these is told.
    pub soft: Limits,
    /// Reaching one of these ends the SA: the kernel deletes it.
    pub hard: Limits,
}

/// What of an SA's lifetime is used up (`struct xfrm_lifetime_cur`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Bytes carried.
    pub bytes: u64,
    /// Packets carried.
    pub packets: u64,
    /// When it was added, in seconds since 1970.
    pub added: u64,
    /// When it carried its first packet, in seconds since 1970; 0 for never.
    pub first_used: u64,
}
