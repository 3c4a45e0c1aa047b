//! Tracks which generation is live, and the state of every address's listeners. Pure: no I/O, no clock, no descriptors.
//!
//! [`Table::handle`] takes an [`Input`] and has a [`Kernel`] perform [`Op`]s. Every decision about listeners is made
//! here. `table/tests` explores all states that a few generations and listeners can reach, against a model of the
//! kernel's array of members, and checks after each op that no connection can be lost.

mod adopted;
mod closing;
mod group;
mod listener;
mod op;
mod reuseport;
mod target;
mod waiting;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

pub(super) use closing::LONGEST_HANDSHAKE;
pub(super) use group::Group;
use listener::Owner;
pub(super) use listener::{GroupId, ListenerId, Place};
use op::{Common, Env, does_not_listen};
pub(super) use op::{Input, Joining, Kernel, Op, Sight, UnclaimedPolicy};
#[cfg(test)]
pub(super) use reuseport::Steering;

use super::{Endpoint, Transport};
use crate::reload::{GenId, Time};

/// How long to wait before retrying failed steering and forwarders.
const AGAIN: Duration = Duration::from_secs(1);
/// How often to restore the path of a unix socket: a program may remove the path when it exits, and it is then missing
/// for at most this long.
const RESTORE_EVERY: Duration = Duration::from_millis(5);

