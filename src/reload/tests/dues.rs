//! Checks, after every event, that the machine has done everything that the world has required so far.

use std::time::Duration;

use super::ledger::{Ledger, Rule};
use super::process::{DrainStage, Gen, Role, TreeState};
use super::world::{Steering, World};
use crate::reload::{Event, Machine, Time};

impl World {
    pub(super) fn after(&self, event: Event, machine: &Machine, ledger: &mut Ledger) {
        if self.finished {
            return ledger.check(Rule::OneFinish, machine.deadline().is_none(), || {
                "there is a deadline although hotrun has finished".into()
            });
        }
        self.phases_match(machine, ledger);
        self.kept_one_serves(ledger);
        self.connections_are_steered(ledger);
        self.deadline_is_early_enough(machine, ledger);
        self.own_paths_are_restored(machine, ledger);
        for known in &self.gens {
            self.reports_are_acted_on(known, ledger);
            let notified = known.role != Role::Live || !known.owed || self.quitting.is_some();
            ledger.check(Rule::NothingForgotten, notified, || {
                format!("{known:?} was not sent its reload signal")
            });
        }
        self.shares_are_right(event, machine, ledger);
        self.hung_programs_are_handled(event == Event::Tick, ledger);
        if event == Event::Tick {
            self.nothing_is_overdue(machine, ledger);
        }
        if self.quitting.is_some() {
            self.everything_was_asked_to_end(ledger);
        }
    }

    /// Checks that the machine's deadline is no later than the next due time.
    fn deadline_is_early_enough(&self, machine: &Machine, ledger: &mut Ledger) {
        let watchdogs = self.gens.iter().filter_map(Gen::watch_until);
        let dues = self.gens.iter().filter_map(|known| match known.role {
            Role::Candidate => (!known.ready).then_some(known.until),
            Role::Draining => (!known.killed).then_some(known.until),
            Role::Live => None,
        });
        let waiting = self.gens.iter().filter(|known| known.awaits_idle());
        let signals = waiting.filter(|known| !known.stopped && !known.killed);
        let due = dues
            .chain(signals.filter_map(|known| known.signal_by))
            .chain(watchdogs)
            .chain(self.quitting.map(|quitting| quitting.until))
            .min();
        let deadline = machine.deadline();
        let early = due.is_none_or(|due| deadline.is_some_and(|deadline| deadline <= due));
        ledger.check(Rule::DrainIsBounded, early, || {
            format!("due at {due:?}, but the deadline is {deadline:?}")
        });
    }

    /// Checks that the live generation's paths have been restored if another one is gone, and will be restored again soon
    /// if another one was asked to stop.
    fn own_paths_are_restored(&self, machine: &Machine, ledger: &mut Ledger) {
        let mut gens = self.gens.iter();
        let starts = self.gens.iter().any(|known| known.role == Role::Candidate);
        let kept = gens.any(|known| known.role == Role::Live && known.kept);
        let stops = self
            .gens
            .iter()
            .any(|known| known.role == Role::Draining && known.stopped);
        let soon = self.now.plus(Duration::from_millis(20));
        let again = machine.deadline().is_some_and(|deadline| deadline <= soon);
        let fine = starts || !kept || !self.unrestored && (again || !stops);
        ledger.check(Rule::OwnPaths, fine, || {
            format!("the live generation's paths were not restored: {self:?}")
        });
    }

