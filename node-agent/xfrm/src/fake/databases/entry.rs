//! What is in the databases, and what of it is shown.

use std::hash::{DefaultHasher, Hash, Hasher};

use esplanade_model::{
    Glance, InboundSa, Key, Mark, ObservedPolicy, ObservedSa, Op, Policy, PolicyIndex, PolicyKey,
    PolicyRecord, ReplayState, Sa, SaId, SaRecord, Unnumbered, Used,
};

use crate::wire::encode;

/// An SA of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignSa {
    /// What names it.
    pub id: SaId,
    /// Its reqid: not one of ours, or it would be ours.
    pub reqid: u32,
}

/// A policy of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignPolicy {
    /// What names it.
    pub key: PolicyKey,
    /// The index to ask for; none lets the kernel choose one.
    pub index: Option<u32>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // most of them are ours
pub(super) enum SaEntry {
    Ours {
        mark: Mark,
        sa: Option<Sa>,
        state: ReplayState,
        used: Used,
    },
    Foreign(ForeignSa),
    /// ALLOCSPI made it.
    Larval(Unnumbered),
}

impl SaEntry {
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Ours { mark, .. } => *mark,
            Self::Larval(sa) => sa.mark,
            Self::Foreign(_) => Mark::NONE,
        }
    }

    /// `hides_keys`: with zeroes in their place.
    pub(super) fn record(&self, id: SaId, hides_keys: bool) -> SaRecord {
        match self {
            Self::Ours { mark, sa, state, used } => {
                let (sa, state) = (shown(sa.as_ref(), hides_keys), state.clone());
                SaRecord::Ours(ObservedSa { id, mark: *mark, sa, state, used: *used })
            }
            Self::Foreign(_) => SaRecord::Foreign(Some(id)),
            Self::Larval(_) => SaRecord::Larval,
        }
    }

    /// Of all that the real kernel shows.
    pub(super) fn glance(&self, id: SaId, hides_keys: bool) -> Glance {
        let counters = match self {
            Self::Ours { state, used, .. } => {
                print((state.sent, state.received, &state.bitmap, used.packets, used.bytes))
            }
            Self::Foreign(_) | Self::Larval(_) => 0,
        };
        let print = match self {
            Self::Ours { sa, used, .. } => match shown(sa.as_ref(), hides_keys) {
                Some(sa) => {
                    let op = Op::AddInbound { sa: InboundSa(sa), state: None, used: None };
                    print((encode(&op).body.as_slice(), used.added))
                }
                None => print((id, "unlike ours")),
            },
            Self::Foreign(sa) => print((id, sa.reqid)),
            Self::Larval(sa) => print((id, sa.reqid, "larval")),
        };
        Glance { print, counters }
    }
}

#[derive(Debug)]
pub(super) enum PolicyEntry {
    Ours(Policy),
    Foreign(ForeignPolicy),
}

impl PolicyEntry {
    pub(super) fn key(&self) -> PolicyKey {
        match self {
            Self::Ours(policy) => policy.key(),
            Self::Foreign(policy) => policy.key,
        }
    }

    pub(super) fn record(&self, index: u32) -> PolicyRecord {
        match (self, PolicyIndex::owned(index)) {
            (Self::Ours(policy), Some(index)) => {
                PolicyRecord::Ours(ObservedPolicy { index, key: policy.key(), policy: Some(policy.clone()) })
            }
            // One of ours that lost its index looks like somebody else's.
            _ => PolicyRecord::Foreign { index, key: Some(self.key()) },
        }
    }

    pub(super) fn glance(&self, index: u32) -> Glance {
        let ours = match self {
            Self::Ours(policy) => Some((policy.priority, policy.action, &policy.templates, policy.flags)),
            Self::Foreign(_) => None,
        };
        Glance { print: print((index, self.key(), ours)), counters: 0 }
    }
}

/// `xfrm_redact`.
fn shown(sa: Option<&Sa>, hides_keys: bool) -> Option<Sa> {
    let sa = sa?;
    let zeroes = |length| Key::from(vec![0; length].as_slice());
    let crypto = if hides_keys { sa.crypto.with_keys(zeroes) } else { sa.crypto.clone() };
    Some(Sa { crypto, ..sa.clone() })
}

fn print(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
