use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use notify::{ErrorKind, PathOp};
use tokio::sync::mpsc::UnboundedSender;

use super::filter::Filter;
use super::paths;
use super::poll::PollSchedule;
use super::spec::{Poll, WatchMessage};
use crate::os::fs_event::{self, EventSource};
use crate::os::mounts;

/// The directories that are watched or polled.
pub(super) struct WatchTree {
    /// The source of file events. If it is `None`, every directory is polled.
    pub(super) source: Option<EventSource>,
    pub(super) watched: BTreeMap<PathBuf, DirIdentity>,
    /// Whether the system has refused to add more watches.
    at_limit: bool,
    limit_reported: bool,
    /// For each device, whether its file system sends events.
    devices: BTreeMap<u64, bool>,
    pub(super) polled: PollSchedule,
    /// The symbolic links in the directories that were read.
    pub(super) links: BTreeSet<PathBuf>,
    /// Directories that could not be watched or read, and were reported.
    unreadable: BTreeSet<PathBuf>,
    pub(super) messages: UnboundedSender<WatchMessage>,
}

/// Distinguishes a directory from a later one at the same path: the device, the inode, and the creation time, because
/// ext4 reuses inode numbers immediately.
type DirIdentity = (u64, u64, Option<SystemTime>);

fn identity(metadata: &Metadata) -> DirIdentity {
    (metadata.dev(), metadata.ino(), metadata.created().ok())
}

impl WatchTree {
    pub(super) fn new(
        source: Option<EventSource>,
        poll: Poll,
        messages: UnboundedSender<WatchMessage>,
    ) -> Self {
        Self {
            source,
            watched: BTreeMap::new(),
            at_limit: false,
            limit_reported: false,
            devices: BTreeMap::new(),
            polled: PollSchedule::new(poll),
            links: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            messages,
        }
    }

    /// Polls every directory from now on, because the system has stopped sending events.
    pub(super) fn source_failed(&mut self, reason: &str) {
        // The destructor of `notify` panics if its thread has ended.
        std::mem::forget(self.source.take());
        let watched = std::mem::take(&mut self.watched);
        self.polled.dirs.extend(watched.into_keys());
        self.send(WatchMessage::no_events(reason));
    }

    pub(super) fn send(&self, message: WatchMessage) {
        // Fails if the receiver was dropped, in which case the worker ends.
        let _ = self.messages.send(message);
    }

    pub(super) fn report(&self, text: String, hint: &'static str) {
        self.send(WatchMessage::Trouble { text, hint });
    }

    /// Watches everything that `filter` accepts. Returns the files that it finds.
    pub(super) fn cover(&mut self, filter: &mut Filter) -> Vec<PathBuf> {
        self.at_limit = false;
        self.polled.dirs.clear();
        self.links.clear();
        let (seen, mut files) = self.grow(filter.dirs().cloned().collect(), filter);
        let in_tree = |file: &PathBuf| file.parent().is_some_and(|dir| seen.contains(dir));
        let outside = filter.files().filter(|file| !in_tree(file));
        self.anchor(&outside.cloned().collect::<Vec<_>>());
        // Checked after the parents are watched: a file that appears later causes an event.
        let exists = |file: &&PathBuf| file.is_file() || file.is_symlink();
        files.extend(filter.files().filter(exists).cloned());
        files
    }

    /// Watches `dirs` and the directories below them. Returns all of these directories, and the files in them.
    ///
    /// Each directory is watched before it is read. A file that appears in between is found twice, a file that appears
    /// later causes an event, and nothing is lost (`inotify(7)`, "Limitations and caveats"). All directories of the
    /// same depth are watched in one request, because each request costs two thread switches.
    pub(super) fn grow(
        &mut self,
        dirs: Vec<PathBuf>,
        filter: &mut Filter,
    ) -> (BTreeSet<PathBuf>, Vec<PathBuf>) {
        let (mut seen, mut files) = (BTreeSet::new(), Vec::new());
        let mut level = dirs;
        while !level.is_empty() {
            // A root may be inside another one.
            level.retain(|dir| filter.covers(dir) && seen.insert(dir.clone()));
            self.watch(&level);
            for dir in std::mem::take(&mut level) {
                for (path, is_dir) in self.read(&dir) {
                    if is_dir {
                        level.push(path);
                    } else if filter.would_count(&path) || filter.counts(&path) {
                        files.push(path);
                    }
                }
            }
        }
        (seen, files)
    }

