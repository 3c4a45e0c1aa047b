//! The handle through which a generation's sockets are adopted.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::address::Address;
use super::endpoint::{Endpoint, Transport};
use super::open::{self, OpenError};
use super::opened::missing;
use super::table::{GroupId, TableInput};
use super::thread::{Joined, Neighbours, Opened, ReachedGroup, SocketInbox, SocketThread};
use crate::reload::GenId;

/// A handle for adopting the sockets that programs open themselves.
#[derive(Clone)]
pub struct Adopter {
    inbox: SocketInbox,
    /// The next generation need not open the addresses that programs open after this time.
    until: Option<Instant>,
}

impl Adopter {
    pub(super) const fn new(inbox: SocketInbox) -> Self {
        Self { inbox, until: None }
    }

    /// Returns an adopter for a generation that has just been started. The next generation need not open the addresses
    /// that this one opens after `within` has passed.
    #[must_use]
    pub fn expecting(self, within: Duration) -> Self {
        let until = Instant::now().checked_add(within);
        Self { until, ..self }
    }

    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() > until)
    }

    /// Finds our listeners whose address overlaps this one.
    #[must_use]
    pub fn neighbours(&self, endpoint: Endpoint) -> Neighbours {
        let neighbours = self.inbox.ask(move |thread| thread.neighbours(endpoint));
        neighbours.unwrap_or_default()
    }

    /// Returns the groups that this generation's connections to `endpoint` may reach, or `None` once the generation is
    /// no longer starting.
    #[must_use]
    pub fn reached(&self, id: GenId, endpoint: Endpoint) -> Option<Vec<ReachedGroup>> {
        let reached = self.inbox.ask(move |thread| thread.reached(id, endpoint));
        reached.ok().flatten()
    }

    /// Diverts connections to this group from this source port to this generation.
    pub fn divert(&self, at: Endpoint, port: u16, id: GenId) -> io::Result<Diversion> {
        let find = move |thread: &mut SocketThread| thread.table.find(at).map(|group| group.id);
        let group = self.inbox.ask(find)?.ok_or_else(missing)?;
        Diversion::start(self.inbox.clone(), group, port, id)
    }

    fn inodes(&self) -> Vec<u64> {
        let inodes = self.inbox.ask(|thread| thread.sockets.inodes());
        inodes.unwrap_or_default()
    }

    /// Whether this socket can be bound only by sharing the address: another generation has bound it without listening,
    /// or a listener there is about to be closed. Fails with [`io::ErrorKind::AddrInUse`] if another process is
    /// listening there.
    pub fn must_share(&self, socket: &Socket, endpoint: Endpoint) -> io::Result<bool> {
        match open::check_unused(socket, endpoint) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                match endpoint.is_occupied(&self.inodes()) {
                    true => Err(error),
                    false => Ok(true),
                }
            }
            // Other errors need not affect the program's socket, whose options differ from those of the test socket.
            Ok(()) | Err(_) => Ok(false),
        }
    }

    /// Returns the error for an address that another process uses. Finding that process takes a long time.
    #[must_use]
    pub fn in_use(&self, endpoint: Endpoint) -> OpenError {
        let occupant = match endpoint.transport {
            Transport::Tcp => endpoint.occupant(&self.inodes()),
            Transport::Udp => None,
        };
        OpenError::in_use(&Address::Tcp(endpoint.address), occupant.as_ref())
    }

    /// Binds a program's datagram socket, and has it join the group of its address in the same step, so that no other
    /// generation can mistake it for another process's socket. Fails like [`Self::join`].
    pub fn bind_datagrams(
        &self,
        id: GenId,
        socket: Socket,
        endpoint: Endpoint,
    ) -> io::Result<Joined> {
        let late = self.is_late();
        self.inbox.ask(move |thread| {
            let shared = thread.neighbours(endpoint).ours;
            open::bind_datagrams(&socket, endpoint, shared)?;
            thread.join(id, socket, 0, late)
        })?
    }

    /// Has a socket that this generation's program has bound join the group of its address, and makes it listen. Fails
    /// with [`io::ErrorKind::AddrInUse`] if another process uses or shares the address, and with `ESRCH` if the
    /// generation is gone.
    pub fn join(&self, id: GenId, socket: Socket, backlog: i32) -> io::Result<Joined> {
        let late = self.is_late();
        self.inbox
            .ask(move |thread| thread.join(id, socket, backlog, late))?
    }

    /// Orphans the listeners of this generation that none of its processes holds any longer. `held` contains the inodes
    /// of all sockets that its processes hold.
    pub fn orphan_unheld(&self, id: GenId, held: HashSet<u64>) -> io::Result<()> {
        self.inbox
            .ask(move |thread| thread.orphan_unheld(id, &held))?
    }

    /// Returns the sockets of this generation, including those from `--listen`.
    #[must_use]
    pub fn opened(&self, id: GenId) -> Opened {
        let opened = self.inbox.ask(move |thread| thread.opened(id));
        opened.unwrap_or_default()
    }
}

/// A source port that is diverted to one generation until the `Diversion` is dropped.
pub struct Diversion {
    inbox: SocketInbox,
    group: GroupId,
    port: u16,
}

impl Diversion {
    pub(super) fn start(
        inbox: SocketInbox,
        group: GroupId,
        port: u16,
        to: GenId,
    ) -> io::Result<Self> {
        let diversion = Self { inbox, group, port };
        diversion.inbox.handle(diversion.input(Some(to)))?;
        Ok(diversion)
    }

    fn input(&self, to: Option<GenId>) -> TableInput {
        TableInput::Divert {
            group: self.group,
            port: self.port,
            to,
        }
    }
}

impl Drop for Diversion {
    fn drop(&mut self) {
        self.inbox.send(self.input(None));
    }
}
