use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::paths;
use crate::os::{KERNEL_TICK, change_time};

/// Files up to this size are read before they change, to distinguish a mere `touch` from a change.
const READ_AHEAD_FILE: u64 = 1 << 20;

/// How much to read ahead in total. This takes about 50 ms if the files are cached.
const READ_AHEAD_TOTAL: u64 = 64 << 20;

/// Files that are larger than this are compared only by their metadata.
const LARGEST_HASHED: u64 = 16 << 20;

/// The state of each file when it was last examined.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// `None` if only the existence of a file is known. Any event for it counts as a change.
    pub(super) files: BTreeMap<PathBuf, Option<Known>>,
    /// When the watch started.
    pub(super) started: SystemTime,
    read_ahead_left: u64,
    /// The last file that was found to have been saved with the same contents.
    pub(super) saved_unchanged: Option<PathBuf>,
}

/// What is known about a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    stamp: Stamp,
    /// Whether the next change is sure to show in the timestamps. A change within the same tick may not show.
    sure: bool,
    /// The hash of the contents, if they were read.
    hash: Option<u64>,
}

/// The metadata that shows whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// The length, the modification time and the inode.
    contents: (u64, i64, i64, u64),
    changed: SystemTime,
}

impl Snapshot {
    /// Makes an empty snapshot for a watch that starts now.
    pub(super) fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            started: SystemTime::now(),
            read_ahead_left: READ_AHEAD_TOTAL,
            saved_unchanged: None,
        }
    }

    /// Adds an existing file without reading it. Returns whether the file is new to the snapshot and has changed since
    /// `since`: changes made before its directory was watched cause no events.
    pub(super) fn add(&mut self, path: &Path, since: SystemTime) -> bool {
        if self.files.contains_key(path) {
            return false;
        }
        let Some(stamp) = stamp(path) else {
            return false;
        };
        let known = Known {
            stamp,
            sure: true,
            hash: None,
        };
        let sure = stamp.is_sure(self.started.max(since));
        self.files.insert(path.to_owned(), sure.then_some(known));
        stamp.changed >= since
    }

    /// Files that were added but not read, and are small enough to be read ahead.
    pub(super) fn unread(&self) -> Vec<PathBuf> {
        let is_small = |known: Known| known.hash.is_none() && known.stamp.len() <= READ_AHEAD_FILE;
        let unread = self.files.iter();
        let unread = unread.filter(|(_, known)| known.is_some_and(is_small));
        unread.map(|(path, _)| path.clone()).collect()
    }

    /// Reads a file that was added but not read.
    ///
    /// The contents are recorded only if the file has not changed since the watch started. Otherwise, the event for
    /// that change, which may still arrive, would seem to report no change.
    pub(super) fn read_ahead(&mut self, path: &Path) {
        let before = self.files.get(path).copied().flatten();
        let before = before.filter(|known| known.hash.is_none());
        let Some(Known { stamp: before, .. }) = before else {
            return;
        };
        let Some(left) = self.read_ahead_left.checked_sub(before.len()) else {
            return;
        };
        self.read_ahead_left = left;
        let read = examine(path).filter(|read| read.hash.is_some());
        let read = read.map(|read| Known {
            stamp: before,
            sure: true,
            ..read
        });
        if let Some(read) = read {
            // Taken after the read, to notice whether the file was changed or replaced during the read.
            let is_same = stamp(path) == Some(before);
            self.files.insert(path.to_owned(), is_same.then_some(read));
        }
    }

    /// Examines `path` after an event. Returns what has changed: the path itself or, if it is gone or not a file, every
    /// known file at or below it.
    pub(super) fn update(&mut self, path: &Path) -> Vec<PathBuf> {
        let Some(now) = examine(path) else {
            return self.forget(path);
        };
        let before = self.files.insert(path.to_owned(), Some(now)).flatten();
        let is_same = before.is_some_and(|before| match (before.hash, now.hash) {
            (Some(before), Some(now)) => before == now,
            // The change time is left out, because it also changes with the file mode.
            (None, _) | (_, None) => before.stamp.contents == now.stamp.contents,
        });
        if is_same {
            if before.is_some_and(|before| before.stamp.contents != now.stamp.contents) {
                self.saved_unchanged = Some(path.to_owned());
            }
            Vec::new()
        } else {
            vec![path.to_owned()]
        }
    }

    /// Whether the metadata suggests that the file at `path` has changed, is gone or is new.
    pub(super) fn differs(&self, path: &Path) -> bool {
        match (self.files.get(path), stamp(path)) {
            (known, None) => known.is_some(),
            (None, Some(_)) => true,
            // If in doubt, assume a change, because the clock for file timestamps lags behind.
            (Some(None), Some(now)) => !now.is_sure(self.started),
            (Some(Some(before)), Some(now)) => !before.sure || now != before.stamp,
        }
    }

    /// Whether a file is known at `path` or below it.
    pub(super) fn knows(&self, path: &Path) -> bool {
        paths::below(&self.files, path).next().is_some()
    }

    /// Adds a file that existed earlier, even if it is gone now.
    pub(super) fn add_earlier(&mut self, path: &Path) {
        self.files.entry(path.to_owned()).or_default();
    }

    /// Forgets the contents of a file. The file may have changed and changed back, and a build may have read either
    /// state.
    pub(super) fn forget_contents(&mut self, path: &Path) {
        if let Some(known) = self.files.get_mut(path) {
            *known = None;
        }
    }

    /// The known files at `path` and below it.
    pub(super) fn below(&self, path: &Path) -> Vec<PathBuf> {
        paths::below(&self.files, path).cloned().collect()
    }

    /// Forgets and returns the known files at `path` and below it.
    pub(super) fn forget(&mut self, path: &Path) -> Vec<PathBuf> {
        let gone = self.below(path);
        for path in &gone {
            self.files.remove(path);
        }
        gone
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        Self {
            contents: (metadata.len(), seconds, nanoseconds, metadata.ino()),
            changed: change_time(metadata),
        }
    }

    const fn len(&self) -> u64 {
        self.contents.0
    }

    /// Whether any change after this time is sure to show in the timestamps.
    fn is_sure(&self, time: SystemTime) -> bool {
        self.changed + KERNEL_TICK < time
    }
}