/// All groups, and the state of the generations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Table {
    groups: Vec<Group>,
    common: Common,
    /// The generations that had sockets when they went live.
    served: BTreeSet<GenId>,
    /// The generations that have been asked to stop but are not gone yet.
    draining: BTreeSet<GenId>,
    /// The generations that are gone.
    gone: BTreeSet<GenId>,
    /// When to retry failed ops.
    retry_at: Option<Time>,
    /// When to restore paths again.
    restore_at: Option<Time>,
    deadline: Option<Time>,
    /// Whether an input may have changed anything since the last [`Self::tidy`].
    changed: bool,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            groups: Vec::new(),
            common: Common {
                live: None,
                responds: false,
                next: 0,
            },
            served: BTreeSet::new(),
            draining: BTreeSet::new(),
            gone: BTreeSet::new(),
            retry_at: None,
            restore_at: None,
            deadline: None,
            changed: false,
        }
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn live(&self) -> Option<GenId> {
        self.common.live
    }

    /// Returns when to send [`Input::Tick`].
    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// Finds the group of an address, unless it is hidden.
    pub(super) fn find(&self, endpoint: Endpoint) -> Option<&Group> {
        let is = |group: &&Group| !group.is_hidden() && group.endpoint() == Some(endpoint);
        self.groups.iter().find(is)
    }

    /// Returns the addresses where this generation can serve.
    pub(super) fn endpoints(&self, id: GenId) -> Vec<Endpoint> {
        let serving = self.groups.iter().filter(|group| group.may_serve(id));
        serving.filter_map(Group::endpoint).collect()
    }

    /// Handles an input. [`Self::tidy`] must be called afterwards. A failed switch or preparation changes nothing;
    /// other inputs are handled as far as possible, and ops that fail are retried.
    pub(super) fn handle(
        &mut self,
        now: Time,
        input: Input,
        kernel: &mut dyn Kernel,
    ) -> io::Result<()> {
        let mut env = Env {
            now,
            common: self.common,
            kernel,
        };
        self.changed |= !matches!(input, Input::Tick | Input::Scanned { .. });
        let result = self.act(input, &mut env);
        self.common = env.common;
        result
    }

    /// Brings everything else up to date: policies, forwarders, watches, closing, deadlines. Call this after each
    /// input; the input's sender need not wait for it. Fails if a forwarder cannot be started, which is retried.
    pub(super) fn tidy(&mut self, now: Time, kernel: &mut dyn Kernel) -> io::Result<()> {
        let mut env = Env {
            now,
            common: self.common,
            kernel,
        };
        let env = &mut env;
        let changed = std::mem::take(&mut self.changed);
        self.groups
            .iter_mut()
            .for_each(|group| group.set_policy(env));
        self.hide_covered(env);
        let ends = self.remove_abandoned(env);
        let steering = self.on_each(env, Group::steer);
        let forwarding = self.on_each(env, Group::start_forwarding);
        let failed = steering.is_err() || forwarding.is_err();
        self.retry_at = failed.then(|| now.plus(AGAIN));
        self.restore_paths(env);
        let mut sweeps = None;
        for group in &mut self.groups {
            group.watch(env);
            group.sweep(changed, env);
            sweeps = earlier(sweeps, group.sweeps_at());
        }
        let others = earlier(self.retry_at, self.restore_at);
        self.deadline = earlier(earlier(sweeps, ends), others);
        self.common = env.common;
        forwarding
    }

    fn act(&mut self, input: Input, env: &mut Env) -> io::Result<()> {
        match input {
            Input::Listen(place) => self.listen(place, env),
            Input::Prepare(id) => self.prepare(id, env),
            Input::Join(endpoint, joining) => self.join(endpoint, joining, env),
            Input::Orphan(ids) => self.on_each(env, |group, env| group.orphan_all(&ids, env)),
            Input::Switch(id) => self.switch(id, env),
            Input::Hold => self.hold(env),
            Input::Respond => {
                env.common.responds = true;
                Ok(())
            }
            Input::StopResponding => {
                env.common.responds = false;
                self.on_each(env, Group::stop_responding)
            }
            Input::Drain(id) => {
                env.common.live = env.common.live.filter(|live| *live != id);
                self.draining.insert(id);
                self.groups.iter_mut().for_each(|group| group.drain(id));
                Ok(())
            }
            Input::Release(id) => self.release(id, env),
            Input::Divert { group, port, id } => {
                let found = self.group(group).ok_or_else(|| does_not_listen(id))?;
                found.divert(port, id, env)
            }
            Input::Restore { group, port } => {
                let group = self.group(group);
                group.map_or(Ok(()), |group| group.restore(port, env))
            }
            Input::ShutDown(listener) => {
                self.on_each(env, |group, env| group.shut_down(listener, env))
            }
            Input::Scanned { group, sight } => {
                if let Some(group) = self.group(group) {
                    group.scanned(sight, env);
                }
                Ok(())
            }
            Input::Tick => Ok(()),
            Input::Close => {
                let groups = self.groups.drain(..);
                groups.for_each(|mut group| group.remove(env));
                Ok(())
            }
        }
    }

    fn group(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.id == id)
    }

    /// Calls `act` for every group, and returns the last error.
    fn on_each(
        &mut self,
        env: &mut Env,
        mut act: impl FnMut(&mut Group, &mut Env) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut result = Ok(());
        for group in &mut self.groups {
            result = act(group, env).and(result);
        }
        result
    }

    fn listen(&mut self, place: Place, env: &mut Env) -> io::Result<()> {
        let mut group = Group::new(place, false, env);
        let begun = group.begin(env);
        self.keep(group, begun, env)
    }

    /// Keeps a new group, unless its first listener could not be opened.
    fn keep(&mut self, mut group: Group, begun: io::Result<()>, env: &mut Env) -> io::Result<()> {
        match begun {
            Ok(()) => self.groups.push(group),
            Err(_) => group.remove(env),
        }
        begun
    }

    fn prepare(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        let listed = self.groups.iter_mut().filter(|group| !group.is_adopted());
        for group in listed {
            let prepared = group.refresh(env).and_then(|()| group.prepare(id, env));
            if let Err(error) = prepared {
                let _ = self.release(id, env);
                return Err(error);
            }
        }
        Ok(())
    }

    fn join(&mut self, endpoint: Endpoint, joining: Joining, env: &mut Env) -> io::Result<()> {
        // A listener of this generation would never be released.
        if self.gone.contains(&joining.id) {
            return Err(Errno::ESRCH.into());
        }
        let draining = self.draining.contains(&joining.id);
        let found = self.find(endpoint).map(|group| group.id);
        if let Some(group) = found.and_then(|id| self.group(id)) {
            group.refresh(env)?;
            return group.join(joining, draining, env);
        }
        let mut group = Group::new(Place::Ip(endpoint), true, env);
        let joined = group.join(joining, draining, env);
        self.keep(group, joined, env)
    }

    /// Steers every group to this generation, or none.
    fn switch(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        // First drop the listeners that were shut down, because that changes the indices.
        self.on_each(env, Group::refresh)?;
        // A generation must listen on every `--listen` address, but need not open every address that the previous one
        // opened.
        let missing = |group: &Group| !group.is_adopted() && !group.may_serve(id);
        let has_sockets = self.groups.iter().any(|group| group.may_serve(id));
        // The generation was live before, but has since closed its sockets, or its groups are hidden.
        let lost = self.served.contains(&id) && !has_sockets;
        let mut groups = self.groups.iter();
        if lost || groups.any(|group| missing(group) || group.hides(id)) {
            return Err(does_not_listen(id));
        }
        let mut done: Vec<(&mut Group, Owner)> = Vec::new();
        for group in self.groups.iter_mut().filter(|group| group.may_serve(id)) {
            let before = group.target;
            let switched = group.set_target(Owner::Generation(id), env);
            done.push((group, before));
            if let Err(error) = switched {
                for (group, before) in done {
                    let _ = group.set_target(before, env);
                }
                return Err(error);
            }
        }
        done.into_iter().for_each(|(group, _)| group.switched(id));
        if has_sockets {
            self.served.insert(id);
        }
        env.common.live = Some(id);
        self.hide_covered(env);
        Ok(())
    }

    fn hold(&mut self, env: &mut Env) -> io::Result<()> {
        env.common.live = None;
        self.on_each(env, |group, env| group.refresh(env).and(group.hold(env)))
    }

    fn release(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        env.common.live = env.common.live.filter(|live| *live != id);
        self.draining.remove(&id);
        self.served.remove(&id);
        self.gone.insert(id);
        self.on_each(env, |group, env| {
            let refreshed = group.refresh(env);
            let released = group.release(id, env);
            refreshed.and(released)
        })
    }

    /// Hides the groups that the live generation has not joined, if it gets their connections once they are hidden.
    fn hide_covered(&mut self, env: &mut Env) {
        let Some(live) = env.common.live else { return };
        let serving = self.endpoints(live);
        let covered = |at: Endpoint| at.transport == Transport::Tcp && at.is_covered_by(&serving);
        for group in &mut self.groups {
            if !group.may_serve(live) && group.endpoint().is_some_and(covered) {
                group.hide(env);
            }
        }
    }

    /// Closes the abandoned groups whose time is up. Returns when to close the next one.
    fn remove_abandoned(&mut self, env: &mut Env) -> Option<Time> {
        let mut next = None;
        self.groups.retain_mut(|group| match group.ends_at(env) {
            Some(at) if at <= env.now => {
                group.remove(env);
                false
            }
            at => {
                next = earlier(next, at);
                true
            }
        });
        next
    }

    fn restore_paths(&mut self, env: &mut Env) {
        let at_risk = self.groups.iter().filter(|group| group.path_is_at_risk());
        let at_risk = at_risk.map(|group| group.restore_path(env)).count();
        self.restore_at = (at_risk > 0).then(|| env.now.plus(RESTORE_EVERY));
    }
}

fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;
