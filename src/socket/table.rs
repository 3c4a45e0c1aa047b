//! Which generation is live, and the state of each listener of each address. Pure: no I/O, no clock, no descriptor.
//!
//! [`Table::handle`] takes an [`Input`] and has [`Op`]s performed by a [`Kernel`]. Every decision about listeners is
//! made here. `table/tests` walks through the states that small worlds can reach, against a model of the kernel's array of
//! members, and checks after each op that no connection can be lost.

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

pub(super) use group::Group;
use listener::Owner;
pub(super) use listener::{GroupId, ListenerId, Place};
use op::{Common, Env, does_not_listen};
pub(super) use op::{Input, Joining, Kernel, Op, Sight, UnclaimedPolicy};
#[cfg(test)]
pub(super) use reuseport::Steering;

use super::{Endpoint, Transport};
use crate::reload::{GenId, Time};

/// When failed steering and forwarders are tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// A program may remove the path of its unix socket as it exits. It is missing for at most this long.
const RESTORE_EVERY: Duration = Duration::from_millis(5);

/// All groups.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Table {
    groups: Vec<Group>,
    common: Common,
    /// The generations that had sockets when they became live.
    served: BTreeSet<GenId>,
    /// The generations that are asked to stop, until they are gone.
    draining: BTreeSet<GenId>,
    /// The generations that are gone.
    gone: BTreeSet<GenId>,
    /// When failed ops are tried again.
    retry_at: Option<Time>,
    /// When paths are looked at again.
    restore_at: Option<Time>,
    deadline: Option<Time>,
    /// Whether an input has changed anything since the last [`Self::tidy`].
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

    /// When to send [`Input::Tick`].
    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// The visible group of an address.
    pub(super) fn find(&self, endpoint: Endpoint) -> Option<&Group> {
        let is = |group: &&Group| !group.is_hidden() && group.endpoint() == Some(endpoint);
        self.groups.iter().find(is)
    }

    /// Where this generation listens.
    pub(super) fn endpoints(&self, id: GenId) -> Vec<Endpoint> {
        let serving = self.groups.iter().filter(|group| group.may_serve(id));
        serving.filter_map(Group::endpoint).collect()
    }

    /// Acts on an input. [`Self::tidy`] has to follow. A failed switch and a failed preparation change nothing; the others
    /// do as much as they can, and ops that failed are tried again.
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

    /// Adapts everything else to the input: policies, forwarders, watches, closing, deadlines. To be called after each input;
    /// its sender need not wait. Fails if a forwarder can't be started, which is tried again.
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
                    group.looked(sight, env);
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

    /// Acts on every group, and returns the last error.
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

    /// Keeps a new group, unless its first listener failed.
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
        // It would never be released.
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

    /// Every group is steered, or none is.
    fn switch(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        // Listeners that were shut down come first: they change what the indices mean.
        self.on_each(env, Group::refresh)?;
        // The next program need not open every address that this one opened.
        let missing = |group: &Group| !group.is_adopted() && !group.may_serve(id);
        let has_sockets = self.groups.iter().any(|group| group.may_serve(id));
        // It was live before, and has closed its sockets since, or one of them is hidden.
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

    /// Hides the groups that the live generation has not joined, where it gets their connections once they are hidden.
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

    /// Closes abandoned groups. Returns when to close the next one.
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
