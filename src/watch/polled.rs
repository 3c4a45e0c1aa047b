use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Poll;

/// How often directories are looked at at most; and at least, however long it takes.
const OFTEN: Duration = Duration::from_millis(500);
const SELDOM: Duration = Duration::from_secs(30);

/// The pause is so many times what a look takes: a hundredth of one processor.
const PAUSE: u32 = 100;

/// Directories that have to be looked at, because nobody tells what changes in them.
#[derive(Debug)]
pub(super) struct Polled {
    dirs: BTreeSet<PathBuf>,
    next: Option<Instant>,
    /// The pause, if the user names it.
    every: Option<Duration>,
}

impl Polled {
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

    /// When to look, if there is anything to look at.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let some = !self.dirs.is_empty();
        let first = now + self.every.unwrap_or(OFTEN);
        some.then(|| *self.next.get_or_insert(first))
    }

    /// It took this long to look at all of them.
    pub(super) fn looked(&mut self, now: Instant, took: Duration) {
        let cheap = || (took * PAUSE).clamp(OFTEN, SELDOM);
        self.next = Some(now + self.every.unwrap_or_else(cheap));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_it_takes_the_rarer_it_is_done() {
        let now = Instant::now();
        let mut polled = Polled::new(Poll::Always);
        assert_eq!(polled.deadline(now), None);
        polled.insert(Path::new("/a"));
        assert_eq!(polled.deadline(now), Some(now + OFTEN));
        for (took, pause) in [(1, 500), (20, 2_000), (5_000, 30_000)] {
            polled.looked(now, Duration::from_millis(took));
            assert_eq!(
                polled.deadline(now),
                Some(now + Duration::from_millis(pause))
            );
        }
    }

    #[test]
    fn the_user_knows_better() {
        let now = Instant::now();
        let pause = Duration::from_millis(70);
        let mut polled = Polled::new(Poll::Every(pause));
        polled.insert(Path::new("/a"));
        assert_eq!(polled.deadline(now), Some(now + pause));
        polled.looked(now, Duration::from_secs(5));
        assert_eq!(polled.deadline(now), Some(now + pause));
    }
}
