//! Reports files that are touched, before it is known whether they have changed, and those whose change has no effect.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
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

    /// Reports that a file was saved that the last build has not read. Leaves out new files, hidden files and files
    /// that are in a hidden directory: most of them belong to a tool.
    pub(super) fn report_unread(&mut self, path: &Path, state: FileState) {
        let below = path.strip_prefix(&self.spec.base).unwrap_or(path);
        let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        if state != FileState::Writing
            && self.spec.inputs.is_some()
            && self.build_began.is_none()
            && self.snapshot.knows(path)
            && self.snapshot.differs(path)
            && !below.iter().any(is_hidden)
            && action_for(&self.spec.rules, path).is_none()
            && self.filter.would_count(path)
        {
            self.report_no_effect(path.to_owned(), false, Instant::now());
        }
    }

    pub(super) fn report_no_effect(&mut self, path: PathBuf, is_input: bool, seen: Instant) {
        self.tree.send(WatchMessage::NoEffect {
            path,
            is_input,
            seen,
        });
    }

    /// Reports that the batch with the files that were touched has been examined.
    pub(super) fn report_settled(&mut self) {
        if self.debounce.deadline().is_none() && std::mem::take(&mut self.touched) {
            self.tree.send(WatchMessage::Settled);
        }
    }
}
