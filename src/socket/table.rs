//! Tracks which generation is live, and the state of every address's listeners. Pure: no I/O, no clock, no descriptors.
//!
//! [`Table::handle`] takes a [`TableInput`] and has a [`Kernel`] perform [`Op`]s. Every decision about listeners is
//! made here. `table/tests` explores the states that a few generations and listeners can reach, using a model of the
//! kernel's `SO_REUSEPORT` groups, and checks after each op that no connection can be lost.

mod closing;
mod forwarding;
mod group;
mod lifecycle;
mod reuseport;
mod switch;
mod types;
mod waiting;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

pub use closing::LONGEST_HANDSHAKE;
pub(super) use group::Group;
pub use types::AddressEvent;
#[cfg(test)]
pub(super) use types::Steering;
use types::{Common, Env, Origin, Owner, does_not_listen};
pub(super) use types::{GroupId, Joining, Kernel, ListenerId, Op, Sight, TableInput};

use super::{Endpoint, Transport};
use crate::reload::{GenId, Time};

use TableInput as Input;

/// How long to wait before retrying to steer or to start a forwarder.
const AGAIN: Duration = Duration::from_secs(1);
/// How often to check the path of a unix socket that an exiting program may remove. If a program removes it, the path
/// is missing for about this long.
const RESTORE_EVERY: Duration = Duration::from_millis(5);

