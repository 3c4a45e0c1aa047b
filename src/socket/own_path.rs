//! The paths of unix sockets that a program has bound itself.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::unix_path::{SocketName, UnixPath, own_prefix};
use crate::os;
use crate::os::cleanup::{Cleanup, file_id};
use crate::os::socket_holders::sockets_of;

/// The paths that lead to one generation's own unix sockets. hotrun does not steer these sockets, and a path leads to
/// the program that bound it last. If another generation removes a path, for example on exit, hotrun restores it.
///
/// To make that possible, each socket file gets a second name next to the path. Dropping this removes the second names.
#[derive(Default)]
pub struct OwnPaths(Vec<(UnixPath, SocketName)>);

impl OwnPaths {
    /// Finds the paths on which these processes listen. Paths that cannot get a second name are left out.
    pub fn of(pids: &[i32]) -> Self {
        let listening = os::unix_paths().unwrap_or_default();
        if listening.is_empty() {
            return Self::default();
        }
        let mut found = Vec::new();
        let mut known = HashSet::new();
        for pid in pids {
            let sockets = sockets_of(*pid).unwrap_or_default();
            let held: HashSet<_> = sockets.into_values().collect();
            for (inode, bound) in &listening {
                if held.contains(inode) && known.insert(inode) {
                    found.extend(keep(*pid, *inode, bound));
                }
            }
        }
        Self(found)
    }

    /// Whether the generation has no such paths.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Restores the paths that no longer lead to a listening socket, unless their own sockets have been closed, too.
    pub fn restore(&self) {
        for (at, name) in &self.0 {
            match fs::symlink_metadata(&at.path) {
                Ok(found) if file_id(&found) == name.id => continue,
                // The socket file of a generation that has failed.
                Ok(found)
                    if found.file_type().is_socket()
                        && os::unix_listening(&found).is_ok_and(|socket| socket.is_none()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) | Err(_) => continue,
            }
            let kept = fs::symlink_metadata(&name.file);
            if kept.is_ok_and(|kept| os::unix_listening(&kept).is_ok_and(|socket| socket.is_some()))
            {
                let _ = fs::remove_file(&at.path);
                at.restore(name);
            }
        }
    }

    /// Returns the files to remove if hotrun is killed.
    pub fn cleanup(&self) -> impl Iterator<Item = Cleanup> {
        self.0.iter().map(|(at, _)| Cleanup::Socket {
            path: at.path.clone().into(),
            names: own_prefix().into(),
            file: None,
        })
    }
}

/// Gives the file of this socket a second name. Returns `None` if the path does not lead to the socket.
fn keep(pid: i32, inode: u64, bound: &Path) -> Option<(UnixPath, SocketName)> {
    let directory = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    let path = directory.join(bound);
    if path.file_name()?.to_str()?.starts_with(own_prefix()) {
        return None;
    }
    let at = UnixPath::new(&path).ok()?;
    let name = at.second_name().ok()?;
    let file = fs::symlink_metadata(&name.file).ok()?;
    (os::unix_listening(&file).ok()? == Some(inode)).then_some((at, name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn own(path: &Path) -> (UnixListener, OwnPaths) {
        let listener = UnixListener::bind(path).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let listening = os::unix_paths().unwrap();
        let (inode, bound) = listening.iter().find(|(_, bound)| bound == path).unwrap();
        (listener, OwnPaths(vec![keep(pid, *inode, bound).unwrap()]))
    }

    #[test]
    fn a_path_that_another_process_removes_or_leaves_dead_is_restored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let (_listener, paths) = own(&path);
        fs::remove_file(&path).unwrap();
        paths.restore();
        UnixStream::connect(&path).unwrap();
        fs::remove_file(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        paths.restore();
        UnixStream::connect(&path).unwrap();
        drop(paths);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_path_that_leads_to_another_listener_or_whose_own_listener_is_closed_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let (listener, paths) = own(&path);
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        let id = file_id(&fs::metadata(&path).unwrap());
        paths.restore();
        assert_eq!(file_id(&fs::metadata(&path).unwrap()), id);
        drop((other, listener));
        fs::remove_file(&path).unwrap();
        paths.restore();
        assert!(!path.exists());
    }
}
