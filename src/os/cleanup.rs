//! The files that a hotrun leaves, for one who cleans up after it when it could not.

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

/// What is to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// A path that is listened on.
    Socket {
        /// The path.
        path: PathBuf,
        /// The file there that is ours. `None` if it is whichever has one more name beside the path, as that changes
        /// with each switch.
        file: Option<FileId>,
    },
    /// All regular files of which the paths begin like this: they come and go. Nobody else's may.
    Files(PathBuf),
}

/// What stands in the place of a file in the argument for [`Cleanup::Files`].
const FILES: &[u8] = b"files";

impl Cleanup {
    /// As one argument of a command line; [`Self::from_argument`] is the way back.
    pub fn to_argument(&self) -> OsString {
        let (first, path) = match self {
            Self::Socket { path, file: None } => (String::new(), path),
            Self::Socket {
                path,
                file: Some((device, inode)),
            } => (format!("{device}-{inode}"), path),
            Self::Files(prefix) => (String::from_utf8_lossy(FILES).into_owned(), prefix),
        };
        let mut argument = OsString::from(first);
        argument.push(":");
        argument.push(path);
        argument
    }

    /// `None` if it is no such argument.
    pub fn from_argument(argument: &OsStr) -> Option<Self> {
        let bytes = argument.as_bytes();
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        let path = PathBuf::from(OsString::from_vec(bytes[colon + 1..].to_vec()));
        let file = match &bytes[..colon] {
            [] => None,
            FILES => return Some(Self::Files(path)),
            file => {
                let (device, inode) = str::from_utf8(file).ok()?.split_once('-')?;
                Some((device.parse().ok()?, inode.parse().ok()?))
            }
        };
        Some(Self::Socket { path, file })
    }
}

/// Removes what the hotrun that had this pid left, and nothing else: of its unix sockets the names beside each path,
/// and the path if it is still the same file as one of them. To be called when that hotrun is gone and nobody
/// listens on its sockets any more; to call it again does no harm. What cannot be removed stays.
pub fn clean_up(kept: &[Cleanup], pid: u32) {
    for kept in kept {
        match kept {
            Cleanup::Socket { path, file } => remove_sockets(path, *file, pid),
            Cleanup::Files(prefix) => remove_files(prefix),
        }
    }
}

fn remove_sockets(path: &Path, file: Option<FileId>, pid: u32) {
    let beside = names_beside(path, pid);
    let ids = beside.iter().filter_map(|name| socket_id(name)).chain(file);
    let ours: Vec<FileId> = ids.collect();
    // The path first: without the names beside it nobody could tell any more that it is ours.
    if socket_id(path).is_some_and(|id| ours.contains(&id)) {
        let _ = fs::remove_file(path);
    }
    for name in beside {
        let _ = fs::remove_file(name);
    }
}

fn remove_files(prefix: &Path) {
    let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    for path in beginning_with(prefix).filter(is_file) {
        let _ = fs::remove_file(path);
    }
}

/// The paths that begin like this one.
fn beginning_with(prefix: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let first = prefix.file_name().unwrap_or_default().to_owned();
    let entries = prefix.parent().and_then(|parent| fs::read_dir(parent).ok());
    let all = entries.into_iter().flatten().filter_map(Result::ok);
    let ours = move |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        name.starts_with(first.as_bytes())
    };
    all.map(|entry| entry.path()).filter(ours)
}

/// The sockets beside this path that belong to the hotrun with this pid.
fn names_beside(path: &Path, pid: u32) -> Vec<PathBuf> {
    let names = beginning_with(&path.with_file_name(format!("{PREFIX}{pid}-")));
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

    fn kept(path: &Path, file: Option<FileId>) -> [Cleanup; 1] {
        let path = path.to_owned();
        [Cleanup::Socket { path, file }]
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
        clean_up(&kept(&path, None), 12);
        let others = [".hotrun-12-notes", ".hotrun-123-1"];
        assert_eq!(names_in(directory.path()), others);
        clean_up(&kept(&path, None), 12);
        assert_eq!(names_in(directory.path()), others, "once more");
    }

    #[test]
    fn a_path_that_somebody_else_has_taken_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        leave_slots(directory.path(), &path);
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        clean_up(&kept(&path, None), 12);
        assert!(names_in(directory.path()).contains(&"app.sock".into()));
    }

    #[test]
    fn a_path_that_is_known_by_its_file_is_removed_as_long_as_it_is_that() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let _ours = UnixListener::bind(&path).unwrap();
        let (device, inode) = socket_id(&path).unwrap();
        clean_up(&kept(&path, Some((device, inode + 1))), 12);
        assert!(path.exists());
        clean_up(&kept(&path, Some((device, inode))), 12);
        assert!(!path.exists());
    }

    #[test]
    fn of_files_those_go_that_have_the_name() {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join(".app.hotrun-12-");
        for name in [
            ".app.hotrun-12-1",
            ".app.hotrun-12-lock",
            ".app.hotrun-123-1",
            "app",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        fs::create_dir(directory.path().join(".app.hotrun-12-dir")).unwrap();
        clean_up(&[Cleanup::Files(prefix)], 12);
        let others = [".app.hotrun-12-dir", ".app.hotrun-123-1", "app"];
        assert_eq!(names_in(directory.path()), others);
    }

    #[test]
    fn an_argument_tells_it_all() {
        for file in [None, Some((u64::MAX, 7))] {
            let path = OsString::from_vec(b"/run/a:b-\xff.sock".to_vec());
            let [kept] = kept(Path::new(&path), file);
            assert_eq!(Cleanup::from_argument(&kept.to_argument()), Some(kept));
        }
        let files = Cleanup::Files("/target/a:b".into());
        assert_eq!(Cleanup::from_argument(&files.to_argument()), Some(files));
        for wrong in ["", "/run/app.sock", "1:/run/app.sock", "a-b:/run/app.sock"] {
            assert_eq!(Cleanup::from_argument(OsStr::new(wrong)), None, "{wrong}");
        }
    }
}
