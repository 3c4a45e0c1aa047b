//! The handles through which other modules use the sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, UnixStream};

use super::address::{Address, ListenSpec, Listening, name_all};
use super::adopter::Adopter;
use super::apply::Payload;
use super::open::{OpenError, check_distinct, check_unix_path, exclusive_tcp, inherited_tcp};
use super::opened::{MonitoredListener, Sharing};
use super::table::{AddressEvent, GroupId, TableInput};
use super::thread::{SocketInbox, SocketThread};
use super::unix_path::UnixPath;
use crate::os::cleanup::Cleanup;
use crate::reload::GenId;
use crate::unclaimed::GetReason;

/// A listening socket to pass to a program.
#[derive(Debug)]
pub struct Passed {
    /// The socket's name in `LISTEN_FDNAMES`.
    pub name: String,
    /// A duplicate of the socket, with `CLOEXEC`.
    pub fd: OwnedFd,
    /// The inode of the socket, as shown in `/proc/PID/fd`.
    pub inode: u64,
}

/// All listening sockets.
///
/// This is a handle: the sockets belong to a separate thread, which replies to requests immediately. Dropping the
/// handle closes everything, and removes the paths of unix sockets that are still ours.
pub struct Sockets {
    /// The `--listen` addresses. Their groups come first in the table.
    addresses: Vec<Listening>,
    sharing: Sharing,
    inbox: SocketInbox,
    /// Whether a generation is being built or started.
    reloading: bool,
}

impl Sockets {
    /// Listens on every address, and holds connections until a generation is live. After an error, nothing is open.
    ///
    /// # Panics
    /// Outside of a tokio runtime, because connections are forwarded in tokio tasks.
    pub fn open(specs: &[ListenSpec], sharing: Sharing) -> Result<Self, OpenError> {
        check_distinct(specs)?;
        let inbox = SocketThread::start(sharing)
            .map_err(|error| OpenError::io("starting the socket thread", &error))?;
        // From here on, returning an error drops `sockets`, which closes everything.
        let mut sockets = Self {
            addresses: Vec::new(),
            sharing,
            inbox,
            reloading: false,
        };
        let mut actual = Vec::new();
        for spec in specs {
            actual.push(sockets.add(&spec.address, spec.inherited)?);
        }
        sockets.addresses = name_all(specs, actual);
        Ok(sockets)
    }

    /// Opens an address, or takes over the `inherited` socket. Returns the address with the actual port if port 0 was
    /// requested.
    fn add(&self, address: &Address, inherited: Option<RawFd>) -> Result<Address, OpenError> {
        let add = |endpoint, payload| {
            let input = TableInput::Add(endpoint);
            self.inbox
                .ask(|thread| thread.handle(input, Some(payload)))?
        };
        match address {
            Address::Tcp(tcp) => {
                let reuse_port = self.sharing == Sharing::Steered;
                let (first, endpoint) = match inherited {
                    Some(fd) => inherited_tcp(fd, reuse_port).map_err(|error| {
                        OpenError::io(&format!("taking over `{address}`"), &error)
                    })?,
                    None => exclusive_tcp(*tcp, reuse_port)?,
                };
                add(Some(endpoint), Payload::Listening(first))
                    .map_err(|error| OpenError::io(&format!("steering `{address}`"), &error))?;
                Ok(Address::Tcp(endpoint.address))
            }
            Address::Unix(path) => {
                check_unix_path(path)?;
                UnixPath::new(path)
                    .and_then(|path| add(None, Payload::Path(path)))
                    .map_err(|error| OpenError::at_path("listening on", path, &error))?;
                Ok(address.clone())
            }
        }
    }

    /// Returns the `--listen` addresses and their names.
    pub fn listening(&self) -> Vec<Listening> {
        self.addresses.clone()
    }

    /// Sets the function that is called with each event at an address that a program opened.
    pub fn on_event(&self, on_event: impl Fn(SocketAddr, AddressEvent) + Send + 'static) {
        let set = |thread: &mut SocketThread| thread.sockets.on_event = Box::new(on_event);
        let _ = self.inbox.ask(set);
    }

    /// Records whether a generation is being built or started. While one is, addresses that the live generation closes
    /// are kept.
    pub fn set_reloading(&mut self, reloading: bool) {
        if std::mem::replace(&mut self.reloading, reloading) != reloading {
            self.inbox.send(TableInput::Reloading(reloading));
        }
    }

    /// Returns a handle for adopting the sockets that programs open, or `None` where generations share their sockets.
    pub fn adopter(&self) -> Option<Adopter> {
        (self.sharing == Sharing::Steered).then(|| Adopter::new(self.inbox.clone()))
    }

