//! Closes released listeners as soon as that is safe.
//!
//! A listener is closed here only if all of the following hold. Elsewhere, a listener is closed only if its program has
//! shut it down, if it is a datagram socket that its program has closed, or if its whole group is removed.
//!
//! 1. No program accepts from it, because its generation is gone or has closed it (`Listener::is_released`).
//! 2. It gets no new connections: it does not belong to the target, and the attached steering program never chooses it
//!    (`Group::released`).
//! 3. No connection is on its way into it: a scan after the switch has found no unfinished handshake, or every
//!    handshake has timed out (`Group::scanned` sets `Listener::quiescent`, and `Listener::warm` clears it).
//! 4. The group contains no socket of another process, because the index of that socket might change.
//!    `Group::scanned` checks this. No check is needed just after one of our sockets has joined.
//! 5. The change of indices sends no connection to the wrong listener, or only to listeners that forward it
//!    (`Group::may_leave`).
//! 6. No connection is waiting in it (`Group::is_empty`). This is checked last: a connection that was on its way during
//!    the scan is in the queue now. Unix sockets are exempt: connections that wait in one are closed with it, because
//!    no program will accept them and hotrun cannot forward them (`Group::may_accept`).

use std::io;
use std::time::Duration;

use super::Table;
use super::group::{Group, Sweep};
use super::types::{Env, GroupId, Joining, Listener, ListenerId, Op, Sight, TableInput};
use crate::reload::Time;
use crate::socket::Endpoint;

/// The minimum time to keep a listener after the switch: another CPU may have chosen it with the old steering program
/// but not queued the connection yet.
pub(super) const REST: Duration = Duration::from_millis(50);
/// How long a handshake that began before a switch may last: a client that has not received our SYN-ACK retransmits its
/// SYN after one second, and again after two more (RFC 6298).
pub const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3);
/// The longest pause between two scans: connections in a queue may have to wait for a live generation for a long time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Table {
    /// Marks all groups, unless the input changes nothing outside the group of its address, which then marks itself. A
    /// program that opens thousands of addresses must not have to wait for all groups to be tidied up each time.
    pub(super) fn mark_untidy(&mut self, now: Time, input: &TableInput) {
        self.untidy = true;
        let due = self.deadline.is_some_and(|deadline| deadline <= now);
        let joins = |one: &Joining| !self.common.is_live(one.id);
        if matches!(input, TableInput::Join(_, one) if joins(one)) && !due {
            return;
        }
        for group in &mut self.groups {
            group.untidy = true;
            if !matches!(input, TableInput::Tick | TableInput::Scanned { .. }) {
                group.sweep_soon(now);
            }
        }
    }

    pub(super) fn scanned(&mut self, id: GroupId, sight: Sight, env: &mut Env) -> io::Result<()> {
        if let Some(group) = self.group(id) {
            group.scanned(sight, env);
        }
        Ok(())
    }

    /// Closes the abandoned groups whose time is up. Returns when to close the next one. `serving`: the addresses on
    /// which the live generation can serve clients.
    pub(super) fn remove_abandoned(&mut self, serving: &[Endpoint], env: &mut Env) -> Option<Time> {
        let mut next = None;
        let groups = &mut self.groups;
        groups.retain_mut(|group| match group.ends_at(serving, env) {
            Some(at) if at <= env.now => {
                group.end(serving, env);
                false
            }
            at => {
                next = next.into_iter().chain(at).min();
                true
            }
        });
        next
    }
}

impl Group {
    /// Starts watching the new listeners. If a program shuts down the target's listener, connections are refused or
    /// reach the wrong generation until the table reacts.
    pub(super) fn watch(&mut self, env: &mut Env) {
        // A shutdown does not remove a datagram socket from its group.
        if self.carries_datagrams() {
            return;
        }
        for listener in self.listeners.iter_mut().filter(|one| !one.watched) {
            let id = listener.id;
            // If the listener cannot be watched, `refresh` finds out whether it has been shut down.
            let watching = env.kernel.perform(Op::Watch { listener: id });
            listener.watched = watching.is_ok();
        }
    }

    /// Scans again soon, because an input may have changed something.
    pub(super) fn sweep_soon(&mut self, now: Time) {
        self.untidy = true;
        if let Some(sweep) = &mut self.sweep {
            sweep.at = now;
            sweep.pause = REST;
        }
    }

    /// Starts a scan for listeners that can be closed, if it is time for one. Returns when to call this again if there
    /// is no input before then.
    pub(super) fn sweep(&mut self, env: &mut Env) -> Option<Time> {
        // If only the order of the group's members prevents closing a listener, it is kept until another member joins.
        let waits = |one: &Listener| !one.quiescent || self.may_leave(one, true, env);
        if !self.released().any(waits) {
            self.sweep = None;
            return None;
        }
        let first = Sweep {
            at: env.now,
            pause: REST,
            scanning: false,
        };
        let sweep = self.sweep.get_or_insert(first);
        if !sweep.scanning && sweep.at <= env.now {
            self.scan(env);
        }
        let sweep = self.sweep.as_ref().filter(|sweep| !sweep.scanning);
        sweep.map(|sweep| sweep.at)
    }

