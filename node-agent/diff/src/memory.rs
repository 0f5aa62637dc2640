//! What is remembered of SAs after they have vanished.

use std::time::Duration;

use esplanade_model::{Observed, ObservedSa, Op, ReplayState, SaId, WantedSa};

use crate::crypto::same_crypto;
use crate::hash::Map;
use crate::{Diff, replay};

/// Packets that an SA may send in a second: 25 Gbit/s in packets of 1500 bytes. They go out one after the other under the
/// SA's lock (`xfrm_output_one`), and encrypting small ones on one core doesn't get there.
const PER_SECOND: u64 = 1 << 21;

/// The furthest that an SA goes on past where it was seen. A receiver of extended sequence numbers can't follow a step of
/// 2³² (RFC 4303 appendix A2.2). It is reached when the last look is 17 minutes old. With 32-bit sequence numbers an SA
/// that is seen every minute can vanish 32 times before it is used up.
const FURTHEST: u64 = 1 << 31;

/// SAs remembered besides those that are there.
const AT_MOST: usize = 1 << 16;

/// How far SAs had come when they were last seen. If one has vanished (somebody flushed the SAD) or was deleted, and one
/// with the same key has to be made, it goes on past what the old one can have sent, and accepts nothing that the old one
/// accepted (RFC 4303 §3.3.3).
///
/// Times are counted from any fixed moment.
#[derive(Debug, Default)]
pub struct Memory {
    known: Map<SaId, Known>,
    /// By SPI and protocol: an SA may have been known under other addresses.
    names: Map<(u32, u8), Vec<SaId>>,
    /// Ends that were told before this many losses of events count no more.
    losses: u64,
}

#[derive(Debug)]
struct Known {
    sa: ObservedSa,
    /// When it was seen: not after what `sa` says of it was so.
    at: Duration,
    /// It was told, after so many losses, that this is the last of it.
    ended: Option<u64>,
}

impl Memory {
    /// Takes a dump in that began `at`.
    pub fn learn(&mut self, observed: &Observed, at: Duration) {
        for sa in &observed.sas {
            self.see(sa, at);
        }
        let there: crate::hash::Set<_> = observed.sas.iter().map(|sa| sa.id).collect();
        self.limit(there.len(), |id| there.contains(id));
    }

    /// Takes in an SA that was there `at` this time.
    pub fn see(&mut self, sa: &ObservedSa, at: Duration) {
        match self.known.get_mut(&sa.id) {
            Some(known) => {
                remember(&mut known.sa, sa);
                (known.at, known.ended) = (at, None);
            }
            None => {
                self.known.insert(sa.id, Known { sa: sa.clone(), at, ended: None });
                self.names.entry(spi(sa.id)).or_default().push(sa.id);
            }
        }
    }

    /// Takes in that an SA which was seen before has counted on.
    pub fn count(&mut self, id: SaId, state: ReplayState, at: Duration) {
        if let Some(known) = self.known.get_mut(&id) {
            let before = std::mem::replace(&mut known.sa.state, state);
            advance(&mut known.sa.state, before);
            (known.at, known.ended) = (at, None);
        }
    }

    /// It was still there `at` this time, just as it was seen.
    pub fn still_there(&mut self, id: SaId, at: Duration) {
        if let Some(known) = self.known.get_mut(&id) {
            known.at = known.at.max(at);
        }
    }

    /// Takes in the last of an SA: nothing went through it after this, unless it came again.
    pub fn end(&mut self, last: &ObservedSa, at: Duration) {
        self.see(last, at);
        if let Some(known) = self.known.get_mut(&last.id) {
            known.ended = Some(self.losses);
        }
    }

    /// Another SA under this name may have come and gone since its end was told.
    pub fn may_have_come_again(&mut self, id: SaId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.ended = None;
        }
    }

    /// Under any name another SA may have come and gone.
    pub fn any_may_have_come_again(&mut self) {
        self.losses += 1;
    }

    /// Forgets SAs that aren't there where there are too many of them. `there` are that many.
    pub fn limit(&mut self, count: usize, there: impl Fn(&SaId) -> bool) {
        if self.known.len() > count + AT_MOST {
            self.known.retain(|id, _| there(id));
            let Self { known, names, .. } = self;
            names.retain(|_, ids| {
                ids.retain(|id| known.contains_key(id));
                !ids.is_empty()
            });
        }
    }

    /// Lets SAs that would start anew `now` go on where they can have come.
    pub fn restore(&self, diff: &mut Diff, now: Duration) {
        for step in &mut diff.steps {
            match &mut step.op {
                Op::AddInbound { sa, state: state @ None } => {
                    *state = self.state(&WantedSa::Inbound(sa.clone()), now);
                }
                Op::AddOutbound { sa, state: state @ None } => {
                    *state = self.state(&WantedSa::Outbound(sa.clone()), now);
                }
                _ => {}
            }
        }
    }

    /// What is known of an SA of ours.
    pub fn known(&self, id: SaId) -> Option<&ObservedSa> {
        self.known.get(&id).map(|known| &known.sa)
    }

    /// Where an SA that isn't there goes on from when it is made `now`; none if from the beginning. One with the same SPI
    /// and key between other addresses is the same one: a node's address changed.
    pub fn state(&self, wanted: &WantedSa, now: Duration) -> Option<ReplayState> {
        let id = wanted.sa().id();
        if let Some(known) = self.known.get(&id) {
            return self.state_of(known, wanted, now);
        }
        let others = self.names.get(&spi(id))?.iter().filter_map(|id| self.known.get(id));
        // Of others that we can't read nobody knows whether they have the same key: they keep their addresses.
        let others = others.filter(|known| known.sa.sa.is_some());
        others.filter_map(|known| self.state_of(known, wanted, now)).reduce(|mut furthest, state| {
            advance(&mut furthest, state);
            furthest
        })
    }

    fn state_of(&self, known: &Known, wanted: &WantedSa, now: Duration) -> Option<ReplayState> {
        let Known { sa, at, ended } = known;
        let unseen = if *ended == Some(self.losses) { 0 } else { unseen(now.saturating_sub(*at)) };
        replay::carried_over(wanted, sa, unseen)
    }
}

fn spi(id: SaId) -> (u32, u8) {
    (id.spi.get(), id.protocol.number())
}

/// How many packets can have left in this time.
fn unseen(time: Duration) -> u64 {
    // One second more: the operations take time as well.
    time.as_secs().saturating_add(2).saturating_mul(PER_SECOND).min(FURTHEST)
}

/// The newest of an SA. Its numbers never go back as long as its keys are the same.
fn remember(known: &mut ObservedSa, seen: &ObservedSa) {
    let same = match (&known.sa, &seen.sa) {
        (Some(known), Some(seen)) => same_crypto(&known.crypto, &seen.crypto),
        _ => true,
    };
    let before = std::mem::replace(known, seen.clone());
    if same {
        known.sa = known.sa.take().or(before.sa);
        advance(&mut known.state, before.state);
    }
}

/// The further of both: what was so before stays so.
fn advance(state: &mut ReplayState, before: ReplayState) {
    state.sent = state.sent.max(before.sent);
    if before.received > state.received {
        state.received = before.received;
        state.bitmap = before.bitmap;
    }
}
