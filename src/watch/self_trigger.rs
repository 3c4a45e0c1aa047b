//! Detects self-triggered runs: a build, a rule's command or a program that writes a file that triggers its next run
//! would be run again and again. This module has no clock and reads no files: the caller passes the times.
//!
//! A run writes its files at about the same time after each start. A user who saves at regular intervals may do the
//! same. To tell them apart, the second such run is postponed: the run's own writes then come later by the same amount
//! of time, and the user's do not.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::os::KERNEL_TICK;

/// If a file changes in this many runs in a row, at almost the same time after each start, it is taken to be written by
/// the runs themselves, because the last run began after a pause.
const ALIKE: usize = 3;

/// A file that changes at less regular times may change in this many runs in a row and still trigger the next run at
/// once, because users save during builds, too. After that, the next run is postponed. This is also how often a program
/// must be seen writing a file, or new files of one kind, before it may do so at any time.
const OFTEN: usize = 3;
/// If such a file changes in this many runs in a row, it is taken to be written by the runs themselves.
const PROVEN: usize = OFTEN + 3;

/// How long after the start of a program a change may be part of the start. A limit is needed because a program runs
/// until the next one starts.
const PROGRAM_STARTS: Duration = Duration::from_secs(10);

/// Runs that write a file do so at about the same time after each start: from one run to the next, the time differs by
/// at most this plus a quarter of the earlier time. Sooner or later, the times at which a user saves differ by more.
const ABOUT: Duration = Duration::from_millis(500);

/// Like [`ABOUT`], but for times that are almost the same, and with a twentieth instead of a quarter.
const ALMOST: Duration = Duration::from_millis(150);

/// How long a run is postponed the first time if the times of its writes vary. Each further time, the pause doubles, up
/// to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

/// A point in time on both clocks. File timestamps use the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The monotonic clock.
    pub monotonic: Instant,
    /// The wall clock.
    pub wall: SystemTime,
}

impl Moment {
    /// The current time.
    pub fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

/// Files that changed together.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The paths of the files.
    pub paths: &'a [PathBuf],
    /// When the first and the last event arrived.
    pub seen: (Instant, Instant),
    /// When the last of the files changed (`st_ctime`). `None` if a file is gone, because it may have changed at any
    /// time.
    pub changed: Option<SystemTime>,
}

/// What to do about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run at once.
    Now,
    /// Let the current run end, then wait for this long and run again (see [`SelfTrigger::due`]).
    Later(Duration),
    /// Like `Later`, but the runs seem to write these files all the time, so the pause doubles each time. Report this.
    LaterAndLater(Duration),
    /// Do not run, because the runs themselves write these files. Report this, for the first time.
    SelfTriggered,
    /// Do not run, because the runs themselves write these files. This has already been reported.
    Nothing,
}

/// The history of the runs of one build or command, or of all generations of the program.
#[derive(Debug, Default)]
pub struct SelfTrigger {
    /// Whether these are the generations of the program, which do not end before the next one starts.
    endless: bool,
    runs: u32,
    /// How long after the start of the previous run the newest run started; `None` if there was no previous run.
    gap: Option<Duration>,
    newest: Option<LatestRun>,
    /// The pause between the end of the current run and the postponed one.
    pause: Option<Duration>,
    /// When to start the postponed run.
    due: Option<Instant>,
    /// The files that changed during the `last_two` runs.
    seen: BTreeMap<PathBuf, FileHistory>,
    /// The last two runs in which any file changed.
    last_two: [Option<u32>; 2],
    /// The files that the runs are known to write, and how long after a start changes to them are ignored.
    own: BTreeMap<PathBuf, Duration>,
    /// For each file that the runs were seen writing, how often they had it open only for a moment.
    caught: BTreeMap<PathBuf, usize>,
    /// How many files the runs had open only for a moment, by directory and extension.
    filled: BTreeMap<(PathBuf, OsString), usize>,
}

#[derive(Clone, Copy, Debug)]
struct LatestRun {
    started: Instant,
    ended: Option<Moment>,
}

/// How a file changed during runs.
#[derive(Clone, Copy, Debug)]
struct FileHistory {
    /// The newest run in which the file changed.
    run: u32,
    /// The number of runs in a row in which the first change came at almost the same time after the start.
    alike: usize,
    /// Whether the last change came at almost the same time in both runs before the newest one, and no change came
    /// shortly before the newest run started. A user who saves quickly and regularly continues to do so while a run is
    /// postponed.
    settled: bool,
    /// The number of runs in a row in which the file changed, each time at about the same time after the start.
    times: usize,
    /// How many times the file postponed the next run.
    pauses: u32,
    /// How long after the start of the newest run the file first changed.
    after: Duration,
    /// How long after the start of the newest run the file last changed.
    last: Duration,
    /// The same for the previous run in which the file changed.
    last_before: Duration,
}

