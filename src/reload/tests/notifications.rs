//! The notifications that programs send.

use std::time::Duration;

use super::ledger::{Ledger, Rule};
use super::process::{Gen, Role, TreeState, WatchdogState};
use super::world::World;
use crate::reload::{Action, Event, GenEvent, GenId, Policy, Time, WatchdogMessage};

impl World {
    /// The notifications that may arrive next, and the events about missing addresses and reported writes.
    pub(super) fn notifications(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for known in &self.gens {
            known.may_send(self.now, &self.policy, &mut events);
            if known.role == Role::Candidate && !known.ready {
                let otherwise_ready = !known.moved;
                let event = GenEvent::LacksAddresses { otherwise_ready };
                events.push(Event::Generation(known.id, event));
                if known.tree == TreeState::Unknown {
                    events.push(Event::Generation(known.id, GenEvent::ReportsWrites));
                }
            }
        }
        events
    }

    pub(super) fn watchdog_message(&mut self, id: GenId, message: WatchdogMessage) {
        let (now, policy) = (self.now, self.policy.clone());
        if let Some(known) = self.find_mut(id) {
            known.receive(message, now, &policy);
        }
    }

    pub(super) fn extended(&mut self, id: GenId, by: std::time::Duration) {
        let until = self.now.plus(by);
        let killed = until.plus(self.policy.kill_timeout);
        let granted = self.find_mut(id).is_some_and(|known| known.extend(until));
        if let Some(quitting) = self.quitting.as_mut().filter(|_| granted) {
            quitting.until = quitting.until.max(killed);
        }
    }

    /// Records that descriptors were stored. A generation that was started too early to inherit them is restarted.
    pub(super) fn stored(&mut self, id: GenId) {
        if self.stores || self.quitting.is_some() || self.find(id).is_none() {
            return;
        }
        self.stores = true;
        if self.newest_started() > Some(id) {
            self.change(Action::Restart);
            self.ask();
        }
    }

    /// Records that the next start is due to more than a change.
    pub(super) fn ask(&mut self) {
        self.gens.iter_mut().for_each(|known| known.asked = true);
    }

    /// Whether changes alone must not supersede this candidate, because another generation may have made them.
    pub(super) fn is_spared(&self, known: &Gen) -> bool {
        let mut others = self.gens.iter().filter(|other| other.id != known.id);
        let recent = self.now < known.since.plus(Duration::from_secs(5));
        recent && known.reports_writes && !known.asked && others.any(|it| !it.reports_writes)
    }

    /// Checks that a generation that starts or ends cannot remove the live one's paths for good.
    pub(super) fn paths_are_kept(&self, ledger: &mut Ledger) {
        let mut live = self.gens.iter().filter(|known| known.role == Role::Live);
        let kept = live.all(|live| live.kept || !live.own_paths) || self.quitting.is_some();
        ledger.check(Rule::OwnPaths, kept, || {
            "the live generation's paths are not kept".into()
        });
    }

    pub(super) fn restore_paths(&mut self, known: &Gen) -> bool {
        self.unrestored = false;
        let starts = self.gens.iter().any(|other| other.role == Role::Candidate);
        known.role == Role::Live && known.kept && !starts
    }

    /// Aborts a generation. Returns whether that was allowed, which requires that the generation's watchdog has fired.
    pub(super) fn abort(&self, known: &mut Gen) -> bool {
        let fine = known.role != Role::Draining && known.watchdog_is_due(self.now);
        let early = matches!(
            known.watch,
            WatchdogState::Aborted(_) | WatchdogState::Killed
        );
        known.watch = WatchdogState::Aborted(self.now.plus(self.policy.stop_timeout));
        fine && !early
    }

    /// Kills an aborted generation that did not end in time. Returns `false` for any other generation.
    pub(super) fn kill_hung(&self, known: &mut Gen) -> bool {
        let due = matches!(known.watch, WatchdogState::Aborted(until) if self.now >= until);
        if due {
            known.watch = WatchdogState::Killed;
        }
        due
    }

    /// Checks that every hung program was aborted or killed.
    pub(super) fn hung_programs_are_handled(&self, ticked: bool, ledger: &mut Ledger) {
        for known in &self.gens {
            let due =
                known.watchdog_is_due(self.now) && (ticked || known.watch == WatchdogState::Due);
            ledger.check(Rule::Protocol, !due, || {
                format!("{known:?} hangs, but was neither aborted nor killed")
            });
        }
    }
}

impl Gen {
    /// Receives a message from the program to its watchdog.
    pub(super) fn receive(&mut self, message: WatchdogMessage, now: Time, policy: &Policy) {
        let Some(period) = policy.watchdog else {
            return;
        };
        self.watch = match (self.watch, message) {
            _ if self.role == Role::Draining => return,
            (WatchdogState::Due | WatchdogState::Aborted(_) | WatchdogState::Killed, _) => return,
            (_, WatchdogMessage::Trigger) => WatchdogState::Due,
            (WatchdogState::Until(_), WatchdogMessage::Ping) => {
                WatchdogState::Until(now.plus(period))
            }
            (watch, WatchdogMessage::Ping | WatchdogMessage::Period(_)) => watch,
        };
    }

    pub(super) fn is_aborted(&self) -> bool {
        let fired = matches!(
            self.watch,
            WatchdogState::Due | WatchdogState::Aborted(_) | WatchdogState::Killed
        );
        self.role != Role::Draining && fired
    }

    /// When the watchdog acts next.
    pub(super) fn watch_until(&self) -> Option<Time> {
        match self.watch {
            // A draining generation already has a time limit.
            _ if self.role == Role::Draining => None,
            WatchdogState::Until(until) | WatchdogState::Aborted(until) => Some(until),
            WatchdogState::Off | WatchdogState::Due | WatchdogState::Killed => None,
        }
    }

    /// Whether the watchdog may abort or kill the program.
    pub(super) fn watchdog_is_due(&self, now: Time) -> bool {
        let due = self.watch == WatchdogState::Due && self.role != Role::Draining;
        due || self.watch_until().is_some_and(|until| now >= until)
    }

    /// Collects the notifications that the program may send.
    fn may_send(&self, now: Time, policy: &Policy, events: &mut Vec<Event>) {
        let id = self.id;
        if !matches!(self.tree, TreeState::Unknown | TreeState::Running) {
            return;
        }
        events.push(Event::Generation(id, GenEvent::StoredFds));
        if self.role != Role::Draining {
            events.push(Event::Generation(id, GenEvent::ListensOnPath));
        }
        if self.role != Role::Live && !self.killed {
            let by = self.until.since(now) + policy.kill_timeout;
            events.push(Event::Generation(id, GenEvent::ExtendTimeout { by }));
        }
        if self.role == Role::Live {
            let alive = self.sick;
            events.push(Event::Generation(id, GenEvent::Liveness { alive }));
        }
        if policy.watchdog.is_some() && self.role != Role::Draining {
            events.extend(
                [WatchdogMessage::Ping, WatchdogMessage::Trigger]
                    .map(|message| Event::Generation(id, GenEvent::Watchdog(message))),
            );
        }
    }
}
