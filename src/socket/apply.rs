//! Performs the table's ops on real sockets.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use socket2::Socket;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::address::Address;
use super::drain::MonitoredListener;
use super::endpoint::Transport;
use super::open::{listen, refuse_strangers, sharing};
use super::opened::{At, Group, Listener, Sharing};
use super::table::{GroupId, Input, Kernel, ListenerId, Op, Place, Sight, UnclaimedPolicy};
use super::unclaimed::{Forwarder, Unclaimed};
use super::unix_path::{Name, UnixPath};
use crate::os::cleanup::Cleanup;
use crate::os::{self, Queue};
use crate::reload::Time;

/// A socket or path that comes with the next input.
pub(super) enum Incoming {
    Socket(Socket),
    Path(UnixPath),
}

/// Owns all sockets, and performs ops on them.
pub(super) struct Applier {
    sharing: Sharing,
    groups: HashMap<GroupId, Group>,
    listeners: HashMap<ListenerId, Listener>,
    /// What comes with the next input.
    pub(super) incoming: Option<Incoming>,
    pub(super) unclaimed: Arc<Unclaimed>,
    started: Instant,
    /// Receives inputs from other threads and tasks.
    report: Arc<dyn Fn(Input) + Send + Sync>,
}

impl Applier {
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(sharing: Sharing, report: Arc<dyn Fn(Input) + Send + Sync>) -> Self {
        Self {
            sharing,
            groups: HashMap::new(),
            listeners: HashMap::new(),
            incoming: None,
            unclaimed: Arc::new(Unclaimed::new(Handle::current())),
            started: Instant::now(),
            report,
        }
    }

    pub(super) fn now(&self) -> Time {
        Time::after_start(self.started.elapsed())
    }

    /// Hands over the socket or path that comes with the next input.
    pub(super) fn bring(&mut self, incoming: Incoming) {
        self.incoming = Some(incoming);
    }

    pub(super) fn inode(&self, listener: ListenerId) -> Option<u64> {
        Some(self.listeners.get(&listener)?.inode)
    }

    /// Returns the inodes of all sockets.
    pub(super) fn inodes(&self) -> Vec<u64> {
        self.listeners.values().map(|one| one.inode).collect()
    }

    /// Duplicates a listener's socket for a program, with `CLOEXEC`.
    pub(super) fn duplicate(&self, listener: ListenerId) -> io::Result<OwnedFd> {
        Ok(self.listener(listener)?.socket.try_clone()?.into())
    }

    /// Whether this descriptor is a duplicate of one of the sockets.
    pub(super) fn has(&self, fd: &OwnedFd) -> bool {
        let mut listeners = self.listeners.values();
        listeners.any(|one| os::is_duplicate(&*one.socket, fd))
    }

    /// Returns the name that leads to this listener only. Only unix sockets have one.
    pub(super) fn name(&self, listener: ListenerId) -> Option<&Name> {
        self.listeners.get(&listener)?.name.as_ref()
    }

    /// Returns the part of a listener that a drain monitor watches. A shared socket's queue is left out, because it
    /// does not belong to one generation.
    pub(super) fn monitored(&self, listener: ListenerId) -> Option<MonitoredListener> {
        let listener = self.listeners.get(&listener)?;
        let steered = self.sharing == Sharing::Steered;
        Some(match &self.groups.get(&listener.group)?.address {
            Address::Tcp(address) => MonitoredListener::Tcp {
                socket: steered.then(|| listener.socket.clone()),
                address: *address,
            },
            Address::Unix(path) => MonitoredListener::Unix {
                queue: steered.then_some(listener.inode),
                name: match &listener.name {
                    Some(name) => name.bound.clone(),
                    None => path.clone(),
                },
            },
        })
    }

    /// Returns what to remove if hotrun is killed. The file at a steered path changes with each switch.
    pub(super) fn cleanup(&self) -> Vec<Cleanup> {
        let shared = self.sharing == Sharing::Shared;
        let cleanup = |group: &Group| match &group.at {
            At::Ip(_) => None,
            At::Path(at) => Some(Cleanup::Socket {
                path: at.path.clone().into(),
                file: at.placed.filter(|_| shared),
            }),
        };
        self.groups.values().filter_map(cleanup).collect()
    }

