//! The handle through which other modules use the sockets.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::address::{Address, ListenSpec, Listening, name_all};
use super::adopter::Adopter;
use super::apply::Incoming;
use super::drain::{DrainMonitor, MonitoredListener};
use super::open::{OpenError, addresses, check_unix_path, exclusive_tcp};
use super::opened::Sharing;
use super::owner::{Inbox, Owner};
use super::respond::Responder;
use super::route::Route;
use super::table::{Input, Place};
use super::unix_path::UnixPath;
use crate::os::cleanup::Cleanup;
use crate::reload::GenId;

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
    inbox: Inbox,
}

impl Sockets {
    /// Listens on every address, and holds connections. After an error, nothing is open.
    ///
    /// # Panics
    /// Outside of a tokio runtime, because connections are forwarded in tokio tasks.
    pub fn open(specs: &[ListenSpec], sharing: Sharing) -> Result<Self, OpenError> {
        let addresses = addresses(specs)?;
        let inbox = Owner::start(sharing)
            .map_err(|error| OpenError::io("starting the socket thread", &error))?;
        // From here on, returning an error drops `sockets`, which closes everything.
        let mut sockets = Self {
            addresses: Vec::new(),
            sharing,
            inbox,
        };
        let opened = addresses.iter().map(|address| sockets.listen(address));
        let actual = opened.collect::<Result<_, _>>()?;
        sockets.addresses = name_all(specs, actual);
        Ok(sockets)
    }

    /// Opens an address. Returns the address with the actual port if port 0 was requested.
    fn listen(&self, address: &Address) -> Result<Address, OpenError> {
        let begin = |place, incoming| {
            self.inbox.ask(move |owner: &mut Owner| {
                owner.applier.bring(incoming);
                owner.handle(Input::Listen(place))
            })?
        };
        match address {
            Address::Tcp(tcp) => {
                let (first, endpoint) = exclusive_tcp(*tcp, self.sharing == Sharing::Steered)?;
                begin(Place::Ip(endpoint), Incoming::Socket(first))
                    .map_err(|error| OpenError::io(&format!("steering `{address}`"), &error))?;
                Ok(Address::Tcp(endpoint.address))
            }
            Address::Unix(path) => {
                check_unix_path(path)?;
                UnixPath::new(path)
                    .and_then(|path| begin(Place::Unix, Incoming::Path(path)))
                    .map_err(|error| OpenError::at_path("listening on", path, &error))?;
                Ok(address.clone())
            }
        }
    }

    /// Returns the `--listen` addresses and their names.
    pub fn listening(&self) -> Vec<Listening> {
        self.addresses.clone()
    }

    /// Returns a handle for adopting the sockets that programs open, or `None` where generations share their sockets.
    pub fn adopter(&self) -> Option<Adopter> {
        let inbox = self.inbox.clone();
        (self.sharing == Sharing::Steered).then(|| Adopter::new(inbox))
    }

    /// Returns the paths of unix sockets that must be removed if hotrun is killed. They do not change.
    pub fn paths(&self) -> Vec<Cleanup> {
        let paths = self.inbox.ask(|owner| owner.applier.cleanup());
        paths.unwrap_or_default()
    }

    /// Returns the sockets for a generation that is about to start, in the order of `--listen`. If no generation is
    /// live, these are the sockets in which connections are waiting. After an error, the generation has no listeners.
    pub fn prepare(&mut self, id: GenId) -> io::Result<Vec<Passed>> {
        let passed = self.inbox.ask(move |owner| owner.prepare(id))??;
        let named = self.addresses.iter().zip(passed);
        let passed = named.map(|(listening, (fd, inode))| Passed {
            name: listening.name.clone(),
            fd,
            inode,
        });
        Ok(passed.collect())
    }

    /// Sends every new connection to this generation: a connection that begins after this returns reaches no other
    /// generation. Fails with [`io::ErrorKind::NotFound`] if the generation does not listen on every address. After an
    /// error, nothing has changed.
    pub fn switch(&mut self, id: GenId) -> io::Result<()> {
        self.inbox.handle(Input::Switch(id))
    }

