//! Detects self-triggered runs: a build or a rule's command that writes a file that triggers the next run would run
//! forever. This module has no clock and reads no files: the caller passes the times.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::os::KERNEL_TICK;

/// A file may change in this many runs in a row and still trigger the next run at once, because users save during
/// builds, too. After that, the next run is postponed.
const OFTEN: usize = 3;

/// If a file changes in this many runs in a row, it is taken to be written by the runs themselves, because the last two
/// of them began after a pause without changes.
const PROVEN: usize = OFTEN + 3;

/// Runs that write a file do so at about the same time after each start: from one run to the next, the time differs by
/// at most this plus a quarter of the earlier time. Sooner or later, the times at which a user saves differ by more.
const ABOUT: Duration = Duration::from_millis(500);

/// Like [`ABOUT`], but for two runs that both began after a pause, and with a tenth instead of a quarter.
const ALMOST: Duration = Duration::from_millis(150);

/// How long a run is postponed the first time. Each further time, the pause doubles, up to [`LONGEST_PAUSE`].
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
    /// Do not run, because the runs themselves write these files. Report this, for the first time.
    SelfTriggered,
    /// Do not run, because the runs themselves write these files. This has already been reported.
    Nothing,
}

/// The history of one build's or one command's runs.
#[derive(Debug, Default)]
pub struct SelfTrigger {
    runs: u32,
    newest: Option<LatestRun>,
    /// The pause between the end of the current run and the postponed one.
    pause: Option<Duration>,
    /// When to start the postponed run.
    due: Option<Instant>,
    /// The files that changed during the `last_two` runs.
    seen: BTreeMap<PathBuf, FileHistory>,
    /// The last two runs in which any file changed.
    last_two: [Option<u32>; 2],
    /// The files that were reported as self-triggered.
    own: BTreeSet<PathBuf>,
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
    /// The number of runs in a row in which the file changed, each time at about the same time after the start.
    times: usize,
    /// How many times the file postponed the next run.
    pauses: u32,
    /// How long after the start of the newest run the file changed.
    after: Duration,
}

impl SelfTrigger {
    /// Records that a run has started. The run includes the changes for which a run was postponed.
    pub fn started(&mut self, now: Instant) {
        self.runs += 1;
        self.cancel();
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
        let after = self.newest.and_then(|run| run.saw(batch));
        let verdict = self.judge_files(batch.paths, after.map(|after| (self.runs, after)));
        if let Verdict::Later(pause) = verdict {
            self.cancel();
            match self.newest {
                Some(LatestRun { ended: None, .. }) => self.pause = Some(pause),
                Some(_) | None => self.due = Some(now + pause),
            }
        }
        verdict
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
            self.own.retain(|path| !changed.contains(path));
            return Verdict::Now;
        };
        if self.last_two[0] != Some(run) {
            self.last_two = [Some(run), self.last_two[0]];
        }
        self.seen
            .retain(|_, seen| self.last_two.contains(&Some(seen.run)));
        for path in changed {
            let first = FileHistory::first(run, after);
            let seen = self.seen.entry(path.clone()).or_insert(first);
            seen.again(run, after);
        }
        let others = || changed.iter().filter(|path| !self.own.contains(*path));
        let seen = || others().filter_map(|path| self.seen.get(path));
        match seen().map(|seen| seen.times).min() {
            None => Verdict::Nothing,
            Some(0..=OFTEN) => Verdict::Now,
            Some(times) if times < PROVEN => {
                let pauses = seen().map(|seen| seen.pauses).max().unwrap_or(0);
                let doubled = 2_u32.saturating_pow(pauses.saturating_sub(1));
                Verdict::Later(PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE))
            }
            Some(_) => {
                self.own.extend(changed.iter().cloned());
                Verdict::SelfTriggered
            }
        }
    }
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
            times: 1,
            pauses: 0,
            after,
        }
    }

    /// Records another change to the file. Several changes during one run count once.
    fn again(&mut self, run: u32, after: Duration) {
        if self.run == run {
            return;
        }
        let (before, apart) = (self.after, self.after.abs_diff(after));
        if apart > ABOUT + before / 4 {
            *self = Self::first(run, after);
            return;
        }
        if self.times + 1 < PROVEN || apart <= ALMOST + before / 10 {
            self.times += 1;
        }
        self.pauses += u32::from(self.times > OFTEN);
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
