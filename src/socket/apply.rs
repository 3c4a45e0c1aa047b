//! Performs the table's ops on real sockets.

use std::io;
use std::net::Shutdown;

use socket2::Socket;
use tokio::sync::watch;

use super::endpoint::{Endpoint, Transport};
use super::open::{listen, refuse_strangers, sharing};
use super::opened::{At, OpenGroup, OpenSockets, Sharing, missing};
use super::table::{GroupId, Kernel, ListenerId, Op, Sight, TableInput};
use super::unix_path::{SocketName, UnixPath};
use crate::os::{self, Queue};
use crate::unclaimed::UnclaimedPolicy;

/// A socket or path that comes with an input.
pub(super) enum Payload {
    /// The socket of a `--listen` address. It is already listening.
    Listening(Socket),
    /// The path of a `--listen` address.
    Path(UnixPath),
    /// A socket that a program has bound.
    Bound(Socket),
}

/// Performs the ops that one input requires.
pub(super) struct Applier<'a> {
    pub(super) sockets: &'a mut OpenSockets,
    pub(super) payload: Option<Payload>,
}

impl Applier<'_> {
    fn add_group(&mut self, id: GroupId, endpoint: Option<Endpoint>) -> io::Result<()> {
        let is_path = |payload: &mut Payload| matches!(payload, Payload::Path(_));
        let at = match (endpoint, self.payload.take_if(is_path)) {
            (Some(endpoint), _) => At::Ip(endpoint),
            (None, Some(Payload::Path(path))) => At::Path(path),
            (None, _) => return Err(missing()),
        };
        let group = OpenGroup {
            at,
            policy: watch::Sender::default(),
        };
        self.sockets.groups.insert(id, group);
        Ok(())
    }

    fn open(&mut self, group: GroupId, id: ListenerId) -> io::Result<()> {
        if let Some(Payload::Listening(socket)) = self
            .payload
            .take_if(|payload| matches!(payload, Payload::Listening(_)))
        {
            return self.sockets.add(group, id, socket, None);
        }
        let shares = self.sockets.sharing == Sharing::Shared;
        let mut listeners = self.sockets.listeners.values();
        let shared = listeners.find(|one| shares && one.group == group);
        let shared = shared.map(|one| one.socket.try_clone()).transpose()?;
        let inodes = self.sockets.inodes();
        let open = self.sockets.groups.get_mut(&group).ok_or_else(missing)?;
        let (socket, name) = match (shared, &mut open.at) {
            (Some(socket), _) => (socket, None),
            (None, At::Ip(endpoint)) => {
                let socket = sharing(*endpoint)?;
                refuse_strangers(*endpoint, &socket, inodes)?;
                listen(&socket, 0)?;
                (socket, None)
            }
            (None, At::Path(path)) if shares => (path.open_shared()?, None),
            (None, At::Path(path)) => {
                let (socket, name) = path.open()?;
                (socket, Some(name))
            }
        };
        self.sockets.add(group, id, socket, name)
    }

    fn join(&mut self, group: GroupId, id: ListenerId, backlog: i32) -> io::Result<()> {
        let Some(Payload::Bound(socket)) = self.payload.take() else {
            return Err(missing());
        };
        let At::Ip(endpoint) = self.sockets.group(group)?.at else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        refuse_strangers(endpoint, &socket, self.sockets.inodes())?;
        match endpoint.transport {
            Transport::Tcp => listen(&socket, backlog)?,
            // A datagram socket joins its group when it is bound.
            Transport::Udp => {}
        }
        // If another socket joined at the same time, the order of the members is unknown. The program gets an error, so
        // its socket must not keep listening.
        if let Err(error) = refuse_strangers(endpoint, &socket, self.sockets.inodes()) {
            socket.shutdown(Shutdown::Read)?;
            return Err(error);
        }
        self.sockets.add(group, id, socket, None)
    }

    fn with_path<T>(
        &mut self,
        id: ListenerId,
        act: impl FnOnce(&mut UnixPath, &SocketName) -> T,
    ) -> io::Result<T> {
        let OpenSockets {
            groups, listeners, ..
        } = &mut *self.sockets;
        let listener = listeners.get(&id).ok_or_else(missing)?;
        let group = groups.get_mut(&listener.group).ok_or_else(missing)?;
        match (&mut group.at, &listener.name) {
            (At::Path(path), Some(name)) => Ok(act(path, name)),
            (At::Path(_) | At::Ip(_), _) => Err(missing()),
        }
    }

    fn forward(&mut self, id: ListenerId) -> io::Result<()> {
        let listener = self.sockets.listener(id)?;
        let group = self.sockets.group(listener.group)?;
        let At::Ip(endpoint) = group.at else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let report = self.sockets.report.clone();
        let forwarder = self.sockets.unclaimed.accept_from(
            listener.socket.clone(),
            endpoint.address.port(),
            group.policy.subscribe(),
            move || report(TableInput::ShutDown(id)),
        )?;
        self.sockets.listener_mut(id)?.forwarder = Some(forwarder);
        Ok(())
    }

    fn stop_forwarding(&mut self, id: ListenerId) -> io::Result<()> {
        let listener = self.sockets.listener_mut(id)?;
        if !listener.forwarder.as_ref().is_none_or(|one| one.end_idle()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        listener.forwarder = None;
        Ok(())
    }

    fn watch(&mut self, id: ListenerId) -> io::Result<()> {
        let report = self.sockets.report.clone();
        let socket = self.sockets.listener(id)?.socket.try_clone()?;
        let task = self.sockets.runtime.spawn(async move {
            if os::hung_up(socket.into()).await.is_ok() {
                report(TableInput::ShutDown(id));
            }
        });
        self.sockets.listener_mut(id)?.watch = Some(task.abort_handle());
        Ok(())
    }

    fn set_policy(&self, id: GroupId, policy: UnclaimedPolicy) -> io::Result<()> {
        let group = self.sockets.group(id)?;
        let address = group.address();
        tracing::debug!("{address}: policy for unclaimed connections: {policy:?}");
        group.policy.send_replace(policy);
        let listeners = self
            .sockets
            .listeners
            .values()
            .filter(|one| one.group == id);
        let forwarders = listeners.filter_map(|one| one.forwarder.as_ref());
        forwarders.for_each(|forwarder| forwarder.wake());
        Ok(())
    }

    fn scan(&self, group: GroupId, handshakes: bool) -> io::Result<()> {
        let At::Ip(endpoint) = self.sockets.group(group)?.at else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let (since, ours) = (self.sockets.now(), self.sockets.inodes());
        let report = self.sockets.report.clone();
        self.sockets.runtime.spawn_blocking(move || {
            let half_open = || os::tcp_half_open(endpoint.address);
            let sight = Sight {
                since,
                stranger: endpoint.stranger(&ours).is_some(),
                // If the system does not report handshakes, there may be one.
                half_open: !handshakes || half_open().map_or(true, |age| age.is_some()),
            };
            report(TableInput::Scanned { group, sight });
        });
        Ok(())
    }
}

