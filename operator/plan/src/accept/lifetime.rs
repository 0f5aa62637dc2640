//! Lifetimes of IpsecSAs.

use esplanade_crds::{Lifetime, LifetimeLimits, seconds};

use super::rule;
use crate::finding::Finding;

/// The lifetime, where it limits something.
pub(crate) fn parse(asked: Option<&Lifetime>) -> Result<Option<Lifetime>, Finding> {
    let Some(asked) = asked else { return Ok(None) };
    let nothing = LifetimeLimits::default();
    let (soft, hard) = (asked.soft.as_ref().unwrap_or(&nothing), asked.hard.as_ref().unwrap_or(&nothing));
    for (name, limits) in [("soft", soft), ("hard", hard)] {
        let counts = [limits.packets, limits.bytes];
        rule(
            counts.iter().flatten().all(|count| *count >= 1),
            &format!("lifetime.{name}: write 1 packet or byte at least"),
        )?;
        let time = limits.time.as_deref();
        rule(
            time.is_none_or(|time| seconds(time).is_some_and(|time| time > 0)),
            &format!("lifetime.{name}.time: write a length of time in hours, minutes and seconds, e.g. 24h"),
        )?;
    }
    let time = |limits: &LifetimeLimits| limits.time.as_deref().and_then(seconds);
    let lower = |soft: Option<u64>, hard: Option<u64>| soft.zip(hard).is_none_or(|(soft, hard)| soft < hard);
    let count = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
    rule(
        lower(time(soft), time(hard))
            && lower(count(soft.bytes), count(hard.bytes))
            && lower(count(soft.packets), count(hard.packets)),
        "a soft limit warns before the hard one ends the SA: write lower limits in lifetime.soft than in lifetime.hard",
    )?;
    let limits = |limits: &LifetimeLimits| (*limits != nothing).then(|| limits.clone());
    let lifetime = Lifetime { soft: limits(soft), hard: limits(hard) };
    Ok((lifetime != Lifetime::default()).then_some(lifetime))
}
