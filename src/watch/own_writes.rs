//! Recognizes the files that a program writes and closes at once.
//!
//! The calls that write files are intercepted only once the program is suspected, because interception has a cost, and
//! may make such a call fail with `EINTR` (see [`os::seccomp`](crate::os::seccomp)).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::self_trigger::almost;

/// After this many starts in a row, a file must change for no known reason before the program is suspected.
const STARTS: u32 = 2;

/// If a file changes this many times in a row, at regular intervals and without a start in between, the program is
/// suspected. A user saves at varying times, and a save usually leads to a start.
const OFTEN: u32 = 5;

/// For how long after a switch or the end of a generation a change may be due to it.
const SOON: Duration = Duration::from_secs(1);

/// Suspects a program of writing watched files. Has no clock: the time is passed as an argument.
#[derive(Debug, Default)]
pub struct Suspicion {
    /// Whether the program is suspected. Never becomes false again.
    suspected: bool,
    /// Whether the newest generation's calls that write files are intercepted.
    intercepted: bool,
    /// The number of starts in a row after which a file changed soon or at almost the same time as after the previous
    /// start, or a new one appeared.
    starts: u32,
    /// Whether that is true of the newest start.
    changed: bool,
    /// When a generation last went live or ended, if that was after the newest start.
    settled: Option<Instant>,
    /// The time of the newest start or change.
    latest: Option<Instant>,
    repeated: Repeated,
}

/// The files that have changed each time lately.
#[derive(Debug, Default)]
struct Repeated {
    files: BTreeSet<PathBuf>,
    /// How many times in a row they have changed since the newest start, at regular intervals unless the program is
    /// suspected.
    times: u32,
    /// How long after the start or the previous change they last changed.
    after: Duration,
}

impl Suspicion {
    /// Records that a generation is started. Returns whether to intercept its calls that write files.
    pub const fn started(&mut self, now: Instant) -> bool {
        self.starts = if self.changed { self.starts + 1 } else { 0 };
        self.suspected |= self.starts >= STARTS;
        self.intercepted = self.suspected;
        (self.changed, self.settled) = (false, None);
        (self.repeated.times, self.latest) = (0, Some(now));
        self.suspected
    }

    /// Whether to intercept the newest generation's calls that write files.
    pub const fn intercepts(&self) -> bool {
        self.intercepted
    }

    /// Records that a generation has gone live or ended.
    pub const fn settled(&mut self, now: Instant) {
        self.settled = Some(now);
    }

    /// Records that files changed for no known reason, and whether one of them is new: an upload, for example, may come
    /// at any time. The user may have edited the files. Returns those that have changed so often that the program, which
    /// has not been started in the meantime, is suspected.
    pub fn changed(&mut self, at: Instant, paths: &[PathBuf], any_is_new: bool) -> Vec<PathBuf> {
        let latest = self.latest.replace(at).unwrap_or(at);
        let after = at.saturating_duration_since(latest);
        let before = std::mem::take(&mut self.repeated);
        let mut files = BTreeSet::from_iter(paths.iter().cloned());
        let again: BTreeSet<_> = files.intersection(&before.files).cloned().collect();
        let is_again = !again.is_empty();
        let is_regular = is_again && before.after.abs_diff(after) <= almost(before.after);
        if is_again {
            files = again;
        }
        let is_soon = self.settled.is_none_or(|settled| at <= settled + SOON);
        self.changed |= is_soon || is_regular || any_is_new;
        let times = match is_again {
            true if is_regular || self.suspected => before.times + 1,
            // The interval between the previous change and this one may be the first of a row.
            true => before.times.min(1) + 1,
            false => 1,
        };
        let often = match times == OFTEN {
            true => files.iter().cloned().collect(),
            false => Vec::new(),
        };
        self.suspected |= times >= OFTEN;
        self.repeated = Repeated {
            files,
            times,
            after,
        };
        often
    }

    /// Whether the program is suspected of writing these files, and it takes a start to find out.
    pub fn needs_start(&self, paths: &[PathBuf]) -> bool {
        let Repeated { files, times, .. } = &self.repeated;
        *times >= OFTEN && !self.intercepted && paths.iter().all(|path| files.contains(path))
    }

