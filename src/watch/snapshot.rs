use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Files up to this size are read before they change, so that a mere `touch` can be told from a change.
const READ_AHEAD_FILE: u64 = 1 << 20;

/// All that is read before it changes: some 50 ms of work where the files are cached.
const READ_AHEAD_TOTAL: u64 = 64 << 20;

/// Larger files are known by their size and time only.
const READ_MOST: u64 = 64 << 20;

/// The kernel stamps files with a clock that lags behind by up to one tick (`ktime_get_coarse_real_ts64`),
/// 10 ms at the slowest setting.
const TICK: Duration = Duration::from_millis(10);

/// What the files were when they were last looked at.
#[derive(Debug)]
pub(super) struct Snapshot {
    known: BTreeMap<PathBuf, Known>,
    started: Duration,
    read_ahead: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It is there; whatever is heard of it is a change.
    Unseen,
    /// It had this size and time.
    Stamp(Stamp),
    /// It had this content.
    Hash(Stamp, u64),
}

/// What a look at the metadata says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: (i64, i64),
    inode: u64,
    /// When the inode changed: unlike the time of modification nobody can set it, and a rename renews it.
    changed: Duration,
    /// Whether a later change shows in the times. One that follows within the same tick does not.
    sure: bool,
}

impl Snapshot {
    /// For a watch that starts now.
    pub(super) fn new() -> Self {
        let started = now();
        Self {
            known: BTreeMap::new(),
            started,
            read_ahead: READ_AHEAD_TOTAL,
        }
    }

    /// When the watch began.
    pub(super) const fn started(&self) -> Duration {
        self.started
    }

    /// How many files are known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Notes a file that is there, without reading it. Says whether it has changed since `since`, which
    /// events may not tell: they come only once its directory is watched.
    pub(super) fn note(&mut self, path: &Path, since: Duration) -> bool {
        if self.known.contains_key(path) {
            return false;
        }
        let Ok(metadata) = fs::metadata(path) else {
            return false;
        };
        if !metadata.is_file() {
            return false;
        }
        // What has changed since then is a change, whatever else is told of it.
        let stamp = Stamp::of(&metadata, self.started.max(since));
        let known = match stamp.sure {
            true => Known::Stamp(stamp),
            false => Known::Unseen,
        };
        self.known.insert(path.to_owned(), known);
        stamp.changed >= since
    }

    /// Files that were noted and not read, as far as they are worth reading ahead.
    pub(super) fn unread(&self) -> Vec<PathBuf> {
        let small =
            |known: &Known| matches!(known, Known::Stamp(stamp) if stamp.len <= READ_AHEAD_FILE);
        self.known
            .iter()
            .filter(|(_, known)| small(known))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Reads a file that was noted.
    ///
    /// Its content becomes the known one only if it was not changed since the watch began: an event about
    /// such a change may be on its way, and would be taken for one about nothing.
    pub(super) fn read_ahead(&mut self, path: &Path) {
        let Some(Known::Stamp(before)) = self.known.get(path).copied() else {
            return;
        };
        if before.len > self.read_ahead {
            return;
        }
        self.read_ahead -= before.len;
        let Ok((_, Some(hash))) = look(path) else {
            return;
        };
        // Asked after the reading: a change during it would otherwise be read and not be seen. It must be the file
        // that was noted, too, not another that was moved there.
        let after = fs::metadata(path).map(|after| Stamp::of(&after, Duration::MAX));
        let known = match after {
            Ok(after) if after == before => Known::Hash(before, hash),
            Ok(_) | Err(_) => Known::Unseen,
        };
        self.known.insert(path.to_owned(), known);
    }

    /// Looks at `path`, of which something was heard. Returns what changed: the path itself, or what was
    /// known below it if it is gone or no file any more.
    pub(super) fn update(&mut self, path: &Path) -> Vec<PathBuf> {
        match look(path) {
            Ok((stamp, hash)) => self.replace(path, stamp, hash),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.unreadable(path),
            Err(_) => self.forget(path),
        }
    }

    /// Whether a look at its metadata says that the file at `path` may be another than was known, or is gone, or new.
    pub(super) fn differs(&self, path: &Path) -> bool {
        let now = fs::metadata(path).ok().filter(Metadata::is_file);
        match (self.known.get(path), now) {
            (None, now) => now.is_some(),
            // A link to a directory or to nothing is known by where it leads.
            (Some(_), None) => !path.is_symlink(),
            // In doubt it does: the clock of files lags behind.
            (Some(Known::Unseen), Some(now)) => !Stamp::of(&now, self.started).sure,
            (Some(Known::Stamp(before) | Known::Hash(before, _)), Some(now)) => {
                !before.sure || Stamp::of(&now, Duration::MAX) != *before
            }
        }
    }

    /// Whether a file is known at `path` or below it.
    pub(super) fn knows(&self, path: &Path) -> bool {
        let from = (Bound::Included(path), Bound::Unbounded);
        let first = self.known.range::<Path, _>(from).next();
        first.is_some_and(|(known, _)| known.starts_with(path))
    }

    /// There was a file at `path`, as somebody else has seen.
    pub(super) fn suppose(&mut self, path: &Path) {
        self.known.entry(path.to_owned()).or_insert(Known::Unseen);
    }

    /// It may have changed any number of times, and a build may have read any of it.
    pub(super) fn doubt(&mut self, path: &Path) {
        if let Some(known) = self.known.get_mut(path) {
            *known = Known::Unseen;
        }
    }

    /// What is known at `path` and below it. Paths are ordered component by component, so it follows directly.
    pub(super) fn below(&self, path: &Path) -> Vec<PathBuf> {
        let from = (Bound::Included(path), Bound::Unbounded);
        let below = self.known.range::<Path, _>(from);
        let below = below.take_while(|(known, _)| known.starts_with(path));
        below.map(|(known, _)| known.clone()).collect()
    }

    /// What is known directly in `dir`.
    pub(super) fn within(&self, dir: &Path) -> Vec<PathBuf> {
        let from = (Bound::Excluded(dir), Bound::Unbounded);
        let below = self.known.range::<Path, _>(from);
        let below = below.take_while(|(known, _)| known.starts_with(dir));
        let direct = below.filter(|(known, _)| known.parent() == Some(dir));
        direct.map(|(known, _)| known.clone()).collect()
    }

    /// All that is known.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.known.keys()
    }

