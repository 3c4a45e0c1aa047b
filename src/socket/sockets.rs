use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{self, Path};
use std::sync::{Arc, Mutex};

use super::group::{Group, SharedGroup, lock, none_of, sweep};
use super::relay::Helper;
use super::renamed::Renamed;
use super::route::Way;
use super::shared::Listener;
use super::steered::Steered;
use super::{Address, ListenSpec, Observer, OpenError, Route, claim};
use crate::os;
use crate::reload::GenId;

/// How generations share an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each has a slot of its own, and the group is steered.
    Steered,
    /// One socket for all. For systems where [`os::STEERING`] is false.
    Shared,
}

/// What is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its name in `LISTEN_FDNAMES`; no other has the same.
    pub name: String,
    /// The actual address, where port 0 was asked for the one that was free.
    pub address: Address,
}

/// A listening socket for a program.
#[derive(Debug)]
pub struct Passed {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: String,
    /// A duplicate, closed on exec.
    pub fd: OwnedFd,
    /// The inode of the socket: what `/proc/PID/fd` shows.
    pub inode: u64,
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
    /// while none is live it stays where it is. To be called once the stop signal is sent.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn relay(&mut self, id: GenId) -> io::Result<()> {
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

    /// Closes in the background what cannot be closed yet.
    fn tidy(&self) {
        let Kind::Steered(groups) = &self.kind else {
            return;
        };
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

/// A path means the same whatever the working directory.
fn absolute(address: &Address) -> Result<Address, OpenError> {
    Ok(match address {
        Address::Tcp(address) => Address::Tcp(*address),
        Address::Unix(path) => {
            let absolute = path::absolute(path);
            Address::Unix(absolute.map_err(|error| claim::unix_error(path, "finding", error))?)
        }
    })
}

fn check_names(specs: &[ListenSpec]) -> Result<(), OpenError> {
    let mut names = HashSet::new();
    match specs
        .iter()
        .filter_map(|spec| spec.name.as_ref())
        .find(|name| !names.insert(*name))
    {
        Some(name) => Err(OpenError::SameName { name: name.clone() }),
        None => Ok(()),
    }
}

fn check_addresses(addresses: &[Address]) -> Result<(), OpenError> {
    let mut seen = HashSet::new();
    let is_any_port =
        |address: &Address| matches!(address, Address::Tcp(address) if address.port() == 0);
    match addresses
        .iter()
        .find(|address| !is_any_port(address) && !seen.insert(*address))
    {
        Some(address) => Err(OpenError::SameAddress {
            address: address.clone(),
        }),
        None => Ok(()),
    }
}

/// Gives a name to those that have none, and to each another.
fn name_all(specs: &[ListenSpec], actual: Vec<Address>) -> Vec<Listening> {
    let mut taken: HashSet<String> = specs.iter().filter_map(|spec| spec.name.clone()).collect();
    let named = specs.iter().zip(actual).map(|(spec, address)| {
        let name = spec
            .name
            .clone()
            .unwrap_or_else(|| free_name(&address, &mut taken));
        Listening { name, address }
    });
    named.collect()
}

fn free_name(address: &Address, taken: &mut HashSet<String>) -> String {
    let base = match address {
        Address::Tcp(address) => format!("tcp-{}", address.port()),
        Address::Unix(path) => format!("unix-{}", plain_name(path)),
    };
    let numbered = (2..).map(|number: u32| format!("{base}-{number}"));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    names
        .find(|name| taken.insert(name.clone()))
        .unwrap_or(base)
}

/// The file's name without what `LISTEN_FDNAMES` cannot carry.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_graphic() && c != ':' {
            c
        } else {
            '_'
        }
    };
    name.chars().take(200).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(values: &[&str]) -> Vec<String> {
        let specs: Vec<ListenSpec> = values.iter().map(|value| value.parse().unwrap()).collect();
        let actual = specs.iter().map(|spec| spec.address.clone()).collect();
        name_all(&specs, actual)
            .into_iter()
            .map(|listening| listening.name)
            .collect()
    }

    #[test]
    fn every_socket_has_a_name_of_its_own() {
        let given = [
            "3000",
            "web=3001",
            "0.0.0.0:3000",
            "tcp-3000-2=4",
            "unix:/run/a:b c.sock",
        ];
        assert_eq!(
            names(&given),
            [
                "tcp-3000",
                "web",
                "tcp-3000-3",
                "tcp-3000-2",
                "unix-a_b_c.sock"
            ]
        );
    }

    #[test]
    fn one_name_or_address_for_two_is_an_error() {
        let open = |values: [&str; 2]| {
            let specs = values.map(|value| value.parse::<ListenSpec>().unwrap());
            let addresses = specs.clone().map(|spec| spec.address);
            check_names(&specs)
                .and(check_addresses(&addresses))
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            open(["a=1", "a=2"]),
            Err("two sockets have the name `a`".to_owned())
        );
        assert_eq!(
            open(["1", "a=:1"]),
            Err("`127.0.0.1:1` is to be listened on twice".to_owned())
        );
        assert_eq!(open(["0", "0"]), Ok(()));
    }
}
