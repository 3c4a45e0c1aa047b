//! Finds self-triggered runs: a build, or the command of a rule, writes a file that causes it to run again, so that it
//! would run forever. Pure: the caller passes the time and what the file system says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// A file may change in this many runs in a row, and cause the next one at once, as it does when a user saves during
/// builds.
const OFTEN: usize = 3;

/// From then on each run ends, and the next one waits until the file has not changed for a while. If the file still
/// changes in this many runs in a row, the runs write it: the last two began when nothing had changed for a while.
const PROVEN: usize = OFTEN + 3;

/// A run writes a file after about the same time in each run. A user who saves during runs does not, for long.
const ABOUT: Duration = Duration::from_millis(500);

/// The same for two runs that both began when nothing had changed for a while.
const ALMOST: Duration = Duration::from_millis(150);

/// How long nothing must change before the next run; doubled each time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

/// The kernel's clock for files may be late by this: 10 ms with `CONFIG_HZ=100`, see `ktime_get_coarse_real_ts64`.
const TICK: Duration = Duration::from_millis(10);

/// A point in time on both clocks: files have the wall clock's.
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
    /// Their paths.
    pub paths: &'a [PathBuf],
    /// When the first and the last event arrived.
    pub seen: (Instant, Instant),
    /// When the last of them changed (`st_ctime`). `None` if one is gone: then it may have changed at any time.
    pub changed: Option<SystemTime>,
}

/// What to do about a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run at once.
    Now,
    /// Let the current run end. [`SelfTrigger::due`] says when to run again, unless something else causes a run first.
    Later,
    /// Do nothing: the runs write these files, which was not known before.
    SelfTriggered(Vec<PathBuf>),
    /// Do nothing: the runs write these files, as reported before.
    Nothing,
}

/// The runs of one build or one command.
#[derive(Debug, Default)]
pub struct SelfTrigger {
    runs: u32,
    newest: Option<Run>,
    history: History,
    next: Next,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    started: Instant,
    ended: Option<Moment>,
}

/// Whether a run was put off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    None,
    /// This long after the end of the current run.
    AfterThis(Duration),
    At(Instant),
}

impl SelfTrigger {
    /// A run has started. It also sees the changes for which one was put off.
    pub fn started(&mut self, now: Instant) {
        self.runs += 1;
        self.next = Next::None;
        self.newest = Some(Run {
            started: now,
            ended: None,
        });
    }

    /// The run has ended.
    pub fn ended(&mut self, now: Moment) {
        if let Some(run) = &mut self.newest {
            run.ended = Some(now);
        }
        if let Next::AfterThis(pause) = self.next {
            self.next = Next::At(now.monotonic + pause);
        }
    }

    /// Decides whether this batch causes a run. `now` is the monotonic clock.
    pub fn judge(&mut self, batch: &Batch<'_>, now: Instant) -> Verdict {
        let after = self.newest.and_then(|run| run.saw(batch));
        let during = after.map(|after| (self.runs, after));
        match self.history.judge(batch.paths, during) {
            Judgement::Now => Verdict::Now,
            Judgement::Later(pause) => {
                let runs = self.newest.is_some_and(|run| run.ended.is_none());
                self.next = match runs {
                    true => Next::AfterThis(pause),
                    false => Next::At(now + pause),
                };
                Verdict::Later
            }
            Judgement::SelfTriggered => Verdict::SelfTriggered(batch.paths.to_vec()),
            Judgement::Nothing => Verdict::Nothing,
        }
    }

    /// When to start the run that was put off, if one was.
    pub const fn due(&self) -> Option<Instant> {
        match self.next {
            Next::None | Next::AfterThis(_) => None,
            Next::At(moment) => Some(moment),
        }
    }

    /// Forgets the run that was put off.
    pub const fn cancel(&mut self) {
        self.next = Next::None;
    }
}