    /// Records that the program was seen writing a watched file.
    pub const fn confirmed(&mut self) {
        self.suspected = true;
    }
}

/// A change is the program's if it comes at most this long after the program's call. If the program keeps the file open
/// for longer, [`HeldFiles`](super::held::HeldFiles) notices that.
const CALL_TO_CHANGE: Duration = Duration::from_millis(500);

/// How long calls are remembered. Longer than a batch of changes can be delayed.
const KEPT: Duration = Duration::from_secs(60);

/// The intercepted calls by which programs write files. The threads that intercept calls record them before the kernel
/// performs them, and the watch looks them up after the change.
#[derive(Clone, Debug, Default)]
pub struct WriteCalls(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    /// For each file or directory, when the newest call was made, and the pid of our child whose process tree made it.
    newest: BTreeMap<PathBuf, (Instant, i32)>,
    pruned: Option<Instant>,
}

impl WriteCalls {
    /// Records that the process tree of this child opens the file for writing, renames it or removes it.
    pub fn record(&self, path: PathBuf, child: i32, now: Instant) {
        let mut calls = self.lock();
        let pruned = *calls.pruned.get_or_insert(now);
        if now > pruned + KEPT {
            calls.newest.retain(|_, (at, _)| now <= *at + KEPT);
            calls.pruned = Some(now);
        }
        calls.newest.insert(path, (now, child));
    }

