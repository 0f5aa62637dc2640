//! What time it is for a node: the milliseconds since its boot, as its own oscillator counts them.

use esplanade_keying::Time;

/// A node's CLOCK_BOOTTIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Clock {
    /// How long it had been up when the world began, in milliseconds.
    pub ahead: u64,
    /// When it was booted since; 0: not since.
    pub booted: u64,
    /// By how many millionths it goes too fast.
    pub fast: i32,
}

impl Clock {
    /// A clock that was set to 0 at `now`.
    pub fn restarted(self, now: Time) -> Self {
        Self { ahead: 0, booted: now.0, ..self }
    }

    /// What it shows.
    pub fn read(&self, now: Time) -> Time {
        let passed = i128::from(now.0.saturating_sub(self.booted));
        let shown = passed * (1_000_000 + i128::from(self.fast)) / 1_000_000;
        Time(self.ahead.saturating_add(u64::try_from(shown).unwrap_or(0)))
    }

    /// When it will show that, at the earliest.
    pub fn when(&self, shown: Time) -> Time {
        let counted = i128::from(shown.0.saturating_sub(self.ahead)) * 1_000_000;
        let rate = 1_000_000 + i128::from(self.fast);
        let passed = (counted + rate - 1) / rate;
        Time(self.booted.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Time};

    #[test]
    fn a_clock_shows_at_that_time_what_it_was_asked_for() {
        for fast in [-300, 0, 300] {
            for clock in [
                Clock { ahead: 77, booted: 0, fast },
                Clock { ahead: 77, booted: 0, fast }.restarted(Time(500)),
            ] {
                for shown in [77, 1000, 86_400_000] {
                    let when = clock.when(Time(shown));
                    assert!(clock.read(when) >= Time(shown), "{clock:?} {shown}");
                    assert!(
                        when.0 == clock.booted || clock.read(Time(when.0 - 1)) < Time(shown),
                        "{clock:?} {shown}"
                    );
                }
            }
        }
        assert_eq!(Clock::default().read(Time(5)), Time(5));
    }
}
