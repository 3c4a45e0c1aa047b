use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::adopter::Adopter;
use super::apply::Incoming;
use super::bind::{check_unix_path, exclusive_tcp};
use super::drain::MonitoredListener;
use super::listening::{self, name_all};
use super::owner::{Inbox, Owner};
use super::route::Way;
use super::shared::Listener;
use super::table::{Group, Input, ListenerId, Place};
use super::unix_path::UnixPath;
use super::{
    Address, DrainMonitor, Endpoint, ListenSpec, Listening, OpenError, Passed, Respond, Route,
};
use crate::os;
use crate::os::cleanup::Cleanup;
use crate::reload::GenId;

/// How generations share an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each has a listener of its own, and a program in the kernel chooses which of them gets new connections.
    Steered,
    /// One socket for all. For systems where [`os::STEERING`] is false.
    Shared,
}

/// All listening sockets.
///
/// This is a handle: the sockets belong to a thread of their own, which gets requests and replies at once. Dropping it
/// closes everything and removes the paths of unix sockets that are still ours.
pub struct Sockets {
    /// What `--listen` named. Their groups are the first.
    addresses: Vec<Listening>,
    kind: Kind,
}

enum Kind {
    Steered(Inbox),
    Shared(Vec<Listener>),
}

impl Sockets {
    /// Listens on every address. Nobody serves yet, and connections wait for the first generation.
    ///
    /// # Errors
    /// [`OpenError`]; then nothing is open.
    ///
    /// # Panics
    /// Outside of a tokio runtime: connections are forwarded in tasks of it.
    pub fn open(specs: &[ListenSpec], sharing: Sharing) -> Result<Self, OpenError> {
        let addresses = listening::addresses(specs)?;
        let (kind, actual) = match sharing {
            Sharing::Steered => open_steered(&addresses)?,
            Sharing::Shared => open_shared(&addresses)?,
        };
        let addresses = name_all(specs, actual);
        Ok(Self { addresses, kind })
    }

    /// What `--listen` named.
    pub fn listening(&self) -> Vec<Listening> {
        self.addresses.clone()
    }

    /// A handle for sockets that programs open; none where generations share their sockets.
    pub fn adopter(&self) -> Option<Adopter> {
        match &self.kind {
            Kind::Steered(inbox) => Some(Adopter::new(inbox.clone())),
            Kind::Shared(_) => None,
        }
    }

    /// The paths of unix sockets, for [`os::cleanup::clean_up`] when hotrun was killed. They stay the same.
    pub fn paths(&self) -> Vec<Cleanup> {
        let path = |address: &Address| match address {
            Address::Tcp(_) => None,
            Address::Unix(path) => Some(path.clone()),
        };
        match &self.kind {
            Kind::Steered(_) => {
                let all = self.addresses.iter().map(|one| &one.address);
                let paths = all.filter_map(path);
                paths
                    .map(|path| Cleanup::Socket { path, file: None })
                    .collect()
            }
            Kind::Shared(listeners) => listeners.iter().filter_map(Listener::kept).collect(),
        }
    }

    /// The sockets for a generation that is about to start, in order. If nobody is live they are the ones in which
    /// connections wait.
    ///
    /// # Errors
    /// What the system reports; then the generation has no listener anywhere.
    pub fn prepare(&mut self, id: GenId) -> io::Result<Vec<Passed>> {
        let passed = match &self.kind {
            Kind::Steered(inbox) => inbox.ask(move |owner| owner.prepare(id))??,
            Kind::Shared(listeners) => listeners
                .iter()
                .map(|one| Ok((one.duplicate()?, one.inode)))
                .collect::<io::Result<_>>()?,
        };
        let names = self.addresses.iter().map(|one| one.name.clone());
        Ok(names
            .zip(passed)
            .map(|(name, (fd, inode))| Passed { name, fd, inode })
            .collect())
    }

    /// Sends every new connection to this generation: one that begins after the return reaches no other.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it was not prepared or has shut a listener down, and what the system reports; then
    /// everything is as before.
    pub fn switch(&mut self, id: GenId) -> io::Result<()> {
        self.handle(Input::Switch(id))
    }

