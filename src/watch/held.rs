use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::own_writes::WriteCalls;
use crate::os;

/// Finds out which of hotrun's children writes a file. Keeps the files that they have been seen holding open for writing:
/// logs, databases, uploads.
///
/// A program keeps such files open for a long time, and closes them when it ends. If that counted as a change, each
/// start would trigger the next one.
#[derive(Debug)]
pub(super) struct HeldFiles {
    calls: WriteCalls,
    held: BTreeMap<PathBuf, Holder>,
    /// Files that are being written, and whose writer is not known yet.
    unknown: BTreeSet<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    /// The device number and the inode number of the file.
    file: (u64, u64),
    /// The pid of our child whose process tree holds the file.
    child: i32,
}

impl HeldFiles {
    pub(super) const fn new(calls: WriteCalls) -> Self {
        Self {
            calls,
            held: BTreeMap::new(),
            unknown: BTreeSet::new(),
        }
    }

    /// Records that a process is writing to this file.
    pub(super) fn written(&mut self, path: &Path) {
        let known = self.held.get(path).map(|known| known.file);
        if known.is_none() || known != identity(path) {
            self.unknown.insert(path.to_owned());
        }
    }

    /// Finds out which process writes to one of the files whose writer is unknown. Must be called soon, because most
    /// writers close a file at once. Returns `false` if there is no such file.
    pub(super) fn identify(&mut self) -> bool {
        let Some(path) = self.unknown.pop_first() else {
            return false;
        };
        if let Some(holder) = holder(&path) {
            self.held.insert(path, holder);
        }
        true
    }

    /// Whether a child of ours is known to write this file.
    pub(super) fn is_known(&self, path: &Path, changed: Instant) -> bool {
        self.held.contains_key(path) || self.calls.writer(path, changed).is_some()
    }

    /// Returns the child of ours that made the latest change to this file, if one did. The file may be gone.
    ///
    /// A file that replaces a held file was not written by the holder: editors save in this way. If a file is gone, but
    /// its holder still has it open, something else removed it.
    pub(super) fn writer(&mut self, path: &Path, changed: Instant) -> Option<i32> {
        let known = self.held.remove(path);
        let now = holder(path);
        self.held.extend(now.map(|now| (path.to_owned(), now)));
        let known = known.filter(|known| match identity(path) {
            Some(file) => known.file == file,
            None => os::child_that_writes(known.file).is_none(),
        });
        let holder = now.or(known).map(|holder| holder.child);
        holder.or_else(|| self.calls.writer(path, changed))
    }

    /// Forgets who held this file when it was last written.
    pub(super) fn forget(&mut self, path: &Path) {
        self.held.remove(path);
    }

    /// Forgets who held any file.
    pub(super) fn forget_all(&mut self) {
        *self = Self::new(self.calls.clone());
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
}

fn holder(path: &Path) -> Option<Holder> {
    // Checked first, because it is cheaper than looking for the process.
    let file = identity(path).filter(|_| os::is_being_written(path))?;
    let child = os::child_that_writes(file)?;
    Some(Holder { file, child })
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_that_replaces_a_held_file_is_looked_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let mut held = HeldFiles::new(WriteCalls::default());
        let mut hold = || {
            let file = File::create_new(&path).unwrap();
            let writer = Command::new("sleep").arg("60").stdout(file).spawn();
            held.written(&path);
            while held.identify() {}
            writer.unwrap()
        };
        let mut first = hold();
        fs::rename(&path, dir.path().join("app.log.1")).unwrap();
        let mut second = hold();
        for writer in [&mut first, &mut second] {
            writer.kill().unwrap();
            writer.wait().unwrap();
        }
        // A program that another test starts inherits the descriptor until its `exec`.
        let deadline = Instant::now() + Duration::from_secs(10);
        while os::is_being_written(&path) && Instant::now() < deadline {}
        let found = held.writer(&path, Instant::now());
        assert_eq!(found, i32::try_from(second.id()).ok());
    }
}
