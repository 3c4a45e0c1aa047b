//! Performs what the table wants on real sockets.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use socket2::Socket;
use tokio::sync::watch;

use super::address::Address;
use super::bind::listen;
use super::drain::MonitoredListener;
use super::endpoint::{Endpoint, Transport};
use super::forwarder::{Forwarder, Work};
use super::limits::Limits;
use super::opened::{At, Group, Listener, sharing};
use super::scan::{Scan, Scanned, stranger};
use super::table::{GroupId, Input, Kernel, ListenerId, Op, Place, UnclaimedPolicy};
use super::unclaimed::{Respond, Unclaimed};
use super::unix_path::{Name, UnixPath};
use crate::os::{self, Queue};

/// What other threads and tasks report.
pub(super) enum Report {
    Input(Input),
    Scanned(GroupId, Scanned),
}

/// A socket that is handed to the table.
pub(super) enum Incoming {
    /// For an address of `--listen`; it listens.
    Tcp(Socket),
    /// For a path of `--listen`.
    Unix(UnixPath),
    /// A program's; it is bound.
    Program(Socket),
}

/// All sockets, by listener.
pub(super) struct Applier {
    groups: HashMap<GroupId, Group>,
    listeners: HashMap<ListenerId, Listener>,
    incoming: Option<Incoming>,
    responder: Option<Arc<dyn Respond>>,
    limits: Limits,
    report: Arc<dyn Fn(Report) + Send + Sync>,
}

impl Applier {
    pub(super) fn new(limits: Limits, report: Arc<dyn Fn(Report) + Send + Sync>) -> Self {
        Self {
            groups: HashMap::new(),
            listeners: HashMap::new(),
            incoming: None,
            responder: None,
            limits,
            report,
        }
    }

    /// What the next input is about.
    pub(super) fn bring(&mut self, incoming: Incoming) {
        self.incoming = Some(incoming);
    }

    /// What responds while [`UnclaimedPolicy::Respond`] holds.
    pub(super) fn set_responder(&mut self, responder: Arc<dyn Respond>) {
        for group in self.groups.values() {
            group.unclaimed.send_if_modified(|unclaimed| {
                let responds = matches!(unclaimed, Unclaimed::Respond(_));
                if responds {
                    *unclaimed = Unclaimed::Respond(responder.clone());
                }
                responds
            });
        }
        self.responder = Some(responder);
    }

    pub(super) fn address(&self, group: GroupId) -> Option<&Address> {
        Some(&self.groups.get(&group)?.address)
    }

    pub(super) fn inode(&self, listener: ListenerId) -> Option<u64> {
        Some(self.listeners.get(&listener)?.inode)
    }

    /// The inodes of all sockets.
    pub(super) fn inodes(&self) -> Vec<u64> {
        self.listeners.values().map(|one| one.inode).collect()
    }

    /// A duplicate for a program, closed on exec until whoever starts the program clears that.
    pub(super) fn duplicate(&self, listener: ListenerId) -> io::Result<OwnedFd> {
        Ok(self.listener(listener)?.socket.try_clone()?.into())
    }

    /// Whether this is a duplicate of one of the sockets.
    pub(super) fn has(&self, fd: &OwnedFd) -> bool {
        let mut listeners = self.listeners.values();
        listeners.any(|one| os::is_same_socket(&*one.socket, fd))
    }

    /// The name by which only this listener is reached, for unix sockets.
    pub(super) fn name(&self, listener: ListenerId) -> Option<&Name> {
        self.listeners.get(&listener)?.name.as_ref()
    }

    /// What a drain monitor looks at.
    pub(super) fn monitored(&self, listener: ListenerId) -> Option<MonitoredListener> {
        let listener = self.listeners.get(&listener)?;
        let group = self.groups.get(&listener.group)?;
        Some(match (&group.address, &listener.name) {
            (Address::Tcp(address), _) => MonitoredListener::Tcp {
                socket: Some(listener.socket.clone()),
                address: *address,
            },
            (Address::Unix(_), name) => MonitoredListener::Unix {
                queue: Some(listener.inode),
                name: name.as_ref().map(|name| name.bound.clone())?,
            },
        })
    }

