//! Senders: how far they must have come, and what of that is recorded.

use std::time::Duration;

use esplanade_model::{Crypto, ObservedSa, Sa, SaId};

use super::{Kept, Known, Memory, same_key};
use crate::numbers::Numbers;
use crate::replay::last_number;

impl Memory {
    /// The senders in the kernel that the record tells of.
    pub fn recorded(&self) -> impl Iterator<Item = SaId> {
        self.numbers.live()
    }

    /// The record of how far senders have come.
    pub fn numbers(&mut self) -> &mut Numbers {
        &mut self.numbers
    }

    /// As one that has the key of `like`.
    pub(super) fn see_as(&mut self, like: Option<&Sa>, sa: &ObservedSa, at: Duration) {
        let must = like.and_then(|like| self.must_have_sent(like, sa, at));
        self.take_in(sa, at);
        if let (Some(must), Some(known)) = (must, self.known.get_mut(sa.id)) {
            known.state.sent = known.state.sent.max(must);
        }
    }

    /// As [`Self::see`], a wanted sender. Where it has sent less than it must have, since somebody else has put it back to
    /// where it once was or another one in its place: the number that it has to go on past.
    pub fn see_sender(&mut self, wanted: &Sa, sa: &ObservedSa, at: Duration) -> Option<u64> {
        match sa.sa {
            Some(_) => self.see(sa, at),
            None => self.see_as(Some(wanted), sa, at),
        }
        self.behind(wanted, sa)
    }

    /// Numbers up to this one may be used with the key of a sender by `now`, as far as only the record tells; none if none are.
    pub fn recorded_use(&self, sa: &Sa, now: Duration) -> Option<u64> {
        let known = |id| {
            let known = self.known.get(id).filter(|known| same_key(sa, known));
            known.is_some_and(|known| {
                let crypto = known.sa.as_ref().map_or(&sa.crypto, Kept::crypto);
                self.numbers.is_live(known.id, crypto)
            })
        };
        self.numbers.used(sa, now, known).map(|sent| sent.min(last_number(sa.replay)))
    }

    /// The number that a sender that is there has to go on past; none where it has.
    pub fn behind(&self, wanted: &Sa, there: &ObservedSa) -> Option<u64> {
        let known = self.known.get(there.id).filter(|known| same_key(wanted, known))?;
        let must = known.state.sent.min(last_number(wanted.replay));
        (there.state.sent < must && wanted.crypto != Crypto::Deflate).then_some(must)
    }

    /// What an SA must have sent by `at` that is there, with the key of `like`; none where nothing is known of it.
    fn must_have_sent(&self, like: &Sa, sa: &ObservedSa, at: Duration) -> Option<u64> {
        let known = self.known.get(sa.id).filter(|known| same_key(like, known));
        let Some(known) = known else { return self.numbers.must_have_sent(like, sa, at) };
        let put_back = known.is_another(sa) || sa.state.sent < known.state.sent;
        // What is known may be only of one that somebody has put back.
        let recorded = match self.numbers.is_live(like.id(), &like.crypto) {
            true => None,
            false => self.numbers.must_have_sent(like, sa, at),
        };
        Some(self.sent_before(known, put_back, at)).max(recorded)
    }

    /// What an SA had sent by `at` that was known before it is seen, or the one that had its name and its key.
    pub(super) fn sent_before(&self, known: &Known, put_back: bool, at: Duration) -> u64 {
        let unseen = if put_back { self.unseen_of(known, at) } else { 0 };
        known.state.sent.saturating_add(unseen)
    }

    /// A sender whose key comes back is about to be made, or set to go on, past the number `sent` at `now`. It is once that is
    /// [recorded](Numbers::record).
    pub fn reserve(&mut self, sa: &Sa, sent: u64, now: Duration) {
        self.numbers.reserve(sa, sent, now);
    }

    /// The kernel has refused to make it.
    pub fn refused(&mut self, id: SaId) {
        self.numbers.refused(id);
    }

    /// A wanted sender whose key comes back is there, as it was seen.
    pub fn found(&mut self, sa: &Sa) {
        if let Some(known) = self.known.get(sa.id()) {
            self.numbers.found(sa, known.state.sent, known.used.added, known.at);
        }
    }

    /// Everything was read by `now`: what isn't `there` has sent what it has.
    pub fn end_reading(&mut self, now: Duration, there: impl Fn(&SaId) -> bool) {
        self.numbers.end_reading(now, there);
    }

    /// Takes in that an SA has moved to other addresses, by us: the kernel has made another one of it.
    pub fn moved(&mut self, id: SaId) {
        if let Some(known) = self.known.get_mut(id) {
            known.fresh = true;
        }
    }

    /// Takes into the record how far senders have come that are there; `at`: when each was last read.
    pub fn refresh(&mut self, now: Duration, always: bool, at: impl Fn(SaId) -> Option<Duration>) {
        let known = &self.known;
        self.numbers.refresh(now, always, |id| {
            // What is known of one that was just made is another one's.
            let known = known.get(id).filter(|known| !known.fresh)?;
            Some((known.state.sent, at(id)?.max(known.at), known.used.added))
        });
    }
}
