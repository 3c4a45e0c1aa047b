use std::collections::BTreeSet;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use notify::{ErrorKind, RecursiveMode, Watcher};

use super::{Filter, Trouble};

/// The directories that are watched.
pub(super) struct Tree {
    watcher: Box<dyn Watcher + Send>,
    watched: BTreeSet<PathBuf>,
    limited: bool,
    troubles: Vec<Trouble>,
}

impl Tree {
    pub(super) fn new(watcher: Box<dyn Watcher + Send>) -> Self {
        Self {
            watcher,
            watched: BTreeSet::new(),
            limited: false,
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
        let roots: Vec<PathBuf> = filter.dirs().map(Path::to_owned).collect();
        let named: Vec<PathBuf> = filter.files().map(Path::to_owned).collect();
        let mut files = Vec::new();
        for root in roots {
            self.grow(&root, filter, &mut files);
        }
        for file in named {
            self.anchor(&file);
            files.extend(file.is_file().then_some(file));
        }
        files
    }

    /// Watches `dir` and what is below it; adds the files there to `files`.
    ///
    /// Each directory is watched before it is read: what is created in between is found twice, what is
    /// created after is told by an event, and nothing is lost (`inotify(7)`, "Limitations and caveats").
    pub(super) fn grow(&mut self, dir: &Path, filter: &mut Filter, files: &mut Vec<PathBuf>) {
        let mut waiting = vec![dir.to_owned()];
        while let Some(dir) = waiting.pop() {
            if !filter.dir(&dir) {
                continue;
            }
            self.watch(&dir);
            for (path, is_dir) in self.read(&dir) {
                if is_dir {
                    waiting.push(path);
                } else if filter.file(&path) {
                    files.push(path);
                }
            }
        }
    }

    /// Watches the directory in which `path` is, so that it is seen when another file takes its place; if
    /// that directory does not exist, the nearest above it that does, until it does.
    pub(super) fn anchor(&mut self, path: &Path) {
        if let Some(dir) = path.ancestors().skip(1).find(|dir| dir.is_dir()) {
            self.watch(dir);
        }
    }

    /// What happened at `path` has ended the system's watch on it.
    pub(super) fn lost(&mut self, path: &Path) {
        while let Some(dir) = self.first_below(path) {
            self.watched.remove(&dir);
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
        if self.limited {
            return;
        }
        match self.watcher.watch(dir, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(dir.to_owned());
            }
            Err(error) => self.refused(dir, &error),
        }
    }

    fn refused(&mut self, dir: &Path, error: &notify::Error) {
        if matches!(error.kind, ErrorKind::MaxFilesWatch) {
            self.limited = true;
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
    fn read(&mut self, dir: &Path) -> Vec<(PathBuf, bool)> {
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