    #[cfg(test)]
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn listener(&self, id: ListenerId) -> io::Result<&Listener> {
        self.listeners.get(&id).ok_or_else(missing)
    }

    fn listener_mut(&mut self, id: ListenerId) -> io::Result<&mut Listener> {
        self.listeners.get_mut(&id).ok_or_else(missing)
    }

    fn group(&self, id: GroupId) -> io::Result<&Group> {
        self.groups.get(&id).ok_or_else(missing)
    }

    fn add_group(&mut self, id: GroupId, place: Place) -> io::Result<()> {
        let (address, at) = match (place, self.incoming.take()) {
            (Place::Ip(endpoint), incoming) => {
                self.incoming = incoming;
                (Address::Tcp(endpoint.address), At::Ip(endpoint))
            }
            (Place::Unix, Some(Incoming::Unix(path))) => {
                (Address::Unix(path.path().to_owned()), At::Path(path))
            }
            (Place::Unix, None | Some(Incoming::Tcp(_) | Incoming::Program(_))) => {
                return Err(missing());
            }
        };
        let unclaimed = watch::Sender::default();
        self.groups.insert(
            id,
            Group {
                address,
                at,
                unclaimed,
            },
        );
        Ok(())
    }

    fn add(
        &mut self,
        group: GroupId,
        id: ListenerId,
        socket: Socket,
        name: Option<Name>,
    ) -> io::Result<()> {
        let inode = os::inode(&socket)?;
        let listener = Listener {
            group,
            socket: Arc::new(socket),
            inode,
            name,
            forwarder: None,
            watch: None,
        };
        self.listeners.insert(id, listener);
        Ok(())
    }

    /// The first listener of an address of `--listen`.
    fn take(&mut self, group: GroupId, id: ListenerId) -> io::Result<()> {
        match self.incoming.take() {
            Some(Incoming::Tcp(socket)) => self.add(group, id, socket, None),
            None => self.open(group, id),
            Some(Incoming::Unix(_) | Incoming::Program(_)) => Err(missing()),
        }
    }

    fn open(&mut self, group: GroupId, id: ListenerId) -> io::Result<()> {
        let (socket, name) = match &self.group(group)?.at {
            At::Ip(endpoint) => {
                let socket = sharing(*endpoint)?;
                self.refuse_strangers(*endpoint, &socket)?;
                listen(&socket, 0)?;
                (socket, None)
            }
            At::Path(path) => {
                let (socket, name) = path.open()?;
                (socket, Some(name))
            }
        };
        self.add(group, id, socket, name)
    }

    /// A process of the same user may join the group. It gets no connection, but it has an index, and takes another's
    /// when that one leaves; so while it is there none of ours may join or leave.
    fn refuse_strangers(&self, endpoint: Endpoint, socket: &Socket) -> io::Result<()> {
        if endpoint.transport == Transport::Udp {
            return Ok(());
        }
        let mut ours = self.inodes();
        ours.push(os::inode(socket)?);
        match stranger(endpoint, &ours) {
            Some(stranger) => {
                let message = format!("`{endpoint}` is also listened on by {stranger}");
                Err(io::Error::new(io::ErrorKind::AddrInUse, message))
            }
            None => Ok(()),
        }
    }

