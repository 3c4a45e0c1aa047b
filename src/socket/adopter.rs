use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use socket2::Socket;

use super::bind::listen;
use super::endpoint::{Endpoint, Transport};
use super::group::{Group, SharedGroup, disown_unheld, lock};
use super::registry::{Registry, SharedRegistry, lock_all};
use super::route::Route;
use super::scan::{is_occupied, occupant, stranger};
use super::sockets::way;
use super::steered::Steered;
use super::{Address, Listening, Occupant, OpenError};
use crate::os;
use crate::reload::GenId;

/// Where sockets go that a program opens by itself. For the thread that answers its calls, and for whoever wants to
/// know what came of it.
#[derive(Clone)]
pub struct Adopter(SharedRegistry);

/// A socket that was adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether nobody listened there before.
    pub first: bool,
}

/// What stands where a program wants to listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Whether there is a group of ours that keeps others from being bound there, unless they share.
    pub group: bool,
    /// An address of `--listen` that is another and overlaps.
    pub listed: Option<Endpoint>,
}

/// The sockets of a generation, by inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Those that it listens on.
    pub inodes: Vec<u64>,
    /// Those for datagrams.
    pub datagrams: Vec<u64>,
    /// Where the live generation listens, or connections wait, and neither does it nor anywhere that covers it.
    pub missing: Vec<SocketAddr>,
    /// Whether another one is live.
    pub beside: bool,
}

impl Adopter {
    pub(super) fn new(registry: SharedRegistry) -> Self {
        Self(registry)
    }

    /// What of ours is in the way of a socket that is to be bound there.
    #[must_use]
    pub fn around(&self, endpoint: Endpoint) -> Around {
        let registry = lock_all(&self.0);
        let mut around = Around::default();
        for group in registry.groups() {
            let group = lock(group);
            let Some(found) = group.face().endpoint() else {
                continue;
            };
            if !found.overlaps(&endpoint) {
                continue;
            }
            around.group = true;
            if !group.is_adopted() && found != endpoint {
                around.listed = Some(found);
            }
        }
        around
    }

    /// To be locked from [`Self::around`] to [`Self::listen`] for datagrams, which are bound and share from one moment on:
    /// another generation that asked in between would take the first for a stranger.
    #[must_use]
    pub fn datagrams(&self) -> Arc<Mutex<()>> {
        lock_all(&self.0).datagrams()
    }

    /// Whether somebody keeps others from being bound there by listening who is none of ours.
    #[must_use]
    pub fn has_stranger(&self, endpoint: Endpoint) -> bool {
        endpoint.transport == Transport::Tcp && is_occupied(endpoint, &self.inodes())
    }

    fn stranger(&self, endpoint: Endpoint) -> Option<Occupant> {
        match endpoint.transport {
            Transport::Tcp => occupant(endpoint, &self.inodes()),
            Transport::Udp => None,
        }
    }

    fn inodes(&self) -> Vec<u64> {
        let registry = lock_all(&self.0);
        let groups = registry.groups().iter();
        groups.flat_map(|group| lock(group).inodes()).collect()
    }

    /// That somebody has the address, and who, as far as that can be told.
    #[must_use]
    pub fn in_use(&self, endpoint: Endpoint) -> OpenError {
        OpenError::InUse {
            address: Address::Tcp(endpoint.address),
            occupant: self.stranger(endpoint),
        }
    }

    /// Makes a socket of this generation's program listen, which is bound and has `SO_REUSEPORT`. From its return on
    /// the socket is one of the group of its address. `waits` tells whether the program still waits for that: whose
    /// does not may be gone, and its generation released, and then nobody would ever take the socket out again.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::AddrInUse`] also if somebody else shares the address, and `ESRCH` if the
    /// program does not wait.
    pub fn listen(
        &self,
        id: GenId,
        socket: Socket,
        backlog: i32,
        waits: impl FnOnce() -> bool,
    ) -> io::Result<Joined> {
        let endpoint = Endpoint::of(&socket)?;
        let mut registry = lock_all(&self.0);
        if registry.is_closed() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        // Who waits now is alive, and it is released later than we let go of the lock.
        if !waits() {
            return Err(Errno::ESRCH.into());
        }
        let known = registry.find(endpoint).cloned();
        let first = known.is_none();
        match known {
            Some(group) => join(&registry, &group, id, socket, backlog)?,
            None => begin(&mut registry, endpoint, id, socket, backlog)?,
        }
        registry.tidy();
        Ok(Joined {
            address: endpoint.address,
            first,
        })
    }

