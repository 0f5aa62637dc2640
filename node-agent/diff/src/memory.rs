//! What is remembered of SAs after they have vanished.

use std::collections::BTreeMap;

use esplanade_model::{Observed, ObservedSa, Op, SaId, WantedSa};

use crate::sas::same_crypto;
use crate::{Diff, replay};

/// Packets that may leave between the last dump that showed an SA and its end: a third more than 10 Gbit/s carry in a
/// minute (the resync period) in packets of 1500 bytes. With 32-bit sequence numbers an SA can vanish 63 times before it
/// is used up.
const UNSEEN: u64 = 1 << 26;

/// SAs remembered besides those that are there.
const AT_MOST: usize = 1 << 16;

/// How far the SAs of earlier dumps had come. If one has vanished (somebody flushed the SAD) or was deleted, and one with
/// the same key has to be made, it goes on past what the old one can have sent, and accepts nothing that the old one
/// accepted (RFC 4303 §3.3.3).
#[derive(Debug, Default)]
pub struct Memory(BTreeMap<SaId, ObservedSa>);

impl Memory {
    /// Takes a dump in.
    pub fn learn(&mut self, observed: &Observed) {
        for sa in &observed.sas {
            match self.0.get_mut(&sa.id) {
                Some(known) => remember(known, sa),
                None => drop(self.0.insert(sa.id, sa.clone())),
            }
        }
        if self.0.len() > observed.sas.len() + AT_MOST {
            self.0 = observed.sas.iter().map(|sa| (sa.id, sa.clone())).collect();
        }
    }

    /// Lets SAs that would start anew go on where they had come.
    pub fn restore(&self, diff: &mut Diff) {
        for step in &mut diff.steps {
            match &mut step.op {
                Op::AddInbound { sa, state: state @ None } => {
                    *state = self.state(&WantedSa::Inbound(sa.clone()));
                }
                Op::AddOutbound { sa, state: state @ None } => {
                    *state = self.state(&WantedSa::Outbound(sa.clone()));
                }
                _ => {}
            }
        }
    }

    fn state(&self, wanted: &WantedSa) -> Option<esplanade_model::ReplayState> {
        replay::carried_over(wanted, self.0.get(&wanted.sa().id())?, UNSEEN)
    }
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
