//! The files of unix sockets, for one who cleans up after a hotrun that could not.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What the names begin with under which sockets are kept beside a path; the pid and a dash follow.
pub const PREFIX: &str = ".hotrun-";

/// What tells one file from another: device and inode.
pub type FileId = (u64, u64);

/// See [`FileId`].
pub fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// A path that is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The path.
    pub path: PathBuf,
    /// The file there that is ours. `None` if it is whichever has one more name beside the path, as that changes with
    /// each switch.
    pub file: Option<FileId>,
}

impl Kept {
    /// As one argument of a command line; [`Self::from_argument`] is the way back.
    pub fn to_argument(&self) -> OsString {
        let file = self.file.map(|(device, inode)| format!("{device}-{inode}"));
        let mut argument = OsString::from(file.unwrap_or_default());
        argument.push(":");
        argument.push(&self.path);
        argument
    }

    /// `None` if it is no such argument.
    pub fn from_argument(argument: &OsStr) -> Option<Self> {
        let bytes = argument.as_bytes();
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        let file = match &bytes[..colon] {
            [] => None,
            file => {
                let (device, inode) = str::from_utf8(file).ok()?.split_once('-')?;
                Some((device.parse().ok()?, inode.parse().ok()?))
            }
        };
        let path = PathBuf::from(OsString::from_vec(bytes[colon + 1..].to_vec()));
        Some(Self { path, file })
    }
}

/// Removes what the hotrun that had this pid left of its unix sockets, and nothing else: the names beside each path,
/// and the path if it is still the same file as one of them. To be called when that hotrun is gone and nobody
/// listens on its sockets any more; to call it again does no harm. What cannot be removed stays.
pub fn remove_leftovers(kept: &[Kept], pid: u32) {
    for kept in kept {
        let beside = names_beside(&kept.path, pid);
        let ids = beside
            .iter()
            .filter_map(|name| socket_id(name))
            .chain(kept.file);
        let ours: Vec<FileId> = ids.collect();
        // The path first: without the names beside it nobody could tell any more that it is ours.
        if socket_id(&kept.path).is_some_and(|id| ours.contains(&id)) {
            let _ = fs::remove_file(&kept.path);
        }
        for name in beside {
            let _ = fs::remove_file(name);
        }
    }
}

/// The sockets beside this path that belong to the hotrun with this pid.
fn names_beside(path: &Path, pid: u32) -> Vec<PathBuf> {
    let entries = path.parent().and_then(|parent| fs::read_dir(parent).ok());
    let prefix = format!("{PREFIX}{pid}-");
    let ours = |name: &PathBuf| {
        let name = name.file_name().unwrap_or_default().as_bytes();
        name.starts_with(prefix.as_bytes())
    };
    let all = entries.into_iter().flatten().filter_map(Result::ok);
    let names = all.map(|entry| entry.path()).filter(ours);
    names.filter(|name| socket_id(name).is_some()).collect()
}

fn socket_id(path: &Path) -> Option<FileId> {
    let metadata = fs::symlink_metadata(path).ok()?;
    metadata.file_type().is_socket().then(|| file_id(&metadata))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn names_in(directory: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn kept(path: &Path, file: Option<FileId>) -> [Kept; 1] {
        let path = path.to_owned();
        [Kept { path, file }]
    }

    fn leave_slots(directory: &Path, path: &Path) {
        for name in [".hotrun-12-1", ".hotrun-12-2", ".hotrun-123-1"] {
            drop(UnixListener::bind(directory.join(name)).unwrap());
        }
        fs::write(directory.join(".hotrun-12-notes"), "precious").unwrap();
        fs::hard_link(directory.join(".hotrun-12-2"), path).unwrap();
    }

    #[test]
    fn what_is_left_of_one_hotrun_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        leave_slots(directory.path(), &path);
        remove_leftovers(&kept(&path, None), 12);
        let others = [".hotrun-12-notes", ".hotrun-123-1"];
        assert_eq!(names_in(directory.path()), others);
        remove_leftovers(&kept(&path, None), 12);
        assert_eq!(names_in(directory.path()), others, "once more");
    }

    #[test]
    fn a_path_that_somebody_else_has_taken_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        leave_slots(directory.path(), &path);
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        remove_leftovers(&kept(&path, None), 12);
        assert!(names_in(directory.path()).contains(&"app.sock".into()));
    }

    #[test]
    fn a_path_that_is_known_by_its_file_is_removed_as_long_as_it_is_that() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let _ours = UnixListener::bind(&path).unwrap();
        let (device, inode) = socket_id(&path).unwrap();
        remove_leftovers(&kept(&path, Some((device, inode + 1))), 12);
        assert!(path.exists());
        remove_leftovers(&kept(&path, Some((device, inode))), 12);
        assert!(!path.exists());
    }

    #[test]
    fn an_argument_tells_it_all() {
        for file in [None, Some((u64::MAX, 7))] {
            let path = OsString::from_vec(b"/run/a:b-\xff.sock".to_vec());
            let [kept] = kept(Path::new(&path), file);
            assert_eq!(Kept::from_argument(&kept.to_argument()), Some(kept));
        }
        for wrong in ["", "/run/app.sock", "1:/run/app.sock", "a-b:/run/app.sock"] {
            assert_eq!(Kept::from_argument(OsStr::new(wrong)), None, "{wrong}");
        }
    }
}
