//! How far senders had come when an agent last looked: for the next agent, which may find them gone, or put back.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use esplanade_model::{Crypto, ObservedSa, Sa, SaId};
use zeroize::Zeroizing;

use crate::fingerprint::Fingerprint;
use crate::hash::{Map, Set};

mod count;
mod counts;
mod lines;
mod recording;

use count::Count;
use counts::{Counts, Entry};
pub use lines::Writing;
use recording::Written;

/// What SAs count needn't be recorded more often than this: an agent that finds SAs gone leaves out what they can have sent since.
const FRESH: Duration = Duration::from_secs(30);

/// Room for so many is kept.
const ROOM: usize = 64;

/// The record of outbound SAs with keys that come back, those of IpsecSAs. An SA's line is written before the SA is made,
/// and again as it counts; it stays when the SA goes, since its key may be wanted again under any SPI.
///
/// What changed is appended, and now and then the record is written anew without what no longer counts: what one SA costs
/// doesn't depend on how many there are.
///
/// Times are since boot, and the record counts for that boot only: with the kernel goes all that it counted.
#[derive(Default)]
pub struct Numbers {
    salt: Zeroizing<[u8; 32]>,
    counts: Counts,
    /// What was recorded of those that are about to be made.
    before: Map<SaId, (Fingerprint, Option<Count>)>,
    refreshed: Duration,
    /// Made, and not read since.
    unread: BTreeSet<SaId>,
    /// Those of whom something else is recorded than is known.
    unwritten: Set<(SaId, Fingerprint)>,
    /// What lines can be appended to; none where that isn't known to be there, or to end with a whole line.
    written: Option<Written>,
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Numbers").field("counts", &self.counts.len()).finish_non_exhaustive()
    }
}

impl Numbers {
    fn put(&mut self, id: SaId, key: Fingerprint, count: Count) -> Option<Count> {
        self.unwritten.insert((id, key));
        self.counts.put(id, key, count)
    }

    fn remove(&mut self, id: SaId, key: Fingerprint) {
        self.unwritten.insert((id, key));
        self.counts.remove(id, key);
    }

    fn key(&self, sa: &Sa) -> Fingerprint {
        Fingerprint::of(&self.salt, [], &sa.crypto)
    }

    /// Numbers up to this one may be used with the SA's key by `now`, whatever SA had it; none if none are. Those that are
    /// `known` otherwise don't count.
    pub(crate) fn used(&self, sa: &Sa, now: Duration, known: impl Fn(SaId) -> bool) -> Option<u64> {
        if self.counts.len() == 0 {
            return None;
        }
        // One that is reserved is the one that is wanted, and a fingerprint costs more than the rest of it.
        let key = self.before.get(&sa.id()).map_or_else(|| self.key(sa), |(key, _)| *key);
        let others = self.counts.of_key(key).filter(|one| !known(one.id));
        let count = |one: &Entry| match self.before.get(&one.id) {
            // What is reserved is only said to be.
            Some((reserved, before)) if *reserved == key => *before,
            _ => Some(one.count),
        };
        others.filter_map(count).map(|count| count.by(now)).max()
    }

    /// What an SA that an earlier process has made, or found, must have sent by `now`, if it is there: none where nothing is
    /// recorded of it. It may be another one, which somebody else has put in its place.
    pub(crate) fn must_have_sent(&self, wanted: &Sa, there: &ObservedSa, now: Duration) -> Option<u64> {
        // A fingerprint costs more than the rest of it.
        self.counts.of_id(there.id).next()?;
        let key = self.key(wanted);
        let count = self.counts.get(there.id, key)?.count;
        let other = count.added != 0 && count.added != there.used.added;
        let put_back = count.over || other || there.state.sent < count.sent;
        if !put_back {
            return Some(count.sent);
        }
        // Under another SPI its key may have come further since.
        self.counts.of_key(key).map(|one| one.count.by(now)).max()
    }

    /// An SA is about to be made, or set to go on, past the number `sent`.
    pub(crate) fn reserve(&mut self, sa: &Sa, sent: u64, now: Duration) {
        // IPComp has no sequence numbers.
        if sa.crypto == Crypto::Deflate {
            return;
        }
        let (id, key) = (sa.id(), self.key(sa));
        let before = self.put(id, key, Count { sent, at: now, over: false, added: 0 });
        self.before.insert(id, (key, before));
    }

    /// Nobody knows which of those that were to be made the kernel has made: their numbers may be used.
    pub(crate) fn any_may_be_made(&mut self) {
        self.before = Map::default();
    }

    /// The kernel has refused it: all is as before.
    pub(crate) fn refused(&mut self, id: SaId) {
        match self.take_before(id) {
            Some((key, Some(count))) => drop(self.put(id, key, count)),
            Some((key, None)) => self.remove(id, key),
            None => {}
        }
    }

    /// It was made.
    pub(crate) fn made(&mut self, id: SaId, last: Option<(u64, Duration)>, now: Duration) {
        let Some((key, _)) = self.take_before(id) else { return };
        self.change_key(id, key, last, now);
        self.now_lives(id, key);
        self.unread.insert(id);
    }

