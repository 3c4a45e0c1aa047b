//! Removes the files that a killed hotrun left behind.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The prefix of the names that every hotrun gives its own socket files, in the directory of a unix socket's path. The
/// pid and a dash follow.
pub const PREFIX: &str = ".hotrun-";

/// Device and inode, which identify a file.
pub type FileId = (u64, u64);

/// Returns a file's identity.
pub fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// A socket file, or a group of files, to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cleanup {
    /// The socket file at a path.
    Socket {
        /// The path, as a type that serde can serialize even if the path is not UTF-8.
        path: OsString,
        /// How the names of our other socket files in the same directory begin.
        names: String,
        /// Our socket file, if it never changes. `None` if it changes with each switch: our file is then the one that
        /// also has one of these names.
        file: Option<FileId>,
    },
    /// All regular files whose path has this prefix. Only hotrun's own files may have it.
    Files(OsString),
}

/// Removes the files of one hotrun, and no others. For a unix socket, these are the socket files in the directory of
/// its path whose names begin with `names`, and the path itself if it is still that hotrun's own file.
///
/// Call this when that hotrun is gone and nothing listens on its sockets. Calling it again does no harm. Files that
/// cannot be removed are left in place.
pub fn clean_up(cleanups: &[Cleanup]) {
    for cleanup in cleanups {
        match cleanup {
            Cleanup::Socket { path, names, file } => remove_sockets(Path::new(path), names, *file),
            Cleanup::Files(prefix) => {
                let metadata = |path: &PathBuf| fs::symlink_metadata(path);
                beginning_with(Path::new(prefix))
                    .filter(|path| metadata(path).is_ok_and(|found| found.is_file()))
                    .for_each(|path| drop(fs::remove_file(path)));
            }
        }
    }
}

fn remove_sockets(path: &Path, names: &str, file: Option<FileId>) {
    let names = beginning_with(&path.with_file_name(names));
    let beside: Vec<_> = names
        .filter_map(|name| Some((socket_id(&name)?, name)))
        .collect();
    let is_ours = |id| file == Some(id) || beside.iter().any(|(known, _)| *known == id);
    // Remove the path before the entries beside it: without them, a later cleanup could not recognize it as ours.
    if socket_id(path).is_some_and(is_ours) {
        let _ = fs::remove_file(path);
    }
    for (_, name) in beside {
        let _ = fs::remove_file(name);
    }
}

/// Returns the existing paths with this prefix.
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
        let path = path.into();
        let names = ".hotrun-12-".to_owned();
        [Cleanup::Socket { path, names, file }]
    }

    fn create_sockets(directory: &Path, path: &Path) {
        for name in [".hotrun-12-1", ".hotrun-12-2", ".hotrun-123-1"] {
            drop(UnixListener::bind(directory.join(name)).unwrap());
        }
        fs::write(directory.join(".hotrun-12-notes"), "precious").unwrap();
        fs::hard_link(directory.join(".hotrun-12-2"), path).unwrap();
    }

    #[test]
    fn only_the_sockets_of_one_hotrun_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        create_sockets(directory.path(), &path);
        clean_up(&socket(&path, None));
        let others = [".hotrun-12-notes", ".hotrun-123-1"];
        assert_eq!(names_in(directory.path()), others);
        clean_up(&socket(&path, None));
        assert_eq!(
            names_in(directory.path()),
            others,
            "a second call must remove nothing"
        );
    }

    #[test]
    fn a_path_taken_over_by_another_socket_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        create_sockets(directory.path(), &path);
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        clean_up(&socket(&path, None));
        assert!(names_in(directory.path()).contains(&"app.sock".into()));
    }

    #[test]
    fn a_path_is_removed_only_if_it_is_still_the_known_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let _ours = UnixListener::bind(&path).unwrap();
        let (device, inode) = socket_id(&path).unwrap();
        clean_up(&socket(&path, Some((device, inode + 1))));
        assert!(path.exists());
        clean_up(&socket(&path, Some((device, inode))));
        assert!(!path.exists());
    }

    #[test]
    fn only_regular_files_with_the_prefix_are_removed() {
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
        clean_up(&[Cleanup::Files(prefix.into())]);
        let others = [".app.hotrun-12-dir", ".app.hotrun-123-1", "app"];
        assert_eq!(names_in(directory.path()), others);
    }
}
