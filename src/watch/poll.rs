use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Whether to poll for changes instead of relying on file events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poll {
    /// Where the system sends no file events.
    #[default]
    IfNeeded,
    /// Everywhere, as often as is cheap.
    Always,
    /// Everywhere, with a pause of this length between two scans.
    Every(Duration),
}

/// The shortest pause, and the longest, however long a scan takes.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause as a multiple of the time for a scan: polling uses a hundredth of one processor.
const PAUSE_FACTOR: u32 = 100;

/// The directories that are polled, and when.
///
/// `notify::PollWatcher` cannot do this: its interval is fixed, and it misses a file that is replaced by an older one.
#[derive(Debug)]
pub(super) struct PollSchedule {
    dirs: BTreeSet<PathBuf>,
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

    pub(super) fn insert(&mut self, dir: &Path) {
        self.dirs.insert(dir.to_owned());
    }

    pub(super) fn remove(&mut self, dir: &Path) {
        self.dirs.remove(dir);
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&PathBuf) -> bool) {
        self.dirs.retain(keep);
    }

    pub(super) fn clear(&mut self) {
        self.dirs.clear();
    }

    pub(super) fn contains(&self, dir: &Path) -> bool {
        self.dirs.contains(dir)
    }

    pub(super) fn dirs(&self) -> Vec<PathBuf> {
        self.dirs.iter().cloned().collect()
    }

    /// When to scan next, if there are directories to scan.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let some = !self.dirs.is_empty();
        let first = now + self.every.unwrap_or(SHORTEST_PAUSE);
        some.then(|| *self.next.get_or_insert(first))
    }

    /// A scan of all directories has ended, and took this long.
    pub(super) fn scanned(&mut self, now: Instant, took: Duration) {
        let cheap = || (took * PAUSE_FACTOR).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.next = Some(now + self.every.unwrap_or_else(cheap));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_scans_are_rare() {
        let now = Instant::now();
        let mut polled = PollSchedule::new(Poll::Always);
        assert_eq!(polled.deadline(now), None);
        polled.insert(Path::new("/a"));
        assert_eq!(polled.deadline(now), Some(now + SHORTEST_PAUSE));
        for (took, pause) in [(1, 500), (20, 2_000), (5_000, 30_000)] {
            polled.scanned(now, Duration::from_millis(took));
            let expected = now + Duration::from_millis(pause);
            assert_eq!(polled.deadline(now), Some(expected));
        }
    }

    #[test]
    fn a_pause_set_by_the_user_is_kept() {
        let now = Instant::now();
        let pause = Duration::from_millis(70);
        let mut polled = PollSchedule::new(Poll::Every(pause));
        polled.insert(Path::new("/a"));
        assert_eq!(polled.deadline(now), Some(now + pause));
        polled.scanned(now, Duration::from_secs(5));
        assert_eq!(polled.deadline(now), Some(now + pause));
    }
}
