use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use super::group::{Group, SharedGroup, lock, none_of, sweep};
use super::listening::{absolute, check_addresses, check_names, name_all};
use super::relay::Helper;
use super::renamed::Renamed;
use super::route::Way;
use super::shared::Listener;
use super::steered::Steered;
use super::{Address, ListenSpec, Listening, Observer, OpenError, Passed, Route, claim};
use crate::os;
use crate::os::leftovers::Kept;
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
    addresses: Vec<Listening>,
    kind: Kind,
    live: Option<GenId>,
    helper: Helper,
}

enum Kind {
    Steered(Vec<SharedGroup>),
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
        check_names(specs)?;
        let addresses = specs
            .iter()
            .map(|spec| absolute(&spec.address))
            .collect::<Result<Vec<_>, _>>()?;
        check_addresses(&addresses)?;
        let (kind, actual) = match sharing {
            Sharing::Steered => open_steered(&addresses)?,
            Sharing::Shared => open_shared(&addresses)?,
        };
        let addresses = name_all(specs, actual);
        Ok(Self {
            addresses,
            kind,
            live: None,
            helper: Helper::new(),
        })
    }

    /// What is listened on.
    pub fn listening(&self) -> Vec<Listening> {
        self.addresses.clone()
    }

    /// The paths of unix sockets, for [`os::leftovers::remove_leftovers`] when hotrun was killed. They are the same as
    /// long as this lives.
    pub fn paths(&self) -> Vec<Kept> {
        let path = |address: &Address| match address {
            Address::Tcp(_) => None,
            Address::Unix(path) => Some(path.clone()),
        };
        match &self.kind {
            Kind::Steered(_) => {
                let all = self.addresses.iter().map(|one| &one.address);
                let paths = all.filter_map(path);
                paths.map(|path| Kept { path, file: None }).collect()
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
            Kind::Steered(groups) => groups
                .iter()
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
        if let Kind::Steered(groups) = &self.kind {
            for (index, group) in groups.iter().enumerate() {
                let switched = lock(group).switch(id);
                if let Err(error) = switched {
                    self.switch_back(&groups[..index]);
                    return Err(error);
                }
            }
        }
        self.set_live(Some(id));
        self.tidy();
        Ok(())
    }

    /// As far as it can be undone: the error that caused it is the one to tell.
    fn switch_back(&self, groups: &[SharedGroup]) {
        for group in groups {
            let mut group = lock(group);
            let _ = match self.live {
                Some(live) => group.switch(live),
                None => group.hold(),
            };
        }
    }

    /// Nobody serves any more: new connections wait for the newest generation that was prepared and was not live
    /// yet, or for the next one.
    ///
    /// # Errors
    /// What the system says. As many groups as possible hold.
    pub fn hold(&mut self) -> io::Result<()> {
        self.set_live(None);
        let held = self.on_each(Group::hold);
        self.tidy();
        held
    }

    fn set_live(&mut self, live: Option<GenId>) {
        self.live = live;
        self.helper.set_live(live.is_some());
        let _ = self.on_each(|group| {
            group.wake_relays();
            Ok(())
        });
    }

    /// Carries to the live generation what lands in this one's slots from now on, and what its program does not take;
    /// while none is live it stays where it is. To be called before the stop signal is sent. From then on the
    /// generation is neither live nor one to wait for.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn relay(&mut self, id: GenId) -> io::Result<()> {
        if self.live == Some(id) {
            self.set_live(None);
        }
        let Kind::Steered(groups) = &self.kind else {
            return Ok(());
        };
        groups
            .iter()
            .try_for_each(|group| Group::relay(group, id, &self.helper))
    }

    /// The generation's process tree is gone. What still waits in its slots is relayed, and they are closed as soon as
    /// that is safe. If it has never been live and connections wait in them, the next generation takes them over.
    ///
    /// # Errors
    /// What the system says. The generation is released all the same, and what failed is tried again with the next
    /// operation.
    pub fn release(&mut self, id: GenId) -> io::Result<()> {
        if self.live == Some(id) {
            self.set_live(None);
        }
        let held = self.live.is_none();
        let released = self.on_each(|group| group.release(id, held));
        self.tidy();
        released.and(self.relay(id))
    }

    /// Closes in the background what cannot be closed yet, and watches what is new.
    fn tidy(&self) {
        let Kind::Steered(groups) = &self.kind else {
            return;
        };
        for group in groups {
            Group::watch(group, &self.helper.runtime);
        }
        for group in groups.iter().filter(|group| lock(group).wants_sweeper()) {
            self.helper.runtime.spawn(sweep(Arc::downgrade(group)));
        }
    }

    /// One that looks at this generation's queues and connections.
    pub fn observer(&self, id: GenId) -> Observer {
        let watched = match &self.kind {
            Kind::Steered(groups) => groups
                .iter()
                .flat_map(|group| lock(group).watched(id))
                .collect(),
            Kind::Shared(listeners) => listeners.iter().map(Listener::watched).collect(),
        };
        Observer::new(watched, matches!(self.kind, Kind::Shared(_)))
    }

    /// Ways to the slots of this generation, one for each address, whoever is live.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it was not prepared, or has shut a slot down.
    pub fn probe(&self, id: GenId) -> io::Result<Vec<Route>> {
        let ways = match &self.kind {
            Kind::Steered(groups) => groups
                .iter()
                .map(|group| way(group, id))
                .collect::<io::Result<Vec<_>>>()?,
            Kind::Shared(listeners) => listeners.iter().map(Listener::way).collect(),
        };
        let routes = self.addresses.iter().cloned().zip(ways);
        Ok(routes
            .map(|(listening, way)| Route { listening, way })
            .collect())
    }

    /// Does it with every group, and returns the last error.
    fn on_each(&self, mut act: impl FnMut(&mut Group) -> io::Result<()>) -> io::Result<()> {
        let Kind::Steered(groups) = &self.kind else {
            return Ok(());
        };
        let mut result = Ok(());
        for group in groups {
            result = act(&mut lock(group)).and(result);
        }
        result
    }

    #[cfg(test)]
    pub(super) fn slot_count(&self) -> usize {
        let Kind::Steered(groups) = &self.kind else {
            return 0;
        };
        groups.iter().map(|group| lock(group).slot_count()).sum()
    }
}

