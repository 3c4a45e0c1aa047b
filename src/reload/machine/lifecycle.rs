//! Takes a generation from its start to its switch, and handles its end.

use super::generation::{Generation, State};
use super::{Machine, Step};
use crate::reload::{Ended, Failure, GenEffect, GenId, GenNotice, Phase, Time};

impl Machine {
    pub(super) fn ready(&mut self, id: GenId, step: &mut Step) {
        let Some(known) = self.find_mut(id).filter(|known| !known.watchdog.fired) else {
            return;
        };
        let State::Starting { since, .. } = known.state else {
            return;
        };
        known.state = State::Ready { at: step.now };
        known.watchdog.restart(step.now);
        let took = step.now.since(since);
        step.notice(id, GenNotice::Ready { took });
        step.effect(id, GenEffect::Switch);
    }

    pub(super) fn switched(&mut self, id: GenId, step: &mut Step) {
        let Some(at) = self.ready_since(id) else {
            return self.restored(id, true, step);
        };
        let took = step.now.since(at);
        step.notice(id, GenNotice::Live { took });
        let old = self.live();
        let owed = self.went_live(id, old, step.now);
        if let Some(old) = old {
            self.retire(old, step);
        }
        for signal in owed.numbers() {
            step.effect(id, GenEffect::SendReloadSignal { signal });
        }
    }

    pub(super) fn switch_failed(&mut self, id: GenId, step: &mut Step) {
        if self.ready_since(id).is_none() {
            return self.restored(id, false, step);
        }
        self.dismiss(id, step);
        self.candidate_failed(id, Failure::Switch, step);
    }

    /// When the switch to this generation began, if it is under way.
    fn ready_since(&self, id: GenId) -> Option<Time> {
        match self.find(id)?.state {
            State::Ready { at } => Some(at),
            State::Starting { .. } | State::Live | State::Draining(_) => None,
        }
    }

    pub(super) fn start_failed(&mut self, id: GenId, step: &mut Step) {
        if !self.find(id).is_some_and(Generation::is_candidate) {
            // The generation was given up before the driver found that it cannot be started.
            return self.release(id, step);
        }
        self.candidate_failed(id, Failure::Start, step);
        self.generations.retain(|known| known.id != id);
        self.forward(id, step);
        step.effect(id, GenEffect::Release);
    }

    /// Handles the end of the first process. If it exited with status 0 and left other processes of its tree behind, as
    /// when a program daemonizes, the generation continues in those.
    pub(super) fn exited(&mut self, id: GenId, ended: Ended, survivors: bool, step: &mut Step) {
        if self.phase(id) == Phase::Draining {
            self.drain(id, step, |drain, _| drain.exited());
        } else if !(survivors && ended.success()) {
            self.lose(id, Some(ended), survivors, step);
        }
    }

    pub(super) fn gone(&mut self, id: GenId, step: &mut Step) {
        self.lose(id, None, false, step);
        self.release(id, step);
    }

    /// Handles the end of a generation that was not draining. `ended`: how it ended, if that is known.
    fn lose(&mut self, id: GenId, ended: Option<Ended>, survivors: bool, step: &mut Step) {
        match self.phase(id) {
            Phase::Starting | Phase::Ready => {
                self.lose_candidate(id, survivors, step);
                let failure = ended.map_or(Failure::Vanished, Failure::ExitedEarly);
                self.candidate_failed(id, failure, step);
            }
            Phase::Live => self.lose_live(id, ended, survivors, step),
            Phase::Building | Phase::Draining | Phase::Gone => {}
        }
    }

    pub(super) fn ready_timeout(&mut self, step: &mut Step) {
        let late = |known: &&Generation| match known.state {
            State::Starting { until, .. } => step.now >= until,
            State::Ready { .. } | State::Live | State::Draining(_) => false,
        };
        if let Some(id) = self.generations.iter().find(late).map(|late| late.id) {
            self.dismiss(id, step);
            self.candidate_failed(id, Failure::ReadyTimeout, step);
        }
    }

    pub(super) fn failed(&self, id: GenId, failure: Failure, step: &mut Step) {
        if self.quit.is_none() {
            let live = self.live();
            step.notice(id, GenNotice::Failed { failure, live });
        }
    }
}
