//! The path of a unix socket, and the names next to it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};

use super::open::listen;
use crate::os;
use crate::os::cleanup::{FileId, PREFIX, file_id};

/// `sizeof(sun_path)` without the terminating zero (`unix(7)`).
const LONGEST_UNIX_PATH: usize = 107;

/// A path that leads to one of several listeners at a time.
///
/// Each listener is bound to its own name next to the path. The path is a second hard link to one listener's file. It
/// is replaced with `rename(2)`, so that a client always finds either the old listener or the new one. A listener keeps
/// its own name for its whole life: it is used to restore the path when a program removes the path on exit, and probes
/// use it to reach a listener that is not live yet.
pub(super) struct UnixPath {
    pub(super) path: PathBuf,
    directory: File,
    /// The file that the path leads to, if we put it there.
    pub(super) linked: Option<FileId>,
}

/// A listener's own name. Dropping it removes the file.
pub(super) struct SocketName {
    file: PathBuf,
    /// The name as passed to `bind`. `getsockname` reports it, even for accepted connections.
    pub(super) bound: PathBuf,
    id: FileId,
}

impl Drop for SocketName {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

impl UnixPath {
    /// Prepares a path, which must not exist or must be safe to replace. Removes the files that a killed hotrun left
    /// next to it.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        remove_leftovers(directory);
        Ok(Self {
            path: path.to_owned(),
            directory: File::open(directory)?,
            linked: None,
        })
    }

    /// Opens another listener, which the path does not lead to yet.
    pub(super) fn open(&self) -> io::Result<(Socket, SocketName)> {
        let (socket, file, bound) = self.bind()?;
        let id = fs::symlink_metadata(&file).map(|metadata| file_id(&metadata));
        let id = id.inspect_err(|_| drop(fs::remove_file(&file)))?;
        let name = SocketName { file, bound, id };
        listen(&socket, 0)?;
        Ok((socket, name))
    }

    /// Opens one listener for all generations, bound to the path itself.
    pub(super) fn open_shared(&mut self) -> io::Result<Socket> {
        let _ = fs::remove_file(&self.path);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&self.path)?)?;
        self.linked = Some(file_id(&fs::symlink_metadata(&self.path)?));
        listen(&socket, 0)?;
        Ok(socket)
    }

    /// Makes the path lead to this listener. `rename` does nothing if both names already refer to the same file, so the
    /// temporary second name is always removed.
    pub(super) fn link(&mut self, name: &SocketName) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if file_id(&metadata) == name.id => {}
            Ok(metadata) if !metadata.file_type().is_socket() => {
                let path = self.path.display();
                let message = format!("`{path}` was replaced by something that is not a socket");
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            Ok(_) | Err(_) => {
                let second = name.file.with_extension("path");
                fs::hard_link(&name.file, &second)?;
                let renamed = fs::rename(&second, &self.path);
                let _ = fs::remove_file(&second);
                renamed?;
            }
        }
        self.linked = Some(name.id);
        Ok(())
    }

    /// Restores the path if it is missing. A file that another process has put there is kept.
    pub(super) fn restore(&self, name: &SocketName) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // This fails if the directory is gone, and then there is no path to restore.
            let _ = fs::hard_link(&name.file, &self.path);
        }
    }

    /// Binds a socket to a new name. Returns the socket, the file's path, and the name as passed to `bind`.
    fn bind(&self) -> io::Result<(Socket, PathBuf, PathBuf)> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{number}", process::id());
            let file = self.path.with_file_name(&name);
            let bound = match file.as_os_str().len() <= LONGEST_UNIX_PATH {
                true => file.clone(),
                false => os::socket_holders::short_path(&self.directory, &name)?,
            };
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            match socket.bind(&SockAddr::unix(&bound)?) {
                Ok(()) => return Ok((socket, file, bound)),
                // The name was left behind by an earlier process that had our pid.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for UnixPath {
    /// Removes the file if it is ours.
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|metadata| Some(file_id(&metadata)) == self.linked) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket files that a killed hotrun left in this directory.
fn remove_leftovers(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let pid = rest.and_then(|rest| rest.split('-').next()?.parse().ok());
        if pid.is_some_and(os::process_tree::has_ended)
            && entry.file_type().is_ok_and(|kind| kind.is_socket())
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}