    fn replace(&mut self, path: &Path, stamp: Stamp, hash: Option<u64>) -> Vec<PathBuf> {
        let now = hash.map_or(Known::Stamp(stamp), |hash| Known::Hash(stamp, hash));
        let before = self.known.insert(path.to_owned(), now);
        if before.is_some_and(|before| before.same_content(now)) {
            Vec::new()
        } else {
            vec![path.to_owned()]
        }
    }

    fn unreadable(&mut self, path: &Path) -> Vec<PathBuf> {
        let now = now();
        match fs::metadata(path).map(|metadata| Stamp::of(&metadata, now)) {
            Ok(stamp) => self.replace(path, stamp, None),
            Err(_) => self.forget(path),
        }
    }

    /// Looks whether `path` is gone; what was known there and below it is what changed.
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
            self.known.remove(path);
        }
        gone
    }
}

impl Known {
    /// Where a content is not known the size and the time decide.
    fn same_content(self, now: Self) -> bool {
        match (self, now) {
            (Self::Hash(_, before), Self::Hash(_, now)) => before == now,
            (Self::Unseen, _) | (_, Self::Unseen) => false,
            (
                Self::Stamp(before) | Self::Hash(before, _),
                Self::Stamp(now) | Self::Hash(now, _),
            ) => before.same_content(now),
        }
    }
}

impl Stamp {
    /// `looked`: before what else was looked at, the content say.
    fn of(metadata: &Metadata, looked: Duration) -> Self {
        let changed = changed_at(metadata);
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
            changed,
            sure: changed + TICK < looked,
        }
    }

    /// A change of the mode, say, leaves the time of modification as it is.
    fn same_content(self, now: Self) -> bool {
        let of = |stamp: Self| (stamp.len, stamp.modified, stamp.inode);
        of(self) == of(now)
    }
}

/// The time of day, as the time since 1970: files are stamped with it.
pub(super) fn now() -> Duration {
    since_1970(SystemTime::now())
}

pub(super) fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn changed_at(metadata: &Metadata) -> Duration {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    Duration::new(seconds, u32::try_from(metadata.ctime_nsec()).unwrap_or(0))
}

/// The metadata, and after them the content, of a file, or of a symbolic link to a directory or to nothing. An error for anything else:
/// to open a pipe or a device could block, or do something.
fn look(path: &Path) -> io::Result<(Stamp, Option<u64>)> {
    let now = now();
    let stamp = |metadata: &Metadata| Stamp::of(metadata, now);
    let link = fs::symlink_metadata(path)?;
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            let hash = if metadata.len() > READ_MOST {
                None
            } else {
                Some(hash(path)?)
            };
            Ok((stamp(&metadata), hash))
        }
        Ok(metadata) if link.is_symlink() && metadata.is_dir() => {
            Ok((stamp(&link), Some(hash_link(path)?)))
        }
        Ok(_) => Err(io::ErrorKind::Unsupported.into()),
        Err(_) if link.is_symlink() => Ok((stamp(&link), Some(hash_link(path)?))),
        Err(error) => Err(error),
    }
}

fn hash(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.write(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hash_link(path: &Path) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    hasher.write(fs::read_link(path)?.as_os_str().as_bytes());
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests;