    /// Nobody serves: new connections wait for the newest generation that was prepared and was not live yet, or for the
    /// next one.
    ///
    /// # Errors
    /// What the system reports. As many addresses as possible hold.
    pub fn hold(&mut self) -> io::Result<()> {
        self.handle(Input::Hold)
    }

    /// Nobody serves, and no generation is on its way: until [`Self::stop_responding`] this responds to new connections and
    /// to those that wait. What it can't respond to waits, and is forwarded to the next live generation. Where
    /// generations share their sockets everything waits.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn respond(&mut self, responder: &Arc<dyn Respond>) -> io::Result<()> {
        let Kind::Steered(inbox) = &self.kind else {
            return Ok(());
        };
        let responder = responder.clone();
        inbox.ask(move |owner| {
            owner.applier.set_responder(responder);
            owner.handle(Input::Respond)
        })?
    }

    /// Connections wait again, for the next generation. To be called before that is started.
    ///
    /// # Errors
    /// What the system reports.
    pub fn stop_responding(&mut self) -> io::Result<()> {
        self.handle(Input::StopResponding)
    }

    /// Forwards to the live generation what lands in this one's listeners from now on and its program does not accept;
    /// while none is live it stays where it is. To be called before the stop signal is sent. From then on the generation
    /// is neither live nor one to wait for.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn drain(&mut self, id: GenId) -> io::Result<()> {
        self.handle(Input::Drain(id))
    }

    /// The generation's process tree is gone. What still waits in its listeners is forwarded, and they are closed as soon
    /// as that is safe. If it has never been live and connections wait in them, the next generation takes them over.
    ///
    /// # Errors
    /// What the system reports. The generation is released all the same, and what failed is tried again.
    pub fn release(&mut self, id: GenId) -> io::Result<()> {
        self.handle(Input::Release(id))
    }

    fn handle(&self, input: Input) -> io::Result<()> {
        match &self.kind {
            Kind::Steered(inbox) => inbox.handle(input),
            Kind::Shared(_) => Ok(()),
        }
    }

    /// Whether this is a duplicate of a socket that is steered, and so shut down when its generation is gone.
    pub fn has(&self, fd: &OwnedFd) -> bool {
        let (Kind::Steered(inbox), Ok(fd)) = (&self.kind, fd.try_clone()) else {
            return false;
        };
        let has = inbox.ask(move |owner| owner.applier.has(&fd));
        has.unwrap_or(false)
    }

    /// A monitor of this generation's queues and connections.
    pub fn drain_monitor(&self, id: GenId) -> DrainMonitor {
        match &self.kind {
            Kind::Steered(inbox) => {
                let monitored = inbox.ask(move |owner| owner.monitored(id));
                DrainMonitor::new(monitored.unwrap_or_default(), false)
            }
            Kind::Shared(listeners) => {
                DrainMonitor::new(listeners.iter().map(Listener::monitored).collect(), true)
            }
        }
    }

    /// Ways to the listeners of this generation, one for each address, whichever generation is live.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it was not prepared, or has shut a listener down.
    pub fn probe(&self, id: GenId) -> io::Result<Vec<Route>> {
        let ways = match &self.kind {
            Kind::Steered(inbox) => {
                let own = inbox.clone();
                inbox.ask(move |owner| owner.ways(id, &own))??
            }
            Kind::Shared(listeners) => listeners.iter().map(Listener::way).collect(),
        };
        let routes = self.addresses.iter().cloned().zip(ways);
        Ok(routes
            .map(|(listening, way)| Route { listening, way })
            .collect())
    }

    /// Lets this many forwarders fail to start.
    #[cfg(test)]
    pub(super) fn refuse_forwarders(&self, count: usize) {
        let order = std::sync::atomic::Ordering::SeqCst;
        self.see(move |owner| owner.applier.limits().refused.store(count, order));
    }

    #[cfg(test)]
    pub(super) fn listener_count(&self) -> usize {
        self.see(|owner| {
            let groups = owner.table.groups().iter();
            groups.map(|group| group.listeners().len()).sum()
        })
    }

    /// The listeners of which it is certain that no connection is on its way into them.
    #[cfg(test)]
    pub(super) fn quiescent_count(&self) -> usize {
        self.see(|owner| {
            let all = owner.table.groups().iter().flat_map(Group::listeners);
            all.filter(|listener| listener.quiescent).count()
        })
    }

    #[cfg(test)]
    fn see<T: Default + Send + 'static>(
        &self,
        see: impl FnOnce(&mut Owner) -> T + Send + 'static,
    ) -> T {
        match &self.kind {
            Kind::Steered(inbox) => inbox.ask(see).unwrap(),
            Kind::Shared(_) => T::default(),
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if let Kind::Steered(inbox) = &self.kind {
            let _ = inbox.ask(Owner::close);
        }
    }
}

