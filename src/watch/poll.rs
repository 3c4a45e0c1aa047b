use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::spec::Poll;

/// The shortest and the longest pause between two scans, unless the user has set the pause.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause as a multiple of the time that a scan takes, so that polling normally uses about 1 % of one processor at
/// most.
const PAUSE_FACTOR: u32 = 100;

/// Which directories to poll, and when.
///
/// `notify::PollWatcher` is not used, because its interval is fixed and it misses a file that is replaced by an older
/// one.
#[derive(Debug)]
pub(super) struct PollSchedule {
    pub(super) dirs: BTreeSet<PathBuf>,
    next: Option<Instant>,
    /// The pause, if the user has set one.
    every: Option<Duration>,
}

impl PollSchedule {
    pub(super) fn new(poll: Poll) -> Self {
        Self {
            dirs: BTreeSet::new(),
            next: None,
            every: match poll {
                Poll::Every(pause) => Some(pause),
                Poll::IfNeeded | Poll::Always => None,
            },
        }
    }

    /// When to scan next, if there are directories to scan.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let first = now + self.every.unwrap_or(SHORTEST_PAUSE);
        (!self.dirs.is_empty()).then(|| *self.next.get_or_insert(first))
    }

    /// Records that a scan of all directories has ended at `now`, and how long it took.
    pub(super) fn scanned(&mut self, now: Instant, took: Duration) {
        let cheap = || (took * PAUSE_FACTOR).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.next = Some(now + self.every.unwrap_or_else(cheap));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_the_duration_of_a_scan() {
        let now = Instant::now();
        let mut polled = PollSchedule::new(Poll::Always);
        assert_eq!(polled.deadline(now), None);
        polled.dirs.insert("/a".into());
        assert_eq!(polled.deadline(now), Some(now + SHORTEST_PAUSE));
        for (took, pause) in [(1, 500), (20, 2_000), (5_000, 30_000)] {
            polled.scanned(now, Duration::from_millis(took));
            let expected = now + Duration::from_millis(pause);
            assert_eq!(polled.deadline(now), Some(expected));
        }
    }

    #[test]
    fn a_pause_that_the_user_has_set_does_not_change() {
        let now = Instant::now();
        let pause = Duration::from_millis(70);
        let mut polled = PollSchedule::new(Poll::Every(pause));
        polled.dirs.insert("/a".into());
        assert_eq!(polled.deadline(now), Some(now + pause));
        polled.scanned(now, Duration::from_secs(5));
        assert_eq!(polled.deadline(now), Some(now + pause));
    }
}