    /// Returns the unix socket paths to remove if hotrun is killed. They never change.
    pub fn paths(&self) -> Vec<Cleanup> {
        let paths = self.inbox.ask(|thread| thread.sockets.cleanup());
        paths.unwrap_or_default()
    }

    /// Returns the sockets for a generation that is about to start, in the order of `--listen`. If no generation is
    /// live, these are the sockets in which connections are waiting. After an error, the generation has no listeners.
    pub fn prepare(&mut self, id: GenId) -> io::Result<Vec<Passed>> {
        let names: Vec<_> = self.addresses.iter().map(|one| one.name.clone()).collect();
        self.inbox.ask(move |thread| {
            thread.handle(TableInput::Prepare(id), None)?;
            let listed = thread.table.groups().iter().filter(|one| !one.is_adopted());
            let listeners = listed.filter_map(|group| group.of(id).next());
            let passed = names.into_iter().zip(listeners).map(|(name, one)| {
                let listener = thread.sockets.listener(one.id)?;
                // A unix socket may have served an earlier program, which may have set `O_NONBLOCK`.
                listener.socket.set_nonblocking(false)?;
                let (fd, inode) = (listener.socket.try_clone()?.into(), listener.inode);
                Ok(Passed { name, fd, inode })
            });
            let passed: io::Result<_> = passed.collect();
            passed.or_else(|error| thread.handle(TableInput::Release(id), None).and(Err(error)))
        })?
    }

    /// Makes this generation live, beside these live ones, which are other instances of the program. On the addresses where
    /// they listen, a connection that begins after this returns reaches no other generation: a TCP connection reaches any of
    /// them with equal probability, datagrams and connections to a unix socket reach the new one. Fails with
    /// [`io::ErrorKind::NotFound`] if the generation does not listen on every `--listen` address, or can no longer serve the
    /// addresses that it opened itself. After an error, nothing has changed.
    pub fn switch_beside(&mut self, id: GenId, beside: Vec<GenId>) -> io::Result<()> {
        self.inbox.handle(TableInput::Switch { id, beside })
    }

    /// Sends this percentage of new connections (1 to 99) to a generation beside the live one, at the IP addresses where
    /// both listen. A unix socket's connections all go to the live one. After an error, nothing has changed. Zero: the
    /// generation gets no more of them; if that fails, it is retried.
    pub fn share(&mut self, id: GenId, percent: u8) -> io::Result<()> {
        self.inbox.handle(TableInput::Share { id, percent })
    }

    /// Holds new connections, because no generation is live. They wait for the newest prepared generation that has not
    /// been live yet, or for the next generation.
    pub fn hold(&mut self) -> io::Result<()> {
        self.inbox.handle(TableInput::Hold)
    }

    /// Holds new TCP connections although a generation is live, or stops holding them. Once the call returns, no new
    /// connection reaches the live generation, or those that have waited are forwarded to it. Steps that fail are
    /// retried.
    pub fn hold_new(&mut self, holds: bool) -> io::Result<()> {
        self.inbox.handle(TableInput::HoldNew(holds))
    }

    /// Responds to new and waiting HTTP requests with this reason until [`Self::stop_responding`], because no generation
    /// is live or about to start, or new connections are held. A connection of another protocol waits, and is forwarded
    /// to the next live generation. Where generations share their sockets, all connections wait.
    pub fn respond(&mut self, reason: Arc<GetReason>) -> io::Result<()> {
        self.inbox.ask(move |thread| {
            thread.sockets.unclaimed.set_reason(reason);
            thread.handle(TableInput::Respond, None)
        })?
    }

    /// Holds connections for the next generation again. Call this before starting that generation.
    pub fn stop_responding(&mut self) -> io::Result<()> {
        self.inbox.handle(TableInput::StopResponding)
    }

    /// Stops treating the generation as live, or as one that may go live. From now on, connections that arrive in its
    /// listeners and that its program does not accept are forwarded once another generation is live. Call this before
    /// sending the stop signal.
    pub fn forward(&mut self, id: GenId) -> io::Result<()> {
        self.inbox.handle(TableInput::Drain(id))
    }

    /// Releases the listeners of a generation whose process tree is gone. Connections that are still waiting in them
    /// are forwarded or left to the next generation, and the listeners are closed as soon as that is safe. Steps that
    /// fail are retried.
    ///
    /// Connections to a unix socket cannot be forwarded. Returns each path at which connections are closed, and how
    /// many.
    pub fn release(&mut self, id: GenId) -> io::Result<Vec<(Address, u32)>> {
        self.inbox.ask(move |thread| thread.release(id))?
    }

