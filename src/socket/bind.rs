//! Opening, binding and listening, and the first socket of an address: only if nobody else listens there.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::address::Address;
use super::endpoint::{Endpoint, Transport};
use super::open_error::{Occupant, OpenError};
use super::scan;
use crate::os;
use crate::os::socket_holders::{short_path, socket_holder};
use crate::os::unix_listening;

/// The accept queue length that hotrun requests. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// `sizeof(sun_path)` without the terminating zero (`unix(7)`).
pub(super) const LONGEST_UNIX_PATH: usize = 107;

/// An unbound TCP socket for `address`.
///
/// `SO_REUSEADDR` allows binding while old connections are in TIME_WAIT. It does not let two sockets listen
/// (`socket(7)`).
pub(super) fn stream(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Listens with at least this backlog, or with the longest queue that the system allows: a full queue costs a client a
/// second.
pub(super) fn listen(socket: &Socket, backlog: i32) -> io::Result<()> {
    let longest = os::longest_queue().unwrap_or(BACKLOG);
    socket.listen(longest.max(BACKLOG).max(backlog))
}

/// A socket that listens on `address` alone. With `reuse_port`, later sockets of ours can join it.
///
/// The bind happens without `SO_REUSEPORT`, so it fails if anybody listens there, another hotrun included. The option
/// is set only afterwards. Two processes that do this at the same moment still end up in one group; the final scan
/// detects that.
pub(super) fn exclusive_tcp(address: SocketAddr, reuse_port: bool) -> Result<Socket, OpenError> {
    let socket = bind_and_listen(address, reuse_port).map_err(|error| tcp_error(address, error))?;
    match stranger(&socket) {
        Some(occupant) => Err(OpenError::InUse {
            address: Address::Tcp(address),
            occupant: Some(occupant),
        }),
        None => Ok(socket),
    }
}

fn bind_and_listen(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = stream(address)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(reuse_port)?;
    listen(&socket, 0)?;
    Ok(socket)
}

fn stranger(socket: &Socket) -> Option<Occupant> {
    scan::stranger(Endpoint::of(socket).ok()?, &[os::inode(socket).ok()?])
}

fn tcp_error(address: SocketAddr, error: io::Error) -> OpenError {
    match errno(&error) {
        libc::EADDRINUSE => OpenError::InUse {
            address: Address::Tcp(address),
            occupant: scan::occupant(address.into(), &[]),
        },
        libc::EACCES => OpenError::Privileged { address },
        libc::EADDRNOTAVAIL => OpenError::NotLocal { address },
        _ => OpenError::Io {
            doing: format!("listening on `{address}`"),
            error,
        },
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// Binds a program's socket so that other sockets of ours can bind the same address. `shared` tells whether one of ours
/// has it already.
///
/// # Errors
/// What the kernel would return to the program itself.
pub(super) fn bind_for_program(
    socket: &Socket,
    endpoint: Endpoint,
    shared: bool,
) -> io::Result<()> {
    let datagrams = endpoint.transport == Transport::Udp;
    if datagrams && !shared {
        try_alone(socket, endpoint.address)?;
    }
    bind_with_reuse_port(socket, endpoint.address, shared || datagrams)
}

/// Binds exclusively unless `shared`, whatever the program set. From then on others of ours may bind the address too.
fn bind_with_reuse_port(socket: &Socket, address: SocketAddr, shared: bool) -> io::Result<()> {
    let before = socket.reuse_port()?;
    socket.set_reuse_port(shared)?;
    match SockRef::from(socket).bind(&address.into()) {
        Ok(()) => socket.set_reuse_port(true),
        Err(error) => {
            let _ = socket.set_reuse_port(before);
            Err(error)
        }
    }
}

/// Datagram sockets form a group only if the first one binds with `SO_REUSEPORT` (`reuseport_attach_prog` in
/// `net/core/sock_reuseport.c`), and then the kernel does not report another holder of the address. A socket of ours
/// checks that first.
fn try_alone(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let alone = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        alone.set_only_v6(socket.only_v6()?)?;
    }
    alone.bind(&address.into())
}

/// Checks that nothing is at `path`, or a socket on which nobody listens.
pub(super) fn check_unix_path(path: &Path) -> Result<(), OpenError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OpenError::at_path("looking at", path, error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(OpenError::NotASocket {
            path: path.to_owned(),
        });
    }
    match accepts_connections(path) {
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
        Err(error) => Err(OpenError::at_path("connecting to", path, error)),
    }
}

/// Whether somebody listens at this socket file. A full queue (`EAGAIN`) and a socket of another type (`EPROTOTYPE`)
/// count as yes.
fn accepts_connections(path: &Path) -> io::Result<bool> {
    let (path, _directory) = connectable_path(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match errno(&error) {
            libc::ECONNREFUSED | libc::ENOENT => Ok(false),
            libc::EAGAIN | libc::EINPROGRESS | libc::EPROTOTYPE => Ok(true),
            _ => Err(error),
        },
    }
}

/// A path to the same file that fits into a unix socket's address, and the directory that must stay open meanwhile.
pub(super) fn connectable_path(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= LONGEST_UNIX_PATH {
        return Ok((path.to_owned(), None));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Ok((path.to_owned(), None));
    };
    let directory = File::open(directory)?;
    Ok((short_path(&directory, name)?, Some(directory)))
}