/// The stamp of a file, or of a symbolic link that does not point to one.
fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok().filter(Metadata::is_file);
    let link = || fs::symlink_metadata(path).ok().filter(Metadata::is_symlink);
    file.or_else(link).map(|metadata| Stamp::of(&metadata))
}

/// Examines a file, or a symbolic link that is dangling or points to a directory. There is no hash if the file is too
/// large or not readable. Returns `None` for anything else, because opening a pipe or a device could block or have side
/// effects.
fn examine(path: &Path) -> Option<Known> {
    let now = SystemTime::now();
    let (metadata, contents) = match fs::metadata(path) {
        Ok(file) if file.is_file() => {
            let is_small = file.len() <= LARGEST_HASHED;
            (file, is_small.then(|| fs::read(path).ok()).flatten())
        }
        Ok(target) if !target.is_dir() => return None,
        Ok(_) | Err(_) => {
            // Fails if the path is not a link.
            let target = fs::read_link(path).ok()?.into_os_string().into_vec();
            (fs::symlink_metadata(path).ok()?, Some(target))
        }
    };
    let stamp = Stamp::of(&metadata);
    let hash = |contents: Vec<u8>| {
        let mut hasher = DefaultHasher::new();
        hasher.write(&contents);
        hasher.finish()
    };
    Some(Known {
        stamp,
        sure: stamp.is_sure(now),
        hash: contents.map(hash),
    })
}

#[cfg(test)]
mod tests;
