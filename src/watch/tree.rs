use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use notify::{ErrorKind, PathOp};

use super::poll::{Poll, PollSchedule};
use super::{Filter, Trouble, paths};
use crate::os::fs_event::{self, Source};
use crate::os::mounts;

/// The directories that are watched or polled.
pub(super) struct Tree {
    /// `None`: every directory is polled.
    source: Option<Source>,
    watched: BTreeMap<PathBuf, Identity>,
    /// Whether the system refuses more watches.
    at_limit: bool,
    limit_reported: bool,
    /// For each device, whether its file system sends events.
    devices: BTreeMap<u64, bool>,
    pub(super) polled: PollSchedule,
    /// Directories that could neither be watched nor read, and were reported.
    unreadable: BTreeSet<PathBuf>,
    troubles: Vec<Trouble>,
}

/// Distinguishes a directory from a later one at the same path. The time of birth is part of it because ext4 reuses
/// inode numbers at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: metadata.created().ok(),
        }
    }
}

impl Tree {
    pub(super) fn new(source: Option<Source>, poll: Poll) -> Self {
        Self {
            source,
            watched: BTreeMap::new(),
            at_limit: false,
            limit_reported: false,
            devices: BTreeMap::new(),
            polled: PollSchedule::new(poll),
            unreadable: BTreeSet::new(),
            troubles: Vec::new(),
        }
    }

    /// See [`fs_event::deliver_pending`].
    pub(super) fn deliver_pending(&mut self) {
        self.source.as_mut().map(fs_event::deliver_pending);
    }

    /// Polls every directory from now on, because the system sends no more events.
    pub(super) fn source_failed(&mut self, reason: String) {
        // The destructor of `notify` panics if its thread has ended.
        std::mem::forget(self.source.take());
        for dir in std::mem::take(&mut self.watched).into_keys() {
            self.polled.insert(&dir);
        }
        let limited = false;
        self.troubles.push(Trouble::NoWatch { reason, limited });
    }

