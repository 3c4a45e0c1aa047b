use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::adopter::Adopter;
use super::group::{Group, SharedGroup, lock, none_of};
use super::listening::name_all;
use super::registry::{Registry, SharedRegistry, lock_all};
use super::renamed::Renamed;
use super::route::Way;
use super::shared::Listener;
use super::steered::Steered;
use super::{
    Address, Answerer, DrainMonitor, ListenSpec, Listening, OpenError, Passed, Route, bind,
    listening,
};
use crate::os;
use crate::os::cleanup::Cleanup;
use crate::reload::GenId;

/// How generations share an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each has a slot of its own, and the group is steered.
    Steered,
    /// One socket for all. For systems where [`os::STEERING`] is false.
    Shared,
}

/// All groups, in the order in which they were asked for. Each operation is on all of them.
///
/// Dropping it closes everything and removes the paths of unix sockets that are still ours.
pub struct Sockets {
    /// What `--listen` asked for. Their groups are the first.
    addresses: Vec<Listening>,
    kind: Kind,
}

enum Kind {
    Steered(SharedRegistry),
    Shared(Vec<Listener>),
}

impl Sockets {
    /// Listens on every address; nobody serves yet, and connections wait for the first generation.
    ///
    /// # Errors
    /// [`OpenError`]; then nothing is open.
    ///
    /// # Panics
    /// Outside of a tokio runtime: relays carry connections in tasks of it.
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

    /// The way for sockets that programs open by themselves; none where generations share their sockets.
    pub fn adopter(&self) -> Option<Adopter> {
        match &self.kind {
            Kind::Steered(registry) => Some(Adopter::new(registry.clone())),
            Kind::Shared(_) => None,
        }
    }

    /// The paths of unix sockets, for [`os::cleanup::clean_up`] when hotrun was killed. They are the same as
    /// long as this lives.
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

    /// The sockets for a generation that is about to start, in order. If nobody is live these are the ones in which
    /// connections wait.
    ///
    /// # Errors
    /// What the system says; then the generation has no slot anywhere.
    pub fn prepare(&mut self, id: GenId) -> io::Result<Vec<Passed>> {
        let passed = match &self.kind {
            Kind::Steered(registry) => lock_all(registry)
                .groups()
                .iter()
                .take(self.addresses.len())
                .map(|group| prepare(group, id))
                .collect::<io::Result<Vec<_>>>(),
            Kind::Shared(listeners) => listeners
                .iter()
                .map(|one| Ok((one.duplicate()?, one.inode)))
                .collect(),
        };
        let passed = match passed {
            Ok(passed) => passed,
            Err(error) => return self.release(id).and(Err(error)),
        };
        self.tidy();
        let names = self
            .addresses
            .iter()
            .map(|listening| listening.name.clone());
        Ok(names
            .zip(passed)
            .map(|(name, (fd, inode))| Passed { name, fd, inode })
            .collect())
    }

    /// Sends every new connection to this generation: one that begins after the return reaches no other.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it was not prepared or has shut a slot down, and what the system says; then
    /// everything is as before.
    pub fn switch(&mut self, id: GenId) -> io::Result<()> {
        self.on_all(|registry| registry.switch(id))
    }

    /// Nobody serves any more: new connections wait for the newest generation that was prepared and was not live
    /// yet, or for the next one.
    ///
    /// # Errors
    /// What the system says. As many groups as possible hold.
    pub fn hold(&mut self) -> io::Result<()> {
        self.on_all(Registry::hold)
    }