    /// Stops watching every directory that `filter` no longer needs.
    pub(super) fn prune(&mut self, filter: &mut Filter) {
        let roots = filter.files().chain(filter.dirs());
        let anchors = roots.filter_map(|root| anchor_of(root));
        let anchors: BTreeSet<PathBuf> = anchors.map(Path::to_owned).collect();
        let mut keep = |dir: &PathBuf| anchors.contains(dir) || filter.covers(dir);
        self.polled.dirs.retain(&mut keep);
        let mut ops = Vec::new();
        self.watched.retain(|dir, _| {
            let kept = keep(dir);
            if !kept {
                ops.push(PathOp::unwatch(dir));
            }
            kept
        });
        self.update(ops);
    }

    /// Watches the parent of each path, to notice when a file appears at the path. If the parent does not exist,
    /// watches the nearest existing directory above it.
    pub(super) fn anchor(&mut self, paths: &[PathBuf]) {
        let mut watched = BTreeSet::new();
        loop {
            // A directory closer to the path may have been created before this one was watched, so look again.
            let anchors = paths.iter().filter_map(|path| anchor_of(path));
            let new: BTreeSet<PathBuf> = anchors
                .filter(|dir| !watched.contains(*dir))
                .map(Path::to_owned)
                .collect();
            if new.is_empty() {
                return;
            }
            self.watch(&new);
            watched.extend(new);
        }
    }

    /// Forgets the directory at `path`, which was removed or moved away, and all directories below it.
    pub(super) fn forget(&mut self, path: &Path) {
        self.polled.dirs.retain(|dir| !dir.starts_with(path));
        self.unreadable.retain(|dir| !dir.starts_with(path));
        let gone: Vec<PathBuf> = paths::below(&self.watched, path).cloned().collect();
        if gone.is_empty() {
            return;
        }
        for dir in &gone {
            self.watched.remove(dir);
        }
        // If `notify` has seen that the directory is gone, it has already removed these watches. A failed removal is
        // slow, so ask which watches still exist.
        let source = self.source.as_ref();
        let left = source.and_then(|source| source.watched_paths().ok());
        let left = left.into_iter().flatten().map(|(dir, _)| dir);
        let left = left.filter(|dir| dir.starts_with(path));
        self.update(left.map(PathOp::unwatch).collect());
    }

    /// Forgets every watched directory that is gone. Called after events were lost.
    pub(super) fn forget_gone(&mut self) {
        let gone = self.watched.keys().filter(|dir| !dir.is_dir());
        for dir in gone.cloned().collect::<Vec<_>>() {
            self.forget(&dir);
        }
    }