    /// Returns the child whose process tree made this change.
    pub(super) fn writer(&self, path: &Path, changed: Instant) -> Option<i32> {
        let calls = self.lock();
        // A call that moves or removes a directory changes all files in it.
        let mut made = path.ancestors().filter_map(|path| calls.newest.get(path));
        made.find(|(at, _)| changed <= *at + CALL_TO_CHANGE)
            .map(|(_, child)| *child)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What happens after a start.
    #[derive(Clone, Copy)]
    enum After {
        /// Nothing.
        None,
        /// A change before the generation is live.
        Early,
        /// A change this many seconds after the generation is live, to this file.
        Live(u32, &'static str),
        /// The same, but the file is new.
        New(u32),
    }

    /// Returns whether the program is suspected at each of several starts, followed by this.
    fn suspected(after: &[After]) -> Vec<bool> {
        let (mut suspicion, mut now) = (Suspicion::default(), Instant::now());
        let mut start = |after: &After| {
            now += SECOND * 3600;
            let suspected = suspicion.started(now);
            if !matches!(after, After::Early) {
                suspicion.settled(now);
            }
            let (seconds, file, is_new) = match *after {
                After::None => return suspected,
                After::Early => (0, "main.py", false),
                After::Live(seconds, file) => (seconds, file, false),
                After::New(seconds) => (seconds, "upload", true),
            };
            suspicion.changed(now + SECOND * seconds, &[file.into()], is_new);
            suspected
        };
        after.iter().map(&mut start).collect()
    }

    #[test]
    fn a_program_is_suspected_after_changes_after_two_starts_in_a_row() {
        use After::{Early, Live, New, None};
        let (soon, late) = (Live(1, "main.py"), Live(2, "app.py"));
        let starts = [
            Early,
            None,
            Early,
            late,
            soon,
            None,
            New(9),
            late,
            New(5),
            Early,
            None,
            None,
        ];
        let mut expected = [false; 12];
        expected[10..].fill(true);
        assert_eq!(suspected(&starts), expected, "stays suspected");
    }

    #[test]
    fn a_program_is_suspected_if_a_file_changes_equally_late_after_three_starts_in_a_row() {
        use After::{Live, New};
        for late in [5, 30] {
            let again = Live(late, "state.json");
            assert_eq!(suspected(&[again; 4]), [false, false, false, true]);
            // A user edits another file, or the same one at varying times.
            let other = Live(late, "main.py");
            let later = Live(late * 3 / 2, "state.json");
            for edit in [other, later] {
                assert_eq!(suspected(&[again, edit].repeat(5)), [false; 10]);
            }
        }
        let new = [New(5), Live(5, "upload"), Live(5, "upload")];
        assert_eq!(suspected(&new), [false, false, true]);
    }

    /// Returns which of several changes to these files, each this many seconds after the previous one, make the program
    /// suspected. There is no start in between.
    fn found(mut suspicion: Suspicion, changes: &[(u32, &[&str])]) -> Vec<bool> {
        let mut now = Instant::now();
        suspicion.started(now);
        let mut change = |(seconds, names): &(u32, &[&str])| {
            now += SECOND * *seconds;
            let paths = Vec::from_iter(names.iter().map(PathBuf::from));
            let often = suspicion.changed(now, &paths, false);
            assert!(often.is_empty() || often == [PathBuf::from("run.log")]);
            !often.is_empty()
        };
        changes.iter().map(&mut change).collect()
    }

    #[test]
    fn a_program_is_suspected_once_if_a_file_changes_five_times_at_regular_intervals() {
        let (log, both): (&[_], &[_]) = (&["run.log"], &["main.rs", "run.log"]);
        let fifth = [false, false, false, false, true, false, false];
        for seconds in [0, 3, 30] {
            let changes = [log, both, log, log, both, log, log].map(|names| (seconds, names));
            assert_eq!(found(Suspicion::default(), &changes), fifth);
        }
        // A user saves at varying times, or another file in between.
        let varying = [3, 4, 3, 4, 3, 4, 3].map(|seconds| (seconds, log));
        assert_eq!(found(Suspicion::default(), &varying), [false; 7]);
        let other: &[_] = &["main.rs"];
        let others = [log, log, log, log, other, log, log, log, log].map(|names| (3, names));
        assert_eq!(found(Suspicion::default(), &others), [false; 9]);
        // A program that was seen writing may write at varying times.
        let mut seen = Suspicion::default();
        seen.confirmed();
        assert_eq!(found(seen, &varying), fifth);
    }

    #[test]
    fn after_the_fifth_change_it_takes_a_start_to_find_out_who_writes() {
        let (mut suspicion, mut now) = (Suspicion::default(), Instant::now());
        let (log, other) = ([PathBuf::from("run.log")], ["main.rs".into()]);
        for round in 0..2 {
            assert_eq!(suspicion.started(now), round == 1);
            for time in 1..=7 {
                now += SECOND;
                suspicion.changed(now, &log, false);
                assert_eq!(suspicion.needs_start(&log), time >= 5 && round == 0);
                assert!(!suspicion.needs_start(&other));
            }
        }
    }

    #[test]
    fn a_program_that_was_seen_writing_is_suspected_at_once() {
        let (mut suspicion, now) = (Suspicion::default(), Instant::now());
        assert!(!suspicion.started(now));
        suspicion.confirmed();
        assert!(suspicion.started(now));
    }

    #[test]
    fn only_a_change_soon_after_the_call_is_the_programs() {
        let (calls, start) = (WriteCalls::default(), Instant::now());
        let path = Path::new("state.json");
        let writer = |after| calls.writer(path, start + after);
        assert_eq!(writer(Duration::ZERO), None);
        calls.record(path.into(), 7, start);
        assert_eq!(writer(Duration::ZERO), Some(7));
        assert_eq!(writer(CALL_TO_CHANGE), Some(7));
        assert_eq!(writer(CALL_TO_CHANGE * 2), None, "an edit");
        assert_eq!(calls.writer(Path::new("other"), start), None);
        // A directory was renamed.
        let file = Path::new("dist/assets/main.js");
        calls.record("dist".into(), 8, start);
        calls.record(file.into(), 7, start - CALL_TO_CHANGE * 2);
        assert_eq!(calls.writer(file, start), Some(8));
        assert_eq!(calls.writer(file, start + CALL_TO_CHANGE * 2), None);
        // Older calls are forgotten, so that memory stays bounded.
        calls.record("new".into(), 7, start + KEPT * 2);
        assert_eq!(writer(Duration::ZERO), None);
    }
}
