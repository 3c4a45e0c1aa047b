//! The group of one address: its listeners, and the steering that chooses which of them get new connections.

use std::io;
use std::time::Duration;

use super::reuseport::{GroupMember, Reuseport, is_in};
use super::types::{
    Common, Env, GroupId, Listener, ListenerId, ListenerPhase, Op, Origin, Owner, does_not_listen,
};
use crate::reload::{GenId, Time};
use crate::socket::{Endpoint, Transport};
use crate::unclaimed::UnclaimedPolicy;

/// The mechanism by which the kernel chooses a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Backend {
    Reuseport(Reuseport),
    /// The path is a hard link to the file of the `linked` listener.
    Path {
        linked: Option<ListenerId>,
    },
}

/// The state of a group whose address was opened by a program and is not a `--listen` address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Adopted {
    /// Whether the group is hidden from new connections.
    pub(super) hidden: bool,
    /// Whether the live generation has closed its last socket here, and whether that was during a reload.
    pub(super) closed: Closed,
    /// Whether the address was opened so late that the next generation need not open it before it is ready.
    pub(super) late: bool,
    /// Whether a generation listened here when it went live.
    pub(super) established: bool,
    /// Whether a live generation has served the address, and hotrun has not reported it as given up since.
    pub(super) served: bool,
    /// The time since which no running generation has listened here.
    pub(super) abandoned_since: Option<Time>,
}

/// Whether the live generation has closed an address that it opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Closed {
    #[default]
    No,
    /// It did so while no other generation was being built or started.
    ByLive,
    /// It did so during a reload or just before one. The program probably restarts itself, and will open the address
    /// again.
    DuringReload,
}

/// When to check again whether a released listener can be closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sweep {
    pub(super) at: Time,
    /// The time between two scans. It doubles while nothing happens.
    pub(super) pause: Duration,
    /// Whether a scan is running on another thread.
    pub(super) scanning: bool,
}

/// All listeners of one address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Group {
    pub(in crate::socket) id: GroupId,
    /// The IP address, or `None` for a unix socket, whose path the table does not need.
    pub(in crate::socket) endpoint: Option<Endpoint>,
    /// The listeners, in the order of the kernel's array of members.
    pub(super) listeners: Vec<Listener>,
    /// The owner whose listeners should get the new connections.
    pub(super) target: Owner,
    pub(super) backend: Backend,
    /// Set if the address was opened by a program and is not a `--listen` address.
    pub(super) adopted: Option<Adopted>,
    pub(super) policy: UnclaimedPolicy,
    /// Whether something has changed since the last [`Table::tidy`](super::Table::tidy).
    pub(super) untidy: bool,
    /// Set while there are listeners to close.
    pub(super) sweep: Option<Sweep>,
}

impl Group {
    /// Creates a group without a listener.
    pub(super) fn new(endpoint: Option<Endpoint>, adopted: bool, env: &mut Env) -> Self {
        let group = GroupId(env.common.number());
        let _ = env.kernel.perform(Op::AddGroup { group, endpoint });
        Self {
            id: group,
            endpoint,
            listeners: Vec::new(),
            target: Owner::Next,
            backend: match endpoint {
                Some(_) => Backend::Reuseport(Reuseport::default()),
                None => Backend::Path { linked: None },
            },
            adopted: adopted.then(Adopted::default),
            policy: UnclaimedPolicy::default(),
            untidy: true,
            sweep: None,
        }
    }

    /// Whether this is a group of datagram sockets, which have no accept queue and are not forwarded.
    pub(in crate::socket) fn carries_datagrams(&self) -> bool {
        self.transport() == Some(Transport::Udp)
    }

    /// Whether hotrun may accept connections here, to forward them or respond to them. A unix connection that hotrun
    /// forwarded would carry hotrun's identity instead of its client's (`SO_PEERCRED`, `unix(7)`), so a client could
    /// pass for hotrun's user, such as root. Instead, the connection waits in its queue until a program accepts it.
    pub(in crate::socket) fn may_accept(&self) -> bool {
        self.transport() == Some(Transport::Tcp)
    }

    fn transport(&self) -> Option<Transport> {
        self.endpoint.map(|endpoint| endpoint.transport)
    }

    /// Whether this is the group of a unix socket's path.
    pub(in crate::socket) fn is_path(&self) -> bool {
        self.endpoint.is_none()
    }

    pub(in crate::socket) fn is_adopted(&self) -> bool {
        self.adopted.is_some()
    }

    pub(in crate::socket) fn is_hidden(&self) -> bool {
        self.adopted.as_ref().is_some_and(|adopted| adopted.hidden)
    }