    /// Checks that new connections go to the live generation, or are held for the next one.
    fn connections_are_steered(&self, ledger: &mut Ledger) {
        // The machine does not know yet that a switch was refused.
        let refused = self.switching.is_some_and(|(_, done)| !done);
        if self.quitting.is_some() || refused {
            return;
        }
        let switched = self.switching.and_then(|(id, _)| self.find(id));
        // A generation that was to be restored may already be draining again.
        let switched = switched.filter(|known| known.role != Role::Draining);
        let switched = switched.map(|known| known.id);
        let fine = match (self.steering, switched.or(self.live())) {
            (Steering::To(there), Some(live)) => there == live,
            (Steering::Hold(Some(id)), None) => self
                .find(id)
                .is_some_and(|known| known.role == Role::Candidate && !known.forwarded),
            (Steering::Hold(None), None) => true,
            (Steering::To(_), None) | (Steering::Hold(_), Some(_)) => false,
        };
        ledger.check(Rule::Steering, fine, || {
            let live = self.live();
            format!(
                "connections go to {:?}, but the last switch was to {switched:?}, and {live:?} is live",
                self.steering
            )
        });
    }

    /// Checks that the machine has acted on everything that the world reported about a generation.
    fn reports_are_acted_on(&self, known: &Gen, ledger: &mut Ledger) {
        let released = known.tree != TreeState::Gone;
        ledger.check(Rule::Protocol, released, || {
            format!("{known:?} was not released")
        });
        let killed = !known.to_be_killed || known.killed;
        ledger.check(Rule::Protocol, killed, || {
            format!("{known:?} was not killed")
        });
        let unforwarded = known.is_unforwarded() && self.quitting.is_none();
        let lost = unforwarded && known.drain == DrainStage::No;
        ledger.check(Rule::Protocol, !lost, || {
            format!("the connections of {known:?} were not forwarded")
        });
        let overdue = match known.drain {
            DrainStage::OwesKeep | DrainStage::OwesQuiescent | DrainStage::OwesIdle => true,
            DrainStage::MayStop => !known.stopped && !known.killed,
            DrainStage::No
            | DrainStage::Kept
            | DrainStage::Quiescing
            | DrainStage::AwaitingIdle => false,
        };
        let overdue = overdue && known.finishes_first();
        ledger.check(Rule::DrainIsBounded, !overdue, || {
            format!("the drain of {known:?} was not moved to its next step")
        });
    }

    /// Checks that nothing is overdue after a tick.
    fn nothing_is_overdue(&self, machine: &Machine, ledger: &mut Ledger) {
        let late = machine.deadline().filter(|deadline| *deadline <= self.now);
        ledger.check(Rule::Protocol, late.is_none(), || {
            format!("the deadline {late:?} was not handled")
        });
        for known in &self.gens {
            let latest = known.since.plus(self.policy.stop_delay_max);
            let quiescing = known.drain == DrainStage::Quiescing && known.is_unforwarded();
            let in_time = !quiescing || self.now < latest;
            let told = known.stopped || !known.is_signal_due(self.now);
            ledger.check(Rule::DrainIsBounded, told, || {
                format!("{known:?} was not sent the stop signal in time")
            });
            let bounded = known.role != Role::Draining || known.killed || self.now < known.until;
            ledger.check(Rule::DrainIsBounded, in_time && bounded, || {
                format!("{known:?} is overdue")
            });
            let starts = known.role == Role::Candidate && !known.ready;
            ledger.check(Rule::Protocol, !starts || self.now < known.until, || {
                format!("{known:?} takes too long to start")
            });
        }
    }

    /// Whether this server must be idle before it is asked to stop, because hotrun is quitting.
    pub(super) fn answers_before_quitting(&self, known: &Gen) -> bool {
        let serves = known.role == Role::Live || known.role == Role::Candidate && known.ready;
        self.quitting.is_some() && serves && self.is_server(known) && !known.is_aborted()
    }

    pub(super) fn await_idle(&self, known: &mut Gen) -> bool {
        let most = self.now >= known.since.plus(self.policy.stop_delay_max);
        let fine = match known.drain {
            DrainStage::OwesIdle => true,
            DrainStage::Quiescing => most || self.quitting.is_some(),
            DrainStage::Kept => self.quitting.is_some(),
            DrainStage::No => self.answers_before_quitting(known),
            DrainStage::OwesKeep
            | DrainStage::OwesQuiescent
            | DrainStage::AwaitingIdle
            | DrainStage::MayStop => false,
        };
        known.role = Role::Draining;
        known.drain = DrainStage::AwaitingIdle;
        let longest = self.policy.longest_wait_on_quit();
        known.signal_by = self.quitting.map(|_| self.now.plus(longest));
        // The stop timeout begins here.
        known.until = known.until.min(self.now.plus(self.policy.stop_timeout));
        fine && known.finishes_first()
    }

