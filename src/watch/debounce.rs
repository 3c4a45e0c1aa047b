use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::rule::is_source;
use crate::os::fs_event::FileState;

/// How long repeated events for the same files may delay a batch. A program that keeps writing to a watched file must
/// not hold up everything else.
const LONGEST: Duration = Duration::from_secs(2);

/// How long a burst in which new files keep appearing, such as a branch switch, may delay a batch.
const LONGEST_BURST: Duration = Duration::from_secs(30);

/// If a file that is being written has had no event for this long, hotrun checks whether a process still has it open
/// for writing.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a source must be quiet. Its changes come over a network, one by one.
const SOURCE_QUIET: Duration = Duration::from_millis(200);

/// How long a burst counts as active after its last event.
const PAUSE: Duration = Duration::from_secs(1);

/// Collects changed paths until no event has arrived for a while. Has no clock: the time is passed as an argument.
///
/// With many files, the quiet period is longer. A file that is still being written is held back until it is complete,
/// and does not delay any other file.
#[derive(Debug)]
pub(super) struct Debounce {
    quiet: Duration,
    paths: BTreeSet<PathBuf>,
    /// Files that are still being written, each with the time of its last event.
    writing: BTreeMap<PathBuf, Instant>,
    times: Option<Times>,
}

/// The times of a batch.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// When the first event arrived.
    first: Instant,
    /// When the last event arrived.
    last: Instant,
    /// When a path was last added, or the batch was last postponed.
    newest: Instant,
    /// When the quiet period began.
    quiet_since: Instant,
}

impl Debounce {
    pub(super) const fn new(quiet: Duration) -> Self {
        Self {
            quiet,
            paths: BTreeSet::new(),
            writing: BTreeMap::new(),
            times: None,
        }
    }

    /// Records an event for `path`.
    pub(super) fn touch(&mut self, path: PathBuf, state: FileState, now: Instant) {
        if state == FileState::Writing {
            self.paths.remove(&path);
            self.writing.insert(path, now);
            return;
        }
        self.writing.remove(&path);
        let is_new = self.paths.insert(path);
        let times = self.times.get_or_insert(Times {
            first: now,
            last: now,
            newest: now,
            quiet_since: now,
        });
        times.last = now;
        times.quiet_since = now;
        if is_new {
            times.newest = now;
        }
    }

    /// Drops a path that has turned out not to matter.
    pub(super) fn forget(&mut self, path: &Path) {
        self.paths.remove(path);
        self.writing.remove(path);
    }

    /// Stops waiting for writers, because the events that report that files were closed may have been lost.
    pub(super) fn stop_waiting_for_writers(&mut self, now: Instant) {
        for path in std::mem::take(&mut self.writing).into_keys() {
            self.touch(path, FileState::Unknown, now);
        }
    }

    /// When to call [`check_writers`](Self::check_writers).
    pub(super) fn silence_deadline(&self) -> Option<Instant> {
        self.writing.values().min().map(|last| *last + SILENCE)
    }

