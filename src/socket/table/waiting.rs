//! Where connections wait while nobody serves.

use std::io;

use super::group::Group;
use super::listener::{Listener, ListenerId, Origin, Owner, Phase};
use super::op::{Env, Op};
use crate::reload::GenId;

impl Group {
    /// Nobody serves. Connections wait for the newest generation that may become live, or else for the next one.
    pub(super) fn hold(&mut self, env: &mut Env) -> io::Result<()> {
        if self.is_hidden() {
            return Ok(());
        }
        let candidates = self.listeners.iter().filter(|one| one.may_become_live());
        match candidates.map(|one| one.owner).max() {
            Some(newest) => self.set_target(newest, env),
            None => self.wait(env),
        }
    }

    /// Opens a listener for the next generation and lets connections wait in it.
    fn wait(&mut self, env: &mut Env) -> io::Result<()> {
        if self.carries_datagrams() {
            return Ok(());
        }
        match self.open(Owner::Next, Origin::Hotrun, env) {
            // The sockets of a program that runs as another user: ours can't join them. Connections wait where they are.
            Err(_) if self.is_adopted() && !self.listeners.is_empty() => return Ok(()),
            opened => opened?,
        }
        self.close_deferred(env);
        self.set_target(Owner::Next, env)
    }

    /// The process tree of the generation is gone.
    pub(super) fn release(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        let owner = Owner::Generation(id);
        let reused = match env.common.live {
            Some(_) => None,
            None => self.reusable(owner, env),
        };
        let left = match reused {
            Some(index) => self.reuse(index, env),
            None if self.target == owner => {
                self.owned_mut(owner)
                    .for_each(|one| one.phase = Phase::Released);
                self.hold(env)
            }
            None => Ok(()),
        };
        // Whatever failed: this is not asked for again.
        let owned = self.owned_mut(owner);
        let ids: Vec<ListenerId> = owned
            .map(|listener| {
                listener.phase = Phase::Released;
                listener.draining = true;
                listener.id
            })
            .collect();
        for id in ids {
            set_nonblocking(id, true, env);
        }
        left
    }

    /// The listener of a generation that is gone and was never live, if the next one gains by taking it over because
    /// more waits in it than in the one that it would get otherwise. What waits there needs no forwarding then, and the
    /// program sees the clients' own addresses.
    fn reusable(&mut self, owner: Owner, env: &mut Env) -> Option<usize> {
        let unserved = |one: &Listener| one.owner == owner && one.phase == Phase::Prepared;
        let index = self.listeners.iter().position(unserved)?;
        // Another one that is prepared would not take it.
        let other = |one: &Listener| one.may_become_live() && one.owner > Owner::Next;
        if self
            .listeners
            .iter()
            .any(|one| one.owner != owner && other(one))
        {
            return None;
        }
        let gains = match self.target {
            Owner::Next => self.waiting(owner, env) > self.waiting(Owner::Next, env),
            target @ (Owner::Nobody | Owner::Generation(_)) => target == owner,
        };
        (gains && self.stop_forwarding(index, env)).then_some(index)
    }

    fn waiting(&self, owner: Owner, env: &mut Env) -> u32 {
        let queues = self.owned(owner).filter_map(|one| env.kernel.queue(one.id));
        queues.map(|queue| queue.waiting).sum()
    }

    /// Whether hotrun accepts from the listener no more.
    fn stop_forwarding(&mut self, index: usize, env: &mut Env) -> bool {
        let listener = &mut self.listeners[index];
        if listener.forwards {
            let id = listener.id;
            let stopped = env.kernel.perform(Op::StopForwarding { listener: id });
            listener.forwards = stopped.is_err();
        }
        !listener.forwards
    }

    /// Keeps a listener of a generation that is gone for the next one, with what waits in it. The dead program may have
    /// made the socket non-blocking, which the next must not find.
    fn reuse(&mut self, index: usize, env: &mut Env) -> io::Result<()> {
        let owner = self.listeners[index].owner;
        let waited = self
            .listeners
            .iter()
            .position(|one| one.owner == Owner::Next);
        let listener = &mut self.listeners[index];
        listener.draining = false;
        set_nonblocking(listener.id, false, env);
        if let Some(waited) = waited {
            self.replace(waited, owner, env);
        }
        self.give(index, Owner::Next, env)
    }

    /// The listener in which connections waited goes with the generation that is gone.
    fn replace(&mut self, index: usize, owner: Owner, env: &mut Env) {
        let listener = &mut self.listeners[index];
        listener.owner = owner;
        listener.phase = Phase::Released;
        listener.draining = true;
        set_nonblocking(listener.id, true, env);
    }

    /// Connections wait again. The next generation must not share a listener with a forwarder: if that is accepting a
    /// connection at this moment, the generation gets another listener, and what waits in this one is forwarded to it.
    pub(super) fn stop_responding(&mut self, env: &mut Env) -> io::Result<()> {
        let mut busy = Vec::new();
        for index in 0..self.listeners.len() {
            if self.listeners[index].owner == Owner::Next && !self.stop_forwarding(index, env) {
                busy.push(self.listeners[index].id);
            }
        }
        if busy.is_empty() {
            return Ok(());
        }
        self.open(Owner::Next, Origin::Hotrun, env)?;
        self.close_deferred(env);
        busy.into_iter().try_for_each(|id| self.orphan(id, env))
    }
}

fn set_nonblocking(listener: ListenerId, nonblocking: bool, env: &mut Env) {
    let _ = env.kernel.perform(Op::SetNonblocking {
        listener,
        nonblocking,
    });
}
