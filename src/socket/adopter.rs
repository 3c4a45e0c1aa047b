use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};

use nix::errno::Errno;
use socket2::Socket;

use super::bind::{bind_for_program, listen};
use super::endpoint::{Endpoint, Transport};
use super::group::{Group, SharedGroup, disown_unheld, lock};
use super::listening::Listening;
use super::registry::{Registry, SharedRegistry, lock_all};
use super::route::Route;
use super::scan::stranger;
use super::sockets::way;
use super::steered::Steered;
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

/// Listeners of ours that overlap the address that a program binds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Whether there are any. The program's socket must share the address with them.
    pub ours: bool,
    /// An address of `--listen` that overlaps and is not the same.
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

    /// Our listeners that overlap this address.
    #[must_use]
    pub fn neighbours(&self, endpoint: Endpoint) -> Neighbours {
        neighbours(&lock_all(&self.0), endpoint)
    }

    /// The inodes of all our listeners.
    #[must_use]
    pub fn inodes(&self) -> Vec<u64> {
        let registry = lock_all(&self.0);
        let groups = registry.groups().iter();
        groups.flat_map(|group| lock(group).inodes()).collect()
    }

    /// Binds a program's datagram socket and adds it to the group of its address. Both happen in one step, so that no other
    /// generation takes the socket for a stranger's.
    ///
    /// # Errors
    /// As for [`Self::listen`].
    pub fn bind_datagrams(
        &self,
        id: GenId,
        socket: Socket,
        endpoint: Endpoint,
    ) -> io::Result<Joined> {
        let mut registry = lock_all(&self.0);
        let shared = neighbours(&registry, endpoint).ours;
        bind_for_program(&socket, endpoint, shared)?;
        add(&mut registry, id, socket, 0)
    }

    /// Lets a bound socket of this generation's program listen. When this returns, the socket belongs to the group of its
    /// address.
    ///
    /// # Errors
    /// What the system reports; [`io::ErrorKind::AddrInUse`] also if another process shares the address, and `ESRCH` if
    /// the generation is gone.
    pub fn listen(&self, id: GenId, socket: Socket, backlog: i32) -> io::Result<Joined> {
        add(&mut lock_all(&self.0), id, socket, backlog)
    }

    /// Takes out the listeners of this generation that no process has: `held` are the inodes of the sockets that its
    /// processes hold.
    ///
    /// # Errors
    /// What the system reports.
    pub fn orphan_unheld(&self, id: GenId, held: &HashSet<u64>) -> io::Result<()> {
        let mut registry = lock_all(&self.0);
        for group in registry.groups() {
            disown_unheld(group, id, |inode| held.contains(&inode))?;
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

fn neighbours(registry: &Registry, endpoint: Endpoint) -> Neighbours {
    let mut around = Neighbours::default();
    for group in registry.groups() {
        let group = lock(group);
        let Some(found) = group.face().endpoint() else {
            continue;
        };
        if !found.overlaps(&endpoint) {
            continue;
        }
        around.ours = true;
        if !group.is_adopted() && found != endpoint {
            around.listed = Some(found);
        }
    }
    around
}

fn add(registry: &mut Registry, id: GenId, socket: Socket, backlog: i32) -> io::Result<Joined> {
    let endpoint = Endpoint::of(&socket)?;
    if registry.is_closed() {
        return Err(io::ErrorKind::NotConnected.into());
    }
    // Nobody would ever take the socket out again.
    if registry.is_gone(id) {
        return Err(Errno::ESRCH.into());
    }
    let known = registry.find(endpoint).cloned();
    let first = known.is_none();
    match known {
        Some(group) => join(registry, &group, id, socket, backlog)?,
        None => begin(registry, endpoint, id, socket, backlog)?,
    }
    registry.tidy();
    Ok(Joined {
        address: endpoint.address,
        first,
    })
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
