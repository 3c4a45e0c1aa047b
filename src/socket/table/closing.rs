//! Released listeners are closed as soon as that is safe.

use std::time::Duration;

use super::group::{Group, Sweep};
use super::listener::{Listener, ListenerId};
use super::op::{Env, Op, Sight, UnclaimedPolicy};
use crate::reload::Time;
use crate::socket::Transport;

/// How long a listener is kept at least after the switch: another processor may be between the choice by the old program
/// and the queue.
pub(super) const REST: Duration = Duration::from_millis(50);
/// How long a handshake may last that began before a switch: a client that lost our answer sends again after one second,
/// then after two (RFC 6298).
pub(super) const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3);
/// The longest pause between two looks, for listeners whose queue waits for a live generation.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Group {
    /// Starts to look for listeners that can be closed. If something has `changed`, the next look comes sooner.
    pub(super) fn sweep(&mut self, changed: bool, env: &mut Env) {
        if !self.waits_for_time() {
            self.sweep = None;
            return;
        }
        let soon = Sweep {
            at: env.now,
            pause: REST,
            scanning: false,
        };
        match &mut self.sweep {
            None => self.sweep = Some(soon),
            Some(sweep) if changed && !sweep.scanning => *sweep = soon,
            Some(sweep) if changed => sweep.pause = REST,
            Some(_) => {}
        }
        self.look(env);
    }

    /// Looks, if it is time.
    fn look(&mut self, env: &mut Env) {
        let due = |sweep: &Sweep| !sweep.scanning && sweep.at <= env.now;
        if !self.sweep.as_ref().is_some_and(due) {
            return;
        }
        let Some(handshakes) = self.next_look(env) else {
            return self.look_later(env.now);
        };
        if !self.is_tcp() {
            // Clients of a unix socket reach a listener through its file, at once, and datagrams have no handshake.
            let sight = Sight {
                since: env.now,
                stranger: false,
                half_open: false,
            };
            return self.looked(sight, env);
        }
        let group = self.id;
        match env.kernel.perform(Op::Scan { group, handshakes }) {
            Ok(()) => {
                if let Some(sweep) = &mut self.sweep {
                    sweep.scanning = true;
                }
            }
            Err(_) => self.look_later(env.now),
        }
    }

    /// Closes the listeners that may be closed according to a look.
    pub(super) fn looked(&mut self, sight: Sight, env: &mut Env) {
        self.look_later(env.now);
        self.note_quiescent(sight, env.now);
        if !sight.stranger {
            self.close_deferred(env);
            self.close_one_more(env);
        }
    }

    fn look_later(&mut self, now: Time) {
        if let Some(sweep) = &mut self.sweep {
            sweep.scanning = false;
            sweep.at = now.plus(sweep.pause);
            sweep.pause = (sweep.pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn is_tcp(&self) -> bool {
        let endpoint = self.endpoint();
        endpoint.is_some_and(|endpoint| endpoint.transport == Transport::Tcp)
    }

    /// Whether a listener can be closed after some time. If the order of the group forbids that, it stays until the next
    /// one joins.
    fn waits_for_time(&self) -> bool {
        let mut released = self.released();
        released.any(|one| !one.quiescent || self.may_leave(one, true))
    }

    /// The released listeners that get no new connections.
    fn released(&self) -> impl Iterator<Item = &Listener> {
        let landings = self.landings();
        let numbered = self.listeners.iter().enumerate();
        let released = numbered.filter(move |(index, one)| {
            one.is_released() && one.owner != self.target && !landings.contains(index)
        });
        released.map(|(_, one)| one)
    }

    /// Whether connections that land in it are forwarded to the live generation.
    pub(super) fn is_forwarded(&self, listener: &Listener) -> bool {
        self.policy == UnclaimedPolicy::Forward
            && listener.forwards
            && listener.is_released()
            && listener.owner != self.target
    }

    /// Whether handshakes matter for the next look. `None` if nothing can be closed yet.
    fn next_look(&self, env: &mut Env) -> Option<bool> {
        let now = env.now;
        let warm_for = |one: &Listener| one.targeted_until.map(|until| now.since(until));
        let rested = |one: &Listener| warm_for(one).is_none_or(|passed| passed >= REST);
        let unsure = |one: &Listener| !one.quiescent && rested(one);
        let leaves = |one: &Listener, env: &mut Env| {
            one.quiescent && self.may_leave(one, true) && is_empty(one.id, env)
        };
        if !self.released().any(|one| unsure(one) || leaves(one, env)) {
            return None;
        }
        let matters =
            |one: &Listener| warm_for(one).is_some_and(|passed| passed < LONGEST_HANDSHAKE);
        Some(self.released().any(|one| unsure(one) && matters(one)))
    }

    /// Notes which listeners certainly get no more connections. That holds until steering changes.
    fn note_quiescent(&mut self, sight: Sight, now: Time) {
        let arrives = |until| may_arrive(sight, until, now);
        let certain = self.released();
        let certain = certain.filter(|one| !one.targeted_until.is_some_and(arrives));
        let certain: Vec<ListenerId> = certain.map(|one| one.id).collect();
        for id in certain {
            if let Some(listener) = self.find(id) {
                listener.quiescent = true;
            }
        }
    }

    /// Closes the listeners that may be closed. This needs no look just after a member has joined, when no stranger is in the
    /// group: the new member may permit a closing that the next switch would forbid again.
    pub(super) fn close_deferred(&mut self, env: &mut Env) {
        while let Some(id) = self.closable(false, env) {
            if self.close(id, env).is_err() {
                return;
            }
        }
    }

    /// If the order of the group forbids to close any, this closes one if all connections that could go astray are forwarded.
    fn close_one_more(&mut self, env: &mut Env) {
        if let Some(id) = self.closable(true, env) {
            let _ = self.close(id, env);
        }
    }

    /// The queue is looked at last: a connection that was on its way during the look is in it by now.
    fn closable(&self, forwarded: bool, env: &mut Env) -> Option<ListenerId> {
        let mut released = self.released();
        let closable = released
            .find(|one| one.quiescent && self.may_leave(one, forwarded) && is_empty(one.id, env));
        closable.map(|one| one.id)
    }

    /// When to look again even if nothing happens.
    pub(super) fn sweeps_at(&self) -> Option<Time> {
        let sweep = self.sweep.as_ref().filter(|sweep| !sweep.scanning);
        sweep.map(|sweep| sweep.at)
    }
}

fn is_empty(listener: ListenerId, env: &mut Env) -> bool {
    let queue = env.kernel.queue(listener);
    queue.is_none_or(|queue| queue.waiting == 0)
}

/// Whether a connection may still be on its way into a listener that was chosen until `until`. If one was at the time
/// of the look, it is in the queue by now.
fn may_arrive(sight: Sight, until: Time, now: Time) -> bool {
    let passed = now.since(until);
    // A look before its time misses the handshakes that began after it.
    let too_early = sight.since < until.plus(REST);
    passed < REST || passed < LONGEST_HANDSHAKE && (too_early || sight.half_open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_counts_only_if_it_began_after_the_switch() {
        let at = |ms| Time::after_start(Duration::from_millis(ms));
        let arrives = |since, half_open, now| {
            let sight = Sight {
                since: at(since),
                stranger: false,
                half_open,
            };
            may_arrive(sight, at(0), at(now))
        };
        assert!(arrives(0, false, 60), "too early");
        assert!(arrives(49, false, 60), "too early");
        assert!(!arrives(50, false, 60));
        assert!(arrives(50, false, 49), "not rested");
        assert!(arrives(50, true, 60), "half open");
        assert!(!arrives(50, true, 3000), "the handshake has timed out");
        assert!(arrives(50, true, 2999));
    }
}
