//! Opens listening sockets. The first socket for an address is opened only if no other process listens there.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::address::{Address, ListenSpec};
use super::endpoint::{Endpoint, Occupant, Transport};
use crate::os;
use crate::os::unix_listening;

/// The accept queue length that hotrun requests. The kernel limits it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The error when a listening socket cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    message: String,
    /// What the user can do about the error.
    pub hint: Option<String>,
    /// Whether the mistake is in the `--listen` arguments themselves: a name or an address is given twice.
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

    /// Wraps a system error. `doing` is the operation and its object, as in ``listening on `ADDRESS` ``.
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

    /// Returns the error for an address that another process is using.
    pub(super) fn in_use(address: &Address, occupant: Option<&Occupant>) -> Self {
        let what = match address {
            Address::Tcp(_) => "port",
            Address::Unix(_) => "path",
        };
        let by = occupant.map_or_else(String::new, |occupant| format!(" by {occupant}"));
        let message = format!("`{address}` is in use{by}");
        let hint = match occupant.and_then(Occupant::holder) {
            Some(holder) => {
                format!(
                    "stop it (`kill {}`), or listen on another {what}",
                    holder.pid
                )
            }
            None => {
                format!("find the process with `ss -lptux` as root, or listen on another {what}")
            }
        };
        Self::new(message, hint)
    }

    pub(super) fn tcp(address: SocketAddr, error: &io::Error) -> Self {
        let port = address.port();
        match errno(error) {
            libc::EADDRINUSE => {
                let occupant = Endpoint::from(address).occupant(&[]);
                Self::in_use(&Address::Tcp(address), occupant.as_ref())
            }
            libc::EACCES => Self::new(
                format!("no permission to listen on port `{port}`"),
                format!(
                    "use port 1024 or higher, or allow this one with `sysctl net.ipv4.ip_unprivileged_port_start={port}`, \
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
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for OpenError {}

/// Checks that no name and no address is given twice.
pub(super) fn check_distinct(specs: &[ListenSpec]) -> Result<(), OpenError> {
    let mut names = HashSet::new();
    let mut given = specs.iter().filter_map(|spec| spec.name.as_ref());
    if let Some(name) = given.find(|name| !names.insert(*name)) {
        let message = format!("two sockets have the name `{name}`");
        return Err(OpenError::usage(message, "give each socket its own name"));
    }
    let mut seen = HashSet::new();
    let any_port = |one: &Address| matches!(one, Address::Tcp(tcp) if tcp.port() == 0);
    let mut addresses = specs.iter().map(|spec| &spec.address);
    match addresses.find(|one| !any_port(one) && !seen.insert(*one)) {
        Some(twice) => {
            let message = format!("`{twice}` is given twice");
            Err(OpenError::usage(message, "remove one of them"))
        }
        None => Ok(()),
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// Creates an unbound TCP socket for `address`.
///
/// `SO_REUSEADDR` allows binding while old connections are in TIME_WAIT. It does not allow two sockets to listen
/// (`socket(7)`).
fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Creates a TCP socket that shares the address and is not listening yet.
pub(super) fn sharing(endpoint: Endpoint) -> io::Result<Socket> {
    let socket = tcp_socket(endpoint.address)?;
    if endpoint.address.is_ipv6() {
        socket.set_only_v6(endpoint.only_v6)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&endpoint.address.into())?;
    Ok(socket)
}

/// Listens with the longest accept queue that the system allows, even if the program has requested a shorter one
/// (`backlog`): when the queue is full, a client's handshake takes at least a second longer.
pub fn listen(socket: &Socket, backlog: i32) -> io::Result<()> {
    let longest = os::longest_queue().unwrap_or(BACKLOG);
    socket.listen(longest.max(BACKLOG).max(backlog))
}

/// Opens a socket that is the only one listening on `address`. If `reuse_port` is set, our later sockets can share the
/// address.
///
/// The bind happens without `SO_REUSEPORT`, so it fails if any process listens there, including another hotrun. The
/// option is set only afterwards. Two processes that do this at the same time can still end up in one group, which the
/// final scan detects.
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
    match endpoint.stranger(&[inode]) {
        Some(stranger) => Err(OpenError::in_use(&Address::Tcp(address), Some(&stranger))),
        None => Ok((socket, endpoint)),
    }
}

/// Prepares a listening socket that hotrun was started with. If `reuse_port` is set, our later sockets can share the
/// address.
///
/// The kernel adds a socket that began to listen without `SO_REUSEPORT` to a group only when another one joins
/// (`reuseport_add_sock` in `net/core/sock_reuseport.c`), so this makes another one join for a moment.
pub(super) fn inherited_tcp(fd: RawFd, reuse_port: bool) -> io::Result<(Socket, Endpoint)> {
    let socket = Socket::from(os::take_inherited(fd)?);
    listen(&socket, 0)?;
    let endpoint = Endpoint::of(&socket)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
        listen(&sharing(endpoint)?, 0)?;
    }
    Ok((socket, endpoint))
}

/// Fails if another process shares the address. Any process of the same user may join a group. Its socket gets no
/// connections, but has an index, which may change when another member leaves. So while such a socket is in the group,
/// none of our sockets may join or leave.
pub(super) fn refuse_strangers(
    endpoint: Endpoint,
    socket: &Socket,
    mut ours: Vec<u64>,
) -> io::Result<()> {
    ours.push(os::inode(socket)?);
    match endpoint.transport {
        Transport::Udp => None,
        Transport::Tcp => endpoint.stranger(&ours),
    }
    .map_or(Ok(()), |stranger| {
        let message = format!("{stranger} is also listening on `{}`", endpoint.address);
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    })
}

/// Binds a program's datagram socket so that our other sockets can bind the same address later. The bind is exclusive
/// unless one of our sockets already has the address (`shared`). On failure, returns the error that the program would
/// get from the kernel.
///
/// Datagram sockets form a group only if the first one binds with `SO_REUSEPORT` (`reuseport_attach_prog` in
/// `net/core/sock_reuseport.c`), but then the kernel does not report another holder of the address. So this first binds
/// a separate socket without the option.
pub(super) fn bind_datagrams(socket: &Socket, endpoint: Endpoint, shared: bool) -> io::Result<()> {
    if !shared {
        check_unused(socket, endpoint)?;
    }
    let before = socket.reuse_port()?;
    socket.set_reuse_port(true)?;
    let bound = socket.bind(&endpoint.address.into());
    bound.inspect_err(|_| drop(socket.set_reuse_port(before)))
}

/// Fails as binding this socket without `SO_REUSEPORT` would. Binds a separate socket to find out.
pub(super) fn check_unused(socket: &Socket, endpoint: Endpoint) -> io::Result<()> {
    let Endpoint { address, .. } = endpoint;
    let domain = Domain::for_address(address);
    let alone = match endpoint.transport {
        Transport::Tcp => Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?,
        Transport::Udp => Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?,
    };
    alone.set_reuse_address(socket.reuse_address()?)?;
    if address.is_ipv6() {
        alone.set_only_v6(endpoint.only_v6)?;
    }
    alone.bind(&address.into())
}

/// Checks that `path` does not exist, or is a socket on which no process listens.
pub(super) fn check_unix_path(path: &Path) -> Result<(), OpenError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OpenError::at_path("checking", path, &error)),
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
            let occupant = inode.map(|inode| Occupant { inode, uid: None });
            let address = Address::Unix(path.to_owned());
            Err(OpenError::in_use(&address, occupant.as_ref()))
        }
        Err(error) => Err(OpenError::at_path("connecting to", path, &error)),
    }
}

/// Whether a process listens on this socket file. A full queue (`EAGAIN`) or a socket of another type (`EPROTOTYPE`)
/// also counts: a process is using the file.
pub(super) fn accepts_connections(path: &Path) -> io::Result<bool> {
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