    /// A program's socket joins.
    fn join(&mut self, group: GroupId, id: ListenerId, backlog: i32) -> io::Result<()> {
        let Some(Incoming::Program(socket)) = self.incoming.take() else {
            return Err(missing());
        };
        let At::Ip(endpoint) = self.group(group)?.at else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        self.refuse_strangers(endpoint, &socket)?;
        match endpoint.transport {
            Transport::Tcp => listen(&socket, backlog)?,
            // It has joined by being bound.
            Transport::Udp => {}
        }
        // Two that came at the same moment: the order of the members is not known. The program is told that the address
        // is in use, and so it must not listen.
        if let Err(error) = self.refuse_strangers(endpoint, &socket) {
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
        let work = Work {
            socket: listener.socket.clone(),
            address: group.address.clone(),
            unclaimed: group.unclaimed.subscribe(),
            limits: self.limits.clone(),
            shut_down: Box::new(move || report(Report::Input(Input::ShutDown(id)))),
        };
        let forwarder = Forwarder::start(work)?;
        self.listener_mut(id)?.forwarder = Some(forwarder);
        Ok(())
    }

    fn stop_forwarding(&mut self, id: ListenerId) -> io::Result<()> {
        let listener = self.listener_mut(id)?;
        if !listener.forwarder.as_ref().is_none_or(Forwarder::end_idle) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        listener.forwarder = None;
        Ok(())
    }

    fn watch(&mut self, id: ListenerId) -> io::Result<()> {
        let socket = self.duplicate(id)?;
        let report = self.report.clone();
        let watch = async move {
            if os::hung_up(socket).await.is_ok() {
                report(Report::Input(Input::ShutDown(id)));
            }
        };
        let task = self.limits.runtime.spawn(watch);
        self.listener_mut(id)?.watch = Some(task.abort_handle());
        Ok(())
    }

    fn set_policy(&self, id: GroupId, policy: UnclaimedPolicy) -> io::Result<()> {
        let group = self.group(id)?;
        group
            .unclaimed
            .send_replace(match (policy, &self.responder) {
                (UnclaimedPolicy::Forward, _) => Unclaimed::Forward,
                (UnclaimedPolicy::Respond, Some(responder)) => {
                    Unclaimed::Respond(responder.clone())
                }
                (UnclaimedPolicy::Respond, None) | (UnclaimedPolicy::Wait, _) => Unclaimed::Wait,
            });
        let listeners = self.listeners.values().filter(|one| one.group == id);
        let forwarders = listeners.filter_map(|one| one.forwarder.as_ref());
        forwarders.for_each(Forwarder::wake);
        Ok(())
    }

    fn scan(&self, id: GroupId, handshakes: bool) -> io::Result<()> {
        let At::Ip(endpoint) = self.group(id)?.at else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let (ours, report) = (self.inodes(), self.report.clone());
        let scan = Scan {
            endpoint,
            ours,
            handshakes,
        };
        self.limits
            .runtime
            .spawn_blocking(move || report(Report::Scanned(id, scan.take())));
        Ok(())
    }
}

impl Kernel for Applier {
    fn perform(&mut self, op: Op) -> io::Result<()> {
        match op {
            Op::Add { group, place } => self.add_group(group, place),
            Op::Take { group, listener } => self.take(group, listener),
            Op::Open { group, listener } => self.open(group, listener),
            Op::Listen {
                group,
                listener,
                backlog,
            } => self.join(group, listener, backlog),
            Op::Attach { via, steering } => {
                let socket = &self.listener(via)?.socket;
                os::steer(&**socket, &steering.program())
            }
            Op::Place { listener } => self.place(listener),
            Op::Restore { listener } => self.restore(listener),
            Op::Close { listener } => {
                self.listeners.remove(&listener);
                Ok(())
            }
            Op::Hide { listener } => os::hide(&*self.listener(listener)?.socket),
            Op::SetNonblocking {
                listener,
                nonblocking,
            } => self.listener(listener)?.socket.set_nonblocking(nonblocking),
            Op::Forward { listener } => self.forward(listener),
            Op::StopForwarding { listener } => self.stop_forwarding(listener),
            Op::Watch { listener } => self.watch(listener),
            Op::SetPolicy { group, policy } => self.set_policy(group, policy),
            Op::Scan { group, handshakes } => self.scan(group, handshakes),
            Op::Remove { group } => {
                self.groups.remove(&group);
                Ok(())
            }
        }
    }

    fn queue(&mut self, listener: ListenerId) -> Option<Queue> {
        let listener = self.listeners.get(&listener)?;
        match listener.name {
            Some(_) => os::unix_queue(listener.inode).ok(),
            None => os::tcp_queue(&*listener.socket).ok(),
        }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}
