use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest that a change is kept back because of others to the same files: a program that writes to a
/// watched file all the time must not hold up everything else.
const LONGEST: Duration = Duration::from_secs(2);

/// The longest that a burst may take in which one file follows the other, a branch switch say.
const LONGEST_BURST: Duration = Duration::from_secs(30);

/// How long nothing is heard of a file that is written before it is asked whether it still is.
const SILENT: Duration = Duration::from_secs(2);

/// How long after the last change more are waited for that somebody else knows to come.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of a file at which something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Whoever wrote it has closed it, or it was put in its place as a whole.
    Done,
    /// Whoever writes it has not closed it yet.
    Written,
    /// It was made or removed; more may follow.
    Unsure,
}

/// Collects paths until nothing has happened for a while. Has no clock: it is told the time.
///
/// How long that while is depends on what happens. A lone file that is whole is kept back for a quarter of it: one
/// that is the first of many is followed by the second sooner than that. The more there were, the longer it takes to be
/// sure that there are no more. A file that somebody is still writing is kept back until it is whole, and holds up
/// nothing else.
#[derive(Debug)]
pub(super) struct Debounce {
    quiet: Duration,
    paths: BTreeMap<PathBuf, State>,
    /// Those that are still being written.
    written: BTreeMap<PathBuf, Writing>,
    first: Option<Instant>,
    /// When a path came that was not there before.
    newest: Option<Instant>,
    /// From when it has to be quiet.
    last: Option<Instant>,
    heard: Option<Instant>,
    taken: (Instant, Instant),
}

#[derive(Clone, Copy, Debug)]
struct Writing {
    /// When something was heard of it last.
    heard: Instant,
    /// Whether it was whole before.
    was_whole: bool,
}

impl Debounce {
    pub(super) fn new(quiet: Duration) -> Self {
        let never = Instant::now();
        Self {
            quiet,
            paths: BTreeMap::new(),
            written: BTreeMap::new(),
            first: None,
            newest: None,
            last: None,
            heard: None,
            taken: (never, never),
        }
    }

    /// Something may have happened at `path`.
    pub(super) fn touch(&mut self, path: PathBuf, state: State, now: Instant) {
        if state == State::Written {
            return self.is_written(path, now);
        }
        self.written.remove(&path);
        if self.paths.insert(path, state).is_none() {
            self.newest = Some(now);
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.heard = Some(now);
    }

    fn is_written(&mut self, path: PathBuf, now: Instant) {
        let before = self.paths.remove(&path);
        let writing = self.written.entry(path).or_insert(Writing {
            heard: now,
            was_whole: before == Some(State::Done),
        });
        writing.heard = now;
    }

    /// What happened at `path` has come to nothing.
    pub(super) fn forget(&mut self, path: &Path) {
        self.paths.remove(path);
        self.written.remove(path);
    }

    /// Nobody tells any more when files are closed: those that were being written count as they are.
    pub(super) fn close_all(&mut self, now: Instant) {
        for path in std::mem::take(&mut self.written).into_keys() {
            self.touch(path, State::Unsure, now);
        }
    }

    /// When nothing has been heard for a while of one that is being written.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let heard = self.written.values().map(|writing| writing.heard);
        heard.min().map(|heard| heard + SILENT)
    }

    /// Those of which nothing has been heard for a while, and whether they were whole before.
    pub(super) fn silent(&self, now: Instant) -> Vec<(PathBuf, bool)> {
        let written = self.written.iter();
        let silent = written.filter(|(_, writing)| writing.heard + SILENT <= now);
        silent
            .map(|(path, writing)| (path.clone(), writing.was_whole))
            .collect()
    }

