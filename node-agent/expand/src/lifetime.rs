//! Lifetimes.

use std::num::NonZeroU64;

use esplanade_crds::{LifetimeLimits, NodeAutomaticKeying};
use esplanade_model::{Lifetime, Limits};

use crate::SaError;

/// As the kernel has it.
pub(crate) fn parse(asked: Option<&esplanade_crds::Lifetime>) -> Result<Lifetime, SaError> {
    let Some(asked) = asked else { return Ok(Lifetime::default()) };
    Ok(Lifetime { soft: limits(asked.soft.as_ref())?, hard: limits(asked.hard.as_ref())? })
}

/// After the soft limits of automatic keying there is room for so much more, at least, until the hard ones end an SA: what
/// 25 Gbit/s carry in some seconds, while the key is renewed.
const MARGIN: (u64, u64) = (1 << 24, 1 << 34);

/// Of an SA with automatic keys, at its sender. A limit that can't be reached is none.
pub(crate) fn of_keying(keying: &NodeAutomaticKeying) -> Lifetime {
    let soft = |limit: Option<i64>| limit.and_then(|limit| count(limit).ok());
    let hard = |limit: Option<i64>, margin: u64| {
        let soft = soft(limit)?;
        Some(soft.saturating_add((soft.get() / 2).max(margin)))
    };
    let (packets, bytes) = (keying.max_packets, keying.max_bytes);
    Lifetime {
        soft: Limits { time: None, packets: soft(packets), bytes: soft(bytes) },
        hard: Limits { time: None, packets: hard(packets, MARGIN.0), bytes: hard(bytes, MARGIN.1) },
    }
}

fn limits(asked: Option<&LifetimeLimits>) -> Result<Limits, SaError> {
    let Some(LifetimeLimits { time, bytes, packets }) = asked else { return Ok(Limits::default()) };
    Ok(Limits {
        time: time.as_deref().map(seconds).transpose()?,
        bytes: bytes.map(count).transpose()?,
        packets: packets.map(count).transpose()?,
    })
}

/// At least 1: the kernel takes 0 for a limit that is reached at once.
fn count(limit: i64) -> Result<NonZeroU64, SaError> {
    u64::try_from(limit).ok().and_then(NonZeroU64::new).ok_or_else(|| SaError::Limit(limit.to_string()))
}

/// `1h30m` in seconds; more than 0, which the kernel takes for no limit.
fn seconds(text: &str) -> Result<NonZeroU64, SaError> {
    esplanade_crds::seconds(text).and_then(NonZeroU64::new).ok_or_else(|| SaError::Limit(text.to_owned()))
}
