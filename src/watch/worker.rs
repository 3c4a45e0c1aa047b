use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::UnboundedSender;

use super::debounce::Debounce;
use super::git::GitLocks;
use super::snapshot::{Snapshot, now, since_1970};
use super::tree::Tree;
use super::{Filter, Message, Trouble, WatchSpec, WatchUpdate};
use crate::os;
use crate::os::fs_event::{FileState, FsEvent, Source};

/// What the thread waits for.
#[derive(Debug)]
pub(super) enum Input {
    /// The system reports something.
    Fs(FsEvent),
    /// A build began at this time.
    Build(SystemTime),
    /// A build has named its inputs.
    Update(WatchUpdate),
    /// The watch was dropped.
    Stop,
}

/// The thread that watches.
pub(super) struct Worker {
    spec: WatchSpec,
    filter: Filter,
    tree: Tree,
    snapshot: Snapshot,
    debounce: Debounce,
    git: GitLocks,
    /// Files to read ahead, the first at the end.
    unread: Vec<PathBuf>,
    /// When the newest build began, until it has named its inputs.
    build_began: Option<Duration>,
    /// Files that had events since then and did not count, and when: the build may have read them.
    uncounted: BTreeMap<PathBuf, Duration>,
    /// Whether an overflow was reported since the last batch of changes.
    overflow_reported: bool,
    inputs: Receiver<Input>,
    /// Taken from `inputs`, but not handled yet.
    peeked: Option<Input>,
    messages: UnboundedSender<Message>,
}

impl Worker {
    pub(super) fn new(
        spec: WatchSpec,
        filter: Filter,
        source: Option<Source>,
        inputs: Receiver<Input>,
        messages: UnboundedSender<Message>,
    ) -> Self {
        Self {
            filter,
            tree: Tree::new(source, spec.poll),
            snapshot: Snapshot::new(),
            debounce: Debounce::new(spec.debounce),
            git: GitLocks::around(spec.named_paths()),
            unread: Vec::new(),
            build_began: None,
            uncounted: BTreeMap::new(),
            overflow_reported: false,
            inputs,
            peeked: None,
            messages,
            spec,
        }
    }

