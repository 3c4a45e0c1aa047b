//! Datagrams without the credentials of their sender: what hotrun uses of them is Linux's alone. The
//! socket lies in a folder that only its own user may enter, which is the check.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::Pid;

/// Whether the kernel says who sent a datagram.
pub const VOUCHED: bool = false;

/// A bound socket, and the name under which others reach it.
#[derive(Debug)]
pub struct Bound {
    /// Non-blocking, closed on exec.
    pub socket: UnixDatagram,
    /// To be kept as long as the socket.
    pub name: Name,
}

/// A path in a folder of its own, which is removed when this is dropped.
#[derive(Debug)]
pub struct Name {
    address: OsString,
    _folder: tempfile::TempDir,
}

impl Name {
    /// As `NOTIFY_SOCKET` has it.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        &self.address
    }
}

/// Who sent a datagram. Never known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
}

/// What came in one datagram.
#[derive(Debug)]
pub struct Datagram {
    /// How much of the buffer was filled.
    pub length: usize,
    /// Whether something of it may have been cut.
    pub truncated: bool,
    /// Who sent it. `None` if the kernel did not say.
    pub sender: Option<Sender>,
    /// Descriptors that came with it. Always empty here: without room for control data they are closed by
    /// the kernel.
    pub descriptors: Vec<OwnedFd>,
}

/// Binds a datagram socket in a temporary folder of its own.
///
/// # Errors
///
/// The folder or the socket cannot be made.
pub fn bind() -> io::Result<Bound> {
    let folder = tempfile::Builder::new().prefix("hotrun-").tempdir()?;
    let path = folder.path().join("n");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_nonblocking(true)?;
    let name = Name {
        address: path.into(),
        _folder: folder,
    };
    Ok(Bound { socket, name })
}

/// Takes one datagram, its text into `buffer`. Does not block.
///
/// # Errors
///
/// `WouldBlock` if there is none; else as `recv(2)`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Datagram> {
    let length = recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?;
    // `recv` does not say whether it cut something: a full buffer is taken for it.
    Ok(Datagram {
        length,
        truncated: length == buffer.len(),
        sender: None,
        descriptors: Vec::new(),
    })
}

/// Whether this process has ended and was reaped.
#[must_use]
pub fn ended(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
}
