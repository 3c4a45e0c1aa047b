//! Removing the files of a hotrun that was killed.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The prefix of the socket names beside a path; the pid and a dash follow.
pub const PREFIX: &str = ".hotrun-";

/// Device and inode, which identify a file.
pub type FileId = (u64, u64);

/// The identity of a file.
pub fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// Something to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cleanup {
    /// The socket file at a path.
    Socket {
        /// The path.
        #[serde(with = "any_path")]
        path: PathBuf,
        /// The file that is ours. `None` if it is the one that has a second name beside the path; that file changes with
        /// each switch.
        file: Option<FileId>,
    },
    /// All regular files whose path has this prefix, which no file of anybody else may have.
    Files(#[serde(with = "any_path")] PathBuf),
}

/// Serializes any path; serde itself accepts only UTF-8.
mod any_path {
    use super::{Deserialize, OsString, Path, PathBuf, Serialize};

    pub(super) fn serialize<S: serde::Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(to)
    }

    pub(super) fn deserialize<'a, D: serde::Deserializer<'a>>(
        from: D,
    ) -> Result<PathBuf, D::Error> {
        OsString::deserialize(from).map(PathBuf::from)
    }
}

/// Removes the files of the hotrun that had this pid, and nothing else: of a unix socket the names beside its path, and the
/// path if it still is the same file as one of them. Call it when that hotrun is gone and nobody listens on its sockets;
/// calling it again does no harm. Files that cannot be removed stay.
pub fn clean_up(cleanups: &[Cleanup], pid: u32) {
    for cleanup in cleanups {
        match cleanup {
            Cleanup::Socket { path, file } => remove_sockets(path, *file, pid),
            Cleanup::Files(prefix) => remove_files(prefix),
        }
    }
}

fn remove_sockets(path: &Path, file: Option<FileId>, pid: u32) {
    let beside = names_beside(path, pid);
    let ids = beside.iter().filter_map(|name| socket_id(name)).chain(file);
    let ours: Vec<FileId> = ids.collect();
    // The path first: without the names beside it, it is not recognizable as ours.
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

/// The existing paths with this prefix.
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

    fn socket(path: &Path, file: Option<FileId>) -> [Cleanup; 1] {
        let path = path.to_owned();
        [Cleanup::Socket { path, file }]
    }

    fn create_sockets(directory: &Path, path: &Path) {
        for name in [".hotrun-12-1", ".hotrun-12-2", ".hotrun-123-1"] {
            drop(UnixListener::bind(directory.join(name)).unwrap());
        }
        fs::write(directory.join(".hotrun-12-notes"), "precious").unwrap();
        fs::hard_link(directory.join(".hotrun-12-2"), path).unwrap();
    }

    #[test]
    fn the_sockets_of_one_hotrun_are_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        create_sockets(directory.path(), &path);
        clean_up(&socket(&path, None), 12);
        let others = [".hotrun-12-notes", ".hotrun-123-1"];
        assert_eq!(names_in(directory.path()), others);
        clean_up(&socket(&path, None), 12);
        assert_eq!(names_in(directory.path()), others, "calling it again");
    }

    #[test]
    fn a_path_taken_over_by_another_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        create_sockets(directory.path(), &path);
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        clean_up(&socket(&path, None), 12);
        assert!(names_in(directory.path()).contains(&"app.sock".into()));
    }

    #[test]
    fn a_path_with_a_known_file_is_removed_while_it_is_that_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let _ours = UnixListener::bind(&path).unwrap();
        let (device, inode) = socket_id(&path).unwrap();
        clean_up(&socket(&path, Some((device, inode + 1))), 12);
        assert!(path.exists());
        clean_up(&socket(&path, Some((device, inode))), 12);
        assert!(!path.exists());
    }

    #[test]
    fn regular_files_with_the_prefix_are_removed() {
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
}
