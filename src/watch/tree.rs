use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Error, ErrorKind};
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::polled::Polled;
use super::system::System;
use super::{Filter, Poll, Trouble};
use crate::os;

/// The directories that are watched.
pub(super) struct Tree {
    /// Without one everything is polled.
    system: Option<Box<dyn System>>,
    watched: BTreeSet<PathBuf>,
    limited: bool,
    /// Whether it was told that the limit is reached.
    told: bool,
    /// By the number of the device, whether its file system tells of changes.
    devices: BTreeMap<u64, bool>,
    /// Those that the system does not watch.
    pub(super) polled: Polled,
    /// Those that were told to be neither watched nor read.
    closed: BTreeSet<PathBuf>,
    troubles: Vec<Trouble>,
}

impl Tree {
    pub(super) fn new(system: Option<Box<dyn System>>, poll: Poll) -> Self {
        Self {
            system,
            watched: BTreeSet::new(),
            limited: false,
            told: false,
            devices: BTreeMap::new(),
            polled: Polled::new(poll),
            closed: BTreeSet::new(),
            troubles: Vec::new(),
        }
    }

    /// Whether the system has something to tell that did not come yet.
    pub(super) fn has_more(&self) -> bool {
        self.system.as_ref().is_some_and(|system| system.has_more())
    }

    /// The system tells nothing any more.
    pub(super) fn do_without_system(&mut self) {
        self.system = None;
        for dir in std::mem::take(&mut self.watched) {
            self.polled.insert(&dir);
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
        let system = &mut self.system;
        self.watched.retain(|dir| {
            let keep = anchors.contains(dir) || filter.dir(dir);
            if let Some(system) = system.as_mut().filter(|_| !keep) {
                system.unwatch(dir);
            }
            keep
        });
        self.polled
            .retain(|dir| anchors.contains(dir) || filter.dir(dir));
    }

    /// Watches the directory in which `path` is, so that it is seen when another file takes its place; if
    /// that directory does not exist, the nearest above it that does, until it does.
    pub(super) fn anchor(&mut self, path: &Path) {
        let mut watched = None;
        // A nearer one may be made before this one is watched.
        while let Some(dir) = anchor_of(path).filter(|dir| watched != Some(*dir)) {
            self.watch(dir);
            watched = Some(dir);
        }
    }

    /// There is nothing at `path` any more. What was there may have been moved away, where it is of no interest.
    pub(super) fn lost(&mut self, path: &Path) {
        while let Some(dir) = self.first_below(path) {
            self.watched.remove(&dir);
            if let Some(system) = &mut self.system {
                system.unwatch(&dir);
            }
        }
        self.polled.retain(|dir| !dir.starts_with(path));
        self.closed.retain(|dir| !dir.starts_with(path));
    }

    /// The same for all of which the end was not told.
    pub(super) fn forget_gone(&mut self) {
        let gone = self.watched.iter().filter(|dir| !dir.is_dir());
        for dir in gone.cloned().collect::<Vec<_>>() {
            self.lost(&dir);
        }
    }

    /// Paths are ordered component by component: what is below `path` begins where `path` would be.
    fn first_below(&self, path: &Path) -> Option<PathBuf> {
        let from = (Bound::Included(path), Bound::Unbounded);
        let first = self.watched.range::<Path, _>(from).next()?;
        first.starts_with(path).then(|| first.clone())
    }

    /// Always asks the system, also if it was asked before: the directory may be another one by now.
    fn watch(&mut self, dir: &Path) {
        if self.system.is_none() || !self.tells_changes(dir) {
            self.polled.insert(dir);
        }
        let is_new = !self.watched.contains(dir);
        match &mut self.system {
            None => {}
            Some(_) if self.limited && is_new => self.polled.insert(dir),
            Some(system) => match system.watch(dir) {
                Ok(_) => {
                    self.watched.insert(dir.to_owned());
                }
                Err(error) => self.refused(dir, &error),
            },
        }
    }

    /// Watches a directory that was refused, if it has been opened since.
    pub(super) fn try_again(&mut self, dir: &Path) {
        if self.closed.contains(dir) && fs::read_dir(dir).is_ok() {
            self.closed.remove(dir);
            self.polled.remove(dir);
            self.watch(dir);
        }
    }

    /// Whether another directory is at `dir` than the one that is watched. It is watched from now on.
    pub(super) fn is_another(&mut self, dir: &Path) -> bool {
        let system = self.system.as_mut();
        system.is_some_and(|system| system.is_another(dir))
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

    fn refused(&mut self, dir: &Path, error: &Error) {
        if error.kind() != ErrorKind::StorageFull {
            return self.unwatchable(dir, error);
        }
        self.limited = true;
        self.polled.insert(dir);
        if !std::mem::replace(&mut self.told, true) {
            self.troubles.push(Trouble::WatchLimit {
                watched: self.watched.len(),
                dir: dir.to_owned(),
            });
        }
    }

    /// Told once for each directory, however often it is tried. One that is gone by now is of no interest.
    fn unwatchable(&mut self, dir: &Path, error: &Error) {
        if !dir.is_dir() {
            return;
        }
        // It may be opened, which is told to nobody.
        self.polled.insert(dir);
        if self.closed.insert(dir.to_owned()) {
            self.troubles.push(Trouble::Unwatchable {
                dir: dir.to_owned(),
                reason: error.to_string(),
            });
        }
    }

    /// The entries, and whether each is a directory. Symbolic links are not followed: they may lead in a circle.
    pub(super) fn read(&mut self, dir: &Path) -> Vec<(PathBuf, bool)> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                self.unwatchable(dir, &error);
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
    use std::io;

    use tempfile::TempDir;

    use super::*;
    use crate::watch::WatchSpec;

    /// A system that allows so many watches.
    struct Two(usize);

    impl System for Two {
        fn is_another(&mut self, dir: &Path) -> bool {
            self.watch(dir).unwrap_or(false)
        }

        fn watch(&mut self, _: &Path) -> io::Result<bool> {
            let left = self.0.checked_sub(1);
            self.0 = left.ok_or(ErrorKind::StorageFull)?;
            Ok(false)
        }

        fn unwatch(&mut self, _: &Path) {
            self.0 += 1;
        }

        fn has_more(&self) -> bool {
            false
        }
    }

    fn tree(watches: usize) -> Tree {
        Tree::new(Some(Box::new(Two(watches))), Poll::IfNeeded)
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
        let mut tree = tree(2);
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
        let mut tree = tree(9);
        tree.cover(&mut Filter::new(&spec).unwrap());
        assert_eq!(tree.len(), 4);
        tree.lost(&dir.path().join("a"));
        assert_eq!(tree.len(), 2);
        fs::remove_dir(dir.path().join("ab")).unwrap();
        tree.forget_gone();
        assert_eq!(tree.len(), 1);
    }
}
