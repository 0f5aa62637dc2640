//! When the next pass over the kernel is due.

use std::time::{Duration, Instant};

/// After something changed: what comes within this time goes into the same pass.
pub const DEBOUNCE: Duration = Duration::from_millis(20);

const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A pass is paid for by so many times as much time as it took: a storm of events takes no more than a fifth of a CPU.
const PRICE: u32 = 5;
/// What others change is acted on at once as long as no more than this is left to be paid: who flushes everything does it in
/// two steps, SAs and policies, and each waits for nothing.
const CREDIT: Duration = Duration::from_secs(2);
/// It waits at most so long.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// When the next pass is due. At most one pass runs at a time; wake-ups during it count for the next one.
#[derive(Debug)]
pub struct Schedule {
    resync: Duration,
    /// When everything is to be read.
    audit: Instant,
    woken: Option<Instant>,
    /// When all passes so far will be paid for.
    paid: Instant,
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
            paid: now,
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
            self.wake(self.rested(now));
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

    /// When others' changes may be acted on.
    fn rested(&self, now: Instant) -> Instant {
        let waits = self.paid.saturating_duration_since(now).saturating_sub(CREDIT);
        now + waits
    }

    fn ended(&mut self, now: Instant) {
        let Some(began) = self.running.take() else { return };
        let price = (now - began).saturating_mul(PRICE);
        self.paid = (self.paid.max(began) + price).min(now + CREDIT + LONGEST_REST);
        if std::mem::take(&mut self.changed_meanwhile) {
            self.wake(self.rested(now));
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

    /// Passes that begin as soon as they may, each of this length, while others change something all the time: when they began,
    /// in milliseconds.
    fn in_a_storm(length: f64, passes: usize) -> Vec<u128> {
        let start = Instant::now();
        let mut schedule = Schedule::new(RESYNC, start);
        schedule.pass_over(start, 0.5);
        schedule.others_changed_something(start);
        let mut began = Vec::new();
        for _ in 0..passes {
            let due = schedule.due().unwrap();
            began.push((due - start).as_millis());
            schedule.begin(due, 0.5);
            schedule.others_changed_something(due);
            schedule.succeeded(due + seconds(length));
            schedule.others_changed_something(due + seconds(length));
        }
        began
    }

    #[test]
    fn the_first_events_are_acted_on_at_once() {
        assert_eq!(in_a_storm(0.05, 4), [0, 50, 100, 150]);
        // A long pass that the SAs' flush led to doesn't keep the policies waiting.
        assert_eq!(in_a_storm(0.4, 2), [0, 400]);
    }

    #[test]
    fn a_storm_takes_a_fifth_of_the_time() {
        for length in [0.02, 0.1] {
            let began = in_a_storm(length, 1000);
            let (first, last) = (began[500], began[999]);
            let share = 499.0 * length * 1000.0 / f64::from(u32::try_from(last - first).unwrap());
            assert!((0.19..=0.201).contains(&share), "{share}");
        }
        // Nobody waits long.
        let began = in_a_storm(3.0, 3);
        assert_eq!(began, [0, 4000, 8000]);
    }

    #[test]
    fn what_is_paid_is_there_again() {
        let start = Instant::now();
        let mut schedule = Schedule::new(RESYNC, start);
        schedule.begin(start, 0.5);
        schedule.succeeded(start + seconds(3.0));
        // Two seconds are credit, and one was to be waited for.
        schedule.others_changed_something(start + seconds(3.5));
        assert_eq!(schedule.due(), Some(start + seconds(4.0)));
        schedule.pass_over(start + seconds(4.0), 0.5);
        schedule.others_changed_something(start + seconds(7.0));
        assert_eq!(schedule.due(), Some(start + seconds(7.0)));
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
