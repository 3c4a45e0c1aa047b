//! The open sockets behind the table's groups and listeners.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use socket2::Socket;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::address::Address;
use super::endpoint::Endpoint;
use super::table::{AddressEvent, GroupId, ListenerId, TableInput};
use super::unix_path::{SocketName, UnixPath, own_prefix};
use crate::os;
use crate::os::cleanup::Cleanup;
use crate::reload::Time;
use crate::unclaimed::{Forwarder, Unclaimed, UnclaimedPolicy};

/// How generations share an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each generation has its own listener, and hotrun steers new connections to the live generation's.
    Steered,
    /// All generations have duplicates of one socket. This is for systems where [`STEERING`](crate::os::STEERING) is
    /// false. No connection is refused, but the old generation may accept one just before it exits.
    Shared,
}

/// A group's address, and the policy for its unclaimed connections.
pub(super) struct OpenGroup {
    pub(super) at: At,
    pub(super) policy: watch::Sender<UnclaimedPolicy>,
}

impl OpenGroup {
    pub(super) fn address(&self) -> Address {
        match &self.at {
            At::Ip(endpoint) => Address::Tcp(endpoint.address),
            At::Path(at) => Address::Unix(at.path.clone()),
        }
    }
}

pub(super) enum At {
    Ip(Endpoint),
    Path(UnixPath),
}

/// A listener's open socket.
pub(super) struct OpenListener {
    pub(super) group: GroupId,
    /// Our descriptor. The program has a duplicate, which shares the file status flags.
    pub(super) socket: Arc<Socket>,
    pub(super) sharing: Sharing,
    /// The inode of the socket itself, not that of its path.
    pub(super) inode: u64,
    /// The name that leads only to this listener. Only steered unix sockets have one.
    pub(super) name: Option<SocketName>,
    pub(super) forwarder: Option<Arc<Forwarder>>,
    /// The task that waits for the program to shut the socket down. It holds a duplicate of the socket.
    pub(super) watch: Option<AbortHandle>,
}

impl Drop for OpenListener {
    fn drop(&mut self) {
        if let Some(forwarder) = self.forwarder.take() {
            forwarder.end();
        }
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        // Closing our descriptor is not enough: a drain monitor has a duplicate, a process that has left the process
        // tree may have one, and a forwarder blocked in `accept` keeps the socket open. The shutdown removes the socket
        // from its group immediately, and wakes the forwarder with EINVAL (`inet_csk_wait_for_connect` in
        // `net/ipv4/inet_connection_sock.c`, `unix_accept`).
        //
        // Hide the socket first: during the shutdown, it has left the group for a moment but can still be found, and the
        // kernel resets a connection that finds it then (`inet_unhash` and `inet_lhash2_lookup` in
        // `net/ipv4/inet_hashtables.c`, `reuseport_select_sock`). Not if the program has shut it down: the program may
        // listen on it again.
        if self.sharing == Sharing::Steered {
            if os::is_listening(&*self.socket).unwrap_or(false) {
                let _ = os::hide(&*self.socket);
            }
            let _ = self.socket.shutdown(Shutdown::Read);
        }
    }
}

/// One of a generation's listeners.
pub struct MonitoredListener {
    /// The address that the socket is bound to.
    pub address: Address,
    /// Whether all generations share the socket.
    pub shared: bool,
    socket: Arc<Socket>,
    inode: u64,
}

impl MonitoredListener {
    /// Returns how many connections are waiting in the accept queue, unless all generations share it.
    pub fn queued(&self) -> u32 {
        let queue = match self.address {
            _ if self.shared => return 0,
            Address::Tcp(_) => os::tcp_queue(&*self.socket),
            Address::Unix(_) => os::unix_queue(self.inode),
        };
        queue.map_or(0, |queue| if queue.listening { queue.waiting } else { 0 })
    }
}

/// All open sockets, and the state that forwarders and scans use.
pub(super) struct OpenSockets {
    pub(super) sharing: Sharing,
    pub(super) groups: HashMap<GroupId, OpenGroup>,
    pub(super) listeners: HashMap<ListenerId, OpenListener>,
    pub(super) unclaimed: Arc<Unclaimed>,
    pub(super) runtime: Handle,
    started: Instant,
    /// Receives inputs from other threads and tasks.
    pub(super) report: Arc<dyn Fn(TableInput) + Send + Sync>,
    /// Called with each event at an address that a program opened.
    pub(super) on_event: Box<dyn Fn(SocketAddr, AddressEvent) + Send>,
}

impl OpenSockets {
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(sharing: Sharing, report: Arc<dyn Fn(TableInput) + Send + Sync>) -> Self {
        Self {
            sharing,
            groups: HashMap::new(),
            listeners: HashMap::new(),
            unclaimed: Arc::new(Unclaimed::new(Handle::current())),
            runtime: Handle::current(),
            started: Instant::now(),
            report,
            on_event: Box::new(|_, _| {}),
        }
    }

    pub(super) fn now(&self) -> Time {
        Time(self.started.elapsed())
    }

    pub(super) fn group(&self, id: GroupId) -> io::Result<&OpenGroup> {
        self.groups.get(&id).ok_or_else(missing)
    }

    pub(super) fn listener(&self, id: ListenerId) -> io::Result<&OpenListener> {
        self.listeners.get(&id).ok_or_else(missing)
    }

    pub(super) fn listener_mut(&mut self, id: ListenerId) -> io::Result<&mut OpenListener> {
        self.listeners.get_mut(&id).ok_or_else(missing)
    }

    /// Adds a listening socket.
    pub(super) fn add(
        &mut self,
        group: GroupId,
        id: ListenerId,
        socket: Socket,
        name: Option<SocketName>,
    ) -> io::Result<()> {
        let listener = OpenListener {
            group,
            inode: os::inode(&socket)?,
            socket: Arc::new(socket),
            sharing: self.sharing,
            name,
            forwarder: None,
            watch: None,
        };
        self.listeners.insert(id, listener);
        Ok(())
    }

    /// Returns the inodes of all sockets.
    pub(super) fn inodes(&self) -> Vec<u64> {
        self.listeners.values().map(|one| one.inode).collect()
    }

    /// Whether this descriptor is a duplicate of one of the sockets.
    pub(super) fn has(&self, fd: &OwnedFd) -> bool {
        let mut listeners = self.listeners.values();
        listeners.any(|one| os::is_duplicate(&*one.socket, fd))
    }

    /// Returns what a drain monitor needs to know about this listener.
    pub(super) fn monitored(&self, id: ListenerId) -> Option<MonitoredListener> {
        let listener = self.listeners.get(&id)?;
        let own = listener.name.as_ref();
        let own = own.map(|name| Address::Unix(name.bound.clone()));
        let group = self.groups.get(&listener.group)?;
        Some(MonitoredListener {
            address: own.unwrap_or_else(|| group.address()),
            shared: self.sharing == Sharing::Shared,
            socket: listener.socket.clone(),
            inode: listener.inode,
        })
    }

    /// Returns the files to remove if hotrun is killed. A steered path is listed without its file, which changes with
    /// each switch.
    pub(super) fn cleanup(&self) -> Vec<Cleanup> {
        let shared = self.sharing == Sharing::Shared;
        let cleanup = |group: &OpenGroup| match &group.at {
            At::Ip(_) => None,
            At::Path(at) => Some(Cleanup::Socket {
                path: at.path.clone().into(),
                names: own_prefix().into(),
                file: at.linked.filter(|_| shared),
            }),
        };
        self.groups.values().filter_map(cleanup).collect()
    }
}

/// The error for a group, a socket or a payload that does not exist.
pub(super) fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}
