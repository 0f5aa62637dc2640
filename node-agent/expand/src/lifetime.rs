//! Lifetimes.

use std::num::NonZeroU64;

use esplanade_crds::LifetimeLimits;
use esplanade_model::{Lifetime, Limits};

use crate::SaError;

/// As the kernel has it.
pub(crate) fn parse(asked: Option<&esplanade_crds::Lifetime>) -> Result<Lifetime, SaError> {
    let Some(asked) = asked else { return Ok(Lifetime::default()) };
    Ok(Lifetime { soft: limits(asked.soft.as_ref())?, hard: limits(asked.hard.as_ref())? })
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