    /// The number of watched directories.
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    /// What went wrong since the last call.
    pub(super) fn troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.troubles)
    }

    /// Watches everything that `filter` accepts. Returns the files found there.
    pub(super) fn cover(&mut self, filter: &mut Filter) -> Vec<PathBuf> {
        self.at_limit = false;
        self.polled.clear();
        let mut files = Vec::new();
        let roots = filter.dirs().map(Path::to_owned).collect();
        let seen = self.grow(roots, filter, &mut files);
        let named: Vec<PathBuf> = filter.files().map(Path::to_owned).collect();
        let in_tree = |file: &PathBuf| file.parent().is_some_and(|dir| seen.contains(dir));
        let outside: Vec<PathBuf> = named
            .iter()
            .filter(|file| !in_tree(file))
            .cloned()
            .collect();
        self.anchor(&outside);
        files.extend(named.into_iter().filter(|file| file.is_file()));
        files
    }

    /// Watches `dirs` and the directories below them. Adds the files there to `files`, and returns the directories.
    ///
    /// Each directory is watched before it is read: what is created in between is found twice, what is created later
    /// causes an event, and nothing is lost (`inotify(7)`, "Limitations and caveats"). All directories of one depth are
    /// watched in one request: each request costs two switches between threads.
    pub(super) fn grow(
        &mut self,
        dirs: Vec<PathBuf>,
        filter: &mut Filter,
        files: &mut Vec<PathBuf>,
    ) -> BTreeSet<PathBuf> {
        let mut seen = BTreeSet::new();
        let mut level = dirs;
        while !level.is_empty() {
            // Roots may lie in each other.
            level.retain(|dir| filter.dir(dir) && seen.insert(dir.clone()));
            self.watch(&level);
            for dir in std::mem::take(&mut level) {
                for (path, is_dir) in self.read(&dir) {
                    if is_dir {
                        level.push(path);
                    } else if filter.passes(&path) || filter.file(&path) {
                        files.push(path);
                    }
                }
            }
        }
        seen
    }

    /// Ends the watch on every directory that `filter` no longer accepts.
    pub(super) fn prune(&mut self, filter: &mut Filter) {
        let anchors: BTreeSet<PathBuf> = filter
            .files()
            .filter_map(|file| anchor_of(file).map(Path::to_owned))
            .collect();
        let mut keep = |dir: &Path| anchors.contains(dir) || filter.dir(dir);
        self.polled.retain(|dir| keep(dir));
        let dropped: Vec<PathBuf> = self
            .watched
            .keys()
            .filter(|dir| !keep(dir))
            .cloned()
            .collect();
        for dir in &dropped {
            self.watched.remove(dir);
        }
        self.update(dropped.into_iter().map(PathOp::unwatch).collect());
    }

    /// Watches the directory of each path, so that a file that takes this place is noticed. If that directory does not
    /// exist, the nearest existing one above is watched instead.
    pub(super) fn anchor(&mut self, paths: &[PathBuf]) {
        let mut watched = BTreeSet::new();
        loop {
            // A nearer one may be created before this one is watched.
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
        self.polled.retain(|dir| !dir.starts_with(path));
        self.unreadable.retain(|dir| !dir.starts_with(path));
        let gone: Vec<PathBuf> = paths::below(&self.watched, path).cloned().collect();
        if gone.is_empty() {
            return;
        }
        for dir in &gone {
            self.watched.remove(dir);
        }
        // If `notify` saw the directory go, it has removed these watches. A failed removal is slow, so ask which are
        // left.
        let source = self.source.as_ref();
        let left = source.and_then(|source| source.watched_paths().ok());
        let left = left.into_iter().flatten().map(|(dir, _)| dir);
        let left = left.filter(|dir| dir.starts_with(path));
        self.update(left.map(PathOp::unwatch).collect());
    }

    /// Forgets every watched directory that is gone. For use after lost events.
    pub(super) fn forget_gone(&mut self) {
        let gone = self.watched.keys().filter(|dir| !dir.is_dir());
        for dir in gone.cloned().collect::<Vec<_>>() {
            self.forget(&dir);
        }
    }

    /// Watches these directories, including those that are watched already: when an earlier directory at the same path
    /// went away, `notify` may have dropped the new watch instead of the old one.
    fn watch<'a>(&mut self, dirs: impl IntoIterator<Item = &'a PathBuf>) {
        let mut ops = Vec::new();
        let mut wanted = Vec::new();
        for dir in dirs {
            // Taken before the watch is added: if the directory is replaced in between, the next call notices.
            let Some(metadata) = fs::metadata(dir).ok().filter(Metadata::is_dir) else {
                continue;
            };
            if self.source.is_none() || !self.sends_events(dir, &metadata) {
                self.polled.insert(dir);
            }
            let identity = Identity::of(&metadata);
            match self.watched.get(dir) {
                None if self.at_limit => {
                    self.polled.insert(dir);
                    continue;
                }
                // Otherwise `notify` would keep the watch on the earlier directory.
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
            self.refused(&dir, &error);
        }
    }

    /// Passes these operations to the system, and continues after one that fails. At the limit it requests no more
    /// watches. Returns the directories that are not watched.
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
                // `notify` removed it before we did.
                Some(PathOp::Unwatch(_)) => {}
                None => self.source_failed(fs_event::reason(&failure.source)),
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

    /// Whether another directory is at `dir` than the watched one.
    pub(super) fn is_replaced(&self, dir: &Path) -> bool {
        let known = self.watched.get(dir);
        let now = fs::metadata(dir).map(|metadata| Identity::of(&metadata));
        known.is_some_and(|known| now.is_ok_and(|now| now != *known))
    }

    /// Checked once for each device.
    fn sends_events(&mut self, dir: &Path, metadata: &Metadata) -> bool {
        let device = metadata.dev();
        if let Some(sends) = self.devices.get(&device) {
            return *sends;
        }
        let kind = mounts::without_events(dir);
        let dir = dir.to_owned();
        self.troubles
            .extend(kind.map(|kind| Trouble::Polled { dir, kind }));
        self.devices.insert(device, kind.is_none());
        kind.is_none()
    }

    /// Whether `dir` is watched or polled.
    pub(super) fn knows(&self, dir: &Path) -> bool {
        self.watched.contains_key(dir) || self.polled.contains(dir)
    }

    fn refused(&mut self, dir: &Path, error: &notify::Error) {
        if !matches!(error.kind, ErrorKind::MaxFilesWatch) {
            return self.report_unreadable(dir, fs_event::reason(error));
        }
        self.at_limit = true;
        self.polled.insert(dir);
        if !std::mem::replace(&mut self.limit_reported, true) {
            self.troubles.push(Trouble::WatchLimit {
                watched: self.watched.len(),
                dir: dir.to_owned(),
            });
        }
    }

    /// Reports each directory once. It is polled because no event reports that its permissions have changed.
    fn report_unreadable(&mut self, dir: &Path, reason: String) {
        // It may be gone by now.
        if !dir.is_dir() {
            return;
        }
        self.polled.insert(dir);
        if self.unreadable.insert(dir.to_owned()) {
            let dir = dir.to_owned();
            self.troubles.push(Trouble::Unwatchable { dir, reason });
        }
    }

    /// The entries of `dir`, and whether each is a directory. Symbolic links are not followed: they may form a circle.
    /// Watches the directory if it could not be read earlier.
    pub(super) fn read(&mut self, dir: &Path) -> Vec<(PathBuf, bool)> {
        let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries.flatten(),
            Err(error) => {
                self.report_unreadable(dir, error.to_string());
                return Vec::new();
            }
        };
        if self.unreadable.remove(dir) {
            self.polled.remove(dir);
            self.watch([&dir.to_owned()]);
        }
        entries
            .map(|entry| (entry.path(), is_dir(&entry)))
            .collect()
    }
}

/// The nearest existing directory above `path`.
fn anchor_of(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|dir| dir.is_dir())
}

#[cfg(test)]
mod tests;
