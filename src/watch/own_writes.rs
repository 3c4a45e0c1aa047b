//! Recognizes the files that a program writes and closes at once.
//!
//! The calls that write files are intercepted only once the program is suspected, because interception has a cost, and
//! may make such a call fail with `EINTR` (see [`os::seccomp`](crate::os::seccomp)).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After this many starts in a row, a file must change for no known reason before the program is suspected.
const STARTS: u32 = 2;

/// For how long after a switch or the end of a generation a change may be due to it.
const SOON: Duration = Duration::from_secs(1);

/// Suspects a program of writing watched files. Has no clock: the time is passed as an argument.
#[derive(Debug, Default)]
pub struct Suspicion {
    /// Whether the program is suspected. Never becomes false again.
    suspected: bool,
    /// The number of starts in a row after which a file changed soon, or a new one appeared.
    starts: u32,
    /// Whether that is true of the newest start.
    changed: bool,
    /// When a generation last went live or ended, if that was after the newest start.
    settled: Option<Instant>,
}

impl Suspicion {
    /// Records that a generation is started. Returns whether to intercept its calls that write files.
    pub const fn started(&mut self) -> bool {
        self.starts = if self.changed { self.starts + 1 } else { 0 };
        self.suspected |= self.starts >= STARTS;
        (self.changed, self.settled) = (false, None);
        self.suspected
    }

    /// Records that a generation has gone live or ended.
    pub const fn settled(&mut self, now: Instant) {
        self.settled = Some(now);
    }

    /// Records that files changed for no known reason, and whether one of them is new: an upload, for example, may come
    /// at any time. The user may have edited the files.
    pub fn changed(&mut self, at: Instant, any_is_new: bool) {
        let is_soon = self.settled.is_none_or(|settled| at <= settled + SOON);
        self.changed |= is_soon || any_is_new;
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
    /// For each file, when the newest call was made, and the pid of our child whose process tree made it.
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
        let (at, child) = calls.newest.get(path)?;
        (changed <= *at + CALL_TO_CHANGE).then_some(*child)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_suspected_after_changes_after_two_starts_in_a_row() {
        let now = Instant::now();
        let mut suspicion = Suspicion::default();
        let mut start = |change: fn(&mut Suspicion, Instant)| {
            let suspected = suspicion.started();
            change(&mut suspicion, now);
            suspected
        };
        let none: fn(&mut Suspicion, _) = |_, _| ();
        let early = |suspicion: &mut Suspicion, now| suspicion.changed(now, false);
        let soon = |suspicion: &mut Suspicion, now| {
            suspicion.settled(now);
            suspicion.changed(now + SOON, false);
        };
        let late = |suspicion: &mut Suspicion, now| {
            suspicion.settled(now);
            suspicion.changed(now + SOON * 2, false);
        };
        let new = |suspicion: &mut Suspicion, now| {
            suspicion.settled(now);
            suspicion.changed(now + SOON * 2, true);
        };
        for change in [early, none, early, late, soon, none, new, late, new, early] {
            assert!(!start(change));
        }
        assert!(start(none) && start(none), "stays suspected");
    }

    #[test]
    fn a_program_that_was_seen_writing_is_suspected_at_once() {
        let mut suspicion = Suspicion::default();
        assert!(!suspicion.started());
        suspicion.confirmed();
        assert!(suspicion.started());
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
        // Older calls are forgotten, so that memory stays bounded.
        calls.record("new".into(), 7, start + KEPT * 2);
        assert_eq!(writer(Duration::ZERO), None);
    }
}
