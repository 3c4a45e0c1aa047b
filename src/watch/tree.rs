use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::{ErrorKind, RecursiveMode, Watcher};

use super::polled::Polled;
use super::{Filter, Trouble};
use crate::os;

/// The directories that are watched.
pub(super) struct Tree {
    watcher: Box<dyn Watcher + Send>,
    watched: BTreeSet<PathBuf>,
    limited: bool,
    /// Whether it was told that the limit is reached.
    told: bool,
    /// By the number of the device, whether its file system tells of changes.
    devices: BTreeMap<u64, bool>,
    /// Those that the system does not watch.
    pub(super) polled: Polled,
    poll: bool,
    troubles: Vec<Trouble>,
}

impl Tree {
    /// With `poll` nothing is watched by the system.
    pub(super) fn new(watcher: Box<dyn Watcher + Send>, poll: bool) -> Self {
        Self {
            watcher,
            watched: BTreeSet::new(),
            limited: false,
            told: false,
            devices: BTreeMap::new(),
            polled: Polled::default(),
            poll,
            troubles: Vec::new(),
        }
    }

    /// How many directories are watched.
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    /// What went wrong since this was last asked.
    pub(super) fn troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.troubles)
    }

    /// Watches all that `filter` lets pass. Returns the files that were found.
    pub(super) fn cover(&mut self, filter: &mut Filter) -> Vec<PathBuf> {
        self.limited = false;
        self.polled.clear();
        let roots: Vec<PathBuf> = filter.dirs().map(Path::to_owned).collect();
        let mut files = Vec::new();
        let mut seen = BTreeSet::new();
        for root in roots {
            self.grow_unseen(&root, filter, &mut files, &mut seen);
        }
        let named: Vec<PathBuf> = filter.files().map(Path::to_owned).collect();
        for file in named {
            if file.parent().is_none_or(|dir| !seen.contains(dir)) {
                self.anchor(&file);
            }
            files.extend(file.is_file().then_some(file));
        }
        files
    }

    /// Watches `dir` and what is below it; adds the files there to `files`.
    pub(super) fn grow(&mut self, dir: &Path, filter: &mut Filter, files: &mut Vec<PathBuf>) {
        self.grow_unseen(dir, filter, files, &mut BTreeSet::new());
    }

    /// Each directory is watched before it is read: what is created in between is found twice, what is
    /// created after is told by an event, and nothing is lost (`inotify(7)`, "Limitations and caveats").
    fn grow_unseen(
        &mut self,
        dir: &Path,
        filter: &mut Filter,
        files: &mut Vec<PathBuf>,
        seen: &mut BTreeSet<PathBuf>,
    ) {
        let mut waiting = vec![dir.to_owned()];
        while let Some(dir) = waiting.pop() {
            // Roots may lie in each other.
            if seen.contains(&dir) || !filter.dir(&dir) {
                continue;
            }
            self.watch(&dir);
            for (path, is_dir) in self.read(&dir) {
                if is_dir {
                    waiting.push(path);
                } else if filter.passes(&path) || filter.file(&path) {
                    files.push(path);
                }
            }
            seen.insert(dir);
        }
    }

    /// Ends the watch on every directory that `filter` does not let pass any more.
    pub(super) fn prune(&mut self, filter: &mut Filter) {
        let anchors: BTreeSet<PathBuf> = filter
            .files()
            .filter_map(|file| anchor_of(file).map(Path::to_owned))
            .collect();
        let watcher = &mut self.watcher;
        self.watched.retain(|dir| {
            let keep = anchors.contains(dir) || filter.dir(dir);
            if !keep {
                // It may be gone already.
                let _ = watcher.unwatch(dir);
            }
            keep
        });
        self.polled
            .retain(|dir| anchors.contains(dir) || filter.dir(dir));
    }

    /// Watches the directory in which `path` is, so that it is seen when another file takes its place; if
    /// that directory does not exist, the nearest above it that does, until it does.
    pub(super) fn anchor(&mut self, path: &Path) {
        if let Some(dir) = anchor_of(path) {
            self.watch(dir);
        }
    }

    /// What happened at `path` has ended the system's watch on it.
    pub(super) fn lost(&mut self, path: &Path) {
        while let Some(dir) = self.first_below(path) {
            self.watched.remove(&dir);
        }
        self.polled.retain(|dir| !dir.starts_with(path));
    }

    /// Paths are ordered component by component: what is below `path` begins where `path` would be.
    fn first_below(&self, path: &Path) -> Option<PathBuf> {
        let from = (Bound::Included(path), Bound::Unbounded);
        let first = self.watched.range::<Path, _>(from).next()?;
        first.starts_with(path).then(|| first.clone())
    }

    /// Always asks the system, also if it was asked before: the directory may be another one by now.
    fn watch(&mut self, dir: &Path) {
        if self.poll || !self.tells_changes(dir) {
            self.polled.insert(dir);
        }
        if self.poll {
            return;
        }
        if self.limited {
            return self.polled.insert(dir);
        }
        match self.watcher.watch(dir, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(dir.to_owned());
            }
            Err(error) => self.refused(dir, &error),
        }
    }

    /// Asked once for each file system.
    fn tells_changes(&mut self, dir: &Path) -> bool {
        let Ok(device) = fs::metadata(dir).map(|metadata| metadata.dev()) else {
            return true;
        };
        if let Some(tells) = self.devices.get(&device) {
            return *tells;
        }
        let kind = os::mounts::without_events(dir);
        let dir = dir.to_owned();
        self.troubles
            .extend(kind.map(|kind| Trouble::Polled { dir, kind }));
        self.devices.insert(device, kind.is_none());
        kind.is_none()
    }

    /// Whether `dir` is watched or polled.
    pub(super) fn knows(&self, dir: &Path) -> bool {
        self.watched.contains(dir) || self.polled.contains(dir)
    }

    fn refused(&mut self, dir: &Path, error: &notify::Error) {
        if matches!(error.kind, ErrorKind::MaxFilesWatch) {
            self.limited = true;
            self.polled.insert(dir);
            if std::mem::replace(&mut self.told, true) {
                return;
            }
            self.troubles.push(Trouble::WatchLimit {
                watched: self.watched.len(),
                dir: dir.to_owned(),
            });
        } else if dir.exists() {
            self.unwatchable(dir, &error.to_string());
        }
    }

    fn unwatchable(&mut self, dir: &Path, reason: &str) {
        self.troubles.push(Trouble::Unwatchable {
            dir: dir.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// The entries, and whether each is a directory. Symbolic links are not followed: they may lead in a circle.
    pub(super) fn read(&mut self, dir: &Path) -> Vec<(PathBuf, bool)> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(_) if !dir.exists() => return Vec::new(),
            Err(error) => {
                self.unwatchable(dir, &error.to_string());
                return Vec::new();
            }
        };
        entries
            .flatten()
            .map(|entry| {
                (
                    entry.path(),
                    entry.file_type().is_ok_and(|kind| kind.is_dir()),
                )
            })
            .collect()
    }
}

