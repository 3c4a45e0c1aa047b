//! A unix socket's path.

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

/// The path at which several listeners take turns.
///
/// Each listener is bound under a name of its own beside the path. The path is one more hard link to the file of one of
/// them, put there by `rename(2)`, so that a client finds the old listener or the new one. A listener's own name stays as
/// long as the listener: the path is restored from it when a program removes the path as it ends, and a probe reaches by
/// it a listener that is not live yet.
pub(super) struct UnixPath {
    pub(super) path: PathBuf,
    directory: File,
    /// The file to which the path leads, if we put it there.
    pub(super) placed: Option<FileId>,
}

/// A listener's own name. The file is removed with it.
pub(super) struct Name {
    file: PathBuf,
    /// The name as it was bound. `getsockname` reports it, also for the connections.
    pub(super) bound: PathBuf,
    id: FileId,
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

impl UnixPath {
    /// A path at which nothing is that may not be replaced. Removes what a killed hotrun left beside it.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        remove_leftovers(directory);
        Ok(Self {
            path: path.to_owned(),
            directory: File::open(directory)?,
            placed: None,
        })
    }

    /// One more listener, to which the path does not lead yet.
    pub(super) fn open(&self) -> io::Result<(Socket, Name)> {
        let (socket, file, bound) = self.bind()?;
        let id = fs::symlink_metadata(&file).map(|metadata| file_id(&metadata));
        let id = id.inspect_err(|_| drop(fs::remove_file(&file)))?;
        let name = Name { file, bound, id };
        listen(&socket, 0)?;
        Ok((socket, name))
    }

    /// A listener for all generations, bound to the path itself.
    pub(super) fn open_shared(&mut self) -> io::Result<Socket> {
        let _ = fs::remove_file(&self.path);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&self.path)?)?;
        self.placed = Some(file_id(&fs::symlink_metadata(&self.path)?));
        listen(&socket, 0)?;
        Ok(socket)
    }

    /// Makes the path lead to this listener. `rename` does nothing if both names are the same file already, so the
    /// second name is removed in each case.
    pub(super) fn place(&mut self, name: &Name) -> io::Result<()> {
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
        self.placed = Some(name.id);
        Ok(())
    }

    /// Puts the path back if nothing is there. A file that another process has put there stays.
    pub(super) fn restore(&self, name: &Name) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // This fails if the directory is gone: then there is no path to serve.
            let _ = fs::hard_link(&name.file, &self.path);
        }
    }

    /// A socket bound under a new name: the socket, the name, and the name as it was bound.
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
                // Left over by another process that had our pid.
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
        if found.is_ok_and(|metadata| Some(file_id(&metadata)) == self.placed) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a killed hotrun left in this directory.
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
