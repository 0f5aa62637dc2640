//! What is remembered of SAs after they have vanished.

use std::iter;
use std::time::Duration;

use esplanade_model::{Mark, ObservedSa, OutboundSa, ReplayState, Sa, SaId, Used, WantedSa};

use crate::crypto::same_crypto;
use crate::numbers::Numbers;
use crate::replay;
use crate::wear::Wear;

mod kept;
mod senders;
mod store;

use kept::Kept;
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

/// How long the kernel may take to tell how an SA with a hard lifetime ended.
const PATIENCE: Duration = Duration::from_secs(2);

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

#[derive(Debug)]
struct Known {
    id: SaId,
    mark: Mark,
    /// None if some attribute isn't like ours.
    sa: Option<Kept>,
    state: ReplayState,
    used: Used,
    /// When it was seen: not after what is said of it was so.
    at: Duration,
    /// It was told, after so many losses, that this is the last of it.
    ended: Option<u32>,
    end: End,
    /// Its key is in the record of those that hard lifetimes count for.
    recorded: bool,
    /// We have made it, and it wasn't seen since.
    fresh: bool,
    /// We have deleted it: nothing was sent since.
    over: bool,
}

/// How an SA ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It hasn't, as far as is known.
    None,
    /// It is gone since about then, and nobody has told how.
    Unknown(Duration),
    /// Somebody deleted it.
    Deleted,
    /// Its hard lifetime ended.
    Expired,
}

/// Whether an SA that isn't there can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// It can.
    Good,
    /// Its key is worn out, and how.
    Worn(String),
    /// How it ended will be known in a moment.
    Open,
}

/// What an SA that is made goes on from; by default from the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Start {
    /// Its sequence numbers.
    pub state: Option<ReplayState>,
    /// What of its lifetime is used up.
    pub used: Option<Used>,
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

    /// Whether a wanted SA that isn't there can be made `now`.
    pub fn outlook(&mut self, wanted: &Sa, now: Duration) -> Outlook {
        let limited = !wanted.lifetime.hard.is_none();
        let fingerprint = if limited || !self.wear.is_empty() { self.wear.fingerprint(wanted) } else { None };
        if let Some(why) = fingerprint.and_then(|fingerprint| self.wear.worn(fingerprint)) {
            return Outlook::Worn(why.to_owned());
        }
        let known = self.known.get_mut(wanted.id()).filter(|known| same_key(wanted, known));
        let worn = match known {
            Some(known) => match known.ended(now) {
                Some(End::Expired) => Some(known.hard_limit()),
                Some(End::Unknown(since)) if now.saturating_sub(since) < PATIENCE => return Outlook::Open,
                Some(End::Unknown(_)) => Some("it vanished while nobody looked".to_owned()),
                _ => None,
            },
            // Of another process.
            None => {
                let vanished = limited
                    && fingerprint.is_some_and(|fingerprint| self.wear.is_installed(fingerprint))
                    && self.same_direction(wanted).next().is_none();
                vanished.then(|| "it vanished while no agent ran".to_owned())
            }
        };
        let Some(why) = worn else { return Outlook::Good };
        if let Some(fingerprint) = fingerprint {
            self.wear.wear_out(fingerprint, &why);
        }
        Outlook::Worn(why)
    }

    /// Where an SA that isn't there goes on from when it is made `now`. One with the same key is the same one, whether a
    /// node's address changed or its SPI: a sender must not count from the beginning. What a receiver gets under another
    /// SPI is new.
    pub fn start(&self, wanted: &WantedSa, now: Duration) -> Start {
        let sa = wanted.sa();
        let elsewhere = self.known.of_spi(sa.id()).filter(|known| {
            // Of others that we can't read nobody knows whether they have the same key: they keep their addresses.
            known.sa.as_ref().is_some_and(|kept| {
                let way_back = (kept.source(), known.id.destination) == (sa.destination, sa.source);
                !way_back && same_crypto(&sa.crypto, kept.crypto())
            })
        });
        let from = |known| self.start_from(known, wanted, now);
        let mut start = match self.known.get(sa.id()) {
            // An agent that starts knows only what is recorded.
            None if self.known.is_empty() => Start::default(),
            // It may have been elsewhere since.
            Some(known) if same_key(sa, known) => furthest(iter::once(known).chain(elsewhere).map(from)),
            _ => furthest(elsewhere.chain(self.same_direction(sa)).map(from)),
        };
        if let WantedSa::Outbound(OutboundSa(sa)) = wanted {
            // Its key may have been under another SPI since, or with another agent.
            let others = furthest(self.same_direction(sa).map(from)).state.map(|state| state.sent);
            if let Some(sent) = others.max(self.recorded_use(sa, now)) {
                let state = start.state.get_or_insert_default();
                state.sent = state.sent.max(sent);
            }
        }
        start
    }

    fn start_from(&self, known: &Known, wanted: &WantedSa, now: Duration) -> Start {
        let unseen = self.unseen_of(known, now);
        let state = match wanted {
            WantedSa::Inbound(sa) if known.id.spi != sa.0.spi => None,
            _ => {
                let crypto = known.sa.as_ref().map(Kept::crypto);
                replay::carried_over(wanted, crypto, &known.state, unseen)
            }
        };
        Start { state, used: used_up(known.used) }
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

    /// The SAs with the same ends and the same key.
    fn same_direction<'a>(&'a self, sa: &'a Sa) -> impl Iterator<Item = &'a Known> {
        let same = |known: &&Known| {
            known.sa.as_ref().is_some_and(|kept| {
                (kept.source(), known.id.destination) == (sa.source, sa.destination)
                    && same_crypto(&sa.crypto, kept.crypto())
            })
        };
        self.known.of_key(sa).filter(same)
    }
}

