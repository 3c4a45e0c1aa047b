use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::Address;
use super::bind::{LONGEST_UNIX_PATH, listen};
use super::drain::MonitoredListener;
use super::endpoint::Endpoint;
use super::face::Face;
use super::roster::{Key, Owner};
use super::scan::{Scan, Scanned};
use super::slot::Slot;
use crate::os::cleanup::{FileId, PREFIX, file_id};
use crate::os::{self, Queue};
use crate::reload::GenId;

/// A program that removes its path does so at some moment of its exit; this is how long the path may be gone.
const TEND_EVERY: Duration = Duration::from_millis(5);

/// The face of a unix socket's path.
///
/// Each slot is bound under a name of its own beside the path, and the path is one more hard link to the file
/// of the slot that is aimed at, put there by `rename(2)`: whoever connects finds the old slot or the new one. The
/// slot's own name stays as long as the slot: it is how the path is put back when a program that ends
/// removes it, and how a probe reaches the slot before it is live.
pub(super) struct Renamed {
    path: PathBuf,
    directory: Directory,
    names: Vec<Name>,
    aimed: Option<Key>,
}

struct Name {
    key: Key,
    owner: Owner,
    file: PathBuf,
    /// As it was bound: what `getsockname` tells, also of the connections.
    bound: PathBuf,
    id: FileId,
}

impl Renamed {
    /// The face of a path at which nothing is that may not be replaced; and its first slot.
    pub(super) fn new(path: &Path, key: Key) -> io::Result<(Self, Socket)> {
        let directory = Directory::of(path)?;
        directory.clean_up();
        let mut face = Self {
            path: path.to_owned(),
            directory,
            names: Vec::new(),
            aimed: None,
        };
        let socket = face.open(key, None)?;
        Ok((face, socket))
    }

    fn name(&self, key: Key) -> Option<&Name> {
        self.names.iter().find(|name| name.key == key)
    }

    /// Makes the path lead to this slot. `rename` does nothing if both names are the same file already, so the
    /// second name is removed in each case.
    fn place(&self, name: &Name) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if file_id(&metadata) == name.id => return Ok(()),
            Ok(metadata) if !metadata.file_type().is_socket() => {
                let message = format!(
                    "`{}` was replaced by something that is not a socket",
                    self.path.display()
                );
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            Ok(_) | Err(_) => {}
        }
        let second = name.file.with_extension("path");
        fs::hard_link(&name.file, &second)?;
        let renamed = fs::rename(&second, &self.path);
        let _ = fs::remove_file(&second);
        renamed
    }
}

impl Face for Renamed {
    fn address(&self) -> Address {
        Address::Unix(self.path.clone())
    }

    fn open(&mut self, key: Key, owner: Owner) -> io::Result<Socket> {
        let (socket, file, bound) = self.directory.bind()?;
        let id = fs::symlink_metadata(&file).map(|metadata| file_id(&metadata));
        let opened = id.and_then(|id| listen(&socket, 0).map(|()| id));
        let id = opened.inspect_err(|_| drop(fs::remove_file(&file)))?;
        self.names.push(Name {
            key,
            owner,
            file,
            bound,
            id,
        });
        Ok(socket)
    }

    fn endpoint(&self) -> Option<Endpoint> {
        None
    }

    fn join(&mut self, _: Key, _: Owner, _: &Socket, _: i32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn give(&mut self, key: Key, owner: Owner) {
        for name in self.names.iter_mut().filter(|name| name.key == key) {
            name.owner = owner;
        }
    }

    fn aim(&mut self, _slots: &[Slot], owner: Owner) -> io::Result<()> {
        let name = self
            .names
            .iter()
            .find(|name| name.owner == owner)
            .ok_or(io::ErrorKind::NotFound)?;
        self.place(name)?;
        self.aimed = Some(name.key);
        Ok(())
    }

    /// Puts the path back if it is gone. What somebody else has put there is left alone.
    fn tend(&mut self, _slots: &[Slot]) -> io::Result<()> {
        if let Some(name) = self.aimed.and_then(|key| self.name(key)) {
            let gone = fs::symlink_metadata(&self.path)
                .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            if gone {
                // Like all of this it may fail if the directory itself is gone: then there is no path to serve.
                let _ = fs::hard_link(&name.file, &self.path);
            }
        }
        Ok(())
    }

    fn may_leave(&self, slot: &Slot, _carried: &[Key]) -> bool {
        self.aimed != Some(slot.key)
    }

    /// No socket of another's can be in the way: whoever connects has found the slot by its file, at once.
    fn look(&self) -> Scan {
        Scan::default()
    }

    fn may_close(&self, _sight: &Scanned) -> bool {
        true
    }

    fn closed(&mut self, _slots: &[Slot], key: Key) -> io::Result<()> {
        for name in self.names.extract_if(.., |name| name.key == key) {
            let _ = fs::remove_file(&name.file);
        }
        Ok(())
    }

    /// Removes what is ours, and nothing else.
    fn close(&mut self) {
        if let Ok(metadata) = fs::symlink_metadata(&self.path) {
            let id = file_id(&metadata);
            if self.names.iter().any(|name| name.id == id) {
                let _ = fs::remove_file(&self.path);
            }
        }
        for name in self.names.drain(..) {
            let _ = fs::remove_file(&name.file);
        }
        self.aimed = None;
    }

    fn queue(&self, slot: &Slot) -> io::Result<Queue> {
        os::unix_diag::unix_queue(slot.inode)
    }

    fn tend_every(&self) -> Option<Duration> {
        Some(TEND_EVERY)
    }

    fn monitored(&self, slot: &Slot) -> MonitoredListener {
        let name = self
            .name(slot.key)
            .map(|name| name.bound.clone())
            .unwrap_or_default();
        MonitoredListener::Unix {
            queue: Some(slot.inode),
            name,
        }
    }

    fn own_path(&self, slot: &Slot) -> Option<PathBuf> {
        self.name(slot.key).map(|name| name.file.clone())
    }

    fn divert(&mut self, _slots: &[Slot], _port: u16, _id: GenId) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn restore(&mut self, _slots: &[Slot], _port: u16) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Renamed {
    fn drop(&mut self) {
        self.close();
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
            pid.is_some_and(|pid| !os::socket_holders::process_exists(pid))
        });
        for entry in names.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket())) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
