use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
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
    files: BTreeMap<PathBuf, Known>,
    /// When the watch started.
    pub(super) started: SystemTime,
    read_ahead_left: u64,
}

/// What is known about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Only that the file exists. Any event for it counts as a change.
    Exists,
    /// The metadata.
    Stamp(Stamp),
    /// The metadata, and the hash of the contents.
    Hash(Stamp, u64),
}

/// The metadata that shows whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: (i64, i64),
    inode: u64,
    changed: SystemTime,
    /// Whether the next change is sure to show in the timestamps. A change within the same tick may not show.
    sure: bool,
}

impl Snapshot {
    /// Makes an empty snapshot for a watch that starts now.
    pub(super) fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            started: SystemTime::now(),
            read_ahead_left: READ_AHEAD_TOTAL,
        }
    }

    /// The number of known files.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Adds an existing file without reading it. Returns whether the file is new to the snapshot and has changed since
    /// `since`: changes made before its directory was watched cause no events.
    pub(super) fn add(&mut self, path: &Path, since: SystemTime) -> bool {
        if self.files.contains_key(path) {
            return false;
        }
        let Some(metadata) = compared(path) else {
            return false;
        };
        let stamp = Stamp::of(&metadata, Some(self.started.max(since)));
        let known = match stamp.sure {
            true => Known::Stamp(stamp),
            false => Known::Exists,
        };
        self.files.insert(path.to_owned(), known);
        stamp.changed >= since
    }

    /// Files that were added but not read, and are small enough to be read ahead.
    pub(super) fn unread(&self) -> Vec<PathBuf> {
        let small =
            |known: &Known| matches!(known, Known::Stamp(stamp) if stamp.len <= READ_AHEAD_FILE);
        let unread = self.files.iter().filter(|(_, known)| small(known));
        unread.map(|(path, _)| path.clone()).collect()
    }

    /// Reads a file that was added but not read.
    ///
    /// The contents are recorded only if the file has not changed since the watch started. Otherwise, the event for
    /// that change, which may still arrive, would seem to report no change.
    pub(super) fn read_ahead(&mut self, path: &Path) {
        let Some(Known::Stamp(before)) = self.files.get(path).copied() else {
            return;
        };
        if before.len > self.read_ahead_left {
            return;
        }
        self.read_ahead_left -= before.len;
        let Some((_, Some(hash))) = examine(path) else {
            return;
        };
        // Taken after the read, to notice whether the file was changed or replaced during the read.
        let after = compared(path).map(|after| Stamp::of(&after, None));
        let known = match after {
            Some(after) if after == before => Known::Hash(before, hash),
            Some(_) | None => Known::Exists,
        };
        self.files.insert(path.to_owned(), known);
    }

    /// Examines `path` after an event. Returns what has changed: the path itself or, if it is gone or not a file, every
    /// known file at or below it.
    pub(super) fn update(&mut self, path: &Path) -> Vec<PathBuf> {
        let Some((stamp, hash)) = examine(path) else {
            return self.forget(path);
        };
        let now = hash.map_or(Known::Stamp(stamp), |hash| Known::Hash(stamp, hash));
        let same_contents = match (self.files.insert(path.to_owned(), now), hash) {
            (None | Some(Known::Exists), _) => false,
            (Some(Known::Hash(_, before)), Some(now)) => before == now,
            (Some(Known::Stamp(before) | Known::Hash(before, _)), _) => {
                // The change time is left out, because it also changes with the file mode.
                let contents = |stamp: Stamp| (stamp.len, stamp.modified, stamp.inode);
                contents(before) == contents(stamp)
            }
        };
        match same_contents {
            true => Vec::new(),
            false => vec![path.to_owned()],
        }
    }

    /// Whether the metadata suggests that the file at `path` has changed, is gone or is new.
    pub(super) fn differs(&self, path: &Path) -> bool {
        match (self.files.get(path), compared(path)) {
            (None, now) => now.is_some(),
            (Some(_), None) => true,
            // If in doubt, assume a change, because the clock for file timestamps lags behind.
            (Some(Known::Exists), Some(now)) => !Stamp::of(&now, Some(self.started)).sure,
            (Some(Known::Stamp(before) | Known::Hash(before, _)), Some(now)) => {
                !before.sure || Stamp::of(&now, None) != *before
            }
        }
    }

    /// Whether a file is known at `path` or below it.
    pub(super) fn knows(&self, path: &Path) -> bool {
        paths::below(&self.files, path).next().is_some()
    }

    /// Adds a file that existed earlier, even if it is gone now.
    pub(super) fn add_earlier(&mut self, path: &Path) {
        self.files.entry(path.to_owned()).or_insert(Known::Exists);
    }

    /// Forgets the contents of a file. The file may have changed and changed back, and a build may have read either
    /// state.
    pub(super) fn forget_contents(&mut self, path: &Path) {
        if let Some(known) = self.files.get_mut(path) {
            *known = Known::Exists;
        }
    }

    /// The known files at `path` and below it.
    pub(super) fn below(&self, path: &Path) -> Vec<PathBuf> {
        paths::below(&self.files, path).cloned().collect()
    }

    /// The known files directly in `dir`.
    pub(super) fn within(&self, dir: &Path) -> Vec<PathBuf> {
        let mut below = self.below(dir);
        below.retain(|path| path.parent() == Some(dir));
        below
    }

    /// All known files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.keys()
    }

    /// If `path` is gone, forgets and returns the known files at it and below it.
    pub(super) fn forget_gone(&mut self, path: &Path) -> Vec<PathBuf> {
        if path.symlink_metadata().is_ok() {
            Vec::new()
        } else {
            self.forget(path)
        }
    }

    fn forget(&mut self, path: &Path) -> Vec<PathBuf> {
        let gone = self.below(path);
        for path in &gone {
            self.files.remove(path);
        }
        gone
    }
}

