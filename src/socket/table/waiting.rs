//! Holds connections while no generation is live.

use std::io;

use super::group::Group;
use super::listener::{Origin, Owner, Phase};
use super::op::{Env, Op};
use crate::reload::GenId;

impl Group {
    /// Holds connections, because no generation is live. They wait for the newest generation that may go live, or for
    /// the next one.
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
            // Our sockets cannot join those of a program that runs as another user. Connections wait where they are.
            Err(_) if self.is_adopted() && !self.listeners.is_empty() => return Ok(()),
            opened => opened?,
        }
        self.close_deferred(env);
        self.set_target(Owner::Next, env)
    }

    /// Releases the listeners of a generation whose process tree is gone, so that only hotrun holds them.
    pub(super) fn release(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        let owner = Owner::Generation(id);
        for listener in self.owned_mut(owner) {
            listener.phase = Phase::Released;
            listener.draining = true;
            let listener = listener.id;
            let _ = env.kernel.perform(Op::SetNonblocking { listener });
        }
        match self.target == owner {
            true => self.hold(env),
            false => Ok(()),
        }
    }

    /// Stops accepting from the listener. Returns whether that succeeded.
    fn stop_forwarding(&mut self, index: usize, env: &mut Env) -> bool {
        let listener = &mut self.listeners[index];
        if listener.forwards {
            let id = listener.id;
            let stopped = env.kernel.perform(Op::StopForwarding { listener: id });
            listener.forwards = stopped.is_err();
        }
        !listener.forwards
    }

    /// Holds connections again. The next generation must not share a listener with a forwarder. If the forwarder is in
    /// the middle of an accept, the generation gets another listener, and connections in the old one are forwarded.
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
