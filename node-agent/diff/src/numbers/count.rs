//! How far one SA had come with one key.

use std::time::Duration;

use crate::memory::{FURTHEST, at_most_sent_in};

/// Nobody knows how many numbers are used.
const UNKNOWN: u64 = u64::MAX;

/// How far one SA had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    /// Numbers up to this one may be used.
    pub(super) sent: u64,
    /// At that time.
    pub(super) at: Duration,
    /// Nothing was sent after that.
    pub(super) over: bool,
    /// When the kernel says that it was added, in seconds since 1970; 0 where that isn't known. It tells an SA from another
    /// that somebody else puts in its place.
    pub(super) added: u64,
}

impl Count {
    /// Nothing is used. As the last line about a key it says what no line says.
    pub(super) const NOTHING: Self = Self { sent: 0, at: Duration::ZERO, over: true, added: 0 };

    /// Numbers up to this one may be used by `now`.
    pub(super) fn by(&self, now: Duration) -> u64 {
        if self.over {
            return self.sent;
        }
        // Of a time to come nothing can be said.
        let unseen = now.checked_sub(self.at).map_or(UNKNOWN, at_most_sent_in);
        if unseen > FURTHEST { UNKNOWN } else { self.sent.saturating_add(unseen) }
    }

    pub(super) fn close(&mut self, now: Duration) {
        (self.sent, self.at, self.over) = (self.by(now), now, true);
    }
}
