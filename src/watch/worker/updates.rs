//! The inputs of builds: what counts from now on, and which changes a build may have read already.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Worker;
use crate::os::fs_event::FileState;
use crate::watch::WatchUpdate;
use crate::watch::git::GitLocks;
use crate::watch::snapshot::{now, since_1970};

impl Worker {
    /// Remembers that a file had an event although it does not count: the running build may name it as an input.
    pub(super) fn note_uncounted(&mut self, path: &Path) {
        // Without a set of inputs, every file counts already.
        if self.spec.inputs.is_none() {
            return;
        }
        self.snapshot.doubt(path);
        if self.build_began.is_some() {
            self.uncounted.insert(path.to_owned(), now());
        }
    }

    /// The build reads everything as it is now.
    pub(super) fn build_begins(&mut self, began: Duration) {
        self.build_began = Some(began);
        self.uncounted.clear();
    }

    /// Watches another set of files. A file that did not count until now has changed if it had an event after the build
    /// began.
    pub(super) fn update(&mut self, update: WatchUpdate) {
        let since = since_1970(update.since);
        let mut uncounted = std::mem::take(&mut self.uncounted);
        uncounted.retain(|_, time| since <= *time);
        let spec = self.spec.updated(update);
        if spec != self.spec {
            self.spec = spec;
            self.git = GitLocks::around(self.spec.named_paths());
            self.renew_filter();
            self.assume(uncounted.keys());
            self.cover(since);
            self.tree.prune(&mut self.filter);
        }
        // The next build may have begun already.
        self.build_began = self.build_began.filter(|began| since < *began);
        for (path, time) in uncounted {
            if self.filter.file(&path) {
                self.debounce
                    .touch(path, FileState::Unknown, Instant::now());
            } else if self.build_began.is_some() {
                self.uncounted.insert(path, time);
            }
        }
    }

    /// Records that these changed files existed before, so that their present state does not count as the earlier one.
    pub(super) fn assume<'a>(&mut self, paths: impl Iterator<Item = &'a PathBuf>) {
        for path in paths {
            // A build has read the files that it names, even if they are gone by now.
            if self.spec.names(path) || path.is_file() && self.filter.file(path) {
                self.snapshot.assume(path);
            }
        }
    }
}
