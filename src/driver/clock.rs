//! The machine's clock. It does not count the time in which hotrun could not run, because it was stopped, the computer
//! slept, or the main thread was blocked. During that time, programs may have met their deadlines without hotrun
//! noticing.

use std::time::{Duration, Instant};

use crate::reload::Time;

/// If a deadline passed longer ago than this, hotrun must have been unable to run: handling an event takes much less
/// time.
const SUSPENDED: Duration = Duration::from_millis(500);
/// When hotrun can run again, the clock is set back to this long before the missed deadline.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// The value that [`Clock::now`] returned last. It never decreases.
    last: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            last: Duration::ZERO,
        }
    }

    /// The current time for the machine.
    pub(super) fn now(&mut self) -> Time {
        // In whole microseconds, the precision of the log.
        let micros = self.started.elapsed().as_micros();
        self.last = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        Time(self.last)
    }

    /// Subtracts this much from the time that has passed.
    pub(super) fn leave_out(&mut self, time: Duration) {
        self.started += time;
    }

    /// If this deadline passed while hotrun could not run, sets the clock to shortly before the deadline, but never back
    /// before its last value. Returns whether the deadline is now in the future.
    pub(super) fn skip_suspension(&mut self, deadline: Option<Time>) -> bool {
        let now = self.started.elapsed();
        let missed = deadline.filter(|at| now.saturating_sub(at.0) > SUSPENDED);
        let Some(Time(deadline)) = missed else {
            return false;
        };
        let back = deadline.saturating_sub(GRACE).max(self.last);
        self.leave_out(now.saturating_sub(back));
        back < deadline
    }

    /// When this deadline passes.
    pub(super) fn instant(&self, deadline: Time) -> Option<Instant> {
        self.started.checked_add(deadline.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(age: u64) -> Clock {
        Clock {
            started: Instant::now() - Duration::from_secs(age),
            ..Clock::start()
        }
    }

    fn at(seconds: u64) -> Option<Time> {
        Some(Time(Duration::from_secs(seconds)))
    }

    #[test]
    fn the_clock_is_set_back_to_before_a_deadline_that_passed_during_a_suspension() {
        let mut clock = clock(100);
        assert!(clock.skip_suspension(at(50)));
        let before = at(50).unwrap().since(clock.now());
        assert!(before > Duration::ZERO && before <= GRACE, "{before:?}");
        assert!(
            !clock.skip_suspension(at(50)),
            "a suspension is skipped only once"
        );
    }

    #[test]
    fn nothing_is_skipped_unless_a_deadline_was_missed() {
        let mut clock = clock(100);
        for deadline in [None, at(100), at(1000)] {
            assert!(!clock.skip_suspension(deadline), "{deadline:?}");
        }
        assert!(clock.now() >= at(100).unwrap());
    }

    #[test]
    fn the_clock_is_never_set_back_before_its_last_value() {
        let mut clock = clock(100);
        let last = clock.now();
        assert!(
            !clock.skip_suspension(at(50)),
            "the deadline is still in the past"
        );
        assert!(clock.now() >= last);
    }
}