    fn listener(&self, id: ListenerId) -> io::Result<&Listener> {
        self.listeners.get(&id).ok_or_else(missing)
    }

    fn listener_mut(&mut self, id: ListenerId) -> io::Result<&mut Listener> {
        self.listeners.get_mut(&id).ok_or_else(missing)
    }

    pub(super) fn group(&self, id: GroupId) -> io::Result<&Group> {
        self.groups.get(&id).ok_or_else(missing)
    }

    fn add_group(&mut self, id: GroupId, place: Place) -> io::Result<()> {
        let at = match place {
            Place::Ip(endpoint) => At::Ip(endpoint),
            Place::Unix => match self.incoming.take() {
                Some(Incoming::Path(path)) => At::Path(path),
                Some(Incoming::Socket(_)) | None => return Err(missing()),
            },
        };
        let group = Group {
            address: match &at {
                At::Ip(endpoint) => Address::Tcp(endpoint.address),
                At::Path(at) => Address::Unix(at.path.clone()),
            },
            at,
            policy: watch::Sender::default(),
        };
        self.groups.insert(id, group);
        Ok(())
    }

    fn add(
        &mut self,
        group: GroupId,
        id: ListenerId,
        socket: Socket,
        name: Option<Name>,
    ) -> io::Result<()> {
        let listener = Listener {
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

    fn take_socket(&mut self) -> Option<Socket> {
        match self.incoming.take() {
            Some(Incoming::Socket(socket)) => Some(socket),
            Some(Incoming::Path(_)) | None => None,
        }
    }

    fn open(&mut self, group: GroupId, id: ListenerId) -> io::Result<()> {
        let mut listeners = self.listeners.values();
        let shared = listeners.find(|one| one.group == group && one.sharing == Sharing::Shared);
        let (socket, name) = match (
            shared,
            &mut self.groups.get_mut(&group).ok_or_else(missing)?.at,
        ) {
            (Some(shared), _) => (shared.socket.try_clone()?, None),
            (None, At::Ip(endpoint)) => {
                let endpoint = *endpoint;
                let socket = sharing(endpoint)?;
                refuse_strangers(endpoint, &socket, self.inodes())?;
                listen(&socket, 0)?;
                (socket, None)
            }
            (None, At::Path(path)) if self.sharing == Sharing::Shared => {
                (path.open_shared()?, None)
            }
            (None, At::Path(path)) => {
                let (socket, name) = path.open()?;
                (socket, Some(name))
            }
        };
        self.add(group, id, socket, name)
    }

    /// Adds a program's socket to the group.
    fn join(&mut self, group: GroupId, id: ListenerId, backlog: i32) -> io::Result<()> {
        let socket = self.take_socket().ok_or_else(missing)?;
        let At::Ip(endpoint) = self.group(group)?.at else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        refuse_strangers(endpoint, &socket, self.inodes())?;
        match endpoint.transport {
            Transport::Tcp => listen(&socket, backlog)?,
            // A datagram socket has joined by being bound.
            Transport::Udp => {}
        }
        // If another socket joined at the same time, the order of the members is unknown. The program gets an error, so
        // its socket must not keep listening.
        if let Err(error) = refuse_strangers(endpoint, &socket, self.inodes()) {
            socket.shutdown(Shutdown::Read)?;
            return Err(error);
        }
        self.add(group, id, socket, None)
    }

    fn place(&mut self, id: ListenerId) -> io::Result<()> {
        let listener = self.listeners.get(&id).ok_or_else(missing)?;
        let group = self.groups.get_mut(&listener.group).ok_or_else(missing)?;
        match (&mut group.at, &listener.name) {
            (At::Path(path), Some(name)) => path.place(name),
            (At::Path(_) | At::Ip(_), _) => Err(missing()),
        }
    }

    fn restore(&self, id: ListenerId) -> io::Result<()> {
        let listener = self.listener(id)?;
        if let (At::Path(path), Some(name)) = (&self.group(listener.group)?.at, &listener.name) {
            path.restore(name);
        }
        Ok(())
    }

    fn forward(&mut self, id: ListenerId) -> io::Result<()> {
        let listener = self.listener(id)?;
        let group = self.group(listener.group)?;
        let report = self.report.clone();
        let forwarder = Forwarder {
            socket: listener.socket.clone(),
            address: group.address.clone(),
            policy: group.policy.subscribe(),
            unclaimed: self.unclaimed.clone(),
            shut_down: Box::new(move || report(Input::ShutDown(id))),
        };
        self.listener_mut(id)?.forwarder = Some(forwarder.start()?);
        Ok(())
    }

    fn stop_forwarding(&mut self, id: ListenerId) -> io::Result<()> {
        let listener = self.listener_mut(id)?;
        if !listener.forwarder.as_ref().is_none_or(|one| one.end_idle()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        listener.forwarder = None;
        Ok(())
    }

    fn watch(&mut self, id: ListenerId) -> io::Result<()> {
        let (socket, report) = (self.duplicate(id)?, self.report.clone());
        let task = self.unclaimed.runtime.spawn(async move {
            if os::hung_up(socket).await.is_ok() {
                report(Input::ShutDown(id));
            }
        });
        self.listener_mut(id)?.watch = Some(task.abort_handle());
        Ok(())
    }

    fn set_policy(&self, id: GroupId, policy: UnclaimedPolicy) -> io::Result<()> {
        let group = self.group(id)?;
        tracing::debug!(
            "{}: policy for unclaimed connections: {policy:?}",
            group.address
        );
        group.policy.send_replace(policy);
        let listeners = self.listeners.values().filter(|one| one.group == id);
        let forwarders = listeners.filter_map(|one| one.forwarder.as_ref());
        forwarders.for_each(|forwarder| forwarder.wake());
        Ok(())
    }

    fn scan(&self, group: GroupId, handshakes: bool) -> io::Result<()> {
        let At::Ip(endpoint) = self.group(group)?.at else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let (since, ours, report) = (self.now(), self.inodes(), self.report.clone());
        self.unclaimed.runtime.spawn_blocking(move || {
            let half_open = || os::tcp_half_open(endpoint.address);
            let sight = Sight {
                since,
                stranger: endpoint.has_stranger(&ours),
                // If the system does not report it, there may be one.
                half_open: !handshakes || half_open().map_or(true, |age| age.is_some()),
            };
            report(Input::Scanned { group, sight });
        });
        Ok(())
    }
}

impl Kernel for Applier {
    fn perform(&mut self, op: Op) -> io::Result<()> {
        match op {
            Op::Add { group, place } => self.add_group(group, place),
            Op::Take { group, listener } => match self.take_socket() {
                Some(socket) => self.add(group, listener, socket, None),
                None => self.open(group, listener),
            },
            Op::Open { group, listener } => self.open(group, listener),
            Op::Close { listener } => {
                self.listeners.remove(&listener);
                Ok(())
            }
            Op::SetPolicy { group, policy } => self.set_policy(group, policy),
            Op::Scan { group, handshakes } => self.scan(group, handshakes),
            Op::Remove { group } => {
                self.groups.remove(&group);
                Ok(())
            }
            // The remaining ops distinguish between an address's listeners, which does not apply if they share one
            // socket.
            _ if self.sharing == Sharing::Shared => Ok(()),
            Op::Listen {
                group,
                listener,
                backlog,
            } => self.join(group, listener, backlog),
            Op::Attach { via, steering } => {
                let listener = self.listener(via)?;
                let address = &self.group(listener.group)?.address;
                tracing::debug!("{address}: attaching {steering:?} through {via:?}");
                os::steer(&*listener.socket, &steering.program())
            }
            Op::Place { listener } => self.place(listener),
            Op::Restore { listener } => self.restore(listener),
            Op::Hide { listener } => os::hide(&*self.listener(listener)?.socket),
            Op::SetNonblocking { listener } => {
                self.listener(listener)?.socket.set_nonblocking(true)
            }
            Op::Forward { listener } => self.forward(listener),
            Op::StopForwarding { listener } => self.stop_forwarding(listener),
            Op::Watch { listener } => self.watch(listener),
        }
    }

    fn queue(&mut self, listener: ListenerId) -> Option<Queue> {
        let listener = self.listeners.get(&listener)?;
        match (self.sharing, &listener.name) {
            (Sharing::Shared, _) => None,
            (Sharing::Steered, Some(_)) => os::unix_queue(listener.inode).ok(),
            (Sharing::Steered, None) => os::tcp_queue(&*listener.socket).ok(),
        }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}
