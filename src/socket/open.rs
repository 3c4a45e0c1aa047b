//! Opening, binding and listening. The first socket of an address is opened only if no other process listens there.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{self, Path};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::address::{Address, ListenSpec};
use super::endpoint::{Endpoint, Transport};
use super::scan::{self, Occupant};
use crate::os;
use crate::os::socket_holders::socket_holder;
use crate::os::unix_listening;

/// The accept queue length that hotrun requests. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why a listening socket could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    message: String,
    hint: Option<String>,
    /// Whether the arguments contradict each other, whatever the system says.
    pub is_usage: bool,
}

impl OpenError {
    fn new(message: String, hint: impl Into<String>) -> Self {
        Self {
            message,
            hint: Some(hint.into()),
            is_usage: false,
        }
    }

    pub(super) fn usage(message: String, hint: &str) -> Self {
        Self {
            is_usage: true,
            ..Self::new(message, hint)
        }
    }

    /// `doing` is the operation and its object, as in ``listening on `ADDRESS` ``.
    pub(super) fn io(doing: &str, error: &io::Error) -> Self {
        Self {
            message: format!("{doing}: {error}"),
            hint: None,
            is_usage: false,
        }
    }

    pub(super) fn at_path(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::io(&format!("{doing} `{}`", path.display()), error)
    }

    /// Another process has the address.
    pub(super) fn in_use(address: &Address, occupant: Option<&Occupant>) -> Self {
        let what = match address {
            Address::Tcp(_) => "port",
            Address::Unix(_) => "path",
        };
        let by = occupant.map_or_else(String::new, |occupant| format!(" by {occupant}"));
        let message = format!("`{address}` is in use{by}");
        let hint = match occupant.and_then(|occupant| occupant.holder.as_ref()) {
            Some(holder) => {
                format!(
                    "stop it (`kill {}`), or listen on another {what}",
                    holder.pid
                )
            }
            None => {
                format!("listen on another {what}, or find its process with `ss -lptux` as root")
            }
        };
        Self::new(message, hint)
    }

