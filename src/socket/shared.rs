use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::bind::{self, connectable_path, listen};
use super::drain::MonitoredListener;
use super::route::Way;
use super::{Address, OpenError};
use crate::os;
use crate::os::cleanup::{Cleanup, FileId, file_id};

/// One listening socket for all generations: what systems can do that cannot steer. It never refuses a connection, and
/// may lose one that the old generation takes just before it ends.
pub(super) struct Listener {
    socket: Socket,
    pub(super) address: Address,
    pub(super) inode: u64,
    file: Option<OwnFile>,
}

/// The file of a unix socket, removed with its listener as long as it is that one.
struct OwnFile {
    path: PathBuf,
    id: FileId,
}

impl Listener {
    pub(super) fn open(address: &Address) -> Result<Self, OpenError> {
        match address {
            Address::Tcp(address) => {
                let socket = bind::exclusive_tcp(*address, false)?;
                let doing = || format!("looking at the socket of `{address}`");
                Self::tcp(socket).map_err(|error| OpenError::Io {
                    doing: doing(),
                    error,
                })
            }
            Address::Unix(path) => {
                bind::check_unix_path(path)?;
                Self::unix(path).map_err(|error| OpenError::at_path("listening on", path, error))
            }
        }
    }

    fn tcp(socket: Socket) -> io::Result<Self> {
        let actual = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self {
            inode: os::inode(&socket)?,
            address: Address::Tcp(actual),
            socket,
            file: None,
        })
    }

    /// What is at the path is a socket on which nobody listens: it was looked at before.
    fn unix(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let (short, _directory) = connectable_path(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(short)?)?;
        let id = file_id(&fs::symlink_metadata(path)?);
        let file = Some(OwnFile {
            path: path.to_owned(),
            id,
        });
        let listener = Self {
            inode: os::inode(&socket)?,
            address: Address::Unix(path.to_owned()),
            socket,
            file,
        };
        listen(&listener.socket, 0)?;
        Ok(listener)
    }

    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(self.socket.try_clone()?.into())
    }

    pub(super) fn kept(&self) -> Option<Cleanup> {
        let file = self.file.as_ref()?;
        Some(Cleanup::Socket {
            path: file.path.clone(),
            file: Some(file.id),
        })
    }

    pub(super) fn monitored(&self) -> MonitoredListener {
        match &self.address {
            Address::Tcp(address) => MonitoredListener::Tcp {
                socket: None,
                address: *address,
            },
            Address::Unix(path) => MonitoredListener::Unix {
                queue: None,
                name: path.clone(),
            },
        }
    }

    pub(super) fn way(&self) -> Way {
        match &self.address {
            Address::Tcp(address) => Way::Plain(*address),
            Address::Unix(path) => Way::Path(path.clone()),
        }
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| file_id(&metadata) == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