impl SelfTrigger {
    /// The history of the generations of a program.
    pub fn of_program() -> Self {
        Self {
            endless: true,
            ..Self::default()
        }
    }

    /// Records that a run has started. If it includes the changes for which a run was postponed,
    /// [`cancel`](Self::cancel) the postponed one.
    pub fn started(&mut self, now: Instant) {
        self.runs += 1;
        self.gap = self.newest.map(|run| now - run.started);
        self.newest = Some(LatestRun {
            started: now,
            ended: None,
        });
    }

    /// Records that the run has ended.
    pub fn ended(&mut self, now: Moment) {
        if let Some(run) = &mut self.newest {
            run.ended = Some(now);
        }
        if let Some(pause) = self.pause.take() {
            self.due = Some(now.monotonic + pause);
        }
    }

    /// Decides whether this batch triggers a run. `now` is the monotonic time.
    pub fn judge(&mut self, batch: &Batch<'_>, now: Instant) -> Verdict {
        let during = self.during(batch).map(|after| (self.runs, after));
        let verdict = self.judge_files(batch.paths, during);
        if let Verdict::Later(pause) | Verdict::LaterAndLater(pause) = verdict {
            match self.newest {
                Some(LatestRun { ended: None, .. }) if !self.endless => self.pause = Some(pause),
                // Further changes do not postpone the run any further.
                Some(_) | None => self.due = Some(self.due.unwrap_or(now + pause)),
            }
        }
        verdict
    }

    /// How long after the start of the newest run these files changed; `None` unless all of them changed during that
    /// run. Long after a program's start, changes do not count as made during its run.
    pub fn during(&self, batch: &Batch<'_>) -> Option<Duration> {
        let after = self.newest.and_then(|run| run.saw(batch));
        let is_start = |after: &Duration| *after < PROGRAM_STARTS || self.due.is_some();
        after.filter(|after| !self.endless || is_start(after))
    }

    /// Whether this file is known to be written by the runs themselves, and has changed at a time when they write it.
    /// `during`: how long after the start of the newest run it changed, if it changed during that run.
    pub fn explains(&self, path: &Path, during: Option<Duration>) -> bool {
        self.own.get(path).is_some_and(|until| {
            let always = self.endless && *until == Duration::MAX;
            always || during.is_some_and(|after| after <= *until)
        })
    }

    /// Records that the newest run was seen writing this file. `short`: it had the file open only for a moment, so it
    /// may write it again without being seen. A build may write it at any time during the build.
    pub fn caught(&mut self, path: &Path, during: Option<Duration>, short: bool) {
        let caught = self.caught.entry(path.to_owned()).or_default();
        *caught += usize::from(short);
        if short && *caught == 1 {
            *self.filled.entry(kind(path)).or_default() += 1;
        }
        let until = match !self.endless || *caught >= OFTEN {
            true => Duration::MAX,
            false => during.map_or(Duration::ZERO, |after| after + almost(after)),
        };
        let own = self.own.entry(path.to_owned()).or_default();
        *own = until.max(*own);
    }

    /// Whether the runs themselves create files like this one, such as uploads with ever new names, or remove this
    /// file, such as a pid file at the end.
    pub fn makes(&self, path: &Path, is_new: bool, is_gone: bool) -> bool {
        let fills = || {
            self.filled
                .get(&kind(path))
                .is_some_and(|files| *files >= OFTEN)
        };
        is_new && fills() || is_gone && self.caught.get(path).is_some_and(|caught| *caught > 0)
    }

    /// When to start the postponed run, if there is one.
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Cancels the postponed run.
    pub const fn cancel(&mut self) {
        self.pause = None;
        self.due = None;
    }

