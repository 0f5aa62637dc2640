//! Whether an SA that isn't there can be made again, and what it goes on from.

use std::iter;
use std::time::Duration;

use esplanade_model::{OutboundSa, ReplayState, Sa, Used, WantedSa};

use super::Memory;
use super::kept::Kept;
use super::known::{End, Known, advance, same_key};
use crate::crypto::same_crypto;
use crate::replay;

/// How long the kernel may take to tell how an SA with a hard lifetime ended.
const PATIENCE: Duration = Duration::from_secs(2);

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
