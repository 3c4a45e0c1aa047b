//! What the worker covers: which files are watched and count.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::WatchWorker;
use crate::os::fs_event::FileState;
use crate::watch::filter::Filter;
use crate::watch::paths::git_lock;
use crate::watch::spec::WatchUpdate;

impl WatchWorker {
    pub(super) fn renew_filter(&mut self) {
        // Cannot fail, because the patterns were accepted at the start.
        if let Ok(filter) = Filter::new(&self.spec) {
            self.filter = filter;
        }
    }

    /// Applies a new filter. The `changed` paths have had events. Those that count from now on are recorded as files
    /// with unknown earlier contents, so that their events count as changes. Any other file that is found for the first
    /// time counts as changed only if it changed after `since`.
    pub(super) fn change_filter<'a>(
        &mut self,
        changed: impl Iterator<Item = &'a PathBuf>,
        since: SystemTime,
    ) {
        self.renew_filter();
        for path in changed {
            // A build has read the files that it reports as inputs, even if they are already gone.
            let inputs = self.spec.inputs.as_ref();
            let is_input = inputs.is_some_and(|inputs| inputs.files.contains(path));
            let exists = path.is_file() || path.is_symlink();
            if is_input || exists && self.filter.counts(path) {
                self.snapshot.add_earlier(path);
            }
        }
        self.cover(since);
        self.tree.prune(&mut self.filter);
    }

    /// Watches everything that passes the filter. A file found for the first time counts as changed only if it changed
    /// after `since`.
    pub(super) fn cover(&mut self, since: SystemTime) {
        let mut files = self.tree.cover(&mut self.filter);
        while self.follow() {
            files.extend(self.tree.cover(&mut self.filter));
        }
        for file in files {
            if self.snapshot.add(&file, since) && self.filter.counts(&file) {
                self.touch(&file, FileState::Unknown);
            }
        }
        self.unread = self.snapshot.unread();
    }

    /// Also watches the targets of the symbolic links that were found, unless they are watched anyway. Returns whether
    /// it found any. A build reports the targets of its inputs itself.
    fn follow(&mut self) -> bool {
        if self.spec.inputs.is_some() {
            return false;
        }
        let mut found = false;
        for link in &self.tree.links {
            let counts = match link.is_dir() {
                true => self.filter.covers(link),
                false => self.filter.counts(link),
            };
            let Some(target) = link.canonicalize().ok().filter(|_| counts) else {
                continue;
            };
            let mut roots = self.spec.roots.iter().chain(&self.targets);
            // A link to a directory that contains a root is not followed: that directory may contain the link itself,
            // and following it would never end.
            if !roots.any(|root| target.starts_with(root) || root.starts_with(&target)) {
                found |= self.targets.insert(target);
            }
        }
        if found {
            self.resolve();
            self.renew_filter();
        }
        found
    }

    /// Resolves the symbolic links in the paths of what is watched.
    pub(super) fn resolve(&mut self) {
        let mut given = self.given.clone();
        // Inputs include the targets of links.
        if given.inputs.is_none() {
            given.roots.extend(self.targets.iter().cloned());
        }
        self.spec = given.normalised();
        self.git_locks = self.spec.named_paths().filter_map(git_lock).collect();
    }

    /// Watches a different set of files. A file that counts only from now on is reported as changed if it has had an
    /// event since the build began.
    pub(super) fn update(&mut self, update: WatchUpdate) {
        let since = update.since;
        let mut uncounted = std::mem::take(&mut self.uncounted);
        let before = self.spec.clone();
        self.given.roots = update.roots;
        self.given.ignored_dirs = update.ignored_dirs;
        self.given.inputs = update.inputs;
        self.resolve();
        let is_same = before.roots == self.spec.roots
            && before.links == self.spec.links
            && before.ignored_dirs == self.spec.ignored_dirs
            && before.inputs == self.spec.inputs;
        if !is_same {
            self.change_filter(uncounted.iter(), since);
        }
        // The next build may already have begun.
        self.build_began = self.build_began.filter(|began| since < *began);
        uncounted.retain(|path| {
            let counts = self.filter.counts(path);
            if counts {
                self.touch(path, FileState::Unknown);
            }
            !counts && self.build_began.is_some()
        });
        self.uncounted = uncounted;
    }

    /// Forgets a removed path at which no file is known: it may be a temporary file that was renamed, for example. If it
    /// was the directory of a missing file, reports that file: the last build may have failed because of the directory,
    /// such as one without a manifest that matches the members of a workspace.
    pub(super) fn forget_unknown(&mut self, dir: &Path) {
        self.debounce.forget(dir);
        let is_below = |root: &&Path| *root != dir && root.starts_with(dir);
        let missing = self.spec.named_paths().filter(is_below);
        let missing = missing.filter(|_| self.tree.knows(dir));
        for path in missing.map(Path::to_owned).collect::<Vec<_>>() {
            self.snapshot.add_earlier(&path);
            self.touch(&path, FileState::Unknown);
        }
    }
}