    pub(super) fn run(mut self) {
        self.cover(self.snapshot.started());
        self.send(Message::Watching {
            dirs: self.tree.len(),
            files: self.snapshot.len(),
        });
        loop {
            match self.next() {
                Ok(Input::Fs(event)) => self.fs_event(event),
                Ok(Input::Build(began)) => self.build_begins(since_1970(began)),
                Ok(Input::Update(update)) => self.update(update),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.messages.is_closed() {
                return;
            }
            self.poll();
            self.check_writers();
            self.flush();
        }
    }

    /// Waits for an input or the next deadline. If there are files to read ahead, reads one and does not wait.
    fn next(&mut self) -> Result<Input, RecvTimeoutError> {
        if let Some(input) = self.peeked.take() {
            Ok(input)
        } else if let Some(file) = self.unread.pop() {
            self.snapshot.read_ahead(&file);
            self.inputs.recv_timeout(Duration::ZERO)
        } else if let Some(deadline) = self.deadline() {
            let wait = deadline.saturating_duration_since(Instant::now());
            self.inputs.recv_timeout(wait)
        } else {
            Ok(self.inputs.recv()?)
        }
    }

    fn deadline(&mut self) -> Option<Instant> {
        let poll = self.tree.polled.deadline(Instant::now());
        let batch = self.debounce.deadline();
        let silence = self.debounce.silence_deadline();
        batch.into_iter().chain(poll).chain(silence).min()
    }

    /// Scans the polled directories when it is time.
    fn poll(&mut self) {
        let began = Instant::now();
        let deadline = self.tree.polled.deadline(began);
        if deadline.is_none_or(|deadline| began < deadline) {
            return;
        }
        for dir in self.tree.polled.dirs() {
            self.scan(&dir);
        }
        self.report_troubles();
        let now = Instant::now();
        self.tree.polled.scanned(now, now - began);
    }

    fn scan(&mut self, dir: &Path) {
        let mut paths = self.snapshot.within(dir);
        for (path, is_dir) in self.tree.read(dir) {
            if !is_dir {
                paths.push(path);
            } else if !self.tree.knows(&path) {
                self.dir_appeared(&path);
                // A directory that only leads to a root is not watched. Polling makes it known.
                if self.leads_to_root(&path) && !self.tree.knows(&path) {
                    self.tree.polled.insert(&path);
                }
            }
        }
        paths.retain(|path| self.snapshot.differs(path));
        for path in paths {
            self.touched(&path, FileState::Unknown);
        }
        // If it comes back, the scan of its parent finds it. Only a root may have no polled parent.
        if !self.leads_to_root(dir) && !dir.exists() {
            self.tree.polled.remove(dir);
        }
    }

    /// Checks files that are being written but have had no event for a while. No close follows if a file was truncated
    /// by its path, without being opened; and a file that was complete before has waited long enough.
    fn check_writers(&mut self) {
        let now = Instant::now();
        for (path, was_complete) in self.debounce.silent_writes(now) {
            let state = match !was_complete && os::is_being_written(&path) {
                true => FileState::Writing,
                false => FileState::Unknown,
            };
            self.debounce.touch(path, state, now);
        }
    }

    fn fs_event(&mut self, event: FsEvent) {
        match event {
            FsEvent::Touched(path, state) => self.touched(&path, state),
            FsEvent::Overflow => self.rescan(),
            FsEvent::Failed(reason) => {
                self.tree.source_failed(reason);
                self.debounce.stop_waiting_for_writers(Instant::now());
                self.report_troubles();
            }
        }
    }

    /// Handles an event at `path`. Files are examined when it is quiet, but directories immediately: they have to be
    /// watched before more happens in them.
    fn touched(&mut self, path: &Path, state: FileState) {
        match path.symlink_metadata() {
            // A symbolic link is not followed: its target is watched where it is, or not at all.
            Ok(metadata) if metadata.is_dir() => self.dir_appeared(path),
            Ok(_) => self.file_touched(path, state),
            Err(_) => self.gone(path),
        }
    }

    fn file_touched(&mut self, path: &Path, state: FileState) {
        if self.counts(path) {
            self.debounce.touch(path.to_owned(), state, Instant::now());
        } else {
            self.note_uncounted(path);
        }
    }

    fn counts(&mut self, path: &Path) -> bool {
        self.filter.file(path) || self.filter.is_outdated_by(path)
    }

    fn dir_appeared(&mut self, path: &Path) {
        let mut files = Vec::new();
        if self.leads_to_root(path) {
            self.renew_filter();
            files = self.tree.cover(&mut self.filter);
        } else {
            let dirs = vec![path.to_owned()];
            self.tree.grow(dirs, &mut self.filter, &mut files);
        }
        self.report_troubles();
        // It may have taken the place of a directory with other files, or of a file.
        let known = self.snapshot.below(path).into_iter();
        files.extend(known.filter(|path| self.snapshot.differs(path)));
        for file in files {
            self.file_touched(&file, FileState::Unknown);
        }
    }

    /// A file or a directory is gone; which of the two is no longer known.
    fn gone(&mut self, path: &Path) {
        let counts = self.counts(path);
        if !self.snapshot.knows(path) {
            // A temporary file that was renamed, for example.
            self.debounce.forget(path);
        } else if counts || self.filter.dir(path) {
            let path = path.to_owned();
            self.debounce
                .touch(path, FileState::Unknown, Instant::now());
        }
        if !counts {
            self.note_uncounted(path);
        }
        self.tree.forget(path);
        if !self.leads_to_root(path) {
            return;
        }
        let roots = self.spec.named_paths().map(Path::to_owned);
        let lost: Vec<PathBuf> = roots.filter(|root| root.starts_with(path)).collect();
        self.tree.anchor(&lost);
        // It may have come back before its parent was watched.
        if path.is_dir() {
            self.dir_appeared(path);
        }
    }

    /// Whether `path` is a root, or a root is below it.
    fn leads_to_root(&self, path: &Path) -> bool {
        self.spec.named_paths().any(|root| root.starts_with(path))
    }

    fn renew_filter(&mut self) {
        // Its patterns were accepted at the start.
        if let Ok(filter) = Filter::new(&self.spec) {
            self.filter = filter;
        }
    }

    /// Applies the new ignore files. A file found only now counts as unchanged, unless it changed together with them.
    fn ignore_files_changed(&mut self, changed: &[PathBuf]) {
        self.renew_filter();
        self.assume(changed.iter());
        self.cover(now());
        self.tree.prune(&mut self.filter);
    }

    /// Watches everything that passes the filter. A file found for the first time counts as changed only if it changed
    /// after `since`.
    fn cover(&mut self, since: Duration) {
        for file in self.tree.cover(&mut self.filter) {
            if self.snapshot.note(&file, since) && self.filter.file(&file) {
                self.debounce
                    .touch(file, FileState::Unknown, Instant::now());
            }
        }
        self.unread = self.snapshot.unread();
        self.unread.reverse();
        self.report_troubles();
    }

    /// Compares all files with the snapshot, because the system has dropped events.
    fn rescan(&mut self) {
        self.debounce.stop_waiting_for_writers(Instant::now());
        self.renew_filter();
        self.tree.forget_gone();
        let found = self.tree.cover(&mut self.filter);
        let known = self.snapshot.paths().cloned();
        let mut paths: BTreeSet<PathBuf> = found.into_iter().chain(known).collect();
        paths.retain(|path| self.snapshot.differs(path));
        for path in paths {
            self.touched(&path, FileState::Unknown);
        }
        self.report_troubles();
        if !std::mem::replace(&mut self.overflow_reported, true) {
            self.send(Message::Trouble(Trouble::Overflow));
        }
    }

    /// Reports the batch of changes if the quiet period is over.
    fn flush(&mut self) {
        let now = Instant::now();
        let wait = self.debounce.is_due(now) && self.more_will_follow(now);
        if wait && self.debounce.postpone(now) {
            return;
        }
        let Some(paths) = self.debounce.take(now) else {
            return;
        };
        self.check_roots();
        self.overflow_reported = false;
        if paths.iter().any(|path| self.filter.is_outdated_by(path)) {
            self.ignore_files_changed(&paths);
        }
        let mut changed = BTreeSet::new();
        for path in paths {
            // A path that does not count may have been a directory with files that do.
            changed.extend(match self.counts(&path) {
                true => self.snapshot.update(&path),
                false => self.snapshot.forget_gone(&path),
            });
        }
        changed.retain(|path| self.filter.file(path));
        self.report_changes(changed);
    }

    /// Whether events have arrived that are not handled yet, or git is changing the work tree.
    fn more_will_follow(&mut self, now: Instant) -> bool {
        self.tree.deliver_pending();
        self.peeked = self.peeked.take().or_else(|| self.inputs.try_recv().ok());
        self.peeked.is_some() || self.debounce.is_active(now) && self.git.are_held()
    }

    /// Finds roots that were removed or replaced without an event. While a process works in a directory, as hotrun and
    /// its program usually do, only the parent gets an event for its removal (`inotify(7)`, `IN_DELETE_SELF`).
    fn check_roots(&mut self) {
        let known = self.spec.named_paths().filter(|root| self.tree.knows(root));
        for root in known.map(Path::to_owned).collect::<Vec<_>>() {
            if !root.exists() {
                self.gone(&root);
            } else if self.tree.is_replaced(&root) {
                self.dir_appeared(&root);
            }
        }
    }

    fn report_changes(&self, changed: BTreeSet<PathBuf>) {
        if !changed.is_empty() {
            let paths = changed.into_iter().collect();
            let seen = self.debounce.span();
            self.send(Message::Changed { paths, seen });
        }
    }

    fn report_troubles(&mut self) {
        for trouble in self.tree.troubles() {
            self.send(Message::Trouble(trouble));
        }
    }

    fn send(&self, message: Message) {
        // Without a receiver, the next turn of the loop ends the thread.
        let _ = self.messages.send(message);
    }
}

#[cfg(test)]
mod tests;
mod updates;