impl Run {
    /// How long after the start of this run the batch was heard of, if its files changed during the run. Events of what
    /// the run itself wrote mostly arrive before its end is known; those of a save made because the run has ended, after.
    fn saw(&self, batch: &Batch<'_>) -> Option<Duration> {
        let (first, last) = batch.seen;
        let during = self.ended.is_none_or(|end| {
            // The events may have been late.
            let before_end = |changed: SystemTime| changed + TICK < end.wall;
            last <= end.monotonic || batch.changed.is_some_and(before_end)
        });
        (self.started <= first && during).then(|| first - self.started)
    }
}

/// Which files changed during runs, run after run.
#[derive(Debug, Default)]
struct History {
    seen: BTreeMap<PathBuf, Seen>,
    /// The newest run in which a file changed, and the one before.
    runs: [Option<u32>; 2],
    /// The files that were reported as self-triggered.
    own: BTreeSet<PathBuf>,
}

/// How a file changed during runs.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The newest run.
    run: u32,
    /// In how many runs in a row, each time about as long after the start.
    times: usize,
    /// How often the next run was put off because of it.
    pauses: u32,
    /// How long after the start of the newest run.
    after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Now,
    /// Run again once the current run has ended and nothing has changed for this long.
    Later(Duration),
    SelfTriggered,
    Nothing,
}

impl History {
    /// `changed` are all files that changed together. `during` is the run in which all of them changed, if they did, and
    /// how long after its start.
    fn judge(&mut self, changed: &[PathBuf], during: Option<(u32, Duration)>) -> Judgement {
        let Some((run, after)) = during else {
            self.forget(changed);
            return Judgement::Now;
        };
        self.count(changed, run, after);
        let others = || changed.iter().filter(|path| !self.own.contains(*path));
        let seen = || others().filter_map(|path| self.seen.get(path));
        let pauses = seen().map(|seen| seen.pauses).max().unwrap_or(0);
        match seen().map(|seen| seen.times).min() {
            None => Judgement::Nothing,
            Some(0..=OFTEN) => Judgement::Now,
            Some(times) if times < PROVEN => Judgement::Later(pause(pauses)),
            Some(_) => {
                self.own.extend(changed.iter().cloned());
                Judgement::SelfTriggered
            }
        }
    }

    fn count(&mut self, changed: &[PathBuf], run: u32, after: Duration) {
        if self.runs[0] != Some(run) {
            self.runs = [Some(run), self.runs[0]];
        }
        let runs = self.runs;
        self.seen.retain(|_, seen| runs.contains(&Some(seen.run)));
        for path in changed {
            let first = Seen::first(run, after);
            let seen = self.seen.entry(path.clone());
            seen.and_modify(|seen| seen.again(run, after))
                .or_insert(first);
        }
    }

    /// Something else writes them too.
    fn forget(&mut self, changed: &[PathBuf]) {
        self.seen.clear();
        for path in changed {
            self.own.remove(Path::new(path));
        }
    }
}

impl Seen {
    const fn first(run: u32, after: Duration) -> Self {
        Self {
            run,
            times: 1,
            pauses: 0,
            after,
        }
    }

    /// Several changes in one run count once.
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

fn pause(number: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(number.saturating_sub(1));
    PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

/// When cargo itself may write `Cargo.lock` in a build: from the start of the build to its first message, because cargo
/// compiles only after it has written the file.
#[derive(Clone, Debug)]
pub struct LockFileWindow {
    /// When the build started.
    pub started: SystemTime,
    /// When cargo printed its first message.
    pub first_message: Arc<OnceLock<SystemTime>>,
    /// When the build ended; decides if cargo printed nothing.
    pub ended: Option<SystemTime>,
}

impl LockFileWindow {
    /// For a build that starts now.
    pub fn new(started: SystemTime) -> Self {
        Self {
            started,
            first_message: Arc::default(),
            ended: None,
        }
    }

    /// Whether cargo wrote a lock file with this modification time.
    pub fn contains(&self, written: SystemTime) -> bool {
        let until = self.first_message.get().copied().or(self.ended);
        self.started <= written + TICK && until.is_none_or(|until| written <= until)
    }
}

#[cfg(test)]
mod tests;