    pub(super) fn tcp(address: SocketAddr, error: &io::Error) -> Self {
        let port = address.port();
        match errno(error) {
            libc::EADDRINUSE => {
                let occupant = scan::occupant(address.into(), &[]);
                Self::in_use(&Address::Tcp(address), occupant.as_ref())
            }
            libc::EACCES => Self::new(
                format!("no permission to listen on port `{port}`"),
                format!(
                    "use a port from 1024 up, or allow this one: `sysctl net.ipv4.ip_unprivileged_port_start={port}`, \
                     or give hotrun CAP_NET_BIND_SERVICE"
                ),
            ),
            libc::EADDRNOTAVAIL => Self::new(
                format!("`{}` is not an address of this machine", address.ip()),
                "use an address of this machine, such as `127.0.0.1`, or `[::]` for all addresses",
            ),
            _ => Self::io(&format!("listening on `{address}`"), error),
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for OpenError {}

/// The addresses of `specs`. Paths become absolute, because a program may change its working directory.
pub(super) fn addresses(specs: &[ListenSpec]) -> Result<Vec<Address>, OpenError> {
    let mut names = HashSet::new();
    let mut given = specs.iter().filter_map(|spec| spec.name.as_ref());
    if let Some(name) = given.find(|name| !names.insert(*name)) {
        let message = format!("two sockets have the name `{name}`");
        return Err(OpenError::usage(message, "give each socket its own name"));
    }
    let absolute = |spec: &ListenSpec| match &spec.address {
        Address::Tcp(address) => Ok(Address::Tcp(*address)),
        Address::Unix(path) => path::absolute(path)
            .map(Address::Unix)
            .map_err(|error| OpenError::at_path("finding", path, &error)),
    };
    let addresses: Vec<Address> = specs.iter().map(absolute).collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    let any_port = |one: &Address| matches!(one, Address::Tcp(tcp) if tcp.port() == 0);
    let mut specific = addresses.iter().filter(|one| !any_port(one));
    match specific.find(|one| !seen.insert(*one)) {
        Some(twice) => {
            let message = format!("`{twice}` is given twice");
            Err(OpenError::usage(message, "remove one of them"))
        }
        None => Ok(addresses),
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// An unbound TCP socket for `address`.
///
/// `SO_REUSEADDR` allows binding while old connections are in TIME_WAIT. It does not let two sockets listen
/// (`socket(7)`).
fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// A TCP socket that shares the address and does not listen yet.
pub(super) fn sharing(endpoint: Endpoint) -> io::Result<Socket> {
    let socket = tcp_socket(endpoint.address)?;
    if endpoint.address.is_ipv6() {
        socket.set_only_v6(endpoint.only_v6)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&endpoint.address.into())?;
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
/// The bind happens without `SO_REUSEPORT`, so it fails if any process listens there, another hotrun included. The option
/// is set only afterwards. Two processes that do this at the same moment still end up in one group; the final scan
/// detects that.
pub(super) fn exclusive_tcp(
    address: SocketAddr,
    reuse_port: bool,
) -> Result<(Socket, Endpoint), OpenError> {
    let open = || {
        let socket = tcp_socket(address)?;
        socket.bind(&address.into())?;
        socket.set_reuse_port(reuse_port)?;
        listen(&socket, 0)?;
        let endpoint = Endpoint::of(&socket)?;
        let inode = os::inode(&socket)?;
        Ok((socket, endpoint, inode))
    };
    let (socket, endpoint, inode) = open().map_err(|error| OpenError::tcp(address, &error))?;
    match scan::stranger(endpoint, &[inode]) {
        Some(stranger) => Err(OpenError::in_use(&Address::Tcp(address), Some(&stranger))),
        None => Ok((socket, endpoint)),
    }
}

/// A process of the same user may join a group. It gets no connection, but it has an index, and takes another's when that
/// one leaves; so while it is there none of ours may join or leave.
pub(super) fn refuse_strangers(
    endpoint: Endpoint,
    socket: &Socket,
    mut ours: Vec<u64>,
) -> io::Result<()> {
    ours.push(os::inode(socket)?);
    match endpoint.transport {
        Transport::Udp => None,
        Transport::Tcp => scan::stranger(endpoint, &ours),
    }
    .map_or(Ok(()), |stranger| {
        let message = format!("`{endpoint}` is also listened on by {stranger}");
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    })
}

/// Binds a program's socket so that other sockets of ours can bind the same address: exclusively unless it is `shared` with
/// one of ours already, whatever the program has set. The error is what the program would get from the kernel.
pub(super) fn bind_for_program(
    socket: &Socket,
    endpoint: Endpoint,
    shared: bool,
) -> io::Result<()> {
    let datagrams = endpoint.transport == Transport::Udp;
    if datagrams && !shared {
        check_unused(socket, endpoint.address)?;
    }
    let before = socket.reuse_port()?;
    socket.set_reuse_port(shared || datagrams)?;
    match SockRef::from(socket).bind(&endpoint.address.into()) {
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
fn check_unused(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let domain = Domain::for_address(address);
    let alone = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        alone.set_only_v6(socket.only_v6()?)?;
    }
    alone.bind(&address.into())
}

/// Checks that nothing is at `path`, or a socket on which no process listens.
pub(super) fn check_unix_path(path: &Path) -> Result<(), OpenError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OpenError::at_path("looking at", path, &error)),
    };
    if !metadata.file_type().is_socket() {
        let path = path.display();
        return Err(OpenError::new(
            format!("`{path}` exists and is not a socket"),
            format!("choose another path, or remove `{path}` yourself"),
        ));
    }
    match accepts_connections(path) {
        Ok(false) => Ok(()),
        Ok(true) => {
            let inode = unix_listening(&metadata).ok().flatten();
            let occupant = inode.map(|inode| Occupant {
                holder: socket_holder(inode),
                uid: None,
            });
            let address = Address::Unix(path.to_owned());
            Err(OpenError::in_use(&address, occupant.as_ref()))
        }
        Err(error) => Err(OpenError::at_path("connecting to", path, &error)),
    }
}

/// Whether some process listens at this socket file. A full queue (`EAGAIN`) and a socket of another type (`EPROTOTYPE`)
/// count as yes.
fn accepts_connections(path: &Path) -> io::Result<bool> {
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
