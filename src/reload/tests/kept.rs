//! A generation that stays as it is after the switch to another one, so that it can go live again (`--keep`).

use super::ledger::{Ledger, Rule};
use super::process::{DrainStage, Gen, Role, WatchdogState};
use super::world::World;
use crate::reload::{Event, GenId, Policy, Time};

impl World {
    /// Whether the live generation is kept when this one goes live.
    pub(super) fn keeps_live(&self, new: GenId) -> bool {
        let mut live = self.gens.iter().filter(|known| known.role == Role::Live);
        let undone = self.find(new).is_some_and(|new| new.undoes);
        let works = |live: &Gen| !live.sick && !live.is_aborted() && self.may_overlap(live);
        !self.policy.keep.is_zero() && !undone && live.any(works)
    }

    /// Requires that the kept generation drains, if it fits.
    pub(super) fn free(&mut self, fits: impl Fn(&Gen) -> bool) {
        let (now, policy) = (self.now, self.policy.clone());
        let kept = self.gens.iter_mut().filter(|known| known.is_kept());
        for known in kept.filter(|known| fits(known)) {
            known.retire(now, &policy, DrainStage::OwesQuiescent);
        }
    }

    /// Makes the kept generation a candidate again, because the user has undone the live one.
    pub(super) fn undo_to(&mut self, known: &mut Gen) -> bool {
        let fine = self.quitting.is_none();
        (self.undo, self.undone, self.forced) = (false, true, false);
        known.role = Role::Candidate;
        known.drain = DrainStage::No;
        (known.ready, known.again, known.undoes) = (true, true, true);
        known.sick = false;
        self.restart_watchdog(known);
        self.past.again = Some(known.artifact);
        fine
    }

    pub(super) fn measure_memory(&mut self, ledger: &mut Ledger) {
        self.measuring += 1;
        let fine = self.gens.iter().any(Gen::is_kept) && self.quitting.is_none();
        ledger.check(Rule::Protocol, fine, || {
            "the memory must not be measured".into()
        });
    }

    /// The results of a measurement that may be reported next.
    pub(super) fn measured(&self) -> impl Iterator<Item = Event> + use<> {
        let results = [(2, 1), (1, 2)];
        let results =
            results.map(|(available, needed)| Event::MemoryMeasured { available, needed });
        results.into_iter().take(usize::from(self.measuring) * 2)
    }

    /// Records that the kept generation drains because of its memory.
    pub(super) fn makes_room(&mut self, id: GenId, ledger: &mut Ledger) {
        let fine = self.find(id).is_some_and(Gen::is_kept);
        ledger.check(Rule::Protocol, fine, || {
            format!("gen {id} cannot make room")
        });
        self.makes_room = Some(id);
        self.free(|_| true);
    }

    /// Whether no generation that is to make room is still there.
    pub(super) fn has_room(&self) -> bool {
        let known = self.makes_room.and_then(|id| self.find(id));
        known.is_none_or(|known| known.role != Role::Draining)
    }

    pub(super) fn restart_watchdog(&self, known: &mut Gen) {
        if let Some(period) = self.policy.watchdog {
            known.watch = WatchdogState::Until(self.now.plus(period));
        }
    }

    /// Checks that at most one generation is kept, and that it went live again if the live one has just crashed.
    pub(super) fn kept_one_serves(&self, ledger: &mut Ledger) {
        let count = self.gens.iter().filter(|known| known.is_kept()).count();
        ledger.check(Rule::OneOfEach, count <= 1, || {
            format!("{count} generations are kept")
        });
        ledger.check(Rule::Steering, !self.must_restore, || {
            "the live generation crashed, but the kept one does not serve".into()
        });
    }
}

impl Gen {
    /// Lets the generation, which gets no more new connections, stay as it is for a while.
    pub(super) fn keep(&mut self, now: Time, policy: &Policy) {
        self.drain_until(now, now.plus(policy.keep));
        self.drain = DrainStage::OwesKeep;
    }

    pub(super) fn is_kept(&self) -> bool {
        self.role == Role::Draining && self.drain == DrainStage::Kept
    }
}
