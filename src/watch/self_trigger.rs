//! Detects self-triggered runs: a build or a rule's command that writes a file that triggers its next run would be run
//! again and again. This module has no clock and reads no files: the caller passes the times.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::os::KERNEL_TICK;

/// If a file changes in this many runs in a row, at almost the same time after each start, it is taken to be written by
/// the runs themselves.
const OFTEN: usize = 3;

/// A file that changes at varying times may change in this many runs in a row and still trigger the next run at once,
/// because users save during builds, too. After that, the runs are postponed longer and longer. If the file then still
/// changes in [`OFTEN`] runs, and never between them, it is taken to be written by the runs themselves.
const MANY: usize = 5;

/// Like [`OFTEN`], but for a file that a user has edited lately: a user who saves while short builds run may do so at
/// almost the same time after each start.
const OFTEN_IF_EDITED: usize = 5;

/// For how many runs after an edit a file counts as edited lately.
const LATELY: u32 = 10;

/// What to do about files that changed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run at once.
    Now,
    /// Cancel the current run, then run again after a short pause (see [`SelfTrigger::due`]). A build that the user's save
    /// has made outdated must not go live.
    AfterPause,
    /// Let the current run end, then run again after a pause (see [`SelfTrigger::due`]).
    Later,
    /// Do not run, because the runs themselves write these files.
    SelfTriggered,
}

/// Tells whether the runs of one build or command write the files that trigger them.
///
/// A run writes its files at almost the same time after each start. A user who saves at regular intervals may do the
/// same. To tell them apart, the third such run is postponed a little: the run's own writes then come later by the same
/// amount of time, and the user's do not.
#[derive(Debug, Default)]
pub struct SelfTrigger {
    /// The number of runs so far.
    runs: u32,
    newest: Option<LatestRun>,
    pause: Option<Pause>,
    /// The files that changed during the newest run, and during the last one before it in which files changed.
    seen: BTreeMap<PathBuf, FileHistory>,
    /// The files that have changed while there was no run, each with the number of the run before its last such change.
    edited: BTreeMap<PathBuf, u32>,
    /// The files that the runs were seen writing at least once.
    made: BTreeSet<PathBuf>,
    /// The files whose changes during a run are ignored.
    own: BTreeSet<PathBuf>,
}

/// The pause before a postponed run.
#[derive(Clone, Copy, Debug)]
struct Pause {
    at_least: Duration,
    /// The pause is at least this many times as long as the newest run.
    times: u32,
    /// Whether the newest run is cancelled.
    cancels: bool,
}

#[derive(Clone, Copy, Debug)]
struct LatestRun {
    started: Instant,
    ended: Option<Instant>,
    /// Whether it began after a pause at least as long as the run before it.
    rested: bool,
}

impl LatestRun {
    /// When the run ended, and how long it took.
    fn end(self) -> Option<(Instant, Duration)> {
        self.ended.map(|ended| (ended, ended - self.started))
    }
}

/// How a file changed during runs.
#[derive(Clone, Copy, Debug)]
struct FileHistory {
    /// The newest run in which the file changed.
    run: u32,
    /// The number of runs in a row in which the file changed.
    times: usize,
    /// The number of runs in a row in which the first change came at almost the same time after the start. Runs during
    /// which no file changed do not count, unless a user has edited the file lately. A run counts as the third only if
    /// it began after a pause.
    alike: usize,
    /// The number of runs in a row in which the file changed and that began after a long pause. A user who saves while
    /// a run is postponed ends the row.
    rested: usize,
    /// How long after the start of the newest run the file first changed.
    after: Duration,
    /// When the file last changed.
    last: Instant,
}

impl SelfTrigger {
    /// Records that a run has started, which includes the changes for which a run was postponed.
    pub fn started(&mut self, now: Instant) {
        // A run during which nothing changes ends no row: an incremental compiler writes nothing in the run that its own
        // output has triggered. But it does end the row of a file that a user has edited lately.
        let last = self.seen.values().map(|seen| seen.run).max();
        let (newest, edited) = (self.runs, &mut self.edited);
        edited.retain(|_, run| *run + LATELY >= newest);
        self.seen.retain(|path, seen| {
            seen.run == newest || Some(seen.run) == last && !edited.contains_key(path)
        });
        let before = self.newest.and_then(LatestRun::end);
        self.runs += 1;
        self.newest = Some(LatestRun {
            started: now,
            ended: None,
            rested: before.is_some_and(|(ended, took)| now - ended >= took),
        });
        self.pause = None;
    }

    /// Records that the run has ended.
    pub const fn ended(&mut self, now: Instant) {
        if let Some(run) = &mut self.newest {
            run.ended = Some(now);
        }
    }

    /// When to start the postponed run, if there is one and the current run has ended.
    pub fn due(&self) -> Option<Instant> {
        let (ended, took) = self.newest?.end()?;
        let pause = self.pause?;
        Some(ended + pause.at_least.max(took * pause.times))
    }

