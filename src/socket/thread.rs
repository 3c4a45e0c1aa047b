//! The thread that owns the table and all sockets, and its replies to requests.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use socket2::Socket;

use super::address::Address;
use super::apply::{Applier, Payload};
use super::endpoint::Endpoint;
use super::opened::{OpenSockets, Sharing};
use super::table::{Group, GroupId, Joining, ListenerId, Table, TableInput};
use crate::os;
use crate::reload::GenId;

/// An adopted socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The address that the socket listens on.
    pub address: SocketAddr,
    /// Whether the address had no group before.
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

/// A group in which connections to a certain endpoint may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReachedGroup {
    /// The group's address, which covers that endpoint.
    pub endpoint: Endpoint,
    /// Whether the connecting generation listens here.
    pub listens: bool,
    /// Whether new connections here reach that generation.
    pub is_target: bool,
}

/// The inodes of a generation's sockets, and the addresses that it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenSockets {
    /// The generation's listening sockets.
    pub inodes: Vec<u64>,
    /// The generation's datagram sockets.
    pub datagrams: Vec<u64>,
    /// The addresses that this generation does not cover, although the live generation listens there or connections are
    /// waiting there.
    pub missing: Vec<SocketAddr>,
    /// Like `missing`, but this generation listens on a part of the address, which prevents it from binding the whole.
    pub narrowed: Vec<SocketAddr>,
    /// The addresses on which this generation can serve clients.
    pub addresses: Vec<SocketAddr>,
    /// Whether another generation is live.
    pub beside: bool,
}

/// The table and its sockets. Only this thread can access them, so they need no lock.
pub(super) struct SocketThread {
    pub(super) table: Table,
    pub(super) sockets: OpenSockets,
    closed: bool,
}

type Request = Box<dyn FnOnce(&mut SocketThread) + Send>;

/// A handle for sending requests to the socket thread from any thread.
#[derive(Clone)]
pub(super) struct SocketInbox(Sender<Request>);

impl SocketInbox {
    /// Runs a request on the socket thread, and waits for the result. This takes microseconds, because slow work is
    /// done elsewhere. Fails with [`io::ErrorKind::NotConnected`] once the sockets are closed.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut SocketThread) -> T + Send + 'static,
    ) -> io::Result<T> {
        let (reply, replied) = mpsc::sync_channel(1);
        let request = move |thread: &mut SocketThread| drop(reply.send(request(thread)));
        let closed = || io::Error::from(io::ErrorKind::NotConnected);
        self.0.send(Box::new(request)).map_err(|_| closed())?;
        replied.recv().map_err(|_| closed())
    }

    /// Has the table handle an input, and waits for the result.
    pub(super) fn handle(&self, input: TableInput) -> io::Result<()> {
        self.ask(|thread| thread.handle(input, None))?
    }

    /// Sends an input without waiting for the result.
    pub(super) fn send(&self, input: TableInput) {
        let handle = move |thread: &mut SocketThread| drop(thread.handle(input, None));
        let _ = self.0.send(Box::new(handle));
    }
}

impl SocketThread {
    /// Starts the thread. It ends when [`Self::close`] is called.
    pub(super) fn start(sharing: Sharing) -> io::Result<SocketInbox> {
        let (sender, requests) = mpsc::channel();
        let inbox = SocketInbox(sender);
        let reports = inbox.clone();
        let mut this = Self {
            table: Table::new(),
            sockets: OpenSockets::new(sharing, Arc::new(move |input| reports.send(input))),
            closed: false,
        };
        let thread = thread::Builder::new().name("sockets".to_owned());
        thread.spawn(move || this.run(&requests))?;
        Ok(inbox)
    }