impl Stamp {
    /// Takes the stamp from a file's metadata. `read_after`: the contents were read after this time; `None` if the
    /// contents do not matter.
    fn of(metadata: &Metadata, read_after: Option<SystemTime>) -> Self {
        let changed = change_time(metadata);
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
            changed,
            sure: read_after.is_none_or(|time| changed + KERNEL_TICK < time),
        }
    }
}

/// The metadata of a file, or of a symbolic link that does not point to one.
fn compared(path: &Path) -> Option<Metadata> {
    let file = fs::metadata(path).ok().filter(Metadata::is_file);
    let link = || fs::symlink_metadata(path).ok();
    file.or_else(|| link().filter(Metadata::is_symlink))
}

/// Reads the stamp and the hash of a file, or of a symbolic link that is dangling or points to a directory. There is no
/// hash if the file is too large or not readable. Returns `None` for anything else, because opening a pipe or a device
/// could block or have side effects.
fn examine(path: &Path) -> Option<(Stamp, Option<u64>)> {
    let now = Some(SystemTime::now());
    let hash = |bytes: &[u8]| {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        hasher.finish()
    };
    match fs::metadata(path) {
        Ok(file) if file.is_file() => {
            let is_small = file.len() <= LARGEST_HASHED;
            let contents = is_small.then(|| fs::read(path).ok()).flatten();
            let hash = contents.map(|contents| hash(&contents));
            Some((Stamp::of(&file, now), hash))
        }
        Ok(target) if !target.is_dir() => None,
        Ok(_) | Err(_) => {
            // Fails if the path is not a link.
            let target = fs::read_link(path).ok()?;
            let hash = hash(target.as_os_str().as_bytes());
            let link = fs::symlink_metadata(path).ok()?;
            Some((Stamp::of(&link, now), Some(hash)))
        }
    }
}

#[cfg(test)]
mod tests;
