//! What a build may have read, and what it teaches.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Worker;
use crate::watch::WatchUpdate;
use crate::watch::debounce::State;
use crate::watch::git::Git;
use crate::watch::snapshot::{now, since_1970};

impl Worker {
    pub(super) fn pass_over(&mut self, path: &Path) {
        // Where everything counts that can, a build has nothing to teach.
        if self.spec.exact.is_none() {
            return;
        }
        self.snapshot.doubt(path);
        if self.build.is_some() {
            self.passed_over.insert(path.to_owned(), now());
        }
    }

    /// It reads everything as it is now.
    pub(super) fn build_begins(&mut self, began: Duration) {
        self.build = Some(began);
        self.passed_over.clear();
    }

    /// What counts is another set of files. Those of which something was heard while they did not, and since the
    /// build began that read them, are changes now.
    pub(super) fn update(&mut self, revision: WatchUpdate) {
        let since = since_1970(revision.since);
        let mut passed_over = std::mem::take(&mut self.passed_over);
        passed_over.retain(|_, heard| since <= *heard);
        let spec = self.spec.updated(revision);
        if spec != self.spec {
            self.spec = spec;
            self.git = Git::around(self.spec.places());
            self.renew_filter();
            self.suppose(passed_over.keys());
            self.cover(since);
            self.tree.prune(&mut self.filter);
        }
        // The next build may have begun already.
        self.build = self.build.filter(|began| since < *began);
        for (path, heard) in passed_over {
            if self.filter.file(&path) {
                self.debounce.touch(path, State::Unsure, Instant::now());
            } else if self.build.is_some() {
                self.passed_over.insert(path, heard);
            }
        }
    }

    /// These have changed: how they are now must not be noted as how they were.
    pub(super) fn suppose<'a>(&mut self, paths: impl Iterator<Item = &'a PathBuf>) {
        for path in paths {
            // What a build names it has read. It may be gone since.
            if self.spec.names(path) || path.is_file() && self.filter.file(path) {
                self.snapshot.suppose(path);
            }
        }
    }
}