fn anchor_of(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|dir| dir.is_dir())
}

#[cfg(test)]
mod tests {
    use notify::{Config, EventHandler, WatcherKind};
    use tempfile::TempDir;

    use super::*;
    use crate::watch::WatchSpec;

    /// A system that allows two watches.
    struct Two(usize);

    impl Watcher for Two {
        fn new<F: EventHandler>(_: F, _: Config) -> notify::Result<Self> {
            Ok(Self(2))
        }

        fn watch(&mut self, _: &Path, _: RecursiveMode) -> notify::Result<()> {
            self.0 = self
                .0
                .checked_sub(1)
                .ok_or_else(|| notify::Error::new(ErrorKind::MaxFilesWatch))?;
            Ok(())
        }

        fn unwatch(&mut self, _: &Path) -> notify::Result<()> {
            Ok(())
        }

        fn kind() -> WatcherKind {
            WatcherKind::NullWatcher
        }
    }

    #[test]
    fn hc06_at_the_limit_what_can_be_watched_is_and_the_limit_is_named_once() {
        let dir = TempDir::new().unwrap();
        for name in ["a", "b", "c", "d"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("x"), "").unwrap();
        }
        let spec = WatchSpec {
            roots: vec![dir.path().to_owned()],
            ..WatchSpec::default()
        };
        let mut tree = Tree::new(Box::new(Two(2)), false);
        let files = tree.cover(&mut Filter::new(&spec).unwrap());
        assert_eq!(
            (files.len(), tree.len()),
            (4, 2),
            "every file is found all the same"
        );
        assert_eq!(tree.polled.dirs().len(), 3, "the rest is polled");
        tree.cover(&mut Filter::new(&spec).unwrap());
        let troubles = tree.troubles();
        let [trouble @ Trouble::WatchLimit { watched: 2, .. }] = &troubles[..] else {
            panic!("{troubles:?}")
        };
        assert!(
            trouble
                .hint()
                .unwrap()
                .contains("fs.inotify.max_user_watches")
        );
    }

    #[test]
    fn what_is_lost_is_lost_with_all_below_it() {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::create_dir_all(dir.path().join("ab")).unwrap();
        let spec = WatchSpec {
            roots: vec![dir.path().to_owned()],
            ..WatchSpec::default()
        };
        let mut tree = Tree::new(Box::new(Two(9)), false);
        tree.cover(&mut Filter::new(&spec).unwrap());
        assert_eq!(tree.len(), 4);
        tree.lost(&dir.path().join("a"));
        assert_eq!(tree.len(), 2);
    }
}