    /// When to ask for what has settled; `None` while there is nothing.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let quiet = self.last? + self.patience();
        let longest = self.newest? + LONGEST.max(self.quiet);
        let burst = self.first? + LONGEST_BURST.max(self.quiet);
        Some(quiet.min(longest).min(burst))
    }

    fn patience(&self) -> Duration {
        let lone = || self.paths.values().all(|state| *state != State::Unsure);
        match self.paths.len() {
            0 | 1 if lone() => self.quiet / 4,
            0..=16 => self.quiet,
            17..=128 => self.quiet * 2,
            _ => self.quiet * 5,
        }
    }

    /// More is to come, as somebody else knows: waits once more, but not for ever.
    pub(super) fn postpone(&mut self, now: Instant) -> bool {
        let late = self.first.is_some_and(|first| first + LONGEST_BURST <= now);
        if !late {
            self.last = Some(now);
            self.newest = Some(now);
        }
        !late
    }

    /// Whether something was heard a moment ago.
    pub(super) fn goes_on(&self, now: Instant) -> bool {
        let written = self.written.values().map(|writing| writing.heard);
        let last = self.heard.into_iter().chain(written).max();
        last.is_some_and(|last| now < last + PAUSE)
    }

    /// Whether something has settled.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// When something was first and last heard of what was taken last.
    pub(super) const fn heard(&self) -> (Instant, Instant) {
        self.taken
    }

    /// What has settled, if something has.
    pub(super) fn take(&mut self, now: Instant) -> Option<Vec<PathBuf>> {
        self.is_due(now).then(|| {
            self.taken = (
                self.first.take().unwrap_or(now),
                self.heard.take().unwrap_or(now),
            );
            self.newest = None;
            self.last = None;
            std::mem::take(&mut self.paths).into_keys().collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Done, Unsure, Written};

    const QUIET: Duration = Duration::from_millis(20);

    fn paths(names: &[&str]) -> Option<Vec<PathBuf>> {
        Some(names.iter().map(PathBuf::from).collect())
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn it_settles_after_the_last_touch() {
        let start = Instant::now();
        let mut settle = Debounce::new(QUIET);
        assert_eq!((settle.deadline(), settle.take(start)), (None, None));
        settle.touch("b".into(), Done, start);
        settle.touch("a".into(), Done, start + millis(15));
        assert_eq!(settle.deadline(), Some(start + millis(35)));
        assert_eq!(settle.take(start + millis(34)), None);
        assert_eq!(settle.take(start + millis(35)), paths(&["a", "b"]));
        assert_eq!(
            (settle.deadline(), settle.take(start + millis(99))),
            (None, None)
        );
    }

    #[test]
    fn a_lone_file_that_is_whole_is_told_soon() {
        let start = Instant::now();
        let mut settle = Debounce::new(QUIET);
        settle.touch("a".into(), Unsure, start);
        assert_eq!(settle.deadline(), Some(start + QUIET));
        settle.touch("a".into(), Done, start);
        assert_eq!(settle.deadline(), Some(start + QUIET / 4));
    }

    #[test]
    fn a_file_that_was_only_passing_through_is_not_waited_for() {
        let start = Instant::now();
        let mut settle = Debounce::new(QUIET);
        settle.touch("a.new".into(), Written, start);
        settle.forget(Path::new("a.new"));
        settle.touch("a.new".into(), Done, start);
        settle.forget(Path::new("a.new"));
        settle.touch("a".into(), Done, start);
        assert_eq!(settle.deadline(), Some(start + QUIET / 4));
        assert_eq!(settle.take(start + QUIET / 4), paths(&["a"]));
    }

    #[test]
    fn many_files_take_longer() {
        let start = Instant::now();
        let mut settle = Debounce::new(QUIET);
        for number in 0..500 {
            settle.touch(number.to_string().into(), Done, start);
        }
        assert_eq!(settle.deadline(), Some(start + QUIET * 5));
    }

    #[test]
    fn a_file_that_never_rests_does_not_hold_up_the_others() {
        let start = Instant::now();
        let mut settle = Debounce::new(QUIET);
        let mut now = start;
        while now < start + LONGEST {
            assert_eq!(settle.take(now), None, "{:?}", now - start);
            settle.touch("log".into(), Done, now);
            now += millis(4);
        }
        assert_eq!(settle.take(now), paths(&["log"]));
    }

    #[test]
    fn hc03_a_burst_of_new_files_may_take_seconds() {
        let start = Instant::now();
        let mut settle = Debounce::new(QUIET);
        let mut now = start;
        for number in 0..1000 {
            assert_eq!(settle.take(now), None, "{:?}", now - start);
            settle.touch(number.to_string().into(), Done, now);
            now += millis(4);
        }
        assert_eq!(
            settle.take(now + QUIET * 5).map(|paths| paths.len()),
            Some(1000)
        );
    }

    #[test]
    fn what_is_being_written_waits_for_its_writer_and_holds_up_nothing() {
        let start = Instant::now();
        let mut settle = Debounce::new(QUIET);
        settle.touch("data".into(), Written, start);
        assert_eq!(settle.deadline(), None);
        settle.touch("a".into(), Done, start + millis(5));
        settle.touch("data".into(), Written, start + millis(6));
        assert_eq!(settle.take(start + millis(10)), paths(&["a"]));
        assert_eq!(settle.deadline(), None);
        settle.touch("data".into(), Done, start + millis(60_000));
        assert_eq!(settle.take(start + millis(60_005)), paths(&["data"]));
        settle.touch("data".into(), Written, start + millis(70_000));
        settle.close_all(start + millis(70_000));
        assert_eq!(settle.take(start + millis(70_020)), paths(&["data"]));
    }

    #[test]
    fn a_file_of_which_nothing_more_is_heard_is_asked_about() {
        let start = Instant::now();
        let mut settle = Debounce::new(QUIET);
        assert_eq!(settle.silent_at(), None);
        settle.touch("a".into(), Written, start);
        settle.touch("b".into(), Done, start);
        settle.touch("b".into(), Written, start + millis(3));
        settle.touch("a".into(), Written, start + millis(1_000));
        assert_eq!(settle.silent_at(), Some(start + SILENT + millis(3)));
        let now = start + SILENT + millis(3);
        assert_eq!(settle.silent(now), [(PathBuf::from("b"), true)]);
        let now = start + SILENT + millis(1_000);
        let both = [(PathBuf::from("a"), false), (PathBuf::from("b"), true)];
        assert_eq!(settle.silent(now), both);
        settle.touch("a".into(), Written, now);
        settle.touch("b".into(), Unsure, now);
        assert!(settle.silent(now).is_empty());
        assert_eq!(settle.take(now + QUIET), paths(&["b"]));
    }

    #[test]
    fn more_is_waited_for_only_while_something_is_heard() {
        let start = Instant::now();
        let mut settle = Debounce::new(QUIET);
        assert!(!settle.goes_on(start));
        settle.touch("a".into(), Done, start);
        assert!(settle.goes_on(start + PAUSE / 2));
        assert!(settle.postpone(start + PAUSE) && !settle.goes_on(start + PAUSE));
        settle.touch("b".into(), Written, start + PAUSE);
        assert!(settle.goes_on(start + PAUSE));
    }

    #[test]
    fn what_is_known_to_go_on_is_waited_for() {
        let start = Instant::now();
        let mut settle = Debounce::new(QUIET);
        settle.touch("a".into(), Done, start);
        let mut now = start + millis(5);
        while settle.postpone(now) {
            assert!(settle.take(now).is_none() && now < start + LONGEST_BURST);
            now += millis(5);
        }
        assert_eq!(settle.take(now), paths(&["a"]));
    }

    #[test]
    fn a_long_debounce_is_respected() {
        let start = Instant::now();
        let mut settle = Debounce::new(LONGEST * 2);
        settle.touch("a".into(), Unsure, start);
        assert_eq!(settle.deadline(), Some(start + LONGEST * 2));
    }
}