    /// Holds new connections, because no generation is live. They wait for the newest generation that has been prepared
    /// but was not live yet, or for the next one.
    pub fn hold(&mut self) -> io::Result<()> {
        self.inbox.handle(Input::Hold)
    }

    /// Responds to new and waiting connections until [`Self::stop_responding`], because no generation is live or about
    /// to start. A connection that gets no response waits, and is forwarded to the next live generation. Where
    /// generations share their sockets, all connections wait.
    pub fn respond(&mut self, responder: Arc<Responder>) -> io::Result<()> {
        self.inbox.ask(move |owner| {
            owner.applier.unclaimed.set_responder(responder);
            owner.handle(Input::Respond)
        })?
    }

    /// Holds connections for the next generation again. Call this before starting that generation.
    pub fn stop_responding(&mut self) -> io::Result<()> {
        self.inbox.handle(Input::StopResponding)
    }

    /// Stops treating the generation as live, or as one to wait for. From now on, connections that arrive in its
    /// listeners but that its program does not accept are forwarded once another generation is live. Call this before
    /// sending the stop signal.
    pub fn drain(&mut self, id: GenId) -> io::Result<()> {
        self.inbox.handle(Input::Drain(id))
    }

    /// Releases the listeners of a generation whose process tree is gone. Connections that are still waiting in them
    /// are forwarded or left to the next generation, and the listeners are closed as soon as that is safe. Steps that
    /// fail are retried.
    pub fn release(&mut self, id: GenId) -> io::Result<()> {
        self.inbox.handle(Input::Release(id))
    }

    /// Whether this is a duplicate of a steered socket, which is shut down when its generation is gone.
    pub fn has(&self, fd: &OwnedFd) -> bool {
        let has = |fd: OwnedFd| self.inbox.ask(move |owner| owner.applier.has(&fd));
        let has = fd.try_clone().and_then(has);
        self.sharing == Sharing::Steered && has.unwrap_or(false)
    }

    /// Returns a monitor for this generation's queues and connections.
    pub fn drain_monitor(&self, id: GenId) -> DrainMonitor {
        let monitored = self.inbox.ask(move |owner| owner.monitored(id));
        let shared = self.sharing == Sharing::Shared;
        DrainMonitor::new(monitored.unwrap_or_default(), shared)
    }

    /// Returns a function that returns the current routes to this generation's listeners, whichever generation is live.
    pub fn routes(&self, id: GenId) -> impl Fn() -> Vec<Route> + Send + use<> {
        let inbox = self.inbox.clone();
        move || {
            let own = inbox.clone();
            let routes = inbox.ask(move |owner| owner.routes(id, &own));
            routes.unwrap_or_default()
        }
    }

    #[cfg(test)]
    pub(super) fn see<T: Send + 'static>(
        &self,
        see: impl FnOnce(&mut Owner) -> T + Send + 'static,
    ) -> T {
        self.inbox.ask(see).unwrap()
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = self.inbox.ask(Owner::close);
    }
}

impl Owner {
    fn prepare(&mut self, id: GenId) -> io::Result<Vec<(OwnedFd, u64)>> {
        self.handle(Input::Prepare(id))?;
        let listed = self.table.groups().iter();
        let listed = listed.filter(|group| !group.is_adopted());
        let passed = listed.filter_map(|group| group.of(id).next()).map(|one| {
            let inode = self.applier.inode(one.id);
            let inode = inode.ok_or(io::ErrorKind::NotFound)?;
            Ok((self.applier.duplicate(one.id)?, inode))
        });
        let passed = passed.collect();
        match passed {
            Ok(passed) => Ok(passed),
            Err(error) => self.handle(Input::Release(id)).and(Err(error)),
        }
    }

    fn monitored(&self, id: GenId) -> Vec<MonitoredListener> {
        let groups = self.table.groups().iter();
        let groups = groups.filter(|group| !group.carries_datagrams());
        let listeners = groups.flat_map(|group| group.of(id));
        let monitored = listeners.filter_map(|listener| self.applier.monitored(listener.id));
        monitored.collect()
    }
}