impl Kernel for Applier<'_> {
    fn perform(&mut self, op: Op) -> io::Result<()> {
        match op {
            Op::AddGroup { group, endpoint } => self.add_group(group, endpoint),
            Op::Open { group, listener } => self.open(group, listener),
            Op::Close { listener } => {
                self.sockets.listeners.remove(&listener);
                Ok(())
            }
            Op::SetPolicy { group, policy } => self.set_policy(group, policy),
            Op::Scan { group, handshakes } => self.scan(group, handshakes),
            Op::Report { group, event } => {
                if let At::Ip(endpoint) = self.sockets.group(group)?.at {
                    (self.sockets.on_event)(endpoint.address, event);
                }
                Ok(())
            }
            Op::RemoveGroup { group } => {
                self.sockets.groups.remove(&group);
                Ok(())
            }
            // The remaining ops single out one of an address's listeners. They do nothing if the listeners share one
            // socket.
            _ if self.sockets.sharing == Sharing::Shared => Ok(()),
            Op::Join {
                group,
                listener,
                backlog,
            } => self.join(group, listener, backlog),
            Op::Attach { via, steering } => {
                let listener = self.sockets.listener(via)?;
                let address = self.sockets.group(listener.group)?.address();
                tracing::debug!("{address}: attaching {steering:?} through {via:?}");
                os::steer(&*listener.socket, &steering.program())
            }
            Op::LinkPath { listener } => self.with_path(listener, UnixPath::link)?,
            Op::RestorePath { listener } => {
                self.with_path(listener, |path, name| path.restore(name))
            }
            Op::Hide { listener } => os::hide(&*self.sockets.listener(listener)?.socket),
            Op::SetNonblocking { listener } => {
                let listener = self.sockets.listener(listener)?;
                listener.socket.set_nonblocking(true)
            }
            Op::Forward { listener } => self.forward(listener),
            Op::StopForwarding { listener } => self.stop_forwarding(listener),
            Op::Watch { listener } => self.watch(listener),
        }
    }

    fn queue(&mut self, listener: ListenerId) -> Option<Queue> {
        let listener = self.sockets.listeners.get(&listener)?;
        match (self.sockets.sharing, &listener.name) {
            (Sharing::Shared, _) => None,
            (Sharing::Steered, Some(_)) => os::unix_queue(listener.inode).ok(),
            (Sharing::Steered, None) => os::tcp_queue(&*listener.socket).ok(),
        }
    }
}
