use std::time::Duration;

/// A command that has run for this long counts as connected.
pub(super) const STEADY: Duration = Duration::from_secs(5);

/// A command that has run for this long is certainly connected: attempts to connect end sooner (127 s, see
/// `tcp_syn_retries` in `tcp(7)`).
const CERTAIN: Duration = Duration::from_secs(5 * 60);

/// The longest pause before a command is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Decides what counts as a change of a source whose command may end. Has no clock: each argument is the time since the
/// command's newest start.
///
/// A line counts at once, unless the run before ended within five seconds: a command that fails may print lines, too.
/// While a command is not running, changes may be missed, so its next run that lasts counts as one change. If a command
/// that prints nothing keeps ending, the third such run counts only after five minutes. So a command that always fails
/// does not restart the program again and again.
#[derive(Debug)]
pub struct Continuity {
    /// How many runs in a row have ended before they were steady.
    failures: u32,
    /// Whether a change may have been missed.
    missed: bool,
    /// How long a run that prints nothing must last to count as connected.
    patience: Duration,
    /// Whether the current run has printed a line.
    printed: bool,
    /// Whether the current run has counted as connected, although it had printed nothing.
    assumed: bool,
}

impl Default for Continuity {
    fn default() -> Self {
        Self {
            failures: 0,
            missed: false,
            patience: STEADY,
            printed: false,
            assumed: false,
        }
    }
}

impl Continuity {
    /// Records that the command has printed a line. Returns whether it counts as a change now.
    pub fn line(&mut self, age: Duration) -> bool {
        self.printed = true;
        let counts = self.failures == 0 || age >= STEADY;
        self.missed &= !counts;
        counts
    }

    /// When to call [`Continuity::passed`].
    pub fn due(&self) -> Option<Duration> {
        let lasts = if self.printed { STEADY } else { self.patience };
        self.missed.then_some(lasts)
    }

    /// Records that the current run has lasted until [`Continuity::due`], which counts as a change.
    pub const fn passed(&mut self) {
        self.missed = false;
        self.assumed = !self.printed;
    }

    /// Records that the command has ended. Returns how long to wait before it is started again.
    pub fn ended(&mut self, age: Duration) -> Duration {
        if age < STEADY {
            self.failures += 1;
        } else {
            self.failures = 0;
            let is_proven = self.printed || age >= CERTAIN;
            self.patience = match self.assumed && !is_proven {
                true => CERTAIN,
                false if is_proven => STEADY,
                false => self.patience,
            };
        }
        (self.missed, self.printed, self.assumed) = (true, false, false);
        pause(self.failures)
    }
}

/// How long to wait after this many failures in a row: 1, 2, 4 … 30 s.
pub fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(5);
    Duration::from_secs(1 << doublings).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);
    const MINUTE: Duration = Duration::from_secs(60);

    /// Runs the command for this long. Returns how often it counts as a change.
    fn run(continuity: &mut Continuity, lines: &[Duration], lasts: Duration) -> usize {
        let mut changes = 0;
        for line in lines {
            if continuity.due().is_some_and(|due| due <= *line) {
                continuity.passed();
                changes += 1;
            }
            changes += usize::from(continuity.line(*line));
        }
        if continuity.due().is_some_and(|due| due <= lasts) {
            continuity.passed();
            changes += 1;
        }
        continuity.ended(lasts);
        changes
    }

    #[test]
    fn every_line_counts() {
        let mut continuity = Continuity::default();
        assert_eq!(run(&mut continuity, &[SOON, MINUTE, MINUTE], 2 * MINUTE), 3);
    }

    #[test]
    fn a_gap_counts_once_when_the_command_is_back() {
        let mut continuity = Continuity::default();
        assert_eq!(run(&mut continuity, &[], MINUTE), 0, "nothing was missed");
        for _ in 0..100 {
            assert_eq!(run(&mut continuity, &[], SOON), 0, "it fails");
        }
        assert_eq!(run(&mut continuity, &[], MINUTE), 1);
        let mut continuity = Continuity::default();
        run(&mut continuity, &[], MINUTE);
        let lines = [SOON];
        assert_eq!(
            run(&mut continuity, &lines, MINUTE),
            1,
            "the line stands for the gap"
        );
    }

    #[test]
    fn a_command_that_always_fails_soon_counts_at_most_once() {
        for lines in [&[][..], &[SOON]] {
            let mut continuity = Continuity::default();
            let first = run(&mut continuity, lines, SOON);
            assert_eq!(first, lines.len());
            for _ in 0..100 {
                assert_eq!(run(&mut continuity, lines, 2 * SOON), 0);
            }
            assert_eq!(run(&mut continuity, lines, MINUTE), 1, "it works at last");
        }
    }

    #[test]
    fn a_command_that_always_ends_later_without_a_line_counts_only_once() {
        let mut continuity = Continuity::default();
        let changes: usize = (0..100).map(|_| run(&mut continuity, &[], MINUTE)).sum();
        assert_eq!(changes, 1);
        assert_eq!(run(&mut continuity, &[], 2 * CERTAIN), 1);
        assert_eq!(run(&mut continuity, &[], MINUTE), 1, "it is trusted again");
    }

    #[test]
    fn a_command_that_ends_after_each_change_counts_each_time() {
        let mut continuity = Continuity::default();
        for _ in 0..100 {
            assert!(run(&mut continuity, &[MINUTE], MINUTE + SOON) >= 1);
        }
    }

    #[test]
    fn the_pauses_double_up_to_half_a_minute() {
        let mut continuity = Continuity::default();
        let pauses: Vec<_> = (0..8).map(|_| continuity.ended(SOON).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(continuity.ended(MINUTE).as_secs(), 1);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