    /// Whether clients can connect to this generation here.
    pub(in crate::socket) fn listens(&self, id: GenId) -> bool {
        !self.is_hidden() && self.of(id).any(|listener| !listener.is_released())
    }

    /// Whether new connections reach this generation.
    pub(in crate::socket) fn is_target(&self, id: GenId) -> bool {
        self.target == Owner::Generation(id)
    }

    /// Whether this generation has a listener that is not retired. A connection forwarded to a retired listener would
    /// come straight back to the forwarder.
    pub(super) fn may_serve(&self, id: GenId) -> bool {
        !self.is_hidden() && self.of(id).any(|listener| !listener.retired)
    }

    /// The live generations to which new connections may be sent here.
    pub(super) fn serving(&self, common: &Common) -> impl Iterator<Item = GenId> {
        let live = common.live.iter().copied();
        live.filter(|id| self.may_serve(*id))
    }

    /// Whether a live generation may get new connections here.
    pub(super) fn serves(&self, common: &Common) -> bool {
        self.serving(common).next().is_some()
    }

    /// Returns the listeners of this generation.
    pub(in crate::socket) fn of(&self, id: GenId) -> impl Iterator<Item = &Listener> {
        self.owned(Owner::Generation(id))
    }

    /// Returns the listeners of this generation that clients may have reached, not only hotrun's own probes.
    pub(in crate::socket) fn reached(&self, id: GenId) -> impl Iterator<Item = &Listener> {
        let target = self.is_target(id);
        let chosen = move |one: &&Listener| target || one.targeted_until.is_some();
        self.of(id).filter(chosen)
    }

    /// Returns the listeners that the next generation gets.
    pub(in crate::socket) fn held(&self) -> impl Iterator<Item = &Listener> {
        self.owned(Owner::Next)
    }

    pub(in crate::socket) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    fn owned(&self, owner: Owner) -> impl Iterator<Item = &Listener> {
        let own = move |listener: &&Listener| listener.owner == owner;
        self.listeners.iter().filter(own)
    }

    pub(super) fn owned_mut(&mut self, owner: Owner) -> impl Iterator<Item = &mut Listener> {
        let own = move |listener: &&mut Listener| listener.owner == owner;
        self.listeners.iter_mut().filter(own)
    }

    pub(super) fn target_has_listener(&self) -> bool {
        self.owned(self.target).next().is_some()
    }

    /// Whether no listener of the target serves clients, because the target has none, has not been live yet, or is
    /// retired.
    pub(super) fn is_unserved(&self) -> bool {
        let mut targets = self.owned(self.target);
        targets.all(|one| one.phase != ListenerPhase::Served || one.retired)
    }

    /// Opens another listener. While no generation is live, connections wait in the newest generation's listener. Steers
    /// only if that changes the target.
    pub(super) fn open(&mut self, owner: Owner, origin: Origin, env: &mut Env) -> io::Result<()> {
        let (group, listener) = (self.id, ListenerId(env.common.number()));
        env.kernel.perform(Op::Open { group, listener })?;
        self.listeners.push(Listener::new(listener, owner, origin));
        if self.is_unserved() && owner > self.target {
            self.target = owner;
            self.steer(env)?;
        }
        Ok(())
    }

    /// Removes listeners that were shut down, and repairs the path and the steering.
    pub(super) fn refresh(&mut self, env: &mut Env) -> io::Result<()> {
        let ids: Vec<ListenerId> = self.listeners.iter().map(|one| one.id).collect();
        for id in ids {
            let queue = env.kernel.queue(id);
            if queue.is_some_and(|queue| !queue.listening) {
                self.shut_down(id, env)?;
            }
        }
        self.restore_path(env);
        self.steer(env)
    }

    /// Removes a listener that a program has shut down.
    pub(super) fn shut_down(&mut self, id: ListenerId, env: &mut Env) -> io::Result<()> {
        if !self.listeners.iter().any(|one| one.id == id) {
            return Ok(());
        }
        // The attached program has run against the changed array, so the kernel may have chosen any listener until now.
        for listener in &mut self.listeners {
            listener.warm(env.now);
        }
        self.close(id, env)?;
        match self.target_has_listener() {
            true => Ok(()),
            false => self.hold(env),
        }
    }

    /// Closes a listener, and attaches a steering program for the new indices.
    pub(super) fn close(&mut self, id: ListenerId, env: &mut Env) -> io::Result<()> {
        let Some(index) = self.listeners.iter().position(|one| one.id == id) else {
            return Ok(());
        };
        let _ = env.kernel.perform(Op::Close { listener: id });
        self.listeners.swap_remove(index);
        match &mut self.backend {
            // The kernel drops the program with the last member (`reuseport_detach_sock`).
            Backend::Reuseport(reuseport) if self.listeners.is_empty() => reuseport.attached = None,
            Backend::Reuseport(_) => {}
            Backend::Path { linked } => *linked = linked.filter(|linked| *linked != id),
        }
        self.steer(env)
    }

