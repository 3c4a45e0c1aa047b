//! Steers new connections to the group's target.

use std::io;

use super::group::{Backend, Group};
use super::listener::{Listener, Owner, Place};
use super::op::{Env, Op, does_not_listen};
use super::reuseport::Member;
use crate::reload::GenId;

impl Group {
    /// Steers new connections to this owner from now on. Failed steering is retried later.
    pub(super) fn set_target(&mut self, owner: Owner, env: &mut Env) -> io::Result<()> {
        self.target = owner;
        self.steer(env)
    }

    /// Makes the kernel send new connections to the target, unless it already does.
    pub(super) fn steer(&mut self, env: &mut Env) -> io::Result<()> {
        let before = self.landings();
        if !self.attach(env)? {
            return Ok(());
        }
        for index in before {
            let listener = &mut self.listeners[index];
            if listener.owner != self.target {
                listener.warm(env.now);
            }
        }
        Ok(())
    }

    /// Attaches the steering if the kernel lacks it. Returns whether it did.
    fn attach(&mut self, env: &mut Env) -> io::Result<bool> {
        let members = self.members(false);
        match &mut self.backend {
            Backend::Reuseport(reuseport) => {
                let Some(steering) = reuseport.lacking(&members, self.target) else {
                    return Ok(false);
                };
                let via = self.listeners.iter().find(|one| !one.multipath);
                let via = via.ok_or(io::ErrorKind::NotConnected)?.id;
                env.kernel.perform(Op::Attach {
                    via,
                    steering: steering.clone(),
                })?;
                reuseport.attached(steering);
            }
            Backend::Path { placed } => {
                let mut targets = self.listeners.iter();
                let target = targets.find(|one| one.owner == self.target);
                let target = target.map(|one| one.id);
                let Some(listener) = target.filter(|target| *placed != Some(*target)) else {
                    return Ok(false);
                };
                env.kernel.perform(Op::Place { listener })?;
                *placed = Some(listener);
            }
        }
        Ok(true)
    }

    /// Returns the indices of the listeners where a new connection may land now.
    pub(super) fn landings(&self) -> Vec<usize> {
        match &self.backend {
            Backend::Reuseport(reuseport) => reuseport.landings(self.listeners.len()),
            Backend::Path { placed } => {
                let mut ids = self.listeners.iter();
                let index = ids.position(|one| Some(one.id) == *placed);
                index.into_iter().collect()
            }
        }
    }

    /// Restores a path that a program has removed.
    pub(super) fn restore_path(&self, env: &mut Env) {
        if let Backend::Path {
            placed: Some(listener),
        } = self.backend
        {
            let _ = env.kernel.perform(Op::Restore { listener });
        }
    }

    /// Whether a program may remove the path at any time, as most programs do when they exit.
    pub(super) fn path_is_at_risk(&self) -> bool {
        let ends = |one: &Listener| one.draining && !one.is_released();
        self.place == Place::Unix && self.listeners.iter().any(ends)
    }

    /// Returns the listeners as members. `forwarded` is whether released listeners with a forwarder count as forwarded.
    fn members(&self, forwarded: bool) -> Vec<Member> {
        let members = self.listeners.iter().map(|one| Member {
            owner: one.owner,
            forwarded: forwarded && self.is_forwarded(one),
        });
        members.collect()
    }

    /// Whether closing this listener now sends no connection to the wrong listener. If `forwarded` is set, a wrong
    /// listener that forwards its connections is accepted.
    pub(super) fn may_leave(&self, listener: &Listener, forwarded: bool) -> bool {
        match &self.backend {
            Backend::Reuseport(reuseport) => {
                let mut ids = self.listeners.iter();
                let index = ids.position(|one| one.id == listener.id);
                let members = self.members(forwarded);
                index.is_some_and(|index| reuseport.may_leave(&members, index, self.target))
            }
            Backend::Path { placed } => *placed != Some(listener.id),
        }
    }

    /// Diverts connections from this source port to this generation, for a probe.
    pub(super) fn divert(&mut self, port: u16, id: GenId, env: &mut Env) -> io::Result<()> {
        if !self.listens(id) {
            return Err(does_not_listen(id));
        }
        match &mut self.backend {
            Backend::Reuseport(reuseport) => reuseport.divert(port, id),
            Backend::Path { .. } => return Err(io::ErrorKind::Unsupported.into()),
        }
        self.steer(env)
    }

    /// Stops diverting connections from this source port.
    pub(super) fn restore(&mut self, port: u16, env: &mut Env) -> io::Result<()> {
        match &mut self.backend {
            Backend::Reuseport(reuseport) => reuseport.restore(port),
            Backend::Path { .. } => {}
        }
        self.steer(env)
    }
}