    /// Checks that everything was asked to end on quit.
    fn everything_was_asked_to_end(&self, ledger: &mut Ledger) {
        let Some(quitting) = self.quitting else {
            return;
        };
        for known in &self.gens {
            let ends =
                matches!(known.tree, TreeState::Orphans | TreeState::Ended) && known.forwarded;
            let asked = match quitting.at_once {
                true => known.killed,
                false => known.stopped || known.killed || ends || known.awaits_idle(),
            };
            ledger.check(Rule::OneFinish, asked, || {
                format!("{known:?} was not asked to end")
            });
        }
        let cancelled = self.builds.iter().all(|build| build.cancelled);
        ledger.check(Rule::OneFinish, cancelled, || {
            "a build was not cancelled".into()
        });
        let left = !self.gens.is_empty() || !self.builds.is_empty();
        ledger.check(Rule::OneFinish, left, || {
            "nothing is running, but hotrun has not finished".into()
        });
    }

    /// Checks, once the world is at rest, that every promise has been kept.
    pub(super) fn at_rest(&self, machine: &Machine, ledger: &mut Ledger) {
        if self.quitting.is_some() {
            return ledger.check(Rule::OneFinish, self.finished, || {
                "hotrun is quitting and at rest, but has not finished".into()
            });
        }
        let done = self.builds.is_empty()
            && !machine.has_queued()
            && self.gens.iter().all(|known| known.role == Role::Live);
        ledger.check(Rule::NothingForgotten, done, || {
            format!("at rest, although there is work left: {self:?}")
        });
        let live = self.gens.iter().find(|known| known.role == Role::Live);
        let newest = live.is_some_and(|live| live.answers_all && (live.newest || self.broken));
        ledger.check(
            Rule::NothingForgotten,
            newest || self.failure_reported || self.undone,
            || format!("the live generation is not the newest: {live:?}"),
        );
        let notified = live.is_some() || self.waiting_reported;
        ledger.check(Rule::NothingForgotten, notified, || {
            "the user was not notified that hotrun is waiting".into()
        });
        let lost = self.past.lost.filter(|_| live.is_none());
        ledger.check(Rule::NothingForgotten, lost.is_none(), || {
            format!("the machine has not reacted to the end of {lost:?}")
        });
        let sick = live.is_some_and(|live| live.sick && self.may_start_once_more(live.artifact));
        ledger.check(Rule::NothingForgotten, !sick, || {
            format!("an unhealthy generation is not replaced: {live:?}")
        });
        let fine = match live {
            Some(_) => !self.responding || self.is_strict() && self.failure_reported,
            None => self.responding,
        };
        ledger.check(Rule::Steering, fine, || {
            format!(
                "at rest, clients must get an error response if and only if nothing is live; live: {live:?}, error response: {}",
                self.responding
            )
        });
    }

    /// Whether hotrun should have finished by now.
    pub(super) fn overdue(&self) -> bool {
        self.quitting
            .is_some_and(|quitting| self.now >= quitting.until && !self.finished)
    }
}

impl Gen {
    fn awaits_idle(&self) -> bool {
        self.drain == DrainStage::AwaitingIdle && self.finishes_first()
    }

    /// Whether the stop signal is due although the generation is not idle.
    pub(super) fn is_signal_due(&self, now: Time) -> bool {
        let due = self.signal_by.is_some_and(|by| now >= by) || now >= self.until;
        self.drain == DrainStage::AwaitingIdle && !self.killed && due
    }
}
