//! What to do about a Lease that was seen: without I/O.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

/// A Lease and since when it has been as it is.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    lease: Lease,
    since: Instant,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is free or has run out.
    Take,
    /// It is ours.
    Renew,
    /// It is somebody else's.
    Wait {
        /// Whose.
        holder: String,
    },
}

impl Observed {
    /// What was seen before and what is seen now: time counts from the last change.
    pub(super) fn update(before: Option<Self>, lease: Lease, now: Instant) -> Self {
        match before {
            Some(before) if before.lease.metadata.resource_version == lease.metadata.resource_version => {
                Self { lease, since: before.since }
            }
            _ => Self { lease, since: now },
        }
    }

    pub(super) fn into_lease(self) -> Lease {
        self.lease
    }
}

/// What `identity` should do about the Lease it sees.
pub(super) fn decide(observed: &Observed, identity: &str, now: Instant) -> Claim {
    let spec = observed.lease.spec.clone().unwrap_or_default();
    let Some(holder) = spec.holder_identity.filter(|holder| !holder.is_empty()) else { return Claim::Take };
    if holder == identity {
        return Claim::Renew;
    }
    let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0);
    if now.duration_since(observed.since) > Duration::from_secs(seconds) {
        return Claim::Take;
    }
    Claim::Wait { holder }
}

/// Makes the Lease `identity`'s, or renews it.
pub(super) fn occupy(lease: &mut Lease, identity: &str, duration: Duration, now: jiff::Timestamp) {
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.holder_identity = Some(identity.to_owned());
        spec.acquire_time = Some(MicroTime(now));
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
    }
    spec.renew_time = Some(MicroTime(now));
    spec.lease_duration_seconds = Some(i32::try_from(duration.as_secs()).unwrap_or(i32::MAX));
}

/// Makes the Lease nobody's.
pub(super) fn vacate(lease: &mut Lease) {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = None;
    spec.renew_time = None;
    spec.acquire_time = None;
    spec.lease_duration_seconds = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn held_by(identity: &str, version: &str) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some(version.to_owned());
        occupy(&mut lease, identity, DURATION, jiff::Timestamp::UNIX_EPOCH);
        lease
    }

    #[test]
    fn a_free_lease_is_taken() {
        let now = Instant::now();
        assert_eq!(decide(&Observed::update(None, Lease::default(), now), "a", now), Claim::Take);
        let mut lease = held_by("b", "1");
        vacate(&mut lease);
        assert_eq!(decide(&Observed::update(None, lease, now), "a", now), Claim::Take);
    }

    #[test]
    fn ones_own_lease_is_renewed_even_after_a_restart() {
        let now = Instant::now();
        assert_eq!(decide(&Observed::update(None, held_by("a", "1"), now), "a", now), Claim::Renew);
    }

    #[test]
    fn anothers_lease_is_left_alone_until_it_stood_still_for_its_duration() {
        let start = Instant::now();
        let wait = Claim::Wait { holder: "b".to_owned() };
        // Its renewTime is decades old: only what the own clock saw counts.
        let seen = Observed::update(None, held_by("b", "1"), start);
        assert_eq!(decide(&seen, "a", start), wait);
        let seen = Observed::update(Some(seen), held_by("b", "1"), start + DURATION);
        assert_eq!(decide(&seen, "a", start + DURATION), wait);
        assert_eq!(decide(&seen, "a", start + DURATION + Duration::from_millis(1)), Claim::Take);
        let renewed = Observed::update(Some(seen), held_by("b", "2"), start + DURATION * 2);
        assert_eq!(decide(&renewed, "a", start + DURATION * 2), wait);
    }

    #[test]
    fn a_change_of_hands_is_counted_and_a_renewal_is_not() {
        let mut lease = held_by("a", "1");
        assert_eq!(lease.spec.as_ref().unwrap().lease_transitions, Some(1));
        occupy(&mut lease, "a", DURATION, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(lease.spec.as_ref().unwrap().lease_transitions, Some(1));
        occupy(&mut lease, "b", DURATION, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(lease.spec.as_ref().unwrap().lease_transitions, Some(2));
        assert_eq!(lease.spec.as_ref().unwrap().lease_duration_seconds, Some(15));
    }
}
