//! The handle through which a generation's sockets are adopted.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::time::sleep;

use super::address::Address;
use super::endpoint::{Endpoint, Transport};
use super::open::{self, OpenError};
use super::opened::missing;
use super::table::TableInput;
use super::thread::{GenSockets, Joined, Neighbours, ReachedGroup, SocketInbox};
use crate::reload::GenId;

/// How long a program's source port stays diverted. For a local connection, the kernel chooses the listener during the
/// `connect` call, but under load the thread may resume the call late. Once the program has closed the socket, a client
/// may get the same port and reach the program before the switch, so this must not be long.
const DIVERTED_FOR: Duration = Duration::from_millis(100);

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
    pub fn neighbours(&self, endpoint: Endpoint) -> Neighbours {
        let neighbours = self.inbox.ask(move |thread| thread.neighbours(endpoint));
        neighbours.unwrap_or_default()
    }

    /// Returns the groups that this generation's connections to `endpoint` may reach, or `None` once the generation is
    /// no longer starting.
    pub fn reached(&self, id: GenId, endpoint: Endpoint) -> Option<Vec<ReachedGroup>> {
        let reached = self.inbox.ask(move |thread| {
            let groups = thread.table.groups().iter().filter(|one| !one.is_hidden());
            let reached = groups.filter_map(|group| {
                let covering = group.endpoint.filter(|at| endpoint.is_covered_by(&[*at]))?;
                Some(ReachedGroup {
                    endpoint: covering,
                    listens: group.listens(id),
                    is_target: group.is_target(id),
                })
            });
            thread.table.is_starting(id).then(|| reached.collect())
        });
        reached.ok().flatten()
    }

    /// Diverts connections to this group from this source port to this generation, for a moment.
    pub fn divert(&self, at: Endpoint, port: u16, id: GenId) -> io::Result<()> {
        self.inbox.ask(move |thread| {
            let group = thread.table.find(at).ok_or_else(missing)?.id;
            let divert = move |to| TableInput::Divert { group, port, to };
            let diverted = thread.handle(divert(Some(id)), None);
            let report = thread.sockets.report.clone();
            thread.sockets.runtime.spawn(async move {
                sleep(DIVERTED_FOR).await;
                report(divert(None));
            });
            diverted
        })?
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
                match endpoint.occupant(&self.inodes()).is_some() {
                    true => Err(error),
                    false => Ok(true),
                }
            }
            // Other errors need not affect the program's socket, whose options differ from those of the test socket.
            Ok(()) | Err(_) => Ok(false),
        }
    }

    /// Returns the error for an address that another process uses. Finding that process takes a long time.
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
        self.inbox.ask(move |thread| {
            let groups = thread.table.groups().iter();
            let all = groups.flat_map(|group| thread.inodes(group, id));
            let unheld = all.filter(|(_, inode)| !held.contains(inode));
            let unheld = unheld.map(|(listener, _)| listener).collect();
            thread.handle(TableInput::Orphan(unheld), None)
        })?
    }

    /// Returns the sockets of this generation, including those from `--listen`.
    pub fn opened(&self, id: GenId) -> GenSockets {
        let opened = self.inbox.ask(move |thread| thread.opened(id));
        opened.unwrap_or_default()
    }
}