    /// Checks the files that are being written but have had no event for a while, because `truncate(2)` is not followed
    /// by an event that reports that the file was closed.
    pub(super) fn check_writers(
        &mut self,
        now: Instant,
        mut is_being_written: impl FnMut(&Path) -> bool,
    ) {
        let writing = self.writing.iter();
        let silent = writing.filter(|(_, last)| **last + SILENCE <= now);
        for path in silent.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            let state = match is_being_written(&path) {
                true => FileState::Writing,
                false => FileState::Unknown,
            };
            self.touch(path, state, now);
        }
    }

    /// When to take the batch, or `None` if there is none.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let times = self.times?;
        let period = match self.paths.len() {
            0..=16 => self.quiet,
            17..=128 => self.quiet * 2,
            _ => self.quiet * 5,
        };
        // Relative paths come last.
        let has_source = self.paths.last().is_some_and(|path| is_source(path));
        let period = if has_source {
            period.max(SOURCE_QUIET)
        } else {
            period
        };
        let quiet = times.quiet_since + period;
        let longest = times.newest + LONGEST.max(self.quiet);
        let burst = times.first + LONGEST_BURST.max(self.quiet);
        Some(quiet.min(longest).min(burst))
    }

    /// Takes the batch if the quiet period is over, along with the time of its first event.
    ///
    /// If `more_will_follow` returns `true`, the quiet period starts again instead, unless the batch has already waited
    /// too long. The argument of `more_will_follow` is whether an event has arrived recently.
    pub(super) fn take(
        &mut self,
        now: Instant,
        more_will_follow: impl FnOnce(bool) -> bool,
    ) -> Option<(Vec<PathBuf>, Instant)> {
        if self.deadline()? > now {
            return None;
        }
        let times = self.times.as_mut()?;
        let last = self
            .writing
            .values()
            .fold(times.last, |last, time| last.max(*time));
        if more_will_follow(now < last + PAUSE) && now < times.first + LONGEST_BURST {
            times.quiet_since = now;
            times.newest = now;
            return None;
        }
        let first = self.times.take()?.first;
        let paths = std::mem::take(&mut self.paths).into_iter().collect();
        Some((paths, first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileState::{Complete, Unknown, Writing};

    const QUIET: Duration = Duration::from_millis(20);

    fn paths(names: &[&str]) -> Option<Vec<PathBuf>> {
        Some(names.iter().map(PathBuf::from).collect())
    }

    fn taken(debounce: &mut Debounce, now: Instant) -> Option<Vec<PathBuf>> {
        let batch = debounce.take(now, |_| false);
        batch.map(|(paths, _)| paths)
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_source_must_be_quiet_for_longer_than_a_file() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        debounce.touch("/a".into(), Complete, start);
        debounce.touch("@cfg".into(), Unknown, start);
        assert_eq!(debounce.deadline(), Some(start + SOURCE_QUIET));
        assert_eq!(
            taken(&mut debounce, start + SOURCE_QUIET),
            paths(&["/a", "@cfg"])
        );
    }

    #[test]
    fn a_batch_can_be_taken_after_a_quiet_period() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        assert_eq!(
            (debounce.deadline(), taken(&mut debounce, start)),
            (None, None)
        );
        debounce.touch("b".into(), Complete, start);
        debounce.touch("a".into(), Complete, start + millis(15));
        assert_eq!(debounce.deadline(), Some(start + millis(35)));
        assert_eq!(taken(&mut debounce, start + millis(34)), None);
        assert_eq!(taken(&mut debounce, start + millis(35)), paths(&["a", "b"]));
        assert_eq!(debounce.deadline(), None);
    }

    #[test]
    fn a_file_that_is_written_twice_is_taken_once() {
        let start = Instant::now();
        for pause in [5, 10, 15, 19] {
            let mut debounce = Debounce::new(QUIET);
            debounce.touch("a".into(), Complete, start);
            let again = start + millis(pause);
            assert_eq!(taken(&mut debounce, again), None, "{pause} ms");
            debounce.touch("a".into(), Writing, again);
            debounce.touch("a".into(), Complete, again);
            assert_eq!(debounce.deadline(), Some(again + QUIET));
        }
    }

    #[test]
    fn a_temporary_file_does_not_lengthen_the_quiet_period() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        debounce.touch("a.new".into(), Writing, start);
        debounce.forget(Path::new("a.new"));
        debounce.touch("a.new".into(), Complete, start);
        debounce.forget(Path::new("a.new"));
        debounce.touch("a".into(), Complete, start);
        assert_eq!(debounce.deadline(), Some(start + QUIET));
        assert_eq!(taken(&mut debounce, start + QUIET), paths(&["a"]));
    }

    #[test]
    fn many_files_have_a_longer_quiet_period() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        for number in 0..500 {
            debounce.touch(number.to_string().into(), Complete, start);
        }
        assert_eq!(debounce.deadline(), Some(start + QUIET * 5));
    }

    #[test]
    fn an_endless_writer_does_not_delay_the_batch_forever() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        let mut now = start;
        while now < start + LONGEST {
            assert_eq!(taken(&mut debounce, now), None, "{:?}", now - start);
            debounce.touch("log".into(), Complete, now);
            now += millis(4);
        }
        assert_eq!(taken(&mut debounce, now), paths(&["log"]));
    }

    #[test]
    fn hc03_a_burst_of_new_files_is_taken_as_one_batch() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        let mut now = start;
        for number in 0..1000 {
            assert_eq!(taken(&mut debounce, now), None, "{:?}", now - start);
            debounce.touch(number.to_string().into(), Complete, now);
            now += millis(4);
        }
        assert_eq!(
            taken(&mut debounce, now + QUIET * 5).map(|paths| paths.len()),
            Some(1000)
        );
    }

    #[test]
    fn a_file_being_written_is_held_back_and_delays_no_other_file() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        debounce.touch("data".into(), Writing, start);
        assert_eq!(debounce.deadline(), None);
        debounce.touch("a".into(), Complete, start + millis(5));
        debounce.touch("data".into(), Writing, start + millis(6));
        assert_eq!(taken(&mut debounce, start + millis(25)), paths(&["a"]));
        assert_eq!(debounce.deadline(), None);
        debounce.touch("data".into(), Complete, start + millis(60_000));
        assert_eq!(
            taken(&mut debounce, start + millis(60_020)),
            paths(&["data"])
        );
        debounce.touch("data".into(), Writing, start + millis(70_000));
        debounce.stop_waiting_for_writers(start + millis(70_000));
        assert_eq!(
            taken(&mut debounce, start + millis(70_020)),
            paths(&["data"])
        );
    }

    #[test]
    fn a_file_being_written_is_checked_after_a_while_without_events() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        assert_eq!(debounce.silence_deadline(), None);
        debounce.touch("a".into(), Writing, start);
        debounce.touch("b".into(), Writing, start + millis(3));
        debounce.touch("a".into(), Writing, start + millis(1_000));
        assert_eq!(
            debounce.silence_deadline(),
            Some(start + SILENCE + millis(3))
        );
        let mut checked = Vec::new();
        let mut check = |debounce: &mut Debounce, now, still_written: &str| {
            debounce.check_writers(now, |path| {
                checked.push(path.to_owned());
                path == Path::new(still_written)
            });
            Some(std::mem::take(&mut checked))
        };
        let now = start + SILENCE + millis(3);
        assert_eq!(check(&mut debounce, now, "b"), paths(&["b"]));
        let now = now + SILENCE;
        assert_eq!(check(&mut debounce, now, "a"), paths(&["a", "b"]));
        assert_eq!(check(&mut debounce, now, "a"), paths(&[]));
        assert_eq!(taken(&mut debounce, now + QUIET), paths(&["b"]));
    }

    #[test]
    fn a_batch_is_active_for_a_while_after_an_event() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        debounce.touch("a".into(), Complete, start);
        let is_active = |debounce: &mut Debounce, now| {
            let mut found = None;
            let batch = debounce.take(now, |is_active| {
                found = Some(is_active);
                true
            });
            assert_eq!(batch, None, "the batch must be postponed");
            found
        };
        assert_eq!(is_active(&mut debounce, start), None, "not due yet");
        assert_eq!(is_active(&mut debounce, start + PAUSE / 2), Some(true));
        assert_eq!(is_active(&mut debounce, start + PAUSE), Some(false));
        debounce.touch("b".into(), Writing, start + PAUSE);
        assert_eq!(is_active(&mut debounce, start + PAUSE + QUIET), Some(true));
    }

    #[test]
    fn a_batch_cannot_be_postponed_forever() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        debounce.touch("a".into(), Complete, start);
        let mut now = start + millis(5);
        while debounce.take(now, |_| true).is_none() {
            assert!(now < start + LONGEST_BURST);
            now += millis(5);
        }
        assert!(now >= start + LONGEST_BURST);
    }

    #[test]
    fn a_quiet_period_longer_than_the_limit_is_respected() {
        let start = Instant::now();
        let mut debounce = Debounce::new(LONGEST * 2);
        debounce.touch("a".into(), Unknown, start);
        assert_eq!(debounce.deadline(), Some(start + LONGEST * 2));
    }
}