impl Owner {
    /// The groups of `--listen`.
    fn listed(&self) -> impl Iterator<Item = &Group> {
        let groups = self.table.groups().iter();
        groups.filter(|group| !group.is_adopted())
    }

    fn prepare(&mut self, id: GenId) -> io::Result<Vec<(OwnedFd, u64)>> {
        self.handle(Input::Prepare(id))?;
        let listeners = self.listed().filter_map(|group| group.of(id).next());
        let passed = listeners.map(|listener| self.pass(listener.id)).collect();
        match passed {
            Ok(passed) => Ok(passed),
            Err(error) => self.handle(Input::Release(id)).and(Err(error)),
        }
    }

    fn pass(&self, listener: ListenerId) -> io::Result<(OwnedFd, u64)> {
        let inode = self.applier.inode(listener);
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
        Ok((self.applier.duplicate(listener)?, inode))
    }

    fn ways(&self, id: GenId, inbox: &Inbox) -> io::Result<Vec<Way>> {
        let ways = self.listed().map(|group| self.way(group, id, inbox));
        ways.collect()
    }

    fn monitored(&self, id: GenId) -> Vec<MonitoredListener> {
        let groups = self.table.groups().iter();
        let groups = groups.filter(|group| !group.carries_datagrams());
        let listeners = groups.flat_map(|group| group.of(id));
        let monitored = listeners.filter_map(|listener| self.applier.monitored(listener.id));
        monitored.collect()
    }

    /// Begins to steer an address of `--listen`.
    fn listen(&mut self, place: Place, incoming: Incoming) -> io::Result<()> {
        self.applier.bring(incoming);
        self.handle(Input::Listen(place))
    }
}

fn open_steered(addresses: &[Address]) -> Result<(Kind, Vec<Address>), OpenError> {
    if !os::STEERING {
        return Err(OpenError::NoSteering);
    }
    let inbox = Owner::start().map_err(|error| OpenError::Io {
        doing: "starting the thread of the sockets".to_owned(),
        error,
    })?;
    let opened = addresses.iter().map(|address| open(address, &inbox));
    match opened.collect::<Result<Vec<_>, _>>() {
        Ok(actual) => Ok((Kind::Steered(inbox), actual)),
        Err(error) => {
            let _ = inbox.ask(Owner::close);
            Err(error)
        }
    }
}

/// The address with the port that was free where port 0 was asked for.
fn open(address: &Address, inbox: &Inbox) -> Result<Address, OpenError> {
    match address {
        Address::Tcp(tcp) => {
            let first = exclusive_tcp(*tcp, true)?;
            let steered = Endpoint::of(&first).and_then(|endpoint| {
                let place = Place::Ip(endpoint);
                inbox.ask(move |owner| owner.listen(place, Incoming::Tcp(first)))??;
                Ok(Address::Tcp(endpoint.address))
            });
            steered.map_err(|error| OpenError::Io {
                doing: format!("steering `{address}`"),
                error,
            })
        }
        Address::Unix(path) => {
            check_unix_path(path)?;
            let opened = UnixPath::new(path).and_then(|path| {
                inbox.ask(move |owner| owner.listen(Place::Unix, Incoming::Unix(path)))?
            });
            match opened {
                Ok(()) => Ok(address.clone()),
                Err(error) => Err(OpenError::at_path("listening on", path, error)),
            }
        }
    }
}

fn open_shared(addresses: &[Address]) -> Result<(Kind, Vec<Address>), OpenError> {
    let listeners = addresses
        .iter()
        .map(Listener::open)
        .collect::<Result<Vec<_>, _>>()?;
    let actual = listeners
        .iter()
        .map(|listener| listener.address.clone())
        .collect();
    Ok((Kind::Shared(listeners), actual))
}
