//! Datagrams without the credentials of their sender. The socket is in a directory that only its own user may enter, which
//! is the check.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{MsgFlags, recv};

use crate::os::Datagram;

/// Whether the kernel reports the sender of a datagram.
pub const SENDER_KNOWN: bool = false;

/// A path in a directory of its own, which is removed when this is dropped.
#[derive(Debug)]
pub struct Name {
    path: OsString,
    _directory: tempfile::TempDir,
}

impl Name {
    /// The value for `NOTIFY_SOCKET`.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        &self.path
    }
}

/// Binds a datagram socket in a temporary directory of its own. The socket does not block.
///
/// # Errors
/// The directory or the socket cannot be created.
pub fn bind() -> io::Result<(UnixDatagram, Name)> {
    let directory = tempfile::Builder::new().prefix("hotrun-").tempdir()?;
    let path = directory.path().join("n");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_nonblocking(true)?;
    let name = Name {
        path: path.into(),
        _directory: directory,
    };
    Ok((socket, name))
}

/// Receives one datagram into `buffer`. Does not block.
///
/// # Errors
/// `WouldBlock` if there is none; otherwise as for `recv(2)`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Datagram> {
    let length = recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?;
    Ok(Datagram {
        length,
        // `recv` does not report it: a full buffer counts as truncated.
        truncated: length == buffer.len(),
        sender: None,
        // Without room for control data the kernel closes descriptors that come with a datagram.
        descriptors: Vec::new(),
    })
}
