use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::UnboundedSender;

use super::debounce::Debounce;
use super::filter::Filter;
use super::held::HeldFiles;
use super::own_writes::WriteCalls;
use super::paths::{git_lock, is_held, normalise};
use super::rule::is_source;
use super::snapshot::Snapshot;
use super::spec::{Change, WatchMessage, WatchSpec, WatchUpdate};
use super::tree::WatchTree;
use crate::error::Failure;
use crate::os;
use crate::os::fs_event::{self, EventSource, FileState, FsEvent};

mod coverage;
mod touched;

/// An input to the watch thread.
#[derive(Debug)]
pub(super) enum WatchInput {
    /// The system has reported a file event.
    Fs(FsEvent),
    /// A build began at this time.
    Build(SystemTime),
    Update(WatchUpdate),
    /// A source has changed.
    Source(PathBuf),
    /// A build has not read this changed file.
    Unread(PathBuf),
    /// The watch was dropped.
    Stop,
}

/// The state of the watch thread.
pub(super) struct WatchWorker {
    /// What to watch, as it was given. After a symbolic link has changed, the same paths lead elsewhere.
    given: WatchSpec,
    /// The targets of symbolic links in the watched directories.
    targets: BTreeSet<PathBuf>,
    spec: WatchSpec,
    filter: Filter,
    tree: WatchTree,
    snapshot: Snapshot,
    debounce: Debounce,
    /// The index locks of the repositories that contain the watched paths.
    git_locks: BTreeSet<PathBuf>,
    held: HeldFiles,
    /// Files to read ahead.
    unread: Vec<PathBuf>,
    /// When the newest build began. Set until the build has reported its inputs.
    build_began: Option<SystemTime>,
    /// Files that do not count but have had events since the build began. The build may have read them.
    uncounted: BTreeSet<PathBuf>,
    /// Whether a touched file has been reported, and its batch of changes has not.
    touched: bool,
    /// Whether an overflow was reported since the last batch of changes.
    overflow_reported: bool,
    inputs: Receiver<WatchInput>,
    /// An input that was taken from `inputs` but has not been handled yet.
    peeked: Option<WatchInput>,
}

impl WatchWorker {
    /// Fails if an ignore pattern is invalid.
    pub(super) fn new(
        given: WatchSpec,
        source: Option<EventSource>,
        inputs: Receiver<WatchInput>,
        messages: UnboundedSender<WatchMessage>,
        calls: WriteCalls,
    ) -> Result<Self, Failure> {
        let spec = given.normalised();
        Ok(Self {
            given,
            targets: BTreeSet::new(),
            filter: Filter::new(&spec)?,
            tree: WatchTree::new(source, spec.poll, messages),
            snapshot: Snapshot::new(),
            debounce: Debounce::new(spec.debounce),
            git_locks: spec.named_paths().filter_map(git_lock).collect(),
            held: HeldFiles::new(calls),
            unread: Vec::new(),
            build_began: None,
            uncounted: BTreeSet::new(),
            touched: false,
            overflow_reported: false,
            inputs,
            peeked: None,
            spec,
        })
    }