    /// Decides whether files that changed together trigger a run. `during` is the run in which all of them changed, if
    /// any, and how long after its start they changed.
    fn judge_files(&mut self, changed: &[PathBuf], during: Option<(u32, Duration)>) -> Verdict {
        let Some((run, after)) = during else {
            // Something other than the runs also writes these files.
            self.seen.clear();
            return Verdict::Now;
        };
        if self.last_two[0] != Some(run) {
            self.last_two = [Some(run), self.last_two[0]];
        }
        self.seen
            .retain(|_, seen| self.last_two.contains(&Some(seen.run)));
        let mut unexplained = changed.to_vec();
        unexplained.retain(|path| !self.explains(path, Some(after)));
        if unexplained.is_empty() {
            return Verdict::Nothing;
        }
        for path in &unexplained {
            let first = FileHistory::first(run, after);
            let seen = self.seen.entry(path.clone()).or_insert(first);
            seen.again(run, after, self.gap.unwrap_or(Duration::MAX));
        }
        let seen = || unexplained.iter().filter_map(|path| self.seen.get(path));
        let alike = seen().map(|seen| seen.alike).min().unwrap_or(0);
        // A user who saves while the program runs must not be mistaken for the program.
        let times = seen().map(|seen| seen.times).min();
        let times = times.filter(|_| !self.endless).unwrap_or(0);
        let is_settled = seen().all(|seen| seen.settled);
        let doubled = |times: u32| 2_u32.saturating_pow(times);
        if alike >= ALIKE && is_settled || times >= PROVEN {
            let last = seen().map(|seen| seen.last_before).max().unwrap_or(after);
            let until = match self.endless {
                true => last + almost(last),
                false => Duration::MAX,
            };
            for path in unexplained {
                self.seen.remove(&path);
                self.own.insert(path, until);
            }
            Verdict::SelfTriggered
        } else if alike >= ALIKE && self.endless {
            let pauses = u32::try_from(alike - 2).unwrap_or(u32::MAX);
            let pause = (2 * almost(after)).saturating_mul(doubled(pauses));
            Verdict::LaterAndLater(pause.min(LONGEST_PAUSE))
        } else if alike == 2 {
            Verdict::Later(2 * almost(after))
        } else if times > OFTEN {
            let pauses = seen().map(|seen| seen.pauses).max().unwrap_or(0);
            let pause = PAUSE.saturating_mul(doubled(pauses.saturating_sub(1)));
            Verdict::Later(pause.min(LONGEST_PAUSE))
        } else {
            Verdict::Now
        }
    }
}

/// The directory and the extension of a file.
fn kind(path: &Path) -> (PathBuf, OsString) {
    let dir = path.parent().unwrap_or(path);
    let extension = path.extension().unwrap_or_default();
    (dir.to_owned(), extension.to_owned())
}

/// By how much the times of two writes in consecutive runs may differ and still count as almost the same. The first
/// write came this long after the start of its run.
fn almost(after: Duration) -> Duration {
    ALMOST + after / 20
}

impl LatestRun {
    /// How long after the start of this run the batch's first event arrived; `None` unless the files changed during the
    /// run. Events for the run's own writes usually arrive before hotrun learns that the run has ended. Events for a
    /// save after the run arrive later.
    fn saw(&self, batch: &Batch<'_>) -> Option<Duration> {
        let (first, last) = batch.seen;
        let during = self.ended.is_none_or(|end| {
            // Even if the events arrived after the end, the files may have changed before it.
            let before_end = |changed: SystemTime| changed + KERNEL_TICK < end.wall;
            last <= end.monotonic || batch.changed.is_some_and(before_end)
        });
        (self.started <= first && during).then(|| first - self.started)
    }
}

impl FileHistory {
    const fn first(run: u32, after: Duration) -> Self {
        Self {
            run,
            alike: 1,
            settled: false,
            times: 1,
            pauses: 0,
            after,
            last: after,
            last_before: after,
        }
    }

    /// Records another change to the file. Several changes during one run count once. `gap`: how long after the start
    /// of the previous run this run started.
    fn again(&mut self, run: u32, after: Duration, gap: Duration) {
        if self.run == run {
            self.last = after;
            return;
        }
        let (before, apart) = (self.after, self.after.abs_diff(after));
        if apart > ABOUT + before / 4 {
            *self = Self::first(run, after);
            return;
        }
        let is_alike = apart <= almost(before);
        self.alike = if is_alike { self.alike + 1 } else { 1 };
        self.settled = self.last.abs_diff(self.last_before) <= almost(self.last_before)
            && gap.saturating_sub(self.last) >= 2 * almost(self.last);
        if self.times + 1 < PROVEN || is_alike {
            self.times += 1;
        }
        self.pauses += u32::from(self.times > OFTEN);
        (self.last_before, self.last) = (self.last, after);
        (self.run, self.after) = (run, after);
    }
}

/// The time in which cargo itself may write `Cargo.lock` during a build: from the start of the build to its first
/// message, because cargo compiles only after it has written the file.
#[derive(Clone, Debug)]
pub struct LockFileWindow {
    /// When the build started.
    pub started: SystemTime,
    /// When cargo printed its first message or, if it printed nothing, when the build ended.
    pub until: Arc<OnceLock<SystemTime>>,
}

impl LockFileWindow {
    /// Whether cargo itself may have written a lock file with this modification time.
    pub fn contains(&self, written: SystemTime) -> bool {
        let until = self.until.get();
        self.started <= written + KERNEL_TICK && until.is_none_or(|until| written <= *until)
    }
}

#[cfg(test)]
mod tests;
