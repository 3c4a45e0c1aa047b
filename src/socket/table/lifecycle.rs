//! How a group changes as generations come and go.

use std::io;
use std::time::Duration;

use super::group::{Adopted, Closed, Group};
use super::types::{
    AddressEvent, Common, Env, Joining, Listener, ListenerId, ListenerPhase, Op, Origin, Owner,
};
use crate::reload::{GenId, Time};
use crate::socket::Endpoint;

/// How long to keep an address that the previous generation had but the live one has not opened. A program may open its
/// addresses one by one, and the clients of the last one wait in the meantime.
pub(super) const LATE: Duration = Duration::from_secs(10);
/// How long to keep an address that the live generation has closed, unless it did so during a reload. Programs that
/// restart themselves often notice a change before hotrun does.
pub(super) const CLOSED_BY_LIVE: Duration = Duration::from_secs(1);

impl Group {
    /// Gives the generation the listener in which connections are waiting, or a new one.
    pub(super) fn prepare(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        let owner = Owner::Generation(id);
        // A program must not get a listener that hotrun still accepts from (see `stop_responding`).
        let waits = |one: &&mut Listener| one.owner == Owner::Next && !one.forwards;
        let Some(listener) = self.listeners.iter_mut().find(waits) else {
            self.open(owner, Origin::Hotrun, env)?;
            self.close_deferred(env);
            return Ok(());
        };
        listener.owner = owner;
        if self.target == Owner::Next {
            self.target = owner;
        }
        self.steer(env)
    }

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
        let owner = Owner::Generation(joining.id);
        if joining.multipath {
            self.anchor(env)?;
        }
        self.sweep_soon(env.now);
        let (group, listener) = (self.id, ListenerId(env.common.number()));
        env.kernel.perform(Op::Join {
            group,
            listener,
            backlog: joining.backlog,
        })?;
        let live = env.common.is_live(joining.id);
        self.listeners.push(Listener {
            multipath: joining.multipath,
            retired: draining,
            phase: match live {
                true => ListenerPhase::Served,
                false => ListenerPhase::Prepared,
            },
            ..Listener::new(listener, owner, Origin::Program)
        });
        // Do this before the new listener becomes the target: its index is the last one, which may prevent closing
        // others.
        self.close_deferred(env);
        let is_next = self.is_unserved() && owner > self.target;
        let wanted = !draining && (live || self.target == owner || is_next);
        let mut steered = Ok(());
        if wanted || !self.target_has_listener() {
            self.target = owner;
            steered = self.steer(env);
        }
        if let Some(adopted) = &mut self.adopted {
            adopted.late = joining.late && (adopted.late || !adopted.served);
            adopted.served |= live;
            if live {
                adopted.closed = Closed::No;
            }
        }
        let passed = |one: &&Listener| {
            let next = one.owner == Owner::Next && !draining;
            next || one.owner == owner && one.origin != Origin::Program
        };
        let passed = self.listeners.iter().filter(passed).map(|one| one.id);
        let passed: Vec<ListenerId> = passed.collect();
        let orphaned = self.orphan(&passed, env);
        self.close_deferred(env);
        steered.and(orphaned)
    }

    /// Keeps or opens one of our sockets, so that the steering program can be attached through it.
    fn anchor(&mut self, env: &mut Env) -> io::Result<()> {
        let is_anchor = |one: &Listener| one.origin == Origin::Anchor;
        if self.listeners.iter().any(is_anchor) {
            return Ok(());
        }
        let ours = |one: &&mut Listener| one.origin == Origin::Hotrun && one.owner == Owner::Next;
        if let Some(listener) = self.listeners.iter_mut().find(ours) {
            listener.origin = Origin::Anchor;
            return Ok(());
        }
        self.open(Owner::Nobody, Origin::Anchor, env)?;
        if let Some(listener) = self.listeners.last_mut() {
            listener.phase = ListenerPhase::Served;
            listener.retired = true;
        }
        Ok(())
    }

    /// Orphans listeners that no program accepts from any longer: they get no new connections, those in their queues
    /// are forwarded, and then they are closed. While one of them is the target's only listener, and no other live
    /// generation listens here, new connections still arrive in it, and wait. Ignores listeners of other groups.
    pub(super) fn orphan(&mut self, ids: &[ListenerId], env: &mut Env) -> io::Result<()> {
        // A datagram socket has no waiting connections.
        if self.carries_datagrams() {
            let closed = ids.iter().map(|id| self.close(*id, env));
            return closed.fold(Ok(()), io::Result::and);
        }
        if !self.listeners.iter().any(|one| ids.contains(&one.id)) {
            return Ok(());
        }
        let live = env.common.live.iter().map(|id| Owner::Generation(*id));
        let live: Vec<Owner> = live.collect();
        let orphaned = |one: &&mut Listener| ids.contains(&one.id);
        for listener in self.listeners.iter_mut().filter(orphaned) {
            let before = std::mem::replace(&mut listener.owner, Owner::Nobody);
            listener.phase = match listener.origin {
                Origin::Hotrun | Origin::Program => ListenerPhase::Released,
                Origin::Anchor => ListenerPhase::Served,
            };
            listener.retired = true;
            if let Some(adopted) = &mut self.adopted
                && live.contains(&before)
            {
                adopted.closed = Closed::ByLive;
            }
        }
        if !self.target_has_listener() {
            self.retarget(&env.common);
        }
        self.steer(env)
    }

    /// Holds connections, unless a live generation serves them here. They wait in the listener of the newest generation
    /// that may go live, or in one for the next generation.
    pub(super) fn hold(&mut self, env: &mut Env) -> io::Result<()> {
        if self.is_hidden() {
            return Ok(());
        }
        if self.retarget(&env.common) {
            return self.steer(env);
        }
        let candidates = self.listeners.iter().filter(|one| one.may_become_live());
        if let Some(newest) = candidates.map(|one| one.owner).max() {
            self.target = newest;
            return self.steer(env);
        }
        if self.carries_datagrams() {
            return Ok(());
        }
        if self.keep_queue() {
            return self.steer(env);
        }
        match self.open(Owner::Next, Origin::Hotrun, env) {
            // Our sockets cannot join those of a program that runs as another user. Connections wait where they are.
            Err(_) if self.is_adopted() && !self.listeners.is_empty() => return Ok(()),
            opened => opened?,
        }
        self.close_deferred(env);
        self.target = Owner::Next;
        self.steer(env)
    }

    /// Makes a live generation the target, if one serves clients here. Returns whether one does.
    fn retarget(&mut self, common: &Common) -> bool {
        let serving = self.serving(common).next();
        self.target = serving.map_or(self.target, Owner::Generation);
        serving.is_some()
    }

    /// Keeps the unix socket of a target that is gone or has been asked to stop: the connections that wait in it cannot
    /// move to another queue. The next generation gets it once the target is gone. If it is prepared earlier, it gets
    /// another one, because a program that is still running may accept from this one. Returns whether there is such a
    /// socket.
    fn keep_queue(&mut self) -> bool {
        let kept = match self.is_path() {
            true => self.owned_mut(self.target).find(|one| one.retired),
            false => None,
        };
        let Some(listener) = kept else {
            return false;
        };
        if listener.is_released() {
            listener.owner = Owner::Next;
            listener.phase = ListenerPhase::Prepared;
            listener.retired = false;
            self.target = Owner::Next;
        }
        true
    }

    /// Releases the listeners of a generation whose process tree is gone, so that only hotrun holds them.
    pub(super) fn release(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        let owner = Owner::Generation(id);
        for listener in self.owned_mut(owner) {
            listener.phase = ListenerPhase::Released;
            listener.retired = true;
            let listener = listener.id;
            let _ = env.kernel.perform(Op::SetNonblocking { listener });
        }
        match self.target == owner {
            true => self.hold(env),
            false => Ok(()),
        }
    }

    /// Holds connections again. The next generation must not share a listener with a forwarder. If the forwarder is in
    /// the middle of an accept, the generation gets another listener, and connections in the old one are forwarded.
    pub(super) fn stop_responding(&mut self, env: &mut Env) -> io::Result<()> {
        let mut busy = Vec::new();
        for listener in self.owned_mut(Owner::Next).filter(|one| one.forwards) {
            let id = listener.id;
            let stopped = env.kernel.perform(Op::StopForwarding { listener: id });
            listener.forwards = stopped.is_err();
            busy.extend(stopped.is_err().then_some(id));
        }
        if busy.is_empty() {
            return Ok(());
        }
        self.open(Owner::Next, Origin::Hotrun, env)?;
        self.close_deferred(env);
        self.orphan(&busy, env)
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
        adopted.hidden = listeners.all(|one| {
            let listener = one.id;
            env.kernel.perform(Op::Hide { listener }).is_ok()
        });
        if adopted.hidden {
            let waiting = self.owned_mut(Owner::Next);
            waiting.for_each(|one| one.retired = true);
        }
    }

    /// Whether this generation listens here but is hidden from new connections.
    pub(super) fn hides(&self, id: GenId) -> bool {
        self.is_hidden() && self.of(id).any(|listener| !listener.retired)
    }

    /// Whether clients expect the address to be served: a live generation has served it, or connections wait for the next
    /// generation.
    pub(super) fn is_owed(&self, common: &Common) -> bool {
        let waits = |one: &Listener| one.owner != Owner::Nobody;
        let waiting = !common.is_served() && self.listeners.iter().any(waits);
        let served = self.adopted.as_ref().is_some_and(|adopted| adopted.served);
        !self.is_hidden() && (served || waiting)
    }

    /// Whether clients may expect the next generation to open the address. They do not if the live generation has closed
    /// its datagram socket there, because nothing is left to take over.
    pub(super) fn is_expected(&self, common: &Common) -> bool {
        let late = self.adopted.as_ref().is_some_and(|adopted| adopted.late);
        let closed = self.carries_datagrams() && self.listeners.is_empty() && common.is_served();
        !late && !closed && self.is_owed(common)
    }

    /// Whether the live generation opened the address after it went live, and has closed it again.
    pub(super) fn was_temporary(&self) -> bool {
        let closed = |adopted: &Adopted| adopted.closed != Closed::No && !adopted.established;
        self.listeners.iter().all(|one| one.owner == Owner::Nobody)
            && self.adopted.as_ref().is_some_and(closed)
    }

    /// Whether a program probably listened here only to check whether its port is free: no generation listened here when
    /// it went live, and the live one is `serving` an address that covers this one or a part of it.
    pub(super) fn was_check(&self, serving: &[Endpoint]) -> bool {
        let fresh = |adopted: &Adopted| !adopted.established;
        let overlaps = |own: Endpoint| serving.iter().any(|other| other.overlaps(&own));
        self.adopted.as_ref().is_some_and(fresh) && self.endpoint.is_some_and(overlaps)
    }

    /// Records that another generation has become live. `owed`: whether clients expected the address until now, and no
    /// other address of the live generations covers it.
    pub(super) fn went_live(&mut self, owed: bool, env: &mut Env) {
        let serves = self.serves(&env.common);
        if let Some(adopted) = &mut self.adopted {
            adopted.closed = Closed::No;
            adopted.served = serves;
            adopted.established |= serves;
            if owed && !serves {
                self.report(AddressEvent::GivenUp, env);
            }
        }
    }

    fn report(&self, event: AddressEvent, env: &mut Env) {
        let group = self.id;
        let _ = env.kernel.perform(Op::Report { group, event });
    }

    /// Returns when to close a group that a program opened but where the live generation does not listen. The group is
    /// kept while another generation still listens there, and during a reload in which the live generation closed it.
    pub(super) fn ends_at(&mut self, serving: &[Endpoint], env: &mut Env) -> Option<Time> {
        let serves = !env.common.is_served() || self.serves(&env.common);
        let adopted = self.adopted.as_ref()?;
        let by_live = adopted.closed == Closed::ByLive && !adopted.hidden && !serves;
        if by_live && env.common.reloading && !self.was_check(serving) {
            self.adopted.as_mut()?.closed = Closed::DuringReload;
            self.report(AddressEvent::ClosedDuringReload, env);
        }
        let left = |one: &Listener| {
            let unowned = matches!(one.owner, Owner::Next | Owner::Waiting | Owner::Nobody);
            one.is_released() || unowned
        };
        let abandoned = env.common.is_served() && self.listeners.iter().all(left);
        let adopted = self.adopted.as_mut()?;
        let returns = env.common.reloading && adopted.closed != Closed::No;
        if !abandoned || returns {
            adopted.abandoned_since = None;
            return None;
        }
        let since = *adopted.abandoned_since.get_or_insert(env.now);
        Some(since.plus(match adopted.closed {
            Closed::ByLive => CLOSED_BY_LIVE,
            Closed::No | Closed::DuringReload => LATE,
        }))
    }

    /// Closes the address, because no generation opened it in time. Connections to a hidden one are not refused, and no
    /// client relies on one that was only a check.
    pub(super) fn end(&mut self, serving: &[Endpoint], env: &mut Env) {
        let served = self.adopted.as_ref().is_some_and(|adopted| adopted.served);
        if served && !self.is_hidden() && !self.was_check(serving) {
            self.report(AddressEvent::Closed, env);
        }
        self.remove(env);
    }
}
