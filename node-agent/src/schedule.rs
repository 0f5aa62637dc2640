//! When the next pass over the kernel is due.

use std::time::{Duration, Instant};

/// After something changed: what comes within this time goes into the same pass.
pub const DEBOUNCE: Duration = Duration::from_millis(20);

const FIRST_RETRY: Duration = Duration::from_secs(1);
/// After a pass, what others change waits for so many times as long as the pass took: a storm of events takes no more than
/// a fifth of a CPU, and the first event is acted on at once.
const REST: u32 = 4;
/// It waits at most so long.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// When the next pass is due. At most one pass runs at a time; wake-ups during it count for the next one.
#[derive(Debug)]
pub struct Schedule {
    resync: Duration,
    /// When everything is to be read.
    audit: Instant,
    woken: Option<Instant>,
    /// Others' changes wait until then.
    rest: Instant,
    failures: u32,
    /// When the pass began that runs.
    running: Option<Instant>,
    /// Others changed something while it ran.
    changed_meanwhile: bool,
}

impl Schedule {
    /// The first pass is due at `now`, further ones after `resync` (give or take a tenth) if nothing happens.
    pub fn new(resync: Duration, now: Instant) -> Self {
        Self {
            resync,
            audit: now,
            woken: None,
            rest: now,
            failures: 0,
            running: None,
            changed_meanwhile: false,
        }
    }

    /// When the next pass is due; none while one runs.
    pub fn due(&self) -> Option<Instant> {
        let due = self.woken.map_or(self.audit, |at| at.min(self.audit));
        self.running.is_none().then_some(due)
    }

    /// A pass is due at `at` at the latest.
    pub fn wake(&mut self, at: Instant) {
        self.woken = Some(self.woken.map_or(at, |before| before.min(at)));
    }

    /// Others changed something in the kernel.
    pub fn others_changed_something(&mut self, now: Instant) {
        if self.running.is_some() {
            // The pass may have seen it, or not.
            self.changed_meanwhile = true;
        } else {
            self.wake(now.max(self.rest));
        }
    }

    /// A pass begins, with all that is known now; whether it is to read everything. `random` (0 to 1) spreads nodes over
    /// time.
    pub fn begin(&mut self, now: Instant, random: f64) -> bool {
        let audit = now >= self.audit;
        if audit {
            self.audit = now + self.resync.mul_f64(0.9 + 0.2 * random);
        }
        self.woken = None;
        self.running = Some(now);
        audit
    }

    /// There was nothing that a pass could do.
    pub fn pass_over(&mut self, now: Instant, random: f64) {
        self.begin(now, random);
        self.running = None;
    }

    /// The pass ended, the kernel is as it should be.
    pub fn succeeded(&mut self, now: Instant) {
        self.ended(now);
        self.failures = 0;
    }

    /// The pass ended, and something is left to do: again after 1 s, 2 s, 4 s … and at the next resync at the latest.
    /// `random` (0 to 1) shortens that by up to a half.
    pub fn failed(&mut self, now: Instant, random: f64) {
        self.ended(now);
        let pause = FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(self.resync);
        self.failures += 1;
        self.wake(now + pause.mul_f64(1.0 - random / 2.0));
    }

    fn ended(&mut self, now: Instant) {
        let Some(began) = self.running.take() else { return };
        self.rest = now + (now - began).saturating_mul(REST).min(LONGEST_REST);
        if std::mem::take(&mut self.changed_meanwhile) {
            self.wake(self.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Schedule;

    const RESYNC: Duration = Duration::from_secs(60);

    fn seconds(count: f64) -> Duration {
        Duration::from_secs_f64(count)
    }

    #[test]
    fn wake_ups_become_one_pass() {
        let start = Instant::now();
        let mut schedule = Schedule::new(RESYNC, start);
        assert_eq!(schedule.due(), Some(start));
        assert!(schedule.begin(start, 0.5));
        schedule.succeeded(start);
        assert_eq!(schedule.due(), Some(start + RESYNC));
        for wake in [3.0, 2.0, 5.0] {
            schedule.wake(start + seconds(wake));
        }
        assert_eq!(schedule.due(), Some(start + seconds(2.0)));
        assert!(!schedule.begin(start + seconds(2.0), 0.5));
        schedule.succeeded(start + seconds(2.0));
        // However often it was woken meanwhile.
        assert_eq!(schedule.due(), Some(start + RESYNC));
        assert!(schedule.begin(start + RESYNC, 0.5));
    }

    #[test]
    fn a_wake_up_during_a_pass_counts_for_the_next() {
        let start = Instant::now();
        let mut schedule = Schedule::new(RESYNC, start);
        schedule.begin(start, 0.5);
        schedule.wake(start + seconds(1.0));
        assert_eq!(schedule.due(), None);
        schedule.succeeded(start);
        assert_eq!(schedule.due(), Some(start + seconds(1.0)));
    }

    #[test]
    fn the_first_event_is_acted_on_at_once_and_a_storm_in_turns() {
        let start = Instant::now();
        let mut schedule = Schedule::new(RESYNC, start);
        schedule.begin(start, 0.5);
        schedule.succeeded(start + seconds(0.01));
        schedule.others_changed_something(start + seconds(5.0));
        assert_eq!(schedule.due(), Some(start + seconds(5.0)));
        schedule.begin(start + seconds(5.0), 0.5);
        schedule.others_changed_something(start + seconds(5.05));
        schedule.succeeded(start + seconds(5.1));
        // Told while the pass ran: it may not have seen it.
        assert_eq!(schedule.due().map(|due| (due - start).as_millis()), Some(5500));
        for late in [5.21, 5.3, 5.45] {
            schedule.others_changed_something(start + seconds(late));
            assert_eq!(schedule.due().map(|due| (due - start).as_millis()), Some(5500));
        }
        // A long pass is no reason to wait long.
        schedule.begin(start + seconds(6.0), 0.5);
        schedule.succeeded(start + seconds(9.0));
        schedule.others_changed_something(start + seconds(9.1));
        assert_eq!(schedule.due().map(|due| (due - start).as_millis()), Some(10_000));
    }

    #[test]
    fn the_resync_is_jittered() {
        let start = Instant::now();
        for (random, due) in [(0.0, 54.0), (0.5, 60.0), (1.0, 66.0)] {
            let mut schedule = Schedule::new(RESYNC, start);
            schedule.pass_over(start, random);
            assert_eq!(schedule.due(), Some(start + seconds(due)));
        }
    }

    #[test]
    fn failures_are_tried_again_ever_later_until_the_resync() {
        let start = Instant::now();
        let mut schedule = Schedule::new(RESYNC, start);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            schedule.begin(start, 0.5);
            schedule.failed(start, 0.0);
            pauses.push(schedule.due().map(|due| (due - start).as_secs()));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60].map(Some));
        schedule.begin(start, 0.5);
        schedule.succeeded(start);
        schedule.begin(start, 0.5);
        schedule.failed(start, 1.0);
        assert_eq!(schedule.due(), Some(start + seconds(0.5)));
    }
}