    /// Whether no run may start yet, because of a verdict [`Verdict::AfterPause`].
    pub fn rests(&self, now: Instant) -> bool {
        self.pause.is_some_and(|pause| pause.cancels) && self.due().is_some_and(|due| now < due)
    }

    /// Whether the postponed run is due. It no longer counts as postponed then.
    pub fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        self.pause.take_if(|_| is_due).is_some()
    }

    /// Postpones the next run until the current one has ended, and for as long as that one took.
    pub const fn postpone(&mut self) {
        self.pause = Some(Pause {
            at_least: Duration::ZERO,
            times: 1,
            cancels: false,
        });
    }

    /// Records that a run was seen writing this file. Returns whether the write can be ignored. The first one cannot,
    /// because the run may have read the file before.
    pub fn caught(&mut self, path: &Path) -> bool {
        let first = self.made.insert(path.to_owned());
        if !first {
            self.own.insert(path.to_owned());
        }
        !first
    }

    /// Returns when files changed: the time that the file system states, because events may be late. If that is before
    /// the newest run, the time of the event, because a file server's clock may be behind.
    pub fn time_of(&self, stated: Instant, seen: Instant) -> Instant {
        let is_credible = self.newest.is_none_or(|run| run.started <= stated);
        if is_credible { stated.min(seen) } else { seen }
    }

    /// Whether the runs themselves are known to write all of these files, and the files changed during a run.
    pub fn explains(&self, paths: &[PathBuf], changed: Instant) -> bool {
        self.during(changed).is_some() && paths.iter().all(|path| self.own.contains(path))
    }

    /// Decides whether files that changed together, at this time, trigger a run.
    pub fn judge(&mut self, paths: &[PathBuf], changed: Instant) -> Verdict {
        let Some(newest) = self.during(changed) else {
            // Something other than the runs also writes these files.
            self.seen.retain(|path, _| !paths.contains(path));
            let edited = paths.iter().map(|path| (path.clone(), self.runs));
            self.edited.extend(edited);
            return Verdict::Now;
        };
        if self.explains(paths, changed) {
            return Verdict::SelfTriggered;
        }
        let (run, after) = (self.runs, changed - newest.started);
        let (mut alike, mut rested, mut times) = (usize::MAX, usize::MAX, usize::MAX);
        let mut needed = OFTEN;
        let unexplained = paths.iter().filter(|path| !self.own.contains(*path));
        for path in unexplained {
            let first = FileHistory {
                run,
                times: 1,
                alike: 1,
                rested: 0,
                after,
                last: changed,
            };
            let seen = self.seen.entry(path.clone()).or_insert(first);
            seen.again(run, newest, changed);
            alike = alike.min(seen.alike);
            rested = rested.min(seen.rested);
            times = times.min(seen.times);
            if self.edited.contains_key(path) {
                needed = OFTEN_IF_EDITED;
            }
        }
        if alike >= needed || times > MANY && rested >= OFTEN {
            self.own.extend(paths.iter().cloned());
            return Verdict::SelfTriggered;
        }
        if alike == 1 && times <= MANY {
            return Verdict::Now;
        }
        // Each further run begins after a longer pause, during which a user is more likely to save.
        let times = u32::try_from(times.saturating_sub(MANY)).unwrap_or(u32::MAX);
        let longer = [1, 1, 1, 3, 9][alike.min(4)];
        let cancels = alike == 2 && times == 0;
        self.pause = Some(Pause {
            at_least: 2 * longer * almost(after),
            times,
            cancels,
        });
        match cancels {
            true => Verdict::AfterPause,
            false => Verdict::Later,
        }
    }

    /// The newest run, if files that changed at this time changed during that run.
    fn during(&self, changed: Instant) -> Option<LatestRun> {
        self.newest
            .filter(|run| run.started <= changed && run.ended.is_none_or(|ended| changed <= ended))
    }
}

/// By how much the times of two writes in consecutive runs may differ and still count as almost the same. The first
/// write came this long after the start of its run. Sooner or later, the times at which a user saves differ by more.
pub(super) fn almost(after: Duration) -> Duration {
    Duration::from_millis(150) + after / 20
}

impl FileHistory {
    /// Records another change to the file. Several changes during one run count once.
    fn again(&mut self, run: u32, newest: LatestRun, changed: Instant) {
        if self.run != run {
            let (before, after) = (self.after, changed - newest.started);
            let is_alike = before.abs_diff(after) <= almost(before);
            let paused = newest.started - self.last >= 2 * almost(before);
            self.alike = match is_alike {
                true if paused => self.alike + 1,
                true => 2,
                false => 1,
            };
            if self.run + 1 != run {
                (self.times, self.rested) = (0, 0);
            }
            self.times += 1;
            self.rested += usize::from(newest.rested);
            (self.run, self.after) = (run, after);
        }
        self.last = changed;
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
