//! The paths of unix sockets that a program has bound itself.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use socket2::Socket;

use super::unix_path::{SocketName, fresh_name, own_prefix, remove_leftovers};
use crate::os;
use crate::os::cleanup::{Cleanup, FileId, file_id};

/// The path of a generation's own unix socket. hotrun does not steer this socket, and the path leads to the program that
/// bound it last. If another generation removes the path, for example on exit, hotrun restores it.
///
/// To make that possible, the socket file gets a second name next to the path. Dropping this removes that name.
#[derive(Debug)]
pub struct OwnPath {
    path: PathBuf,
    inode: u64,
    second_name: Option<SocketName>,
}

impl OwnPath {
    /// Finds the path of a socket that this thread has bound. Returns `None` if there is none. Removes the files that a
    /// killed hotrun left next to the path.
    pub fn of(socket: &Socket, thread: i32) -> Option<Self> {
        let bound = socket.local_addr().ok()?;
        let bound = bound.as_pathname()?;
        // The program may call `listen` on a socket that hotrun has passed to it.
        let name = bound.file_name()?.to_string_lossy();
        if name.starts_with(own_prefix()) {
            return None;
        }
        let directory = fs::read_link(format!("/proc/{thread}/cwd")).ok()?;
        let path = directory.join(bound);
        remove_leftovers(path.parent()?);
        let inode = os::inode(socket).ok()?;
        let second_name = None;
        Some(Self {
            path,
            inode,
            second_name,
        })
    }

    /// The path, as clients use it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the socket file a second name, unless it has one or the path does not lead to the socket. If this fails, the
    /// path cannot be restored.
    pub fn keep(&mut self) -> io::Result<()> {
        let file = self.path.with_file_name(fresh_name());
        if self.second_name.is_none()
            && let Some(id) = self.file_of_listener(&self.path)
        {
            fs::hard_link(&self.path, &file)?;
            let bound = self.path.clone();
            self.second_name = Some(SocketName { file, bound, id });
        }
        Ok(())
    }

    /// Removes the second name, after which the path cannot be restored.
    pub fn forget(&mut self) {
        self.second_name = None;
    }

    /// Returns the file to which this name leads, if it is that of the socket and the socket is listening.
    fn file_of_listener(&self, name: &Path) -> Option<FileId> {
        let found = fs::symlink_metadata(name).ok()?;
        (os::unix_listening(&found).ok()? == Some(self.inode)).then(|| file_id(&found))
    }

    /// Restores the path if it no longer leads to a listening socket, unless its own socket has been closed, too.
    pub fn restore(&mut self) -> io::Result<()> {
        if let Some(name) = &self.second_name
            && self.is_dead()
            && self.file_of_listener(&name.file).is_some()
        {
            let _ = fs::remove_file(&self.path);
            match fs::hard_link(&name.file, &self.path) {
                // Another program has bound the path in the meantime.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => linked?,
            }
        }
        Ok(())
    }

    /// Whether the path is missing or leads to a socket that does not listen, such as that of a generation that has
    /// ended.
    pub fn is_dead(&self) -> bool {
        match fs::symlink_metadata(&self.path) {
            Ok(found) => {
                found.file_type().is_socket()
                    && os::unix_listening(&found).is_ok_and(|socket| socket.is_none())
            }
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Returns the files to remove if hotrun is killed.
    pub fn cleanup(&self) -> Cleanup {
        Cleanup::Socket {
            path: self.path.clone().into(),
            names: own_prefix().into(),
            file: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::super::unix_path::UnixPath;
    use super::*;

    fn own(path: &Path) -> (Socket, OwnPath) {
        let listener = Socket::from(UnixListener::bind(path).unwrap());
        let mut own = OwnPath::of(&listener, nix::unistd::gettid().as_raw()).unwrap();
        own.keep().unwrap();
        (listener, own)
    }

    #[test]
    fn a_path_that_another_process_removes_or_leaves_dead_is_restored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let (_listener, mut own) = own(&path);
        fs::remove_file(&path).unwrap();
        own.restore().unwrap();
        UnixStream::connect(&path).unwrap();
        fs::remove_file(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        own.restore().unwrap();
        UnixStream::connect(&path).unwrap();
        drop(own);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_socket_that_hotrun_has_passed_to_the_program_has_no_own_path() {
        let directory = tempfile::tempdir().unwrap();
        let at = UnixPath::new(&directory.path().join("app.sock")).unwrap();
        let (passed, _name) = at.open().unwrap();
        assert!(OwnPath::of(&passed, nix::unistd::gettid().as_raw()).is_none());
    }

    #[test]
    fn a_path_that_leads_to_another_listener_or_whose_own_listener_is_closed_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let (listener, mut own) = own(&path);
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        let id = file_id(&fs::metadata(&path).unwrap());
        own.restore().unwrap();
        assert_eq!(file_id(&fs::metadata(&path).unwrap()), id);
        drop((other, listener));
        fs::remove_file(&path).unwrap();
        own.restore().unwrap();
        assert!(!path.exists());
    }
}
