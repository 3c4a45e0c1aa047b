//! What must hold in the world after every response of the machine: nothing that was due is missing.

use super::ledger::{Ledger, Rule};
use super::process::{Drain, Gen, Role, Tree};
use super::world::{Steering, World};
use crate::reload::{Event, Machine};

impl World {
    pub(super) fn after(&self, event: Event, machine: &Machine, ledger: &mut Ledger) {
        if self.finished {
            return ledger.check(Rule::OneFinish, machine.deadline().is_none(), || {
                "a deadline after the finish".into()
            });
        }
        self.compare(machine, ledger);
        self.steered(ledger);
        self.wakes(machine, ledger);
        for known in &self.gens {
            self.answered(known, ledger);
            let told = known.role != Role::Live || !known.owed || self.quitting.is_some();
            ledger.check(Rule::NothingForgotten, told, || {
                format!("{known:?} is not told of its configuration")
            });
        }
        self.watched(event == Event::Tick, ledger);
        if event == Event::Tick {
            self.in_time(machine, ledger);
        }
        if self.quitting.is_some() {
            self.quits(ledger);
        }
    }

    /// The machine's deadline is no later than the next due time.
    fn wakes(&self, machine: &Machine, ledger: &mut Ledger) {
        let signs = self.gens.iter().filter_map(Gen::watch_until);
        let dues = self.gens.iter().filter_map(|known| match known.role {
            Role::Candidate => (!known.ready).then_some(known.until),
            Role::Leaving => (!known.killed).then_some(known.until),
            Role::Live => None,
        });
        let due = dues
            .chain(signs)
            .chain(self.quitting.map(|quitting| quitting.until))
            .min();
        let deadline = machine.deadline();
        let wakes = due.is_none_or(|due| deadline.is_some_and(|deadline| deadline <= due));
        ledger.check(Rule::DrainIsBounded, wakes, || {
            format!("due {due:?}, but woken {deadline:?}")
        });
    }

    /// New connections go to the live generation, or wait for the next one.
    fn steered(&self, ledger: &mut Ledger) {
        // The machine does not know yet about a switch that was refused.
        let refused = self.switching.is_some_and(|(_, done)| !done);
        if self.quitting.is_some() || refused {
            return;
        }
        let switched = self.switching.and_then(|(id, _)| self.find(id));
        // A generation that was to be live again may have had to leave at once.
        let switched = switched.filter(|known| known.role != Role::Leaving);
        let switched = switched.map(|known| known.id);
        let fine = match (self.steering, switched.or(self.live())) {
            (Steering::To(there), Some(live)) => there == live,
            (Steering::Hold(Some(id)), None) => self
                .find(id)
                .is_some_and(|known| known.role == Role::Candidate && !known.relayed),
            (Steering::Hold(None), None) => true,
            (Steering::To(_), None) | (Steering::Hold(_), Some(_)) => false,
        };
        ledger.check(Rule::Steering, fine, || {
            let live = self.live();
            format!("{:?}, {switched:?} switched, {live:?} live", self.steering)
        });
    }

    /// The machine has acted on everything that the world reported about a generation.
    fn answered(&self, known: &Gen, ledger: &mut Ledger) {
        let released = known.tree != Tree::Gone;
        ledger.check(Rule::Protocol, released, || {
            format!("{known:?} is not released")
        });
        let killed = !known.to_be_killed || known.killed;
        ledger.check(Rule::Protocol, killed, || {
            format!("{known:?} is not killed")
        });
        let alone = known.still_serves_its_own() && self.quitting.is_none();
        let lost = alone && known.drain == Drain::No;
        ledger.check(Rule::Protocol, !lost, || {
            format!("{known:?} is not relayed")
        });
        let overdue = match known.drain {
            Drain::OwesSettle | Drain::Unwilling => true,
            Drain::MayStop => !known.stopped && !known.killed,
            Drain::Settled => self.now >= known.since.plus(self.policy.stop_delay_min),
            Drain::No | Drain::Settling | Drain::Inspecting | Drain::AwaitingIdle => false,
        };
        let overdue = overdue && known.still_serves_its_own();
        ledger.check(Rule::DrainIsBounded, !overdue, || {
            format!("{known:?} is not moved on")
        });
    }

    /// After a tick, nothing is overdue.
    fn in_time(&self, machine: &Machine, ledger: &mut Ledger) {
        let late = machine.deadline().filter(|deadline| *deadline <= self.now);
        ledger.check(Rule::Protocol, late.is_none(), || {
            format!("{late:?} is not worked off")
        });
        for known in &self.gens {
            let settle = known.since.plus(self.policy.stop_delay_max);
            let settles = known.drain == Drain::Settling && known.still_serves_its_own();
            let settled = !settles || self.now < settle;
            let bounded = known.role != Role::Leaving || known.killed || self.now < known.until;
            ledger.check(Rule::DrainIsBounded, settled && bounded, || {
                format!("{known:?} is overdue")
            });
            let starts = known.role == Role::Candidate && !known.ready;
            ledger.check(Rule::Protocol, !starts || self.now < known.until, || {
                format!("{known:?} takes too long")
            });
        }
    }

    /// On quit, everything was asked to end.
    fn quits(&self, ledger: &mut Ledger) {
        let Some(quitting) = self.quitting else {
            return;
        };
        for known in &self.gens {
            let ends = matches!(known.tree, Tree::Orphans | Tree::Ended) && known.relayed;
            let asked = match quitting.at_once {
                true => known.killed,
                false => known.stopped || known.killed || ends,
            };
            ledger.check(Rule::OneFinish, asked, || {
                format!("{known:?} was not asked")
            });
        }
        let cancelled = self.builds.iter().all(|build| build.cancelled);
        ledger.check(Rule::OneFinish, cancelled, || "a build goes on".into());
        let left = !self.gens.is_empty() || !self.builds.is_empty();
        ledger.check(Rule::OneFinish, left, || {
            "nothing is left, and no finish".into()
        });
    }

    /// At rest, every promise is fulfilled.
    pub(super) fn at_rest(&self, machine: &Machine, ledger: &mut Ledger) {
        if self.quitting.is_some() {
            return ledger.check(Rule::OneFinish, self.finished, || {
                "rest without a finish".into()
            });
        }
        let done = self.builds.is_empty()
            && !machine.has_queued()
            && self.gens.iter().all(|known| known.role == Role::Live);
        ledger.check(Rule::NothingForgotten, done, || {
            format!("rest with work left: {self:?}")
        });
        let live = self.gens.iter().find(|known| known.role == Role::Live);
        let newest = live.is_some_and(|live| live.answers_all && (live.newest || self.broken));
        ledger.check(Rule::NothingForgotten, newest || self.told_failure, || {
            format!("{live:?} is not the newest")
        });
        let told = live.is_some() || self.told_waiting;
        ledger.check(Rule::NothingForgotten, told, || {
            "nobody says that it waits".into()
        });
        let lost = self.past.lost.filter(|_| live.is_none());
        ledger.check(Rule::NothingForgotten, lost.is_none(), || {
            format!("nothing follows from {lost:?}")
        });
        let answered = live.is_some() != self.answering;
        ledger.check(Rule::Steering, answered, || {
            format!("rest with {live:?}, answering: {}", self.answering)
        });
    }

    /// Whether the finish is overdue.
    pub(super) fn overdue(&self) -> bool {
        self.quitting
            .is_some_and(|quitting| self.now >= quitting.until && !self.finished)
    }
}
