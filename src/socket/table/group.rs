//! The group of one address: its listeners, which of them get new connections, and how this changes as generations come
//! and go.

use std::io;
use std::time::Duration;

use super::listener::{GroupId, Listener, ListenerId, Origin, Owner, Phase, Place};
use super::op::{Env, Op, UnclaimedPolicy};
use super::reuseport::Reuseport;
use crate::reload::{GenId, Time};
use crate::socket::{Endpoint, Transport};

/// The means of making the kernel choose a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Backend {
    Reuseport(Reuseport),
    /// The path is a hard link to the file of the `placed` listener.
    Path {
        placed: Option<ListenerId>,
    },
}

/// The state of a group whose address a program has opened, and which is not a `--listen` address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Adopted {
    /// Whether the group is hidden from new connections.
    pub(super) hidden: bool,
    /// Whether the live generation has closed its last socket here.
    pub(super) closed_by_live: bool,
    /// The time since which no running generation has listened here.
    pub(super) abandoned_since: Option<Time>,
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
    pub(in crate::socket) place: Place,
    /// The listeners, in the order of the kernel's array of members.
    pub(super) listeners: Vec<Listener>,
    /// The owner whose listeners should get the new connections.
    pub(super) target: Owner,
    pub(super) backend: Backend,
    /// Set if a program has opened the address, and it is not a `--listen` address.
    pub(super) adopted: Option<Adopted>,
    pub(super) policy: UnclaimedPolicy,
    /// Set while there are listeners to close.
    pub(super) sweep: Option<Sweep>,
}

impl Group {
    /// Creates a group without a listener.
    pub(super) fn new(place: Place, adopted: bool, env: &mut Env) -> Self {
        let id = GroupId(env.common.number());
        let _ = env.kernel.perform(Op::Add { group: id, place });
        Self {
            id,
            place,
            listeners: Vec::new(),
            target: Owner::Next,
            backend: match place {
                Place::Ip(_) => Backend::Reuseport(Reuseport::default()),
                Place::Unix => Backend::Path { placed: None },
            },
            adopted: adopted.then(Adopted::default),
            policy: UnclaimedPolicy::default(),
            sweep: None,
        }
    }

    pub(in crate::socket) fn endpoint(&self) -> Option<Endpoint> {
        match self.place {
            Place::Ip(endpoint) => Some(endpoint),
            Place::Unix => None,
        }
    }

    /// Whether this is a group of datagram sockets, which have no accept queue and are not forwarded.
    pub(in crate::socket) fn carries_datagrams(&self) -> bool {
        let endpoint = self.endpoint();
        endpoint.is_some_and(|endpoint| endpoint.transport == Transport::Udp)
    }

    pub(in crate::socket) fn is_adopted(&self) -> bool {
        self.adopted.is_some()
    }

    /// Whether clients can connect to this generation here.
    pub(in crate::socket) fn listens(&self, id: GenId) -> bool {
        !self.is_hidden() && self.of(id).any(|listener| !listener.is_released())
    }

    /// Whether this generation has a listener that is not draining. A connection forwarded to a draining listener would
    /// come straight back to the forwarder.
    pub(super) fn may_serve(&self, id: GenId) -> bool {
        !self.is_hidden() && self.of(id).any(|listener| !listener.draining)
    }

    /// Returns the listeners of this generation.
    pub(in crate::socket) fn of(&self, id: GenId) -> impl Iterator<Item = &Listener> {
        self.owned(Owner::Generation(id))
    }

    #[cfg(test)]
    pub(in crate::socket) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    pub(super) fn owned(&self, owner: Owner) -> impl Iterator<Item = &Listener> {
        let own = move |listener: &&Listener| listener.owner == owner;
        self.listeners.iter().filter(own)
    }

    pub(super) fn owned_mut(&mut self, owner: Owner) -> impl Iterator<Item = &mut Listener> {
        let own = move |listener: &&mut Listener| listener.owner == owner;
        self.listeners.iter_mut().filter(own)
    }

    pub(super) fn find(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.listeners.iter_mut().find(|one| one.id == id)
    }

    /// Gives the generation the listener in which connections are waiting, or a new one.
    pub(super) fn prepare(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        // A program must not get a listener that hotrun still accepts from (see `stop_responding`).
        let waits = |one: &Listener| one.owner == Owner::Next && !one.forwards;
        match self.listeners.iter().position(waits) {
            Some(index) => {
                self.listeners[index].owner = Owner::Generation(id);
                if self.target == Owner::Next {
                    self.target = Owner::Generation(id);
                }
                self.steer(env)
            }
            None => {
                self.open(Owner::Generation(id), Origin::Hotrun, env)?;
                self.close_deferred(env);
                Ok(())
            }
        }
    }