    /// Watches these directories, even if they are already watched: when an earlier directory at the same path was
    /// removed, `notify` may have dropped the new watch instead of the old one.
    fn watch<'a>(&mut self, dirs: impl IntoIterator<Item = &'a PathBuf>) {
        let mut ops = Vec::new();
        let mut wanted = Vec::new();
        for dir in dirs {
            // Read before the watch is added: if the directory is replaced in between, the next call notices that.
            let Some(metadata) = fs::metadata(dir).ok().filter(Metadata::is_dir) else {
                continue;
            };
            if self.source.is_none() || !self.sends_events(dir, &metadata) {
                self.polled.dirs.insert(dir.clone());
            }
            let identity = identity(&metadata);
            match self.watched.get(dir) {
                None if self.at_limit => {
                    self.polled.dirs.insert(dir.clone());
                    continue;
                }
                // Otherwise, `notify` would keep watching the earlier directory.
                Some(known) if *known != identity => ops.push(PathOp::unwatch(dir)),
                None | Some(_) => {}
            }
            ops.push(PathOp::watch_non_recursive(dir));
            wanted.push((dir.clone(), identity));
        }
        let failures = self.update(ops);
        if self.source.is_some() {
            self.watched.extend(wanted);
        }
        for (dir, _) in &failures {
            self.watched.remove(dir);
        }
        for (dir, error) in failures {
            self.refused(dir, &error);
        }
    }

    /// Passes these operations to the system, and continues after a failure. Once the limit is reached, requests no
    /// new watches. Returns the directories that are not watched, with the errors.
    fn update(&mut self, mut ops: Vec<PathOp>) -> Vec<(PathBuf, notify::Error)> {
        let mut failures = Vec::new();
        while let Some(source) = self.source.as_mut().filter(|_| !ops.is_empty()) {
            let Err(failure) = source.update_paths(ops) else {
                break;
            };
            ops = failure.remaining;
            let at_limit = matches!(failure.source.kind, ErrorKind::MaxFilesWatch);
            match failure.origin {
                Some(PathOp::Watch(dir, _)) => failures.push((dir, failure.source)),
                // `notify` has already removed this watch.
                Some(PathOp::Unwatch(_)) => {}
                None => self.source_failed(&fs_event::reason(&failure.source)),
            }
            if at_limit {
                let is_old = |op: &mut PathOp| self.watched.contains_key(op.as_path());
                let new = ops.extract_if(.., |op| !is_old(op));
                let refused =
                    |op: PathOp| (op.into_path(), notify::Error::new(ErrorKind::MaxFilesWatch));
                failures.extend(new.map(refused));
            }
        }
        failures
    }

    /// Whether `dir` is now a different directory from the one that is watched.
    pub(super) fn is_replaced(&self, dir: &Path) -> bool {
        let known = self.watched.get(dir);
        let now = fs::metadata(dir).map(|metadata| identity(&metadata));
        known.is_some_and(|known| now.is_ok_and(|now| now != *known))
    }

    /// Whether the file system that contains `dir` sends events. Checked once for each device.
    fn sends_events(&mut self, dir: &Path, metadata: &Metadata) -> bool {
        let device = metadata.dev();
        if let Some(sends) = self.devices.get(&device) {
            return *sends;
        }
        let kind = mounts::without_events(dir);
        self.devices.insert(device, kind.is_none());
        if let Some(kind) = kind {
            self.report(
                format!(
                    "`{}` is on {kind}, which does not report every change; polling it instead",
                    dir.display()
                ),
                "changes are noticed a little later; `--watch` and `--ignore` reduce what is polled",
            );
        }
        kind.is_none()
    }

    /// Whether `dir` is watched or polled.
    pub(super) fn knows(&self, dir: &Path) -> bool {
        self.watched.contains_key(dir) || self.polled.dirs.contains(dir)
    }

    fn refused(&mut self, dir: PathBuf, error: &notify::Error) {
        // The directory was moved or removed in the meantime. If it comes back, an event reports that.
        if matches!(error.kind, ErrorKind::PathNotFound) {
            return;
        }
        if !matches!(error.kind, ErrorKind::MaxFilesWatch) {
            return self.report_unreadable(&dir, &fs_event::reason(error));
        }
        self.at_limit = true;
        if !std::mem::replace(&mut self.limit_reported, true) {
            let watched = self.watched.len();
            self.report(
                format!(
                    "the system allows only {watched} watched directories; polling `{}` and the rest instead",
                    dir.display()
                ),
                "raise the limit with `sudo sysctl fs.inotify.max_user_watches=524288`, or watch less with `--watch` and `--ignore`",
            );
        }
        self.polled.dirs.insert(dir);
    }

    /// Reports a directory that cannot be read, but only once. Polls it, because no event reports that its permissions
    /// have changed.
    fn report_unreadable(&mut self, dir: &Path, reason: &str) {
        // The directory may already be gone.
        if !dir.is_dir() {
            return;
        }
        self.polled.dirs.insert(dir.to_owned());
        if self.unreadable.insert(dir.to_owned()) {
            self.report(
                format!("cannot watch `{}`: {reason}", dir.display()),
                "exclude it with `--ignore`",
            );
        }
    }

    /// Returns the entries of `dir`, and whether each is a directory. Symbolic links are not followed, because they may
    /// form a cycle.
    pub(super) fn read(&mut self, dir: &Path) -> Vec<(PathBuf, bool)> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries.flatten(),
            Err(error) => {
                self.report_unreadable(dir, &error.to_string());
                return Vec::new();
            }
        };
        let entries = entries.filter_map(|entry| Some((entry.path(), entry.file_type().ok()?)));
        let entries: Vec<_> = entries.collect();
        let links = entries.iter().filter(|(_, kind)| kind.is_symlink());
        self.links.extend(links.map(|(path, _)| path.clone()));
        let found = entries.into_iter();
        found.map(|(path, kind)| (path, kind.is_dir())).collect()
    }
}

/// The nearest existing directory above `path`.
fn anchor_of(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|dir| dir.is_dir())
}

#[cfg(test)]
mod tests;
