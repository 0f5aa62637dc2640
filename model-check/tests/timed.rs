//! Days in virtual time.

use std::collections::BTreeMap;

use esplanade_model_check::Mutation;
use esplanade_model_check::timed::{Course, DAY, HOUR, Outcome, run};
use esplanade_model_check::world::Promise::{self, NoBlackHole};

fn holds(course: Course) -> Outcome {
    let outcome = run(course);
    assert!(outcome.broken.is_none(), "{course:?}: {:?}", outcome.broken);
    assert!(outcome.rests, "{course:?} doesn't come to rest: {outcome:?}");
    outcome
}

#[test]
fn keys_are_rotated_by_their_age_on_clocks_that_differ() {
    for seed in 0..4 {
        let outcome = holds(Course::quiet(10, 4 * DAY, seed));
        // One at the start, then every 24 h ± 10 %: the fourth time within 4 days, and at the latest two days later.
        assert!((40..=60).contains(&outcome.keys), "{outcome:?}");
    }
}

#[test]
fn what_goes_wrong_costs_no_packet_between_others() {
    let mut troubles = BTreeMap::new();
    for seed in 0..30 {
        let nodes = 3 + u16::try_from(seed % 10).unwrap_or(0);
        let outcome = holds(Course { trouble_every: HOUR, ..Course::quiet(nodes, 6 * DAY, seed) });
        for (what, times) in outcome.troubles {
            *troubles.entry(what).or_insert(0) += times;
        }
    }
    // All of it has happened.
    assert_eq!(troubles.len(), 6, "{troubles:?}");
    assert!(troubles.values().all(|times| *times > 30), "{troubles:?}");
}

#[test]
fn an_outage_of_five_days_costs_nothing() {
    for seed in 0..10 {
        let outage = Some((30 * HOUR + seed * HOUR, 5 * DAY));
        let outcome = holds(Course { outage, ..Course::quiet(10, 7 * DAY, seed) });
        assert_eq!(outcome.ended, None, "{outcome:?}");
    }
}

/// Fails closed, and comes back.
#[test]
fn an_outage_that_outlasts_the_hard_age_ends_traffic_until_it_is_over() {
    for seed in 0..10 {
        let from = 30 * HOUR + seed * HOUR;
        let outage = Some((from, 8 * DAY));
        let outcome = holds(Course { outage, ..Course::quiet(5, 10 * DAY, seed) });
        // A key is 26 h old at the most when its successor is made.
        let ended = outcome.ended.unwrap_or_default();
        assert!((from + 7 * DAY - 27 * HOUR..=from + 7 * DAY + HOUR).contains(&ended), "{outcome:?}");
    }
}

#[test]
fn the_same_seed_takes_the_same_course() {
    let course = Course { trouble_every: HOUR, ..Course::quiet(6, 4 * DAY, 7) };
    let (one, other) = (run(course), run(course));
    assert_eq!((one.steps, one.keys, one.troubles), (other.steps, other.keys, other.troubles));
    let another = run(Course { seed: 8, ..course });
    assert_ne!(one.steps, another.steps);
}

/// With the rule broken, that promise is, in one of some courses.
fn noticed(mutation: Mutation, promise: Promise) {
    let broken = (0..20).find_map(|seed| {
        let course =
            Course { trouble_every: HOUR, mutation: Some(mutation), ..Course::quiet(5, 4 * DAY, seed) };
        run(course).broken
    });
    assert_eq!(broken.map(|broken| broken.promise), Some(promise), "{mutation:?}");
}

#[test]
fn a_broken_rule_is_noticed_in_time_too() {
    for mutation in [
        Mutation::PublishFirst,
        Mutation::NotOnSight,
        Mutation::WatermarkSeen,
        Mutation::NewestAtOnce,
        Mutation::RetireUnacknowledged,
        Mutation::NoDrain,
        Mutation::ForgetRing,
    ] {
        noticed(mutation, NoBlackHole);
    }
}