impl Drop for Sockets {
    /// Now, and not when the last relay or sweeper that looks after a group lets go of it: hotrun may end before.
    fn drop(&mut self) {
        if let Kind::Steered(groups) = &self.kind {
            groups.iter().for_each(|group| lock(group).close());
        }
    }
}

fn prepare(group: &SharedGroup, id: GenId) -> io::Result<(OwnedFd, u64)> {
    let mut group = lock(group);
    let slot = group.prepare(id)?;
    Ok((slot.duplicate()?, slot.inode))
}

fn way(group: &SharedGroup, id: GenId) -> io::Result<Way> {
    let this = lock(group);
    if this.slots_of(id).next().is_none() {
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
    let groups = groups
        .into_iter()
        .map(|group| Arc::new(Mutex::new(group)))
        .collect();
    Ok((Kind::Steered(groups), actual))
}

fn open_group(address: &Address) -> Result<Group, OpenError> {
    match address {
        Address::Tcp(tcp) => {
            let first = claim::tcp(*tcp, Sharing::Steered)?;
            let group = Steered::new(&first, Group::FIRST)
                .and_then(|face| Group::new(Box::new(face), first));
            group.map_err(|error| OpenError::Io {
                doing: format!("steering `{address}`"),
                error,
            })
        }
        Address::Unix(path) => {
            claim::unix(path)?;
            let group = Renamed::new(path, Group::FIRST)
                .and_then(|(face, first)| Group::new(Box::new(face), first));
            group.map_err(|error| claim::unix_error(path, "listening on", error))
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
