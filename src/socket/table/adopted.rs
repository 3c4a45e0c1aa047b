//! Groups of addresses that a program opens itself.

use std::io;
use std::time::Duration;

use super::group::Group;
use super::listener::{Listener, ListenerId, Origin, Owner, Phase};
use super::op::{Env, Joining, Op};
use crate::reload::{GenId, Time};

/// How long to keep an address that the previous generation had but the live one has not opened. A program may open its
/// addresses one by one, and the clients of the last one wait in the meantime.
pub(super) const LATE: Duration = Duration::from_secs(10);
/// How long to keep an address that the live generation has closed.
pub(super) const CLOSED_BY_LIVE: Duration = Duration::from_secs(1);

impl Group {
    /// Starts listening on a program's socket. If its generation is live, or no generation is, the socket gets the new
    /// connections.
    ///
    /// Orphans the listeners that were passed to the generation, because it obviously does not use them.
    pub(super) fn join(
        &mut self,
        joining: Joining,
        draining: bool,
        env: &mut Env,
    ) -> io::Result<()> {
        let Joining {
            id,
            multipath,
            backlog,
        } = joining;
        let owner = Owner::Generation(id);
        if multipath {
            self.anchor(env)?;
        }
        let listener = self.listen(owner, backlog, env)?;
        let live = env.common.live == Some(id);
        listener.multipath = multipath;
        listener.draining = draining;
        if live {
            listener.phase = Phase::Served;
        }
        // Do this before the new listener becomes the target: its index is the last one, which may prevent closing
        // others.
        self.close_deferred(env);
        let is_next = self.is_unserved() && owner > self.target;
        let wanted = !draining && (live || self.target == owner || is_next);
        let steered = match wanted || self.owned(self.target).next().is_none() {
            true => self.set_target(owner, env),
            false => Ok(()),
        };
        if let Some(adopted) = &mut self.adopted {
            adopted.closed_by_live = false;
        }
        let passed = |one: &&Listener| {
            let next = one.owner == Owner::Next && !draining;
            next || one.owner == owner && one.origin != Origin::Program
        };
        let passed = self.listeners.iter().filter(passed).map(|one| one.id);
        let passed: Vec<ListenerId> = passed.collect();
        let orphaned = self.orphan_all(&passed, env);
        self.close_deferred(env);
        steered.and(orphaned)
    }

    fn listen(&mut self, owner: Owner, backlog: i32, env: &mut Env) -> io::Result<&mut Listener> {
        let id = ListenerId(env.common.number());
        env.kernel.perform(Op::Listen {
            group: self.id,
            listener: id,
            backlog,
        })?;
        let listener = Listener::new(id, owner, Origin::Program);
        self.listeners.push(listener);
        self.find(id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Keeps one of our sockets, so that the steering program can be attached through it.
    fn anchor(&mut self, env: &mut Env) -> io::Result<()> {
        let anchored = |one: &Listener| one.origin == Origin::Anchor;
        if self.listeners.iter().any(anchored) {
            return Ok(());
        }
        let ours = |one: &&mut Listener| one.origin == Origin::Hotrun && one.owner == Owner::Next;
        if let Some(listener) = self.listeners.iter_mut().find(ours) {
            listener.origin = Origin::Anchor;
            return Ok(());
        }
        self.open(Owner::Nobody, Origin::Anchor, env)?;
        if let Some(listener) = self.listeners.last_mut() {
            listener.phase = Phase::Served;
            listener.draining = true;
        }
        Ok(())
    }

    /// Orphans the listeners among `ids` that belong to the group.
    pub(super) fn orphan_all(&mut self, ids: &[ListenerId], env: &mut Env) -> io::Result<()> {
        let orphaned = ids.iter().map(|id| self.orphan(*id, env));
        orphaned.fold(Ok(()), io::Result::and)
    }

    /// Orphans a listener that no program accepts from any longer: it gets no new connections, those in its queue are
    /// forwarded, and then it is closed. While it is the target's only listener, connections still arrive and wait.
    pub(super) fn orphan(&mut self, id: ListenerId, env: &mut Env) -> io::Result<()> {
        // A datagram socket has no waiting connections.
        if self.carries_datagrams() {
            return self.close(id, env);
        }
        let live = env.common.live;
        let Some(listener) = self.find(id) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut listener.owner, Owner::Nobody);
        listener.phase = match listener.origin {
            Origin::Hotrun | Origin::Program => Phase::Released,
            Origin::Anchor => Phase::Served,
        };
        listener.draining = true;
        if let Some(adopted) = &mut self.adopted {
            adopted.closed_by_live = live.is_some_and(|id| before == Owner::Generation(id));
        }
        // Do this before a forwarder starts, because it would forward to this same listener.
        self.set_policy(env);
        self.steer(env)
    }

    pub(in crate::socket) fn is_hidden(&self) -> bool {
        self.adopted.as_ref().is_some_and(|adopted| adopted.hidden)
    }

    /// Whether this generation listens here but is hidden from new connections.
    pub(super) fn hides(&self, id: GenId) -> bool {
        self.is_hidden() && self.of(id).any(|listener| !listener.draining)
    }

    /// Whether clients expect the address to be served: the live generation listens there, or connections wait for the
    /// next one.
    pub(in crate::socket) fn is_expected(&self, live: Option<GenId>) -> bool {
        let expected = |one: &Listener| match live {
            Some(live) => one.owner == Owner::Generation(live) && !one.draining,
            None => one.owner != Owner::Nobody,
        };
        !self.is_hidden() && self.listeners.iter().any(expected)
    }

    /// Hides the group from new connections, because the live generation listens only on addresses that cover this one,
    /// and the kernel prefers the narrower address. Connections that are waiting here are forwarded once the old
    /// program no longer accepts them. Does nothing if the system refuses, or if a generation that may go live listens
    /// here.
    pub(super) fn hide(&mut self, env: &mut Env) {
        let comes = |one: &Listener| one.owner != Owner::Next && one.may_become_live();
        if self.is_hidden() || self.listeners.iter().any(comes) {
            return;
        }
        let Some(adopted) = &mut self.adopted else {
            return;
        };
        let mut listeners = self.listeners.iter();
        let hidden = listeners.all(|one| {
            let listener = one.id;
            env.kernel.perform(Op::Hide { listener }).is_ok()
        });
        adopted.hidden = hidden;
        if hidden {
            self.owned_mut(Owner::Next)
                .for_each(|one| one.draining = true);
            self.set_policy(env);
        }
    }

    /// Returns when to close a group that a program opened but where the live generation does not listen. It is kept
    /// while another generation exists that may listen there.
    pub(super) fn ends_at(&mut self, env: &Env) -> Option<Time> {
        let left =
            |one: &Listener| one.is_released() || matches!(one.owner, Owner::Next | Owner::Nobody);
        let abandoned = env.common.live.is_some() && self.listeners.iter().all(left);
        let adopted = self.adopted.as_mut()?;
        if !abandoned {
            adopted.abandoned_since = None;
            return None;
        }
        let since = *adopted.abandoned_since.get_or_insert(env.now);
        Some(since.plus(match adopted.closed_by_live {
            true => CLOSED_BY_LIVE,
            false => LATE,
        }))
    }
}
