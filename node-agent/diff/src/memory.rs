//! What is remembered of SAs after they have vanished.

use std::time::Duration;

use esplanade_model::{ObservedSa, ReplayState, Sa, SaId, Used};

use crate::numbers::Numbers;
use crate::wear::Wear;

mod again;
mod kept;
mod known;
mod senders;
mod store;

pub(crate) use again::used_up;
pub use again::{Outlook, Start};
use kept::Kept;
use known::{End, Known, advance, same_key};
use store::Store;

/// Packets that an SA may send in a second: 25 Gbit/s in packets of 1500 bytes. They go out one after the other under the
/// SA's lock (`xfrm_output_one`), and encrypting small ones on one core doesn't get there.
const PER_SECOND: u64 = 1 << 21;

/// The furthest that an SA goes on past where it was seen. A receiver of extended sequence numbers can't follow a step of
/// 2³² (RFC 4303 appendix A2.2). It is reached when the last look is 17 minutes old. With 32-bit sequence numbers an SA
/// that is seen every minute can vanish 32 times before it is used up.
pub(crate) const FURTHEST: u64 = 1 << 31;

/// SAs remembered besides those that are there.
const AT_MOST: usize = 1 << 16;

/// How far SAs had come when they were last seen. If one has vanished (somebody flushed the SAD) or was deleted, and one
/// with the same key has to be made, it goes on past what the old one can have sent, and accepts nothing that the old one
/// accepted (RFC 4303 §3.3.3). What of its lifetime was used up stays so.
///
/// One with a hard lifetime comes back only if somebody is known to have deleted it: else it is taken for worn out, and
/// its key is never used again.
///
/// Times are counted from any fixed moment.
#[derive(Debug, Default)]
pub struct Memory {
    known: Store,
    /// Ends that were told before this many losses of events count no more.
    losses: u32,
    wear: Wear,
    numbers: Numbers,
}

impl Memory {
    /// With the records of earlier processes.
    pub fn new(wear: Wear, numbers: Numbers) -> Self {
        Self { wear, numbers, ..Self::default() }
    }

    /// The record of worn out keys, if it changed since it was last taken: it has to outlive the process.
    pub fn take_record(&mut self) -> Option<String> {
        self.wear.take_record()
    }

    /// Takes in an SA that was there `at` this time.
    pub fn see(&mut self, sa: &ObservedSa, at: Duration) {
        self.see_as(sa.sa.as_ref(), sa, at);
    }

    fn take_in(&mut self, sa: &ObservedSa, at: Duration) {
        let recorded = self.record_installed(sa);
        let found_alike = |known: &Known| match (&known.sa, &sa.sa) {
            (Some(known), Some(seen)) => (known.source(), known.crypto()) == (seen.source, &seen.crypto),
            (_, None) => true,
            (None, Some(_)) => false,
        };
        let known = match self.known.get_mut(sa.id) {
            Some(known) if found_alike(known) => {
                known.see(sa, at, recorded);
                return;
            }
            _ => self.known.take(sa.id),
        };
        if let (Some(known), Some(seen)) = (&known, &sa.sa)
            && !same_key(seen, known)
        {
            self.numbers.has_other_key(seen, (known.state.sent, known.at), at);
        }
        self.known.put(match known {
            Some(mut known) => {
                known.see(sa, at, recorded);
                known
            }
            None => {
                let ObservedSa { id, mark, sa, state, used } = sa.clone();
                Known { recorded, fresh: false, ..Known::new(id, mark, sa, state, used, at) }
            }
        });
    }

    /// Whether the SA's key is in the record. One without a hard lifetime needn't be.
    fn record_installed(&mut self, sa: &ObservedSa) -> bool {
        let Some(read) = sa.sa.as_ref().filter(|read| !read.lifetime.hard.is_none()) else { return false };
        let known = self.known.get(sa.id).filter(|known| known.recorded);
        let same = |known: &Known| known.sa.as_ref().is_some_and(|before| *before.crypto() == read.crypto);
        // A fingerprint costs more than the rest of it.
        if !known.is_some_and(same)
            && let Some(fingerprint) = self.wear.fingerprint(read)
            && self.wear.worn(fingerprint).is_none()
        {
            self.wear.install(fingerprint);
        }
        true
    }

    /// Takes in that an SA which was seen before has counted on.
    pub fn count(&mut self, id: SaId, state: ReplayState, used: Used, at: Duration) {
        if let Some(known) = self.known.get_mut(id) {
            let before = std::mem::replace(&mut known.state, state);
            advance(&mut known.state, before);
            known.used = used;
            (known.at, known.ended, known.end) = (at, None, End::None);
            (known.fresh, known.over) = (false, false);
        }
    }

    /// It was still there `at` this time, just as it was seen.
    pub fn still_there(&mut self, id: SaId, at: Duration) {
        if let Some(known) = self.known.get_mut(id) {
            known.at = known.at.max(at);
        }
    }