/// All groups, and the state of the generations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Table {
    groups: Vec<Group>,
    common: Common,
    /// The generations that had sockets when they went live or got a share.
    served: BTreeSet<GenId>,
    /// The generations that have been asked to stop, or are about to be, but are not gone yet.
    draining: BTreeSet<GenId>,
    /// The generations that are gone.
    gone: BTreeSet<GenId>,
    deadline: Option<Time>,
    /// Whether an input has been handled since the last [`Self::tidy`].
    untidy: bool,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            groups: Vec::new(),
            common: Common {
                live: Vec::new(),
                share: None,
                responds: false,
                holds_new: false,
                reloading: false,
                next: 0,
            },
            served: BTreeSet::new(),
            draining: BTreeSet::new(),
            gone: BTreeSet::new(),
            deadline: None,
            untidy: false,
        }
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether a generation is live.
    pub(super) fn is_served(&self) -> bool {
        self.common.is_served()
    }

    /// Whether this generation may still become live, but has not been live yet.
    pub(super) fn is_starting(&self, id: GenId) -> bool {
        let known = [&self.served, &self.draining, &self.gone];
        !self.common.is_live(id) && !known.iter().any(|known| known.contains(&id))
    }

    /// Returns when to send [`TableInput::Tick`].
    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// Finds an address's group. Ignores hidden groups.
    pub(super) fn find(&self, endpoint: Endpoint) -> Option<&Group> {
        let is = |group: &&Group| !group.is_hidden() && group.endpoint == Some(endpoint);
        self.groups.iter().find(is)
    }

    /// Returns the addresses on which this generation can serve clients.
    pub(super) fn endpoints(&self, id: GenId) -> Vec<Endpoint> {
        let serving = self.groups.iter().filter(|group| group.may_serve(id));
        serving.filter_map(|group| group.endpoint).collect()
    }

    /// Whether the next generation must open this address before it counts as ready. It need not open one that the live
    /// generation opened after it went live and has closed again while it listens elsewhere, such as a port for one file
    /// transfer.
    pub(super) fn expects(&self, group: &Group) -> bool {
        let common = &self.common;
        let elsewhere = || self.groups.iter().any(|group| group.serves(common));
        group.is_expected(common) && !(group.was_temporary() && elsewhere())
    }

    /// Handles an input. [`Self::tidy`] must be called afterwards. A failed switch or preparation changes nothing;
    /// other inputs are handled as far as possible, and ops that fail are retried.
    pub(super) fn handle(
        &mut self,
        now: Time,
        input: TableInput,
        kernel: &mut dyn Kernel,
    ) -> io::Result<()> {
        // `tidy` completes these, for example by starting the missing forwarders, so the reply must wait for it.
        let is_completed = matches!(
            input,
            Input::Hold | Input::HoldNew(_) | Input::Respond | Input::Drain(_) | Input::Release(_)
        );
        self.mark_untidy(now, &input);
        let env = &mut self.env(now, kernel);
        let result = match input {
            Input::Add(endpoint) => self.add(endpoint, env),
            Input::Prepare(id) => self.prepare(id, env),
            Input::Join(endpoint, joining) => self.join(endpoint, joining, env),
            Input::Orphan(ids) => self.on_each(env, |group, env| group.orphan(&ids, env)),
            Input::Switch { id, beside } => self.switch(id, &beside, env),
            Input::Share { id, percent } => self.share(id, percent, env),
            Input::Hold => self.hold(env),
            Input::HoldNew(holds) => {
                env.common.holds_new = holds;
                Ok(())
            }
            Input::Respond => {
                env.common.responds = true;
                Ok(())
            }
            Input::StopResponding => {
                env.common.responds = false;
                self.on_each(env, Group::stop_responding)
            }
            Input::Reloading(reloading) => {
                env.common.reloading = reloading;
                Ok(())
            }
            Input::Drain(id) => self.drain(id, env),
            Input::Release(id) => self.release(id, env),
            Input::Divert { group, port, to } => match self.group(group) {
                Some(group) => group.divert(port, to, env),
                // The group has been removed, and the diversion with it.
                None => to.map_or(Ok(()), |id| Err(does_not_listen(id))),
            },
            Input::ShutDown(id) => self.on_each(env, |group, env| group.shut_down(id, env)),
            Input::Scanned { group, sight } => self.scanned(group, sight, env),
            Input::Tick => Ok(()),
            Input::Close => {
                self.groups
                    .drain(..)
                    .for_each(|mut group| group.remove(env));
                Ok(())
            }
        };
        self.common = env.common.clone();
        match is_completed {
            true => result.and(self.tidy(now, env.kernel)),
            false => result,
        }
    }

    /// Does what remains to be done after an input. This is separate from [`Self::handle`] because the input's sender,
    /// such as a program that waits in `listen`, need not wait for it. In this order:
    ///
    /// 1. Hide the addresses that the live generation covers with wider ones.
    /// 2. Close the addresses that the live generation has not opened in time. Those that it closed during a reload are
    ///    kept until the reload ends.
    /// 3. Hold new connections, or stop holding them (see [`waiting`]).
    /// 4. Set each group's policy for unclaimed connections (see [`forwarding`]). Do this before the forwarders start: one
    ///    that accepts from the target's listener must not forward to that listener.
    /// 5. Retry failed steering, and start the missing forwarders. If that fails, retry later.
    /// 6. Watch new listeners, restore paths that a program may remove, and close the released listeners if that is
    ///    safe (see [`closing`]).
    /// 7. Set the deadline, which is the time of the next step.
    ///
    /// Steps 3 to 6 skip the groups in which nothing has changed. Fails if a forwarder cannot be started.
    pub(super) fn tidy(&mut self, now: Time, kernel: &mut dyn Kernel) -> io::Result<()> {
        if !std::mem::take(&mut self.untidy) {
            return Ok(());
        }
        let env = &mut self.env(now, kernel);
        let serving = self.hide_covered(env);
        let mut deadlines = vec![self.remove_abandoned(&serving, env)];
        let untidy = |group: &&mut Group| group.untidy;
        if self.groups.iter().any(|group| !group.untidy) {
            deadlines.push(self.deadline);
        }
        let (mut steered, mut forwarding) = (Ok(()), Ok(()));
        for group in self.groups.iter_mut().filter(untidy) {
            steered = group.hold_new(env).and(steered);
            group.set_policy(&serving, env);
        }
        for group in self.groups.iter_mut().filter(untidy) {
            steered = group.steer(env).and(steered);
            forwarding = group.start_forwarding(env).and(forwarding);
        }
        let failed = steered.is_err() || forwarding.is_err();
        deadlines.push(failed.then(|| now.plus(AGAIN)));
        for group in self.groups.iter_mut().filter(untidy) {
            group.untidy = false;
            group.watch(env);
            // Most programs remove the path when they exit.
            if group.is_path() && !self.draining.is_empty() {
                group.restore_path(env);
                deadlines.push(Some(now.plus(RESTORE_EVERY)));
            }
            deadlines.push(group.sweep(env));
        }
        self.deadline = deadlines.into_iter().flatten().min();
        self.common = env.common.clone();
        forwarding
    }

    fn env<'a>(&self, now: Time, kernel: &'a mut dyn Kernel) -> Env<'a> {
        Env {
            now,
            common: self.common.clone(),
            kernel,
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

    fn add(&mut self, endpoint: Option<Endpoint>, env: &mut Env) -> io::Result<()> {
        let mut group = Group::new(endpoint, false, env);
        let opened = group.open(Owner::Next, Origin::Hotrun, env);
        let opened = opened.and_then(|()| group.steer(env));
        self.keep(group, opened, env)
    }

    /// Keeps a new group, unless its first listener could not be opened.
    fn keep(&mut self, mut group: Group, opened: io::Result<()>, env: &mut Env) -> io::Result<()> {
        match opened {
            Ok(()) => self.groups.push(group),
            Err(_) => group.remove(env),
        }
        opened
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
        // The generation is gone, so its listener would never be released.
        if self.gone.contains(&joining.id) {
            return Err(Errno::ESRCH.into());
        }
        let draining = self.draining.contains(&joining.id);
        let found = self.find(endpoint).map(|group| group.id);
        if let Some(group) = found.and_then(|id| self.group(id)) {
            group.refresh(env)?;
            return group.join(joining, draining, env);
        }
        let mut group = Group::new(Some(endpoint), true, env);
        let joined = group.join(joining, draining, env);
        self.keep(group, joined, env)
    }

    fn hold(&mut self, env: &mut Env) -> io::Result<()> {
        env.common.live.clear();
        self.on_each(env, |group, env| group.refresh(env).and(group.hold(env)))
    }

    /// Records that a generation is about to be asked to stop. Holds the connections to addresses on which no
    /// live generation listens: it may stop accepting at any moment.
    fn drain(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        env.common.live.retain(|live| *live != id);
        self.draining.insert(id);
        let groups = self.groups.iter_mut();
        let listeners = groups.flat_map(|group| group.owned_mut(Owner::Generation(id)));
        listeners.for_each(|listener| listener.retired = true);
        if !env.common.is_served() {
            return Ok(());
        }
        self.on_each(env, |group, env| match group.is_target(id) {
            true => group.hold(env),
            false => Ok(()),
        })
    }

    fn release(&mut self, id: GenId, env: &mut Env) -> io::Result<()> {
        env.common.live.retain(|live| *live != id);
        self.draining.remove(&id);
        self.served.remove(&id);
        self.gone.insert(id);
        self.on_each(env, |group, env| {
            let refreshed = group.refresh(env);
            let released = group.release(id, env);
            refreshed.and(released)
        })
    }

    /// Hides the groups that no live generation has joined but one covers with wider addresses. Returns the addresses on
    /// which the live generations can serve clients.
    fn hide_covered(&mut self, env: &mut Env) -> Vec<Endpoint> {
        let common = &env.common;
        let served = self.groups.iter().filter(|group| group.serves(common));
        let serving: Vec<Endpoint> = served.filter_map(|group| group.endpoint).collect();
        let covered = |at: Endpoint| at.transport == Transport::Tcp && at.is_covered_by(&serving);
        for group in &mut self.groups {
            if !group.serves(&env.common) && group.endpoint.is_some_and(covered) {
                group.hide(env);
            }
        }
        serving
    }
}

#[cfg(test)]
mod tests;
