//! Reports files that are touched, before it is known whether they have changed.

use std::path::Path;
use std::time::Instant;

use super::WatchWorker;
use crate::os::fs_event::FileState;
use crate::watch::rule::{RuleAction, action_for};
use crate::watch::spec::WatchMessage;

impl WatchWorker {
    /// Adds a file to the next batch of changes.
    pub(super) fn touch(&mut self, path: &Path, state: FileState) {
        let seen = Instant::now();
        let action = action_for(&self.spec.rules, path).unwrap_or(&RuleAction::Build);
        if self.spec.reports_touched
            && matches!(action, RuleAction::Build | RuleAction::Restart)
            // A program writes to a log without end. A file that is saved is closed soon.
            && state != FileState::Writing
            && !self.held.is_known(path, seen)
        {
            self.touched = true;
            self.tree.send(WatchMessage::Touched);
        }
        self.debounce.touch(path.to_owned(), state, seen);
    }

    /// Reports that the batch with the files that were touched has been examined.
    pub(super) fn report_settled(&mut self) {
        if self.debounce.deadline().is_none() && std::mem::take(&mut self.touched) {
            self.tree.send(WatchMessage::Settled);
        }
    }
}