    /// Records that the switch succeeded for all groups.
    pub(super) fn switched(&mut self, id: GenId) {
        for listener in self.owned_mut(Owner::Generation(id)) {
            listener.phase = Phase::Served;
        }
    }

    /// Records that the generation is being asked to stop. Connections that land in its listeners from now on are
    /// forwarded.
    pub(super) fn drain(&mut self, id: GenId) {
        for listener in self.owned_mut(Owner::Generation(id)) {
            listener.draining = true;
        }
    }

    /// Drops listeners that were shut down, and repairs the path and the steering.
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

    /// Drops a listener that a program has shut down.
    pub(super) fn shut_down(&mut self, id: ListenerId, env: &mut Env) -> io::Result<()> {
        if self.find(id).is_none() {
            return Ok(());
        }
        self.close(id, env)?;
        if self.owned(self.target).next().is_some() {
            return Ok(());
        }
        self.hold(env)
    }

    /// Closes a listener, and attaches a steering program for the new indices.
    pub(super) fn close(&mut self, id: ListenerId, env: &mut Env) -> io::Result<()> {
        let Some(index) = self.listeners.iter().position(|one| one.id == id) else {
            return Ok(());
        };
        let _ = env.kernel.perform(Op::Close { listener: id });
        self.listeners.swap_remove(index);
        match &mut self.backend {
            Backend::Reuseport(reuseport) if self.listeners.is_empty() => reuseport.ended(),
            Backend::Reuseport(_) => {}
            Backend::Path { placed } => *placed = placed.filter(|placed| *placed != id),
        }
        self.steer(env)
    }

    /// Closes all listeners and forgets the group.
    pub(super) fn remove(&mut self, env: &mut Env) {
        for listener in self.listeners.drain(..) {
            let listener = listener.id;
            let _ = env.kernel.perform(Op::Close { listener });
        }
        let _ = env.kernel.perform(Op::Remove { group: self.id });
    }

    /// Opens another of our listeners. While no generation is live, connections wait in the newest generation's
    /// listener.
    pub(super) fn open(&mut self, owner: Owner, origin: Origin, env: &mut Env) -> io::Result<()> {
        let (group, listener) = (self.id, ListenerId(env.common.number()));
        env.kernel.perform(Op::Open { group, listener })?;
        self.listeners.push(Listener::new(listener, owner, origin));
        if self.is_unserved() && owner > self.target {
            self.set_target(owner, env)?;
        }
        Ok(())
    }

    /// Takes over the first listener of a `--listen` address.
    pub(super) fn begin(&mut self, env: &mut Env) -> io::Result<()> {
        let (group, listener) = (self.id, ListenerId(env.common.number()));
        env.kernel.perform(Op::Take { group, listener })?;
        let first = Listener::new(listener, Owner::Next, Origin::Hotrun);
        self.listeners.push(first);
        self.steer(env)
    }

    /// Whether the target is a generation that is not live, or draining.
    pub(super) fn is_unserved(&self) -> bool {
        let mut targets = self.owned(self.target);
        targets.all(|one| one.phase != Phase::Served || one.draining)
    }

    /// Sets the policy for connections that no program accepts.
    pub(super) fn set_policy(&mut self, env: &mut Env) {
        let policy = match env.common.live {
            Some(_) if self.is_hidden() => UnclaimedPolicy::Forward,
            Some(id) if self.of(id).any(|one| !one.draining) => UnclaimedPolicy::Forward,
            None if env.common.responds => UnclaimedPolicy::Respond,
            Some(_) | None => UnclaimedPolicy::Wait,
        };
        if policy != self.policy {
            self.policy = policy;
            let group = self.id;
            let _ = env.kernel.perform(Op::SetPolicy { group, policy });
        }
    }

    /// Starts the missing forwarders. If some fail, starts the rest and returns the last error.
    pub(super) fn start_forwarding(&mut self, env: &mut Env) -> io::Result<()> {
        let mut result = Ok(());
        if self.carries_datagrams() {
            return result;
        }
        for listener in &mut self.listeners {
            let wanted = listener.draining || env.common.responds && listener.owner == Owner::Next;
            if wanted && !listener.forwards {
                let started = env.kernel.perform(Op::Forward {
                    listener: listener.id,
                });
                listener.forwards = started.is_ok();
                result = started.and(result);
            }
        }
        result
    }

    /// Starts watching for programs that shut down a listener: if it is the only one, or if the steering program
    /// returns its index, connections are refused until the table reacts. Datagram sockets do not hang up.
    pub(super) fn watch(&mut self, env: &mut Env) {
        if self.carries_datagrams() {
            return;
        }
        for listener in self.listeners.iter_mut().filter(|one| !one.watched) {
            let id = listener.id;
            // If the listener cannot be watched, `refresh` finds out that it was shut down.
            let watching = env.kernel.perform(Op::Watch { listener: id });
            listener.watched = watching.is_ok();
        }
    }
}