    pub(super) fn run(mut self) {
        self.cover(self.snapshot.started);
        self.tree.send(WatchMessage::Watching {
            dirs: self.tree.watched.len(),
        });
        loop {
            match self.next() {
                Ok(WatchInput::Fs(FsEvent::Touched(path, state))) => self.touched(&path, state),
                Ok(WatchInput::Fs(FsEvent::Overflow)) => self.rescan(),
                Ok(WatchInput::Fs(FsEvent::Failed(reason))) => {
                    self.tree.source_failed(&reason);
                    self.debounce.stop_waiting_for_writers(Instant::now());
                }
                Ok(WatchInput::Build(began)) => self.build_begins(began),
                Ok(WatchInput::Update(update)) => self.update(update),
                Ok(WatchInput::Source(path)) => self.touch(&path, FileState::Unknown),
                Ok(WatchInput::Unread(path)) => self.snapshot.forget_contents(&normalise(&path)),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(WatchInput::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.poll();
            let now = Instant::now();
            self.debounce.check_writers(now, os::is_being_written);
            self.flush();
            self.report_settled();
        }
    }

    /// Waits for an input or the next deadline. If there are files whose writer is unknown or that are to be read
    /// ahead, examines one of them instead of waiting.
    fn next(&mut self) -> Result<WatchInput, RecvTimeoutError> {
        if let Some(input) = self.peeked.take() {
            return Ok(input);
        }
        if self.held.identify() {
            return self.inputs.recv_timeout(Duration::ZERO);
        }
        if let Some(file) = self.unread.pop() {
            self.snapshot.read_ahead(&file);
            return self.inputs.recv_timeout(Duration::ZERO);
        }
        let now = Instant::now();
        let batch = self.debounce.deadline();
        let silence = self.debounce.silence_deadline();
        let poll = self.tree.polled.deadline(now);
        let Some(deadline) = [batch, silence, poll].into_iter().flatten().min() else {
            return Ok(self.inputs.recv()?);
        };
        let wait = deadline.saturating_duration_since(now);
        self.inputs.recv_timeout(wait)
    }

    /// Scans the polled directories if a scan is due.
    fn poll(&mut self) {
        let began = Instant::now();
        let deadline = self.tree.polled.deadline(began);
        if deadline.is_none_or(|deadline| began < deadline) {
            return;
        }
        for dir in self.tree.polled.dirs.clone() {
            self.scan(&dir);
        }
        let now = Instant::now();
        self.tree.polled.scanned(now, now - began);
    }

    fn scan(&mut self, dir: &Path) {
        let mut paths = self.snapshot.below(dir);
        paths.retain(|path| path.parent() == Some(dir));
        for (path, is_dir) in self.tree.read(dir) {
            if !is_dir {
                paths.push(path);
            } else if !self.tree.knows(&path) {
                self.dir_appeared(&path);
                // If a directory above a root is not watched, poll it.
                if self.leads_to_root(&path) && !self.tree.knows(&path) {
                    self.tree.polled.dirs.insert(path);
                }
            }
        }
        paths.retain(|path| self.snapshot.differs(path));
        for path in paths {
            self.touched(&path, FileState::Unknown);
        }
        // A directory that is gone need not be polled: if it comes back, the scan of its parent finds it. But the
        // parent of a root might not be polled.
        if !self.leads_to_root(dir) && !dir.exists() {
            self.tree.polled.dirs.remove(dir);
        }
    }

    /// Handles an event at `path`. Files are examined once no more events arrive, directories immediately.
    fn touched(&mut self, path: &Path, state: FileState) {
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => self.dir_appeared(path),
            Ok(_) => self.file_touched(path, state),
            Err(_) => self.removed(path),
        }
    }

    fn file_touched(&mut self, path: &Path, state: FileState) {
        if self.filter.matters(path) {
            if state == FileState::Writing {
                self.held.written(path);
            }
            self.touch(path, state);
        } else {
            self.report_unread(path, state);
            self.note_uncounted(path);
        }
    }

    /// Remembers that a file that does not count has had an event, because the current build may report the file as an
    /// input.
    fn note_uncounted(&mut self, path: &Path) {
        // Without a set of inputs, every file already counts.
        if self.spec.inputs.is_none() {
            return;
        }
        self.snapshot.forget_contents(path);
        if self.build_began.is_some() {
            self.uncounted.insert(path.to_owned());
        }
    }

    fn dir_appeared(&mut self, path: &Path) {
        let mut files = if self.leads_to_root(path) {
            self.renew_filter();
            self.tree.cover(&mut self.filter)
        } else {
            let dirs = vec![path.to_owned()];
            self.tree.grow(dirs, &mut self.filter).1
        };
        // The directory may have replaced a file, or another directory with different files.
        let known = self.snapshot.below(path).into_iter();
        files.extend(known.filter(|path| self.snapshot.differs(path)));
        for file in files {
            self.file_touched(&file, FileState::Unknown);
        }
    }

    /// Handles the removal of a file or a directory. Which of the two it was can no longer be determined.
    fn removed(&mut self, path: &Path) {
        let counts = self.filter.matters(path);
        if !self.snapshot.knows(path) {
            self.forget_unknown(path);
        } else if counts || self.filter.covers(path) {
            self.touch(path, FileState::Unknown);
        }
        if !counts {
            self.note_uncounted(path);
        }
        self.watch_for_removal(path);
        self.tree.forget(path);
        if !self.leads_to_root(path) {
            return;
        }
        let roots = self.spec.named_paths().map(Path::to_owned);
        let lost: Vec<PathBuf> = roots.filter(|root| root.starts_with(path)).collect();
        self.tree.anchor(&lost);
        // The directory may have been created again before its parent was watched.
        if path.is_dir() {
            self.dir_appeared(path);
        }
    }

    /// If something in a root was removed, the root itself may be removed later. Its parent reports that even while a
    /// process uses the root (see [`check_roots`](Self::check_roots)).
    fn watch_for_removal(&mut self, path: &Path) {
        let is_known = self.snapshot.knows(path) || self.tree.knows(path);
        let is_it = |root: &&Path| is_known && path.parent() == Some(root);
        let root = self.spec.named_paths().find(is_it).map(Path::to_owned);
        let is_watched = |root: &PathBuf| root.parent().is_some_and(|above| self.tree.knows(above));
        if let Some(root) = root.filter(|root| !is_watched(root)) {
            self.tree.anchor(&[root]);
            self.check_roots();
        }
    }

    /// Whether `path` is a root or contains one.
    fn leads_to_root(&self, path: &Path) -> bool {
        self.spec.named_paths().any(|root| root.starts_with(path))
    }

    /// Compares all files with the snapshot, because the system dropped events.
    fn rescan(&mut self) {
        self.debounce.stop_waiting_for_writers(Instant::now());
        self.held.forget_all();
        self.renew_filter();
        self.tree.forget_gone();
        let found = self.tree.cover(&mut self.filter);
        let known = self.snapshot.files.keys().cloned();
        let mut paths: BTreeSet<PathBuf> = found.into_iter().chain(known).collect();
        paths.retain(|path| self.snapshot.differs(path));
        for path in paths {
            self.touched(&path, FileState::Unknown);
        }
        if !std::mem::replace(&mut self.overflow_reported, true) {
            self.tree.report(
                "the system dropped events; hotrun checked every file".to_owned(),
                "`sudo sysctl fs.inotify.max_queued_events=65536` allows more events to be queued",
            );
        }
    }

    /// Reports the batch of changes if the quiet period is over.
    fn flush(&mut self) {
        // Whether there are unhandled events, or git is changing the work tree.
        let more_will_follow = |is_active: bool| {
            self.tree.source.as_mut().map(fs_event::deliver_pending);
            self.peeked = self.peeked.take().or_else(|| self.inputs.try_recv().ok());
            self.peeked.is_some() || is_active && self.git_locks.iter().any(|lock| is_held(lock))
        };
        let Some((paths, seen)) = self.debounce.take(Instant::now(), more_will_follow) else {
            return;
        };
        self.check_roots();
        self.overflow_reported = false;
        let (sources, paths): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|path| is_source(path));
        let is_link = |path: &Path| self.spec.links.contains(path) || path.is_symlink();
        if (paths.iter()).any(|path| is_link(path) || self.filter.is_outdated_by(path)) {
            self.resolve();
            self.change_filter(paths.iter(), SystemTime::now());
        }
        let (mut changed, mut saved) = (BTreeMap::new(), None);
        for path in paths {
            let is_new = !self.snapshot.knows(&path);
            // A path that does not count may have been a directory with files that count.
            let updated = match self.filter.matters(&path) {
                true => self.snapshot.update(&path),
                false if path.symlink_metadata().is_err() => self.snapshot.forget(&path),
                false => Vec::new(),
            };
            let unchanged = self.snapshot.saved_unchanged.take();
            let unchanged = unchanged.filter(|_| self.held.writer(&path, seen).is_none());
            saved = unchanged.or(saved);
            // The file's next change may be somebody else's.
            if updated.is_empty() {
                self.held.forget(&path);
            }
            changed.extend(updated.into_iter().map(|path| (path, is_new)));
        }
        changed.retain(|path, _| self.filter.counts(path));
        changed.extend(sources.into_iter().map(|path| (path, false)));
        let changes = changed.into_iter().map(|(path, is_new)| Change {
            writer: self.held.writer(&path, seen),
            path,
            is_new,
        });
        let changes: Vec<_> = changes.collect();
        if !changes.is_empty() {
            self.tree.send(WatchMessage::Changed { changes, seen });
        } else if let Some(path) = saved {
            self.report_no_effect(path, true, seen);
        }
    }

    /// Finds roots that were removed or replaced without an event: while a process uses a directory, for example as its
    /// working directory, only a watch on the parent reports the removal (`inotify(7)`, `IN_DELETE_SELF`).
    fn check_roots(&mut self) {
        let known = self.spec.named_paths().filter(|root| self.tree.knows(root));
        for root in known.map(Path::to_owned).collect::<Vec<_>>() {
            if !root.exists() {
                self.removed(&root);
            } else if self.tree.is_replaced(&root) {
                self.dir_appeared(&root);
            }
        }
    }

    /// Handles the start of a build, which reads all files as they are now.
    fn build_begins(&mut self, began: SystemTime) {
        self.build_began = Some(began);
        self.uncounted.clear();
    }
}

#[cfg(test)]
mod tests;
