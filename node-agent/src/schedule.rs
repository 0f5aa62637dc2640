//! When the next pass over the kernel is due.

use std::time::{Duration, Instant};

/// After something changed: what comes within this time goes into the same pass.
pub const DEBOUNCE: Duration = Duration::from_millis(20);
/// After a change that somebody else made in the kernel.
pub const KERNEL_DEBOUNCE: Duration = Duration::from_millis(100);

const FIRST_RETRY: Duration = Duration::from_secs(1);

/// When the next pass is due. At most one pass runs at a time; wake-ups during it count for the next one.
#[derive(Debug)]
pub struct Schedule {
    resync: Duration,
    due: Instant,
    failures: u32,
    running: bool,
}

impl Schedule {
    /// The first pass is due at `now`, further ones after `resync` (give or take a tenth) if nothing happens.
    pub fn new(resync: Duration, now: Instant) -> Self {
        Self { resync, due: now, failures: 0, running: false }
    }

    /// When the next pass is due; none while one runs.
    pub fn due(&self) -> Option<Instant> {
        (!self.running).then_some(self.due)
    }

    /// A pass is due at `at` at the latest.
    pub fn wake(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    /// A pass begins, with all that is known now. `random` (0 to 1) spreads nodes over time.
    pub fn begin(&mut self, now: Instant, random: f64) {
        self.running = true;
        self.due = now + self.resync.mul_f64(0.9 + 0.2 * random);
    }

    /// There was nothing that a pass could do.
    pub fn pass_over(&mut self, now: Instant, random: f64) {
        self.begin(now, random);
        self.running = false;
    }

    /// The pass ended, the kernel is as it should be.
    pub fn succeeded(&mut self) {
        self.running = false;
        self.failures = 0;
    }

    /// The pass ended, and something is left to do: again after 1 s, 2 s, 4 s … and at the next resync at the latest.
    /// `random` (0 to 1) shortens that by up to a half.
    pub fn failed(&mut self, now: Instant, random: f64) {
        self.running = false;
        let pause = FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(self.resync);
        self.failures += 1;
        self.wake(now + pause.mul_f64(1.0 - random / 2.0));
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
        schedule.begin(start, 0.5);
        schedule.succeeded();
        assert_eq!(schedule.due(), Some(start + RESYNC));
        for wake in [3.0, 2.0, 5.0] {
            schedule.wake(start + seconds(wake));
        }
        assert_eq!(schedule.due(), Some(start + seconds(2.0)));
        schedule.begin(start + seconds(2.0), 0.5);
        schedule.succeeded();
        assert_eq!(schedule.due(), Some(start + seconds(62.0)));
    }

    #[test]
    fn a_wake_up_during_a_pass_counts_for_the_next() {
        let start = Instant::now();
        let mut schedule = Schedule::new(RESYNC, start);
        schedule.begin(start, 0.5);
        schedule.wake(start + seconds(1.0));
        assert_eq!(schedule.due(), None);
        schedule.succeeded();
        assert_eq!(schedule.due(), Some(start + seconds(1.0)));
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
        schedule.succeeded();
        schedule.begin(start, 0.5);
        schedule.failed(start, 1.0);
        assert_eq!(schedule.due(), Some(start + seconds(0.5)));
    }
}