    fn run(&mut self, requests: &Receiver<Request>) {
        while !self.closed {
            let request = match self.table.deadline() {
                Some(deadline) => {
                    let timeout = deadline.since(self.sockets.now());
                    requests.recv_timeout(timeout).ok()
                }
                None => requests.recv().ok(),
            };
            // A bug in hotrun must not close all sockets.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                match request {
                    Some(request) => request(self),
                    None => drop(self.handle(TableInput::Tick, None)),
                }
                // The caller already has its reply. Failed ops are retried later.
                let now = self.sockets.now();
                let sockets = &mut self.sockets;
                let kernel = &mut Applier {
                    sockets,
                    payload: None,
                };
                let _ = self.table.tidy(now, kernel);
            }));
        }
    }

    /// Has the table handle an input. `payload` is the socket or path that comes with the input. It is dropped unless
    /// the table takes it.
    pub(super) fn handle(&mut self, input: TableInput, payload: Option<Payload>) -> io::Result<()> {
        if input != TableInput::Tick {
            tracing::debug!("sockets: {input:?}");
        }
        let now = self.sockets.now();
        let sockets = &mut self.sockets;
        let kernel = &mut Applier { sockets, payload };
        let result = self.table.handle(now, input, kernel);
        result.inspect_err(|error| tracing::debug!("sockets: failed: {error}"))
    }

    /// Closes everything and ends the thread.
    pub(super) fn close(&mut self) {
        let _ = self.handle(TableInput::Close, None);
        self.closed = true;
    }

    /// Releases a generation's listeners. Returns the addresses of the unix sockets whose waiting connections no
    /// program will accept, and how many are waiting in each.
    pub(super) fn release(&mut self, id: GenId) -> io::Result<Vec<(Address, u32)>> {
        let paths = self.table.groups().iter().filter(|group| group.is_path());
        let waiting = paths.flat_map(|group| group.reached(id)).filter_map(|one| {
            let listener = self.sockets.listener(one.id).ok()?;
            let waiting = os::unix_queue(listener.inode).ok()?.waiting;
            let address = self.sockets.group(listener.group).ok()?.address();
            (waiting > 0).then_some((one.id, address, waiting))
        });
        let waiting: Vec<_> = waiting.collect();
        self.handle(TableInput::Release(id), None)?;
        let groups = self.table.groups().iter();
        let kept: HashSet<ListenerId> = groups.flat_map(Group::held).map(|one| one.id).collect();
        let lost = waiting.into_iter().filter(|(one, ..)| !kept.contains(one));
        Ok(lost.map(|(_, address, count)| (address, count)).collect())
    }

    /// Returns the groups where clients can connect to this generation, each with the address that clients use and, for
    /// a unix socket, the listener's own path.
    pub(super) fn routes(&self, id: GenId) -> Vec<(GroupId, Address, Option<PathBuf>)> {
        let groups = self.table.groups().iter();
        let groups = groups.filter(|group| !group.carries_datagrams() && group.listens(id));
        let routes = groups.filter_map(|group| {
            let address = self.sockets.group(group.id).ok()?.address();
            let listener = self.sockets.listener(group.of(id).next()?.id).ok();
            let name = listener.and_then(|one| one.name.as_ref());
            Some((group.id, address, name.map(|name| name.bound.clone())))
        });
        routes.collect()
    }

    /// Finds our listeners whose address overlaps this one.
    pub(super) fn neighbours(&self, endpoint: Endpoint) -> Neighbours {
        let mut neighbours = Neighbours::default();
        for group in self.table.groups() {
            let Some(found) = group.endpoint.filter(|found| found.overlaps(&endpoint)) else {
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
    pub(super) fn join(
        &mut self,
        id: GenId,
        socket: Socket,
        backlog: i32,
        late: bool,
    ) -> io::Result<Joined> {
        let endpoint = Endpoint::of(&socket)?;
        let joining = Joining {
            id,
            multipath: os::is_multipath(&socket),
            backlog,
            late,
        };
        let first = self.table.find(endpoint).is_none();
        let input = TableInput::Join(endpoint, joining);
        self.handle(input, Some(Payload::Bound(socket)))?;
        let address = endpoint.address;
        Ok(Joined { address, first })
    }

    /// Returns the sockets of this generation.
    pub(super) fn opened(&self, id: GenId) -> GenSockets {
        let mut opened = GenSockets {
            beside: self.table.is_served(),
            ..GenSockets::default()
        };
        let own = self.table.endpoints(id);
        opened.addresses = own.iter().map(|endpoint| endpoint.address).collect();
        let wide = own.iter().filter(|endpoint| endpoint.may_cover_others());
        let wide: Vec<Endpoint> = wide.copied().collect();
        let covering = |endpoint: Endpoint| match endpoint.may_cover_others() {
            true => &own,
            false => &wide,
        };
        for group in self.table.groups() {
            let inodes = self.inodes(group, id);
            if let (true, Some(endpoint)) = (inodes.is_empty(), group.endpoint)
                && self.table.expects(group)
                && !endpoint.is_covered_by(covering(endpoint))
            {
                let overlaps = |one: &Endpoint| one.overlaps(&endpoint);
                match endpoint.may_cover_others() && own.iter().any(overlaps) {
                    true => opened.narrowed.push(endpoint.address),
                    false => opened.missing.push(endpoint.address),
                }
            }
            let inodes = inodes.into_iter().map(|(_, inode)| inode);
            match group.carries_datagrams() {
                true => opened.datagrams.extend(inodes),
                false => opened.inodes.extend(inodes),
            }
        }
        opened
    }

    pub(super) fn inodes(&self, group: &Group, id: GenId) -> Vec<(ListenerId, u64)> {
        let inode = |id| Some((id, self.sockets.listener(id).ok()?.inode));
        group.of(id).filter_map(|one| inode(one.id)).collect()
    }
}