    /// Closes all listeners and forgets the group.
    pub(super) fn remove(&mut self, env: &mut Env) {
        for listener in self.listeners.drain(..) {
            let listener = listener.id;
            let _ = env.kernel.perform(Op::Close { listener });
        }
        let _ = env.kernel.perform(Op::RemoveGroup { group: self.id });
    }

    /// Makes the kernel send new connections to the pool, unless it already does.
    pub(super) fn steer(&mut self, env: &mut Env) -> io::Result<()> {
        let (before, members) = (self.landings(), self.members(false));
        let (receiver, pool) = (self.receiver(), self.pool(&env.common));
        match &mut self.backend {
            Backend::Reuseport(reuseport) => {
                let Some(steering) = reuseport.lacking(&members, &pool) else {
                    return Ok(());
                };
                let via = self.listeners.iter().find(|one| !one.multipath);
                let via = via.ok_or(io::ErrorKind::NotConnected)?.id;
                env.kernel.perform(Op::Attach {
                    via,
                    steering: steering.clone(),
                })?;
                reuseport.attached = Some(steering);
            }
            Backend::Path { linked } => {
                let mut listeners = self.listeners.iter();
                let target = listeners.find(|one| one.owner == receiver);
                let target = target.map(|one| one.id);
                let Some(listener) = target.filter(|target| *linked != Some(*target)) else {
                    return Ok(());
                };
                env.kernel.perform(Op::LinkPath { listener })?;
                *linked = Some(listener);
            }
        }
        for index in before {
            let listener = &mut self.listeners[index];
            if !is_in(&pool, listener.owner) {
                listener.warm(env.now);
            }
        }
        Ok(())
    }

    /// Returns the indices of the listeners where a new connection may land now.
    pub(super) fn landings(&self) -> Vec<usize> {
        match &self.backend {
            Backend::Reuseport(reuseport) => reuseport.landings(self.listeners.len()),
            Backend::Path { linked } => {
                let mut ids = self.listeners.iter();
                let index = ids.position(|one| Some(one.id) == *linked);
                index.into_iter().collect()
            }
        }
    }

    /// Describes the listeners as group members. If `forwarded` is set, released listeners with a forwarder count as
    /// forwarded.
    fn members(&self, forwarded: bool) -> Vec<GroupMember> {
        let members = self.listeners.iter().map(|one| GroupMember {
            owner: one.owner,
            forwarded: forwarded && self.is_forwarded(one),
        });
        members.collect()
    }

    /// Whether connections that land in the listener are forwarded to the live generation.
    fn is_forwarded(&self, listener: &Listener) -> bool {
        self.policy == UnclaimedPolicy::Forward
            && listener.forwards
            && listener.is_released()
            && listener.owner != self.receiver()
    }

    /// Whether closing this listener now sends no connection to the wrong listener. If `forwarded` is set, a wrong
    /// listener is acceptable if its connections are forwarded. `listener` must not belong to the pool.
    pub(super) fn may_leave(&self, listener: &Listener, forwarded: bool, env: &Env) -> bool {
        match &self.backend {
            Backend::Reuseport(reuseport) => {
                let mut ids = self.listeners.iter();
                let index = ids.position(|one| one.id == listener.id);
                let members = self.members(forwarded);
                let pool = self.pool(&env.common);
                index.is_some_and(|index| reuseport.may_leave(&members, index, &pool))
            }
            Backend::Path { linked } => *linked != Some(listener.id),
        }
    }

    /// Diverts connections from this source port to this generation, so that a probe reaches it. `None` ends the
    /// diversion.
    pub(super) fn divert(&mut self, port: u16, to: Option<GenId>, env: &mut Env) -> io::Result<()> {
        if let Some(id) = to.filter(|id| !self.listens(*id)) {
            return Err(does_not_listen(id));
        }
        match &mut self.backend {
            Backend::Reuseport(reuseport) => reuseport.divert(port, to),
            Backend::Path { .. } => return Err(io::ErrorKind::Unsupported.into()),
        }
        self.steer(env)
    }

    /// Restores a path that a program has removed.
    pub(super) fn restore_path(&self, env: &mut Env) {
        if let Backend::Path {
            linked: Some(listener),
        } = self.backend
        {
            let _ = env.kernel.perform(Op::RestorePath { listener });
        }
    }
}
