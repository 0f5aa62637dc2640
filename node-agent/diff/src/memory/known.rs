//! One SA that is remembered.

use std::time::Duration;

use esplanade_model::{Mark, ObservedSa, ReplayState, Sa, SaId, Used};

use super::kept::Kept;
use crate::crypto::same_crypto;

#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: SaId,
    pub(super) mark: Mark,
    /// None if some attribute isn't like ours.
    pub(super) sa: Option<Kept>,
    pub(super) state: ReplayState,
    pub(super) used: Used,
    /// When it was seen: not after what is said of it was so.
    pub(super) at: Duration,
    /// It was told, after so many losses, that this is the last of it.
    pub(super) ended: Option<u32>,
    pub(super) end: End,
    /// Its key is in the record of those that hard lifetimes count for.
    pub(super) recorded: bool,
    /// We have made it, and it wasn't seen since.
    pub(super) fresh: bool,
    /// We have deleted it: nothing was sent since.
    pub(super) over: bool,
}

/// How an SA ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It hasn't, as far as is known.
    None,
    /// It is gone since about then, and nobody has told how.
    Unknown(Duration),
    /// Somebody deleted it.
    Deleted,
    /// Its hard lifetime ended.
    Expired,
}

impl Known {
    pub(super) fn new(
        id: SaId,
        mark: Mark,
        sa: Option<Sa>,
        state: ReplayState,
        used: Used,
        at: Duration,
    ) -> Self {
        let (sa, end) = (sa.map(Kept::new), End::None);
        Self { id, mark, sa, state, used, at, ended: None, end, recorded: false, fresh: false, over: false }
    }

    pub(super) fn make(&mut self, sent: Option<u64>, now: Duration) {
        if let Some(sent) = sent {
            self.state.sent = self.state.sent.max(sent);
            (self.at, self.fresh, self.over) = (now, true, false);
        }
        (self.ended, self.end) = (None, End::None);
    }

    pub(super) fn see(&mut self, sa: &ObservedSa, at: Duration, recorded: bool) {
        self.remember(sa);
        (self.at, self.ended, self.end, self.recorded) = (at, None, End::None, recorded);
        (self.fresh, self.over) = (false, false);
    }

    /// The newest of an SA. Its numbers never go back as long as its keys are the same.
    fn remember(&mut self, seen: &ObservedSa) {
        let same = match (&self.sa, &seen.sa) {
            (Some(known), Some(seen)) => same_crypto(known.crypto(), &seen.crypto),
            _ => true,
        };
        let before = std::mem::replace(&mut self.state, seen.state.clone());
        (self.id, self.mark, self.used) = (seen.id, seen.mark, seen.used);
        if same {
            advance(&mut self.state, before);
        }
        if let Some(seen) = &seen.sa {
            self.sa = Some(Kept::new(seen.clone()));
        }
    }

    /// Somebody else has put this one in its place.
    pub(super) fn is_another(&self, sa: &ObservedSa) -> bool {
        self.end != End::None || !self.fresh && self.used.added != sa.used.added
    }

    /// How it ended, should that matter: it had a hard lifetime.
    pub(super) fn ended(&mut self, now: Duration) -> Option<End> {
        if self.end == End::None {
            self.end = End::Unknown(now);
        }
        let limited = self.sa.as_ref().is_some_and(|sa| !sa.hard().is_none());
        limited.then_some(self.end)
    }

    /// The limit that it reached: if no count, then the time.
    pub(super) fn hard_limit(&self) -> String {
        let Some(hard) = self.sa.as_ref().map(Kept::hard) else { return String::new() };
        let counted = hard.reached(&self.used, 0);
        counted.or_else(|| hard.time.map(|time| format!("{time} s"))).unwrap_or_default()
    }
}

pub(super) fn same_key(wanted: &Sa, known: &Known) -> bool {
    known.sa.as_ref().is_none_or(|known| same_crypto(&wanted.crypto, known.crypto()))
}

/// The further of both: what was so before stays so.
pub(super) fn advance(state: &mut ReplayState, before: ReplayState) {
    state.sent = state.sent.max(before.sent);
    if before.received > state.received {
        state.received = before.received;
        state.bitmap = before.bitmap;
    }
}