    /// Takes in the last of an SA that somebody deleted: nothing went through it after this, unless it came again.
    pub fn end(&mut self, last: &ObservedSa, at: Duration) {
        let known = self.known.get(last.id);
        let known = known.filter(|known| last.sa.as_ref().is_none_or(|last| same_key(last, known)));
        let before = known.map_or(0, |known| self.sent_before(known, known.is_another(last), at));
        self.take_in(last, at);
        if let Some(known) = self.known.get_mut(last.id) {
            known.state.sent = known.state.sent.max(before);
            (known.ended, known.end) = (Some(self.losses), End::Deleted);
        }
    }

    /// Takes in that somebody deleted all SAs.
    pub fn flushed(&mut self) {
        for known in self.known.values_mut().filter(|known| known.end != End::Expired) {
            known.end = End::Deleted;
        }
    }

    /// Takes in that the hard lifetime of an SA ended.
    pub fn expired(&mut self, id: SaId, used: Used) {
        if let Some(known) = self.known.get_mut(id) {
            (known.end, known.used) = (End::Expired, used);
        }
    }

    /// Its hard lifetime has ended it, as far as was told.
    pub fn has_expired(&self, id: SaId) -> bool {
        self.known.get(id).is_some_and(|known| known.end == End::Expired)
    }

    /// Takes in that an SA was made, or set to go on, past the number `sent` at `now`, or changed in place (none): it may be
    /// worn out, or gone, before it is ever seen.
    pub fn made(&mut self, sa: &Sa, sent: Option<u64>, now: Duration) {
        let id = sa.id();
        if sent.is_some() {
            let last = self.known.get(id).map(|known| (known.state.sent, known.at));
            self.numbers.made(id, last, now);
        }
        if sa.lifetime.hard.is_none() {
            if let Some(known) = self.known.get_mut(id).filter(|known| same_key(sa, known)) {
                known.make(sent, now);
            }
            return;
        }
        let known = self.known.take(id).filter(|known| same_key(sa, known));
        self.known.put(match known {
            Some(mut known) => {
                known.make(sent, now);
                known.sa = Some(Kept::new(sa.clone()));
                known
            }
            None => {
                let state = ReplayState { sent: sent.unwrap_or_default(), ..ReplayState::default() };
                let fresh = Known::new(id, sa.mark, Some(sa.clone()), state, Used::default(), now);
                Known { fresh: true, ..fresh }
            }
        });
    }

    /// Takes in that we deleted an SA, at `now`.
    pub fn unmade(&mut self, id: SaId, now: Duration) {
        let last = self.known.get(id).map(|known| (known.state.sent, known.at));
        self.numbers.unmade(id, last, now);
        let unseen = self.known.get(id).map_or(0, |known| self.unseen_of(known, now));
        let Some(known) = self.known.get_mut(id) else { return };
        known.state.sent = known.state.sent.saturating_add(unseen);
        (known.at, known.end, known.over) = (now, End::Deleted, true);
        // A fingerprint costs more than the rest of it.
        if self.wear.is_empty() {
            return;
        }
        if let Some(fingerprint) = known.sa.as_ref().and_then(|sa| self.wear.fingerprint(&sa.sa(id))) {
            self.wear.remove(fingerprint);
        }
    }

    /// Another SA under this name may have come and gone since its end was told.
    pub fn may_have_come_again(&mut self, id: SaId) {
        if let Some(known) = self.known.get_mut(id) {
            (known.ended, known.over) = (None, false);
        }
    }

    /// Under any name another SA may have come and gone, one that we were about to make among them.
    pub fn any_may_have_come_again(&mut self) {
        self.losses = self.losses.saturating_add(1);
        self.numbers.any_may_be_made();
    }

    /// Forgets SAs that aren't there where there are too many of them. `there` are that many.
    pub fn limit(&mut self, count: usize, there: impl Fn(&SaId) -> bool) {
        if self.known.len() > count + AT_MOST {
            self.known.retain(there);
        }
    }

    /// What of an SA's lifetime was used up when it was last seen.
    pub fn used(&self, id: &SaId) -> Option<Used> {
        self.known.get(*id).map(|known| known.used)
    }

    /// What it may have sent since it was seen.
    fn unseen_of(&self, known: &Known, now: Duration) -> u64 {
        let exact = known.over || known.ended == Some(self.losses);
        if exact { 0 } else { unseen(now.saturating_sub(known.at)) }
    }

    /// An SA of ours was seen, or made, once.
    pub fn remembers(&self, id: SaId) -> bool {
        self.known.get(id).is_some()
    }

    /// How far an SA of ours had come; none where nothing is known of it.
    pub fn state(&self, id: SaId) -> Option<&ReplayState> {
        self.known.get(id).map(|known| &known.state)
    }

    /// An SA of ours as it was last read.
    pub fn last(&self, id: SaId) -> Option<ObservedSa> {
        let Known { id, mark, sa, state, used, .. } = self.known.get(id)?;
        let sa = sa.as_ref().map(|sa| sa.sa(*id));
        Some(ObservedSa { id: *id, mark: *mark, sa, state: state.clone(), used: *used })
    }
}

/// How many packets are taken to have left in this time.
fn unseen(time: Duration) -> u64 {
    at_most_sent_in(time).min(FURTHEST)
}

/// How many packets can have left in this time.
pub(crate) fn at_most_sent_in(time: Duration) -> u64 {
    // One second more: the operations take time as well.
    time.as_secs().saturating_add(2).saturating_mul(PER_SECOND)
}