    fn take_before(&mut self, id: SaId) -> Option<(Fingerprint, Option<Count>)> {
        let before = self.before.remove(&id);
        if self.before.is_empty() {
            self.before.shrink_to(ROOM);
        }
        before
    }

    /// No other key is live under this name.
    fn now_lives(&mut self, id: SaId, key: Fingerprint) {
        if let Some(one) = self.counts.get_mut(id, key) {
            one.live = true;
        }
    }

    /// There is an SA with another key than it had, which was last seen to have sent so much at that time.
    pub(crate) fn has_other_key(&mut self, seen: &Sa, last: (u64, Duration), now: Duration) {
        if self.counts.of_id(seen.id()).next().is_some() {
            self.change_key(seen.id(), self.key(seen), Some(last), now);
        }
    }

    fn change_key(&mut self, id: SaId, key: Fingerprint, last: Option<(u64, Duration)>, now: Duration) {
        if self.counts.live_key(id) != Some(key) {
            self.saw(id, last);
            self.close(id, Some(key), now);
        }
    }

    /// It was deleted, and was last seen to have sent so much at that time.
    pub(crate) fn unmade(&mut self, id: SaId, last: Option<(u64, Duration)>, now: Duration) {
        self.saw(id, last);
        self.close(id, None, now);
    }

    fn saw(&mut self, id: SaId, last: Option<(u64, Duration)>) {
        let Some(key) = self.counts.live_key(id) else { return };
        if let (Some(one), Some((sent, at))) = (self.counts.get_mut(id, key), last) {
            (one.count.sent, one.count.at) = (one.count.sent.max(sent), one.count.at.max(at));
            self.unwritten.insert((id, key));
        }
    }

    fn close(&mut self, id: SaId, but: Option<Fingerprint>, now: Duration) {
        if let Some(key) = self.counts.live_key(id)
            && let Some(one) = self.counts.get_mut(id, key)
        {
            one.live = false;
        }
        let of_id = self.counts.of_id(id);
        let open: Vec<_> =
            of_id.filter(|one| Some(one.key) != but && !one.count.over).map(|one| one.key).collect();
        for key in open {
            self.close_one(id, key, now);
        }
    }

    fn close_one(&mut self, id: SaId, key: Fingerprint, now: Duration) {
        if let Some(one) = self.counts.get_mut(id, key) {
            one.count.close(now);
            one.live = false;
            self.unwritten.insert((id, key));
        }
    }

    /// A wanted SA is there, and has this key.
    pub(crate) fn found(&mut self, sa: &Sa, sent: u64, added: u64, at: Duration) {
        if sa.crypto == Crypto::Deflate || self.counts.live_key(sa.id()).is_some() {
            return;
        }
        let (id, key) = (sa.id(), self.key(sa));
        self.close(id, Some(key), at);
        self.put(id, key, Count { sent, at, over: false, added });
        self.now_lives(id, key);
    }

    /// Everything was read: what isn't `there` is over.
    pub(crate) fn end_reading(&mut self, now: Duration, there: impl Fn(&SaId) -> bool) {
        let open = self.counts.iter().filter(|one| !one.count.over && !there(&one.id));
        let gone: Vec<_> = open.map(|one| (one.id, one.key)).collect();
        gone.into_iter().for_each(|(id, key)| self.close_one(id, key, now));
    }

    /// Takes in where the SAs are that are there and weren't read since they were made; all, if that wasn't done a moment ago,
    /// or `always`. `look`: what an SA was seen to have sent, when that was, and when it was added; none of one that wasn't.
    pub(crate) fn refresh(
        &mut self,
        now: Duration,
        always: bool,
        look: impl Fn(SaId) -> Option<(u64, Duration, u64)>,
    ) {
        if always || now.saturating_sub(self.refreshed) >= FRESH {
            self.refreshed = now;
            let Self { counts, unread, unwritten, .. } = self;
            for one in counts.iter_mut().filter(|one| one.live) {
                if refresh(one, unwritten, &look) {
                    unread.remove(&one.id);
                }
            }
            return;
        }
        let Self { counts, unread, unwritten, .. } = self;
        unread.retain(|id| {
            let Some(key) = counts.live_key(*id) else { return false };
            counts.get_mut(*id, key).is_some_and(|one| !refresh(one, unwritten, &look))
        });
    }

    /// It is there with this key, as far as this process knows.
    pub(crate) fn is_live(&self, id: SaId, crypto: &Crypto) -> bool {
        self.counts.live_key(id).is_some_and(|key| key == Fingerprint::of(&self.salt, [], crypto))
    }

    /// The SAs in the kernel that this process has made or found.
    pub(crate) fn live(&self) -> impl Iterator<Item = SaId> {
        self.counts.iter().filter(|one| one.live).map(|one| one.id)
    }
}

/// Whether it was seen.
fn refresh(
    one: &mut Entry,
    unwritten: &mut Set<(SaId, Fingerprint)>,
    look: impl Fn(SaId) -> Option<(u64, Duration, u64)>,
) -> bool {
    let Some((sent, at, added)) = look(one.id) else { return false };
    let fresh = Count { sent, at, over: false, added };
    if one.count != fresh {
        one.count = fresh;
        unwritten.insert((one.id, one.key));
    }
    true
}