    /// Nobody serves, and nobody will until something is done about it: from now on, until [`Self::answer_no_more`], this
    /// answers who connects, and who waits already. What it can't answer waits on, and is carried to the generation that
    /// is live next. Where generations share their sockets everything waits.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn answer(&mut self, answerer: &Arc<dyn Answerer>) -> io::Result<()> {
        self.on_all(|registry| registry.answer(answerer))
    }

    /// Connections wait again, for the next generation. To be called before that is started.
    ///
    /// # Errors
    /// What the system says.
    pub fn answer_no_more(&mut self) -> io::Result<()> {
        self.on_all(Registry::answer_no_more)
    }

    /// Carries to the live generation what lands in this one's slots from now on, and what its program does not take;
    /// while none is live it stays where it is. To be called before the stop signal is sent. From then on the
    /// generation is neither live nor one to wait for.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn relay(&mut self, id: GenId) -> io::Result<()> {
        self.on_all(|registry| registry.relay(id))
    }

    /// The generation's process tree is gone. What still waits in its slots is relayed, and they are closed as soon as
    /// that is safe. If it has never been live and connections wait in them, the next generation takes them over.
    ///
    /// # Errors
    /// What the system says. The generation is released all the same, and what failed is tried again with the next
    /// operation.
    pub fn release(&mut self, id: GenId) -> io::Result<()> {
        self.on_all(|registry| registry.release(id))
    }

    /// Whether this is a duplicate of a socket that is steered, and so shut down when its generation is gone.
    pub fn has(&self, fd: &OwnedFd) -> bool {
        match &self.kind {
            Kind::Steered(registry) => lock_all(registry)
                .groups()
                .iter()
                .any(|group| lock(group).has(fd)),
            Kind::Shared(_) => false,
        }
    }

    fn tidy(&self) {
        let _ = self.on_all(|registry| {
            registry.tidy();
            Ok(())
        });
    }

    fn on_all(&self, act: impl FnOnce(&mut Registry) -> io::Result<()>) -> io::Result<()> {
        match &self.kind {
            Kind::Steered(registry) => act(&mut lock_all(registry)),
            Kind::Shared(_) => Ok(()),
        }
    }

    /// One that looks at this generation's queues and connections.
    pub fn drain_monitor(&self, id: GenId) -> DrainMonitor {
        let watched = match &self.kind {
            Kind::Steered(registry) => lock_all(registry)
                .groups()
                .iter()
                .flat_map(|group| lock(group).monitored(id))
                .collect(),
            Kind::Shared(listeners) => listeners.iter().map(Listener::monitored).collect(),
        };
        DrainMonitor::new(watched, matches!(self.kind, Kind::Shared(_)))
    }

    /// Ways to the slots of this generation, one for each address, whoever is live.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it was not prepared, or has shut a slot down.
    pub fn probe(&self, id: GenId) -> io::Result<Vec<Route>> {
        let ways = match &self.kind {
            Kind::Steered(registry) => lock_all(registry)
                .groups()
                .iter()
                .take(self.addresses.len())
                .map(|group| way(group, id))
                .collect::<io::Result<Vec<_>>>()?,
            Kind::Shared(listeners) => listeners.iter().map(Listener::way).collect(),
        };
        let routes = self.addresses.iter().cloned().zip(ways);
        Ok(routes
            .map(|(listening, way)| Route { listening, way })
            .collect())
    }

    /// Lets so many relays fail to start.
    #[cfg(test)]
    pub(super) fn refuse_relays(&self, count: usize) {
        if let Kind::Steered(registry) = &self.kind {
            lock_all(registry).refuse_relays(count);
        }
    }

    #[cfg(test)]
    pub(super) fn slot_count(&self) -> usize {
        self.count(Group::slot_count)
    }

    /// The slots of which it is certain that nothing is on its way into them.
    #[cfg(test)]
    pub(super) fn cold_count(&self) -> usize {
        self.count(Group::cold_count)
    }

    #[cfg(test)]
    fn count(&self, of: impl Fn(&Group) -> usize) -> usize {
        let Kind::Steered(registry) = &self.kind else {
            return 0;
        };
        let registry = lock_all(registry);
        registry.groups().iter().map(|group| of(&lock(group))).sum()
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if let Kind::Steered(registry) = &self.kind {
            lock_all(registry).close();
        }
    }
}

fn prepare(group: &SharedGroup, id: GenId) -> io::Result<(OwnedFd, u64)> {
    let mut group = lock(group);
    let slot = group.prepare(id)?;
    Ok((slot.duplicate()?, slot.inode))
}

pub(super) fn way(group: &SharedGroup, id: GenId) -> io::Result<Way> {
    let this = lock(group);
    if !this.listens(id) {
        return Err(none_of(id));
    }
    Ok(match (this.face().address(), this.own_path(id)) {
        (_, Some(path)) | (Address::Unix(path), None) => Way::Path(path),
        (Address::Tcp(address), None) => Way::Steered {
            group: group.clone(),
            id,
            address,
        },
    })
}

fn open_steered(addresses: &[Address]) -> Result<(Kind, Vec<Address>), OpenError> {
    if !os::STEERING {
        return Err(OpenError::NoSteering);
    }
    let groups = addresses
        .iter()
        .map(open_group)
        .collect::<Result<Vec<_>, _>>()?;
    let actual = groups.iter().map(|group| group.face().address()).collect();
    let registry = Registry::shared(groups);
    Ok((Kind::Steered(registry), actual))
}

fn open_group(address: &Address) -> Result<Group, OpenError> {
    match address {
        Address::Tcp(tcp) => {
            let first = bind::exclusive_tcp(*tcp, true)?;
            let group = Steered::new(&first, Group::FIRST, None)
                .and_then(|face| Group::new(Box::new(face), first));
            group.map_err(|error| OpenError::Io {
                doing: format!("steering `{address}`"),
                error,
            })
        }
        Address::Unix(path) => {
            bind::check_unix_path(path)?;
            let group = Renamed::new(path, Group::FIRST)
                .and_then(|(face, first)| Group::new(Box::new(face), first));
            group.map_err(|error| OpenError::at_path("listening on", path, error))
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