    /// A socket that listens already gets another backlog, or a longer one.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen_again(&self, socket: &Socket, backlog: i32) -> io::Result<()> {
        listen(socket, backlog)
    }

    /// Of the sockets of this generation, those that no process of it holds, as `held` tells by inode, get nothing any
    /// more.
    ///
    /// # Errors
    /// What the system says.
    pub fn disown_unheld(&self, id: GenId, held: impl Fn(u64) -> bool) -> io::Result<()> {
        let mut registry = lock_all(&self.0);
        for group in registry.groups() {
            disown_unheld(group, id, &held)?;
            registry.relay_disowned(group)?;
        }
        registry.tidy();
        Ok(())
    }

    /// What this generation listens on, those of `--listen` included.
    #[must_use]
    pub fn opened(&self, id: GenId) -> Opened {
        let registry = lock_all(&self.0);
        let mut opened = Opened {
            beside: registry.live().is_some(),
            ..Opened::default()
        };
        let own = registry.listens(id);
        for group in registry.groups() {
            let group = lock(group);
            let inodes = group.inodes_of(id);
            if let (true, Some(endpoint)) = (inodes.is_empty(), group.face().endpoint())
                && group.is_expected(registry.live())
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

    /// Ways to what this generation listens on.
    #[must_use]
    pub fn routes(&self, id: GenId) -> Vec<Route> {
        let registry = lock_all(&self.0);
        let route = |group: &SharedGroup| {
            if lock(group).carries_datagrams() {
                return None;
            }
            let way = way(group, id).ok()?;
            let address = lock(group).face().address();
            let name = String::new();
            let listening = Listening { name, address };
            Some(Route { listening, way })
        };
        registry.groups().iter().filter_map(route).collect()
    }
}

fn join(
    registry: &Registry,
    group: &SharedGroup,
    id: GenId,
    socket: Socket,
    backlog: i32,
) -> io::Result<()> {
    let leaving = registry.is_leaving(id);
    lock(group).join(id, socket, backlog, leaving)?;
    if leaving {
        registry.relay_slots(group, id)?;
    }
    registry.relay_disowned(group)
}

/// The first socket of an address. Multipath TCP's do not take the program that steers (`mptcp_setsockopt_sol_socket` in
/// `net/mptcp/sockopt.c`); a plain one of the same group does it for them, so there is one of ours.
fn begin(
    registry: &mut Registry,
    endpoint: Endpoint,
    id: GenId,
    socket: Socket,
    backlog: i32,
) -> io::Result<()> {
    let live = registry.live();
    let own = [os::inode(&socket)?];
    let shares = || endpoint.transport == Transport::Tcp && stranger(endpoint, &own).is_some();
    if shares() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    if os::is_multipath(&socket) {
        let anchor = Steered::bound(endpoint)?;
        listen(&anchor, 0)?;
        let face = Steered::new(&anchor, Group::FIRST, None)?;
        let group = registry.add(Group::anchored(Box::new(face), anchor, live)?);
        return join(registry, &group, id, socket, backlog);
    }
    if endpoint.transport == Transport::Tcp {
        listen(&socket, backlog)?;
    }
    if shares() {
        // Two that came at the same moment; the order of the members is not known. The program hears that it is in use,
        // and so it must not listen.
        socket.shutdown(Shutdown::Read)?;
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let face = Steered::new(&socket, Group::FIRST, Some(id))?;
    registry.add(Group::adopted(Box::new(face), socket, id, live)?);
    Ok(())
}

impl fmt::Debug for Adopter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adopter").finish_non_exhaustive()
    }
}
