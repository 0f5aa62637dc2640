//! What is remembered of SAs after they have vanished.

use std::collections::BTreeMap;
use std::time::Duration;

use esplanade_model::{Observed, ObservedSa, Op, SaId, WantedSa};

use crate::crypto::same_crypto;
use crate::{Diff, replay};

/// Packets that an SA may send in a second: 25 Gbit/s in packets of 1500 bytes. They go out one after the other under the
/// SA's lock (`xfrm_output_one`), and encrypting small ones on one core doesn't get there.
const PER_SECOND: u64 = 1 << 21;

/// The furthest that an SA goes on past where it was seen. A receiver of extended sequence numbers can't follow a step of
/// 2³² (RFC 4303 appendix A2.2). It is reached when the last dump is 17 minutes old. With 32-bit sequence numbers an SA
/// that is seen every minute can vanish 32 times before it is used up.
const FURTHEST: u64 = 1 << 31;

/// SAs remembered besides those that are there.
const AT_MOST: usize = 1 << 16;

/// How far the SAs of earlier dumps had come. If one has vanished (somebody flushed the SAD) or was deleted, and one with
/// the same key has to be made, it goes on past what the old one can have sent, and accepts nothing that the old one
/// accepted (RFC 4303 §3.3.3).
///
/// Times are counted from any fixed moment.
#[derive(Debug, Default)]
pub struct Memory(BTreeMap<SaId, Known>);

#[derive(Debug)]
struct Known {
    sa: ObservedSa,
    /// When the last dump that showed it began.
    at: Duration,
}

impl Memory {
    /// Takes a dump in that began `at`.
    pub fn learn(&mut self, observed: &Observed, at: Duration) {
        for sa in &observed.sas {
            match self.0.get_mut(&sa.id) {
                Some(known) => {
                    remember(&mut known.sa, sa);
                    known.at = at;
                }
                None => drop(self.0.insert(sa.id, Known { sa: sa.clone(), at })),
            }
        }
        if self.0.len() > observed.sas.len() + AT_MOST {
            self.0 = observed.sas.iter().map(|sa| (sa.id, Known { sa: sa.clone(), at })).collect();
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

    fn state(&self, wanted: &WantedSa, now: Duration) -> Option<esplanade_model::ReplayState> {
        let Known { sa, at } = self.0.get(&wanted.sa().id())?;
        replay::carried_over(wanted, sa, unseen(now.saturating_sub(*at)))
    }
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
        known.state.sent = known.state.sent.max(before.state.sent);
        if before.state.received > known.state.received {
            known.state.received = before.state.received;
            known.state.bitmap = before.state.bitmap;
        }
    }
}
