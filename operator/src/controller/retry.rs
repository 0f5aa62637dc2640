//! When to try a failed write again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::change::Key;
use super::error::Category;

/// The first pause after an error that may pass by itself.
const FIRST: Duration = Duration::from_millis(100);
/// The first pause after one that won't.
const FIRST_PERMANENT: Duration = Duration::from_secs(10);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// Writes that failed: each object waits for itself, so that one that can't be written holds up no other.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<Key, Failure>);

#[derive(Debug)]
struct Failure {
    pause: Duration,
    due: Instant,
}

impl Retries {
    /// Whether the object may be written now.
    pub(super) fn is_due(&self, key: &Key, now: Instant) -> bool {
        self.0.get(key).is_none_or(|failure| failure.due <= now)
    }

    /// A write failed. `jitter` is between 0 and 1.
    pub(super) fn failed(&mut self, key: Key, category: Category, now: Instant, jitter: f64) {
        let first = if category.is_transient() { FIRST } else { FIRST_PERMANENT };
        let pause = self.0.get(&key).map_or(first, |before| (before.pause * 2).clamp(first, LONGEST));
        let due = now + pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
        self.0.insert(key, Failure { pause, due });
    }

    /// A write worked, or is no longer wanted.
    pub(super) fn done(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// Forgets the objects that need no write any more.
    pub(super) fn keep(&mut self, wanted: impl Fn(&Key) -> bool) {
        self.0.retain(|key, _| wanted(key));
    }

    /// How many objects wait.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|failure| failure.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::Kind;
    use super::*;

    fn key(name: &str) -> Key {
        (Kind::IpsecPeer, name.to_owned())
    }

    #[test]
    fn pauses_grow_to_the_longest_and_start_over_after_a_success() {
        let now = Instant::now();
        let mut retries = Retries::default();
        for expected in [100, 200, 400, 800] {
            retries.failed(key("a"), Category::Unavailable, now, 0.0);
            assert_eq!(retries.next(), Some(now + Duration::from_millis(expected)));
        }
        for _ in 0..20 {
            retries.failed(key("a"), Category::Unavailable, now, 0.0);
        }
        assert_eq!(retries.next(), Some(now + LONGEST));
        retries.done(&key("a"));
        assert_eq!(retries.next(), None);
        retries.failed(key("a"), Category::Conflict, now, 1.0);
        assert_eq!(retries.next(), Some(now + FIRST / 2), "jitter takes up to half");
    }

    #[test]
    fn one_object_waits_and_the_others_dont() {
        let now = Instant::now();
        let mut retries = Retries::default();
        retries.failed(key("a"), Category::Forbidden, now, 0.0);
        assert!(!retries.is_due(&key("a"), now + FIRST_PERMANENT / 2));
        assert!(retries.is_due(&key("a"), now + FIRST_PERMANENT));
        assert!(retries.is_due(&key("b"), now));
        retries.keep(|key| key.1 != "a");
        assert!(retries.is_due(&key("a"), now));
    }
}
