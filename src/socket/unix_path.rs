//! A unix socket's path.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};

use super::bind::{LONGEST_UNIX_PATH, listen};
use crate::os;
use crate::os::cleanup::{FileId, PREFIX, file_id};

/// The path at which several listeners take turns.
///
/// Each listener is bound under a name of its own beside the path. The path is one more hard link to the file of one of
/// them, put there by `rename(2)`, so that a client finds the old listener or the new one. A listener's own name stays as
/// long as the listener: it is how the path is put back when a program removes it as it ends, and how a probe reaches a
/// listener that is not live yet.
pub(super) struct UnixPath {
    path: PathBuf,
    directory: Directory,
    /// What the path leads to, if we put it there.
    placed: Option<FileId>,
}

/// A listener's own name. The file is removed with it.
pub(super) struct Name {
    pub(super) file: PathBuf,
    /// As it was bound: what `getsockname` reports, also of the connections.
    pub(super) bound: PathBuf,
    id: FileId,
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

impl UnixPath {
    /// A path at which nothing is that may not be replaced.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let directory = Directory::of(path)?;
        directory.clean_up();
        Ok(Self {
            path: path.to_owned(),
            directory,
            placed: None,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// One more listener, to which the path does not lead yet.
    pub(super) fn open(&self) -> io::Result<(Socket, Name)> {
        let (socket, file, bound) = self.directory.bind()?;
        let id = fs::symlink_metadata(&file).map(|metadata| file_id(&metadata));
        let id = id.inspect_err(|_| drop(fs::remove_file(&file)))?;
        let name = Name { file, bound, id };
        listen(&socket, 0)?;
        Ok((socket, name))
    }

    /// Makes the path lead to this listener. `rename` does nothing if both names are the same file already, so the
    /// second name is removed in each case.
    pub(super) fn place(&mut self, name: &Name) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if file_id(&metadata) == name.id => {}
            Ok(metadata) if !metadata.file_type().is_socket() => {
                let message = format!(
                    "`{}` was replaced by something that is not a socket",
                    self.path.display()
                );
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            Ok(_) | Err(_) => self.link(name)?,
        }
        self.placed = Some(name.id);
        Ok(())
    }

    fn link(&self, name: &Name) -> io::Result<()> {
        let second = name.file.with_extension("path");
        fs::hard_link(&name.file, &second)?;
        let renamed = fs::rename(&second, &self.path);
        let _ = fs::remove_file(&second);
        renamed
    }

    /// Puts the path back if nothing is there. What another process has put there is left alone.
    pub(super) fn restore(&self, name: &Name) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // This fails if the directory is gone: then there is no path to serve.
            let _ = fs::hard_link(&name.file, &self.path);
        }
    }
}

impl Drop for UnixPath {
    /// Removes what is ours.
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|metadata| Some(file_id(&metadata)) == self.placed) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where the path is.
struct Directory {
    path: PathBuf,
    handle: File,
}

impl Directory {
    fn of(path: &Path) -> io::Result<Self> {
        let path = path.parent().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        Ok(Self {
            handle: File::open(&path)?,
            path,
        })
    }

    /// A socket bound under a new name: the socket, the name, and the name as it was bound.
    fn bind(&self) -> io::Result<(Socket, PathBuf, PathBuf)> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        loop {
            let name = format!(
                "{PREFIX}{}-{}",
                process::id(),
                NUMBER.fetch_add(1, Ordering::Relaxed)
            );
            let file = self.path.join(&name);
            let bound = self.short(&file, &name)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            match socket.bind(&SockAddr::unix(&bound)?) {
                Ok(()) => return Ok((socket, file, bound)),
                // Left over by another process that had our pid.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn short(&self, file: &Path, name: &str) -> io::Result<PathBuf> {
        if file.as_os_str().len() <= LONGEST_UNIX_PATH {
            return Ok(file.to_owned());
        }
        os::socket_holders::short_path(&self.handle, name)
    }

    /// Removes what a killed hotrun left here.
    fn clean_up(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        let names = entries.filter_map(Result::ok).filter(|entry| {
            let name = entry.file_name();
            let pid = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok());
            pid.is_some_and(os::process_tree::has_ended)
        });
        for entry in names.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket())) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