    fn scan(&mut self, env: &mut Env) {
        let Some(handshakes) = self.next_scan(env) else {
            return self.scan_later(env.now);
        };
        if !self.may_accept() {
            // No system-wide scan is needed: clients of a unix socket reach a listener immediately through its file,
            // and datagrams have no handshake.
            let sight = Sight {
                since: env.now,
                stranger: false,
                half_open: false,
            };
            return self.scanned(sight, env);
        }
        let group = self.id;
        match env.kernel.perform(Op::Scan { group, handshakes }) {
            Ok(()) => {
                if let Some(sweep) = &mut self.sweep {
                    sweep.scanning = true;
                }
            }
            Err(_) => self.scan_later(env.now),
        }
    }

    /// Closes the listeners that can be closed according to a scan.
    pub(super) fn scanned(&mut self, sight: Sight, env: &mut Env) {
        self.scan_later(env.now);
        let arrives = |until| may_arrive(sight, until, env.now);
        let certain = self.released();
        let certain = certain.filter(|one| !one.targeted_until.is_some_and(arrives));
        let certain: Vec<ListenerId> = certain.map(|one| one.id).collect();
        for listener in &mut self.listeners {
            // A listener remains quiescent until the steering changes.
            listener.quiescent |= certain.contains(&listener.id);
        }
        if !sight.stranger {
            self.close_deferred(env);
            // Close one more even if connections may then land in the wrong listeners, provided that those forward
            // them.
            if let Some(id) = self.closable(true, env) {
                let _ = self.close(id, env);
            }
        }
    }

    fn scan_later(&mut self, now: Time) {
        if let Some(sweep) = &mut self.sweep {
            sweep.scanning = false;
            sweep.at = now.plus(sweep.pause);
            sweep.pause = (sweep.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns the released listeners that get no new connections.
    fn released(&self) -> impl Iterator<Item = &Listener> {
        let landings = self.landings();
        let numbered = self.listeners.iter().enumerate();
        let released = numbered.filter(move |(index, one)| {
            one.is_released() && one.owner != self.target && !landings.contains(index)
        });
        released.map(|(_, one)| one)
    }

    /// Returns whether the next scan must include handshakes, or `None` if no listener can be closed yet.
    fn next_scan(&self, env: &mut Env) -> Option<bool> {
        let now = env.now;
        let warm_for = |one: &Listener| one.targeted_until.map(|until| now.since(until));
        let rested = |one: &Listener| warm_for(one).is_none_or(|passed| passed >= REST);
        let unsure = |one: &Listener| !one.quiescent && rested(one);
        if !self.released().any(unsure) && self.closable(true, env).is_none() {
            return None;
        }
        let matters =
            |one: &Listener| warm_for(one).is_some_and(|passed| passed < LONGEST_HANDSHAKE);
        Some(self.released().any(|one| unsure(one) && matters(one)))
    }

    /// Closes the listeners that can be closed. This needs no scan just after a member has joined, because the group
    /// then contains no strangers. The new member may make it possible to close a listener that cannot be closed once
    /// the new member is the target.
    pub(super) fn close_deferred(&mut self, env: &mut Env) {
        while let Some(id) = self.closable(false, env) {
            if self.close(id, env).is_err() {
                return;
            }
        }
    }

    /// Finds a listener that can be closed.
    fn closable(&self, forwarded: bool, env: &mut Env) -> Option<ListenerId> {
        let mut released = self.released();
        let closable = released.find(|one| {
            one.quiescent && self.may_leave(one, forwarded, env) && self.is_empty(one.id, env)
        });
        closable.map(|one| one.id)
    }

    fn is_empty(&self, listener: ListenerId, env: &mut Env) -> bool {
        let queue = env.kernel.queue(listener);
        self.is_path() || queue.is_none_or(|queue| queue.waiting == 0)
    }
}

/// Whether a connection may still be on its way into a listener that could be chosen until the time `until`. A
/// connection that was already arriving at the time of the scan is in the queue now.
fn may_arrive(sight: Sight, until: Time, now: Time) -> bool {
    let passed = now.since(until);
    // A scan that started too early misses the handshakes that began after it.
    let too_early = sight.since < until.plus(REST);
    passed < REST || passed < LONGEST_HANDSHAKE && (too_early || sight.half_open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_counts_only_if_it_began_long_enough_after_the_switch() {
        let at = |ms| Time(Duration::from_millis(ms));
        let arrives = |since, half_open, now| {
            let sight = Sight {
                since: at(since),
                stranger: false,
                half_open,
            };
            may_arrive(sight, at(0), at(now))
        };
        assert!(arrives(0, false, 60), "the scan began too early");
        assert!(arrives(49, false, 60), "the scan began too early");
        assert!(!arrives(50, false, 60));
        assert!(arrives(50, false, 49), "the minimum time has not passed");
        assert!(arrives(50, true, 60), "a handshake is unfinished");
        assert!(!arrives(50, true, 3000), "the handshake has timed out");
        assert!(arrives(50, true, 2999));
    }
}
