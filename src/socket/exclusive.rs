//! The first listening socket of an address: only if nobody else has it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::errno::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::endpoint::Endpoint;
use super::open_error::{Occupant, OpenError};
use super::renamed::reachable;
use super::slot::inode;
use super::steered::{listen, stream};
use super::{Address, Sharing};
use crate::os::TcpListening;
use crate::os::sock_diag::tcp_listening;
use crate::os::socket_holders::socket_holder;
use crate::os::unix_diag::unix_listening;

/// A socket that listens on `address`, alone.
///
/// It is bound without `SO_REUSEPORT`, which fails if anybody listens there, also another hotrun. It gets the
/// option only then, so that the slots which follow may join it. Two that do so at the same moment would still end
/// up in one group: therefore the last look at who listens.
pub(super) fn tcp(address: SocketAddr, sharing: Sharing) -> Result<Socket, OpenError> {
    let socket = stream(address).map_err(|error| open_error(address, error))?;
    bind(&socket, address, sharing).map_err(|error| open_error(address, error))?;
    match beside(&socket) {
        Some(occupant) => Err(OpenError::InUse {
            address: Address::Tcp(address),
            occupant: Some(occupant),
        }),
        None => Ok(socket),
    }
}

/// Who else listens on the very same address.
fn beside(socket: &Socket) -> Option<Occupant> {
    stranger(Endpoint::of(socket).ok()?, &[inode(socket).ok()?])
}

fn bind(socket: &Socket, address: SocketAddr, sharing: Sharing) -> io::Result<()> {
    socket.bind(&address.into())?;
    match sharing {
        Sharing::Steered => socket.set_reuse_port(true)?,
        Sharing::Shared => {}
    }
    listen(socket, 0)
}

fn open_error(address: SocketAddr, error: io::Error) -> OpenError {
    let errno = error
        .raw_os_error()
        .map_or(Errno::UnknownErrno, Errno::from_raw);
    if errno == Errno::EADDRINUSE {
        let occupant = occupant_of(address.into(), &[]);
        return OpenError::InUse {
            address: Address::Tcp(address),
            occupant,
        };
    }
    if errno == Errno::EACCES {
        return OpenError::Privileged { address };
    }
    if errno == Errno::EADDRNOTAVAIL {
        return OpenError::NotLocal { address };
    }
    OpenError::Io {
        doing: format!("listening on `{address}`"),
        error,
    }
}

/// Who listens on the very same address beside `ours`, by `SO_REUSEPORT`: a program of the same user may.
pub(super) fn stranger(endpoint: Endpoint, ours: &[u64]) -> Option<Occupant> {
    occupant(endpoint, |found| is_same(found, endpoint), ours)
}

/// The inodes of all that listen on the very same address.
pub(super) fn listeners(endpoint: Endpoint) -> Vec<u64> {
    let found = all_listening(endpoint.address).into_iter();
    let same = found.filter(|found| is_same(place(found), endpoint));
    same.map(|found| found.inode).collect()
}

/// `::` and `::` for IPv6 only are two (`ipv6_rcv_saddr_equal` in `net/ipv4/inet_connection_sock.c`).
fn is_same(found: Endpoint, endpoint: Endpoint) -> bool {
    let (a, b) = (found.address, endpoint.address);
    (a.ip(), a.port(), found.only_v6) == (b.ip(), b.port(), endpoint.only_v6)
}

fn place(found: &TcpListening) -> Endpoint {
    Endpoint {
        only_v6: found.only_v6,
        ..found.address.into()
    }
}

/// All that listen on the port of `address`; none where the system does not tell.
fn all_listening(address: SocketAddr) -> Vec<TcpListening> {
    // Port 0 is any free port: nobody else can have it.
    if address.port() == 0 {
        return Vec::new();
    }
    tcp_listening(address.port()).unwrap_or_default()
}

/// Who keeps a socket from being bound there by listening, other than `ours`.
pub(super) fn occupant_of(endpoint: Endpoint, ours: &[u64]) -> Option<Occupant> {
    occupant(endpoint, |found| found.overlaps(&endpoint), ours)
}

/// Whether there is one: that takes no look at the processes.
pub(super) fn is_occupied(endpoint: Endpoint, ours: &[u64]) -> bool {
    let found = all_listening(endpoint.address).into_iter();
    let mut others = found.filter(|found| !ours.contains(&found.inode));
    others.any(|found| place(&found).overlaps(&endpoint))
}

/// Who listens on the port of `endpoint`, other than `ours`.
fn occupant(
    endpoint: Endpoint,
    wanted: impl Fn(Endpoint) -> bool,
    ours: &[u64],
) -> Option<Occupant> {
    let found = all_listening(endpoint.address)
        .into_iter()
        .find(|found| wanted(place(found)) && !ours.contains(&found.inode))?;
    Some(Occupant {
        holder: socket_holder(found.inode),
        uid: Some(found.uid),
    })
}

/// Makes sure that what is at `path`, if anything, is a socket on which nobody listens.
pub(super) fn unix(path: &Path) -> Result<(), OpenError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unix_error(path, "looking at", error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(OpenError::NotASocket {
            path: path.to_owned(),
        });
    }
    match answers(path) {
        Ok(false) => Ok(()),
        Ok(true) => {
            let inode = unix_listening(&metadata).ok().flatten();
            let occupant = inode.map(|inode| Occupant {
                holder: socket_holder(inode),
                uid: None,
            });
            Err(OpenError::InUse {
                address: Address::Unix(path.to_owned()),
                occupant,
            })
        }
        Err(error) => Err(unix_error(path, "connecting to", error)),
    }
}

/// Whether somebody listens at this socket file: a full queue (`EAGAIN`) and a socket of another kind (`EPROTOTYPE`) are
/// answers too.
fn answers(path: &Path) -> io::Result<bool> {
    let (path, _directory) = reachable(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let Err(error) = socket.connect(&SockAddr::unix(path)?) else {
        return Ok(true);
    };
    let errno = error
        .raw_os_error()
        .map_or(Errno::UnknownErrno, Errno::from_raw);
    if [Errno::ECONNREFUSED, Errno::ENOENT].contains(&errno) {
        return Ok(false);
    }
    let busy = [Errno::EAGAIN, Errno::EINPROGRESS, Errno::EPROTOTYPE].contains(&errno);
    if busy { Ok(true) } else { Err(error) }
}

pub(super) fn unix_error(path: &Path, doing: &str, error: io::Error) -> OpenError {
    OpenError::Io {
        doing: format!("{doing} `{}`", path.display()),
        error,
    }
}
