//! Adopts the sockets that programs open themselves.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;

use socket2::Socket;

use super::apply::Incoming;
use super::endpoint::Endpoint;
use super::open::bind_for_program;
use super::owner::{Inbox, Owner};
use super::table::{Group, Input, Joining, ListenerId};
use crate::os;
use crate::reload::GenId;

/// A handle for adopting the sockets that programs open themselves.
#[derive(Clone)]
pub struct Adopter {
    inbox: Inbox,
}

/// An adopted socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The address that the socket listens on.
    pub address: SocketAddr,
    /// Whether no generation has listened on this address before.
    pub first: bool,
}

/// Our listeners whose address overlaps the one that a program binds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Whether there are any such listeners. The program's socket must share the address with them.
    pub ours: bool,
    /// A `--listen` address that overlaps the program's but is not the same.
    pub listed: Option<Endpoint>,
}

/// The sockets that a generation has opened, by inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The sockets that the generation listens on.
    pub inodes: Vec<u64>,
    /// The generation's datagram sockets.
    pub datagrams: Vec<u64>,
    /// The addresses that this generation does not cover, although the live generation listens there or connections are
    /// waiting there.
    pub missing: Vec<SocketAddr>,
    /// Whether another generation is live.
    pub beside: bool,
}

impl Adopter {
    pub(super) fn new(inbox: Inbox) -> Self {
        Self { inbox }
    }

    /// Finds our listeners whose address overlaps this one.
    #[must_use]
    pub fn neighbours(&self, endpoint: Endpoint) -> Neighbours {
        let neighbours = self.inbox.ask(move |owner| owner.neighbours(endpoint));
        neighbours.unwrap_or_default()
    }

    /// Returns the inodes of all our listeners.
    #[must_use]
    pub fn inodes(&self) -> Vec<u64> {
        let inodes = self.inbox.ask(|owner| owner.applier.inodes());
        inodes.unwrap_or_default()
    }

    /// Binds a program's datagram socket and adds it to the group of its address in one step, so that no other
    /// generation can mistake it for a stranger's. Fails like [`Self::listen`].
    pub fn bind_datagrams(
        &self,
        id: GenId,
        socket: Socket,
        endpoint: Endpoint,
    ) -> io::Result<Joined> {
        self.inbox.ask(move |owner| {
            let shared = owner.neighbours(endpoint).ours;
            bind_for_program(&socket, endpoint, shared)?;
            owner.join(id, socket, 0)
        })?
    }

    /// Starts listening on a socket that this generation's program has bound. The socket joins the group of its
    /// address. Fails with [`io::ErrorKind::AddrInUse`] if another process has or shares the address, and with `ESRCH`
    /// if the generation is gone.
    pub fn listen(&self, id: GenId, socket: Socket, backlog: i32) -> io::Result<Joined> {
        self.inbox
            .ask(move |owner| owner.join(id, socket, backlog))?
    }

    /// Orphans this generation's listeners that none of its processes holds. `held` contains the inodes of the sockets
    /// that they do hold.
    pub fn orphan_unheld(&self, id: GenId, held: HashSet<u64>) -> io::Result<()> {
        self.inbox.ask(move |owner| {
            let groups = owner.table.groups().iter();
            let all = groups.flat_map(|group| owner.inodes_in(group, id));
            let unheld = all.filter(|(_, inode)| !held.contains(inode));
            let unheld = unheld.map(|(listener, _)| listener).collect();
            owner.handle(Input::Orphan(unheld))
        })?
    }

    /// Returns the sockets of this generation, including those from `--listen`.
    #[must_use]
    pub fn opened(&self, id: GenId) -> Opened {
        let opened = self.inbox.ask(move |owner| owner.opened(id));
        opened.unwrap_or_default()
    }
}

impl Owner {
    fn neighbours(&self, endpoint: Endpoint) -> Neighbours {
        let mut neighbours = Neighbours::default();
        for group in self.table.groups() {
            let Some(found) = group.endpoint().filter(|found| found.overlaps(&endpoint)) else {
                continue;
            };
            neighbours.ours = true;
            if !group.is_adopted() && found != endpoint {
                neighbours.listed = Some(found);
            }
        }
        neighbours
    }

    /// Turns a program's bound socket into a listener.
    fn join(&mut self, id: GenId, socket: Socket, backlog: i32) -> io::Result<Joined> {
        let endpoint = Endpoint::of(&socket)?;
        let joining = Joining {
            id,
            multipath: os::is_multipath(&socket),
            backlog,
        };
        let first = self.table.find(endpoint).is_none();
        self.applier.bring(Incoming::Socket(socket));
        self.handle(Input::Join(endpoint, joining))?;
        let address = endpoint.address;
        Ok(Joined { address, first })
    }

    fn inodes_in(&self, group: &Group, id: GenId) -> Vec<(ListenerId, u64)> {
        let inode = |id: ListenerId| Some((id, self.applier.inode(id)?));
        group.of(id).filter_map(|one| inode(one.id)).collect()
    }

    fn opened(&self, id: GenId) -> Opened {
        let live = self.table.live();
        let mut opened = Opened {
            beside: live.is_some(),
            ..Opened::default()
        };
        let own = self.table.endpoints(id);
        for group in self.table.groups() {
            let inodes = self.inodes_in(group, id);
            if let (true, Some(endpoint)) = (inodes.is_empty(), group.endpoint())
                && group.is_expected(live)
                && !endpoint.is_covered_by(&own)
            {
                opened.missing.push(endpoint.address);
            }
            let inodes = inodes.into_iter().map(|(_, inode)| inode);
            match group.carries_datagrams() {
                true => opened.datagrams.extend(inodes),
                false => opened.inodes.extend(inodes),
            }
        }
        opened
    }
}