impl Known {
    fn new(id: SaId, mark: Mark, sa: Option<Sa>, state: ReplayState, used: Used, at: Duration) -> Self {
        let (sa, end) = (sa.map(Kept::new), End::None);
        Self { id, mark, sa, state, used, at, ended: None, end, recorded: false, fresh: false, over: false }
    }

    fn make(&mut self, sent: Option<u64>, now: Duration) {
        if let Some(sent) = sent {
            self.state.sent = self.state.sent.max(sent);
            (self.at, self.fresh, self.over) = (now, true, false);
        }
        (self.ended, self.end) = (None, End::None);
    }

    fn see(&mut self, sa: &ObservedSa, at: Duration, recorded: bool) {
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
    fn is_another(&self, sa: &ObservedSa) -> bool {
        self.end != End::None || !self.fresh && self.used.added != sa.used.added
    }

    /// How it ended, should that matter: it had a hard lifetime.
    fn ended(&mut self, now: Duration) -> Option<End> {
        if self.end == End::None {
            self.end = End::Unknown(now);
        }
        let limited = self.sa.as_ref().is_some_and(|sa| !sa.hard().is_none());
        limited.then_some(self.end)
    }

    /// The limit that it reached: if no count, then the time.
    fn hard_limit(&self) -> String {
        let Some(hard) = self.sa.as_ref().map(Kept::hard) else { return String::new() };
        let counted = hard.reached(&self.used, 0);
        counted.or_else(|| hard.time.map(|time| format!("{time} s"))).unwrap_or_default()
    }
}

fn same_key(wanted: &Sa, known: &Known) -> bool {
    known.sa.as_ref().is_none_or(|known| same_crypto(&wanted.crypto, known.crypto()))
}

/// The furthest of what several SAs with one key would go on from.
fn furthest(starts: impl Iterator<Item = Start>) -> Start {
    starts
        .reduce(|mut furthest, one| {
            match (&mut furthest.state, one.state) {
                (Some(state), Some(other)) => advance(state, other),
                (state @ None, other) => *state = other,
                (Some(_), None) => {}
            }
            let packets = |used: &Option<Used>| used.map_or(0, |used| used.packets);
            if packets(&one.used) > packets(&furthest.used) {
                furthest.used = one.used;
            }
            furthest
        })
        .unwrap_or_default()
}

/// None where nothing is used up.
pub(crate) fn used_up(used: Used) -> Option<Used> {
    (used != Used::default()).then_some(used)
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

/// The further of both: what was so before stays so.
fn advance(state: &mut ReplayState, before: ReplayState) {
    state.sent = state.sent.max(before.sent);
    if before.received > state.received {
        state.received = before.received;
        state.bitmap = before.bitmap;
    }
}