    /// Returns a function that takes over a connection which a generation has left
    /// ([`Unclaimed::carry`](crate::unclaimed::Unclaimed::carry)).
    pub fn carrier(&self) -> impl Fn(OwnedFd, Duration) + Send + use<> {
        let unclaimed = self.inbox.ask(|thread| thread.sockets.unclaimed.clone());
        move |connection, wait| {
            if let Ok(unclaimed) = &unclaimed {
                unclaimed.carry(connection, wait);
            }
        }
    }

    /// Whether this descriptor is a duplicate of a steered socket. Such a socket is shut down once its generation is
    /// gone.
    pub fn has(&self, fd: &OwnedFd) -> bool {
        let has = |fd: OwnedFd| self.inbox.ask(move |thread| thread.sockets.has(&fd));
        let has = fd.try_clone().and_then(has);
        self.sharing == Sharing::Steered && has.unwrap_or(false)
    }

    /// Returns this generation's listeners, for finding out whether it has finished.
    pub fn monitored(&self, id: GenId) -> Vec<MonitoredListener> {
        let monitored = self.inbox.ask(move |thread| {
            let groups = thread.table.groups().iter();
            let groups = groups.filter(|group| !group.carries_datagrams());
            let listeners = groups.flat_map(|group| group.of(id));
            let monitored = listeners.filter_map(|one| thread.sockets.monitored(one.id));
            monitored.collect()
        });
        monitored.unwrap_or_default()
    }

    /// Returns a function that looks up the current routes to this generation's listeners.
    pub fn routes(&self, id: GenId) -> impl Fn() -> Vec<Route> + Send + use<> {
        let inbox = self.inbox.clone();
        move || {
            let found = inbox.ask(move |thread| thread.routes(id));
            let route = |(group, address, name)| Route {
                address,
                name,
                inbox: inbox.clone(),
                group,
                id,
            };
            found.unwrap_or_default().into_iter().map(route).collect()
        }
    }

    #[cfg(test)]
    pub(crate) fn switch(&mut self, id: GenId) -> io::Result<()> {
        self.switch_beside(id, Vec::new())
    }

    #[cfg(test)]
    pub(super) fn see<T: Send + 'static>(
        &self,
        see: impl FnOnce(&mut SocketThread) -> T + Send + 'static,
    ) -> T {
        self.inbox.ask(see).unwrap()
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = self.inbox.ask(SocketThread::close);
    }
}

/// Sends an input when it is dropped.
struct SendOnDrop<'a>(&'a SocketInbox, TableInput);

impl Drop for SendOnDrop<'_> {
    fn drop(&mut self) {
        self.0.send(self.1.clone());
    }
}

/// A TCP or unix socket connection.
pub trait Connection: AsyncRead + AsyncWrite + AsFd + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + AsFd + Send + Unpin> Connection for T {}

/// A way to connect to a particular generation's listener on one address, regardless of which generation is live.
#[derive(Clone)]
pub struct Route {
    /// The address that clients connect to.
    pub address: Address,
    /// The listener's own path, if this is a unix socket.
    name: Option<PathBuf>,
    inbox: SocketInbox,
    group: GroupId,
    id: GenId,
}

impl Route {
    /// Connects to the listener, without a timeout. This may be called any number of times, even concurrently. Fails
    /// with [`io::ErrorKind::NotFound`] if the generation no longer listens there.
    pub async fn dial(&self) -> io::Result<Box<dyn Connection>> {
        let address = match &self.address {
            Address::Tcp(address) => *address,
            Address::Unix(path) => {
                let path = self.name.as_ref().unwrap_or(path);
                return Ok(Box::new(UnixStream::connect(path).await?));
            }
        };
        let (socket, to) = reserve(address)?;
        // Bind the port before diverting it, so that no other connection can come from it. After the handshake the
        // kernel has chosen the listener, and the port no longer needs to be diverted.
        let port = socket.local_addr()?.port();
        let group = self.group;
        let divert = |to| TableInput::Divert { group, port, to };
        let _diverted = SendOnDrop(&self.inbox, divert(None));
        self.inbox.handle(divert(Some(self.id)))?;
        Ok(Box::new(socket.connect(to).await?))
    }
}

/// Binds a socket to a free port, and returns it with the address to connect to. For a listener on all addresses, this
/// is the loopback address of the same family, or that of IPv4 if the system has no IPv6.
fn reserve(address: SocketAddr) -> io::Result<(TcpSocket, SocketAddr)> {
    let reserve = |ip: IpAddr| {
        let socket = match ip {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        let mut to = address;
        to.set_ip(ip);
        let mut from = to;
        from.set_port(0);
        socket.bind(from)?;
        Ok((socket, to))
    };
    let v4 = Ipv4Addr::LOCALHOST.into();
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => reserve(v4),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            reserve(Ipv6Addr::LOCALHOST.into()).or_else(|_: io::Error| reserve(v4))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => reserve(address.ip()),
    }
}
