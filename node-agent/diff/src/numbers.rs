//! How far senders had come when an agent last looked: for the next agent, which may find them gone, or put back.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use esplanade_model::{Crypto, ObservedSa, Sa, SaId};
use foldhash::fast::FixedState;
use zeroize::Zeroizing;

use crate::fingerprint::Fingerprint;
use crate::hidden::{parse_id, write_id};
use crate::memory::{FURTHEST, at_most_sent_in};
use crate::wear::BadRecord;

/// Keys that are remembered besides those of SAs that are there.
const AT_MOST: usize = 1 << 14;

/// The record needn't be newer than this: an agent that finds SAs gone leaves out what they can have sent since.
const FRESH: Duration = Duration::from_secs(30);

/// Nobody knows how many numbers are used.
const UNKNOWN: u64 = u64::MAX;

/// The record of outbound SAs with keys that come back, those of IpsecSAs. An SA's line is written before the SA is made,
/// and again as it counts; it stays when the SA goes, since its key may be wanted again under any SPI.
///
/// Times are since boot, and the record counts for that boot only: with the kernel goes all that it counted.
#[derive(Default)]
pub struct Numbers {
    salt: Zeroizing<[u8; 32]>,
    counts: BTreeMap<(SaId, Fingerprint), Count>,
    /// Which SAs had or have a key.
    by_key: BTreeMap<Fingerprint, Vec<SaId>>,
    /// Those in the kernel that this process has made or found.
    live: HashMap<SaId, Fingerprint, FixedState>,
    /// What was recorded of those that are about to be made.
    before: HashMap<SaId, (Fingerprint, Option<Count>), FixedState>,
    refreshed: Duration,
    /// There are some that weren't read since they were made.
    unread: bool,
    changed: bool,
}

/// How far one SA had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    /// Numbers up to this one may be used.
    sent: u64,
    /// At that time.
    at: Duration,
    /// Nothing was sent after that.
    over: bool,
    /// When the kernel says that it was added, in seconds since 1970; 0 where that isn't known. It tells an SA from another
    /// that somebody else puts in its place.
    added: u64,
}

impl Count {
    /// Numbers up to this one may be used by `now`.
    fn by(&self, now: Duration) -> u64 {
        if self.over {
            return self.sent;
        }
        // Of a time to come nothing can be said.
        let unseen = now.checked_sub(self.at).map_or(UNKNOWN, at_most_sent_in);
        if unseen > FURTHEST { UNKNOWN } else { self.sent.saturating_add(unseen) }
    }

    fn close(&mut self, now: Duration) {
        (self.sent, self.at, self.over) = (self.by(now), now, true);
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Numbers").field("counts", &self.counts.len()).finish_non_exhaustive()
    }
}

impl Numbers {
    /// As [`Self::take_record`] wrote it in this boot, with the same salt, which is secret.
    ///
    /// # Errors
    /// The text is no record.
    pub fn read(salt: Zeroizing<[u8; 32]>, text: &str) -> Result<Self, BadRecord> {
        let mut numbers = Self { salt, ..Self::default() };
        for (line, number) in text.lines().zip(1..) {
            let (id, key, count) = parse(line).ok_or(BadRecord(number))?;
            numbers.put(id, key, count);
        }
        numbers.changed = false;
        Ok(numbers)
    }

    /// The record, if it changed since it was last taken.
    pub fn take_record(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.limit();
        let line = |((id, key), count): (&(SaId, Fingerprint), &Count)| {
            let Count { sent, at, over, added } = count;
            let over = if *over { "over" } else { "open" };
            format!("{key} {} {sent} {} {over} {added}\n", write_id(*id), at.as_millis())
        };
        Some(self.counts.iter().map(line).collect())
    }

    fn put(&mut self, id: SaId, key: Fingerprint, count: Count) -> Option<Count> {
        self.changed = true;
        let before = self.counts.insert((id, key), count);
        if before.is_none() {
            self.by_key.entry(key).or_default().push(id);
        }
        before
    }

    fn remove(&mut self, id: SaId, key: Fingerprint) {
        self.changed = true;
        self.counts.remove(&(id, key));
        if let Some(ids) = self.by_key.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&key);
            }
        }
    }

    /// Forgets the oldest of those that are over where there are too many.
    fn limit(&mut self) {
        let too_many = self.counts.len().saturating_sub(self.live.len() + AT_MOST);
        if too_many == 0 {
            return;
        }
        let over = self.counts.iter().filter(|(_, count)| count.over);
        let mut over: Vec<_> = over.map(|((id, key), count)| (count.at, *id, *key)).collect();
        over.sort_unstable();
        over.into_iter().take(too_many).for_each(|(_, id, key)| self.remove(id, key));
        self.changed = false;
    }

    fn key(&self, sa: &Sa) -> Fingerprint {
        Fingerprint::of(&self.salt, [], &sa.crypto)
    }

    fn of_id(&self, id: SaId) -> impl Iterator<Item = (Fingerprint, Count)> {
        let of = self.counts.range((id, Fingerprint::LEAST)..);
        of.take_while(move |((other, _), _)| *other == id).map(|((_, key), count)| (*key, *count))
    }

    /// Numbers up to this one may be used with the SA's key by `now`, whatever SA had it; none if none are. Those that are
    /// `known` otherwise don't count.
    pub(crate) fn used(&self, sa: &Sa, now: Duration, known: impl Fn(SaId) -> bool) -> Option<u64> {
        if self.counts.is_empty() {
            return None;
        }
        let key = self.key(sa);
        let ids = self.by_key.get(&key)?.iter().filter(|id| !known(**id));
        let count = |id| match self.before.get(id) {
            // What is reserved is only said to be.
            Some((reserved, before)) if *reserved == key => *before,
            _ => self.counts.get(&(*id, key)).copied(),
        };
        ids.filter_map(count).map(|count| count.by(now)).max()
    }

    /// What an SA that an earlier process has made, or found, must have sent by `now`, if it is there: none where nothing is
    /// recorded of it. It may be another one, which somebody else has put in its place.
    pub(crate) fn must_have_sent(&self, wanted: &Sa, there: &ObservedSa, now: Duration) -> Option<u64> {
        self.of_id(there.id).next()?;
        let key = self.key(wanted);
        let count = self.counts.get(&(there.id, key))?;
        let other = count.added != 0 && count.added != there.used.added;
        let put_back = count.over || other || there.state.sent < count.sent;
        if !put_back {
            return Some(count.sent);
        }
        // Under another SPI its key may have come further since.
        let of_key = self.by_key.get(&key).into_iter().flatten();
        of_key.filter_map(|id| self.counts.get(&(*id, key))).map(|count| count.by(now)).max()
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

    /// The kernel has refused it: all is as before.
    pub(crate) fn refused(&mut self, id: SaId) {
        match self.before.remove(&id) {
            Some((key, Some(count))) => drop(self.put(id, key, count)),
            Some((key, None)) => self.remove(id, key),
            None => {}
        }
    }

    /// It was made.
    pub(crate) fn made(&mut self, id: SaId, last: Option<(u64, Duration)>, now: Duration) {
        let Some((key, _)) = self.before.remove(&id) else { return };
        self.change_key(id, key, last, now);
        self.live.insert(id, key);
        self.unread = true;
    }

    /// There is an SA with another key than it had, which was last seen to have sent so much at that time.
    pub(crate) fn has_other_key(&mut self, seen: &Sa, last: (u64, Duration), now: Duration) {
        if self.of_id(seen.id()).next().is_some() {
            self.change_key(seen.id(), self.key(seen), Some(last), now);
        }
    }

    fn change_key(&mut self, id: SaId, key: Fingerprint, last: Option<(u64, Duration)>, now: Duration) {
        if self.live.get(&id) != Some(&key) {
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
        let Some(key) = self.live.get(&id) else { return };
        if let (Some(count), Some((sent, at))) = (self.counts.get_mut(&(id, *key)), last) {
            (count.sent, count.at) = (count.sent.max(sent), count.at.max(at));
        }
    }

    fn close(&mut self, id: SaId, but: Option<Fingerprint>, now: Duration) {
        self.live.remove(&id);
        let open: Vec<_> = self.of_id(id).filter(|(key, count)| Some(*key) != but && !count.over).collect();
        for (key, mut count) in open {
            count.close(now);
            self.put(id, key, count);
        }
    }

    /// A wanted SA is there, and has this key.
    pub(crate) fn found(&mut self, sa: &Sa, sent: u64, added: u64, at: Duration) {
        if sa.crypto == Crypto::Deflate || self.live.contains_key(&sa.id()) {
            return;
        }
        let (id, key) = (sa.id(), self.key(sa));
        self.close(id, Some(key), at);
        self.put(id, key, Count { sent, at, over: false, added });
        self.live.insert(id, key);
    }

    /// Everything was read: what isn't `there` is over.
    pub(crate) fn end_reading(&mut self, now: Duration, there: impl Fn(&SaId) -> bool) {
        let Self { counts, live, changed, .. } = self;
        for ((id, _), count) in counts.iter_mut().filter(|((id, _), count)| !count.over && !there(id)) {
            count.close(now);
            live.remove(id);
            *changed = true;
        }
    }

    /// Takes in where the SAs are that are there, unless that was done a moment ago. `look`: what an SA was seen to have sent,
    /// when that was, and when it was added.
    pub(crate) fn refresh(
        &mut self,
        now: Duration,
        always: bool,
        look: impl Fn(SaId) -> Option<(u64, Duration, u64)>,
    ) {
        if !always && !self.unread && now.saturating_sub(self.refreshed) < FRESH {
            return;
        }
        (self.refreshed, self.unread) = (now, false);
        let Self { counts, live, changed, .. } = self;
        for (id, key) in live {
            if let (Some((sent, at, added)), Some(count)) = (look(*id), counts.get_mut(&(*id, *key))) {
                let fresh = Count { sent, at, over: false, added };
                *changed |= *count != fresh;
                *count = fresh;
            }
        }
    }

    /// It is there with this key, as far as this process knows.
    pub(crate) fn is_live(&self, sa: &Sa) -> bool {
        self.live.get(&sa.id()).is_some_and(|key| *key == self.key(sa))
    }

    /// The SAs in the kernel that this process has made or found.
    pub(crate) fn live(&self) -> impl Iterator<Item = SaId> {
        self.live.keys().copied()
    }
}

fn parse(line: &str) -> Option<(SaId, Fingerprint, Count)> {
    let mut words = line.split(' ');
    let key = Fingerprint::parse(words.next()?)?;
    let id = parse_id(&mut words)?;
    let sent = words.next()?.parse().ok()?;
    let at = Duration::from_millis(words.next()?.parse().ok()?);
    let over = match words.next()? {
        "over" => true,
        "open" => false,
        _ => return None,
    };
    let added = words.next()?.parse().ok()?;
    words.next().is_none().then_some((id, key, Count { sent, at, over, added }))
}
