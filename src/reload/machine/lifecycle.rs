//! From the start of a generation to its switch, and what its end means.

use super::generation::{Generation, State};
use super::{Machine, Response};
use crate::reload::{Ended, Failure, GenEffect, GenId, GenNotice, Time};

impl Machine {
    pub(super) fn ready(&mut self, now: Time, id: GenId, out: &mut Response) {
        let Some(known) = self.find_mut(id).filter(|it| !it.watchdog.has_fired()) else {
            return;
        };
        let State::Starting { since, .. } = known.state else {
            return;
        };
        known.state = State::Ready { at: now };
        known.watchdog.restart(now);
        let took = now.since(since);
        out.notice(id, GenNotice::Ready { took });
        out.effect(id, GenEffect::Switch);
    }

    pub(super) fn switched(&mut self, now: Time, id: GenId, out: &mut Response) {
        let Some(at) = self.ready_since(id) else {
            return self.restored(now, id, true, out);
        };
        let took = now.since(at);
        out.notice(id, GenNotice::Live { took });
        let old = self.live();
        let owed = self.went_live(now, id, old);
        if let Some(old) = old {
            self.retire(now, old, out);
        }
        for signal in owed.numbers() {
            out.effect(id, GenEffect::SendReloadSignal { signal });
        }
    }

    pub(super) fn switch_failed(&mut self, now: Time, id: GenId, out: &mut Response) {
        if self.ready_since(id).is_none() {
            return self.restored(now, id, false, out);
        }
        self.dismiss(now, id, out);
        self.candidate_failed(id, Failure::Switch, out);
    }

    /// Since when the switch to this generation is under way.
    fn ready_since(&self, id: GenId) -> Option<Time> {
        match self.find(id)?.state {
            State::Ready { at } => Some(at),
            State::Starting { .. } | State::Live | State::Draining(_) => None,
        }
    }

    pub(super) fn start_failed(&mut self, now: Time, id: GenId, out: &mut Response) {
        if !self.find(id).is_some_and(Generation::is_candidate) {
            // It was given up before the driver knew that it cannot be started.
            return self.release(now, id, out);
        }
        let failed = self.forget(id);
        self.forward(id, out);
        out.effect(id, GenEffect::Release);
        if let Some(failed) = failed {
            self.failed_to_follow(&failed, Failure::Start, out);
        }
    }

    /// The first process ended. If it exited with status 0 and left the rest of its tree behind, as a daemon does, the
    /// generation lives on in them.
    pub(super) fn exited(
        &mut self,
        now: Time,
        id: GenId,
        ended: Ended,
        survivors: bool,
        out: &mut Response,
    ) {
        let daemon = survivors && ended.success();
        match self.find(id).map(|known| known.state) {
            Some(State::Starting { .. } | State::Ready { .. }) if !daemon => {
                self.lose_candidate(now, id, survivors, out);
                self.candidate_failed(id, Failure::ExitedEarly(ended), out);
            }
            Some(State::Live) if !daemon => self.lose_live(now, id, Some(ended), survivors, out),
            Some(State::Draining(_)) => self.drain(id, out, |drain, _| drain.exited()),
            Some(State::Starting { .. } | State::Ready { .. } | State::Live) | None => {}
        }
    }

    pub(super) fn gone(&mut self, now: Time, id: GenId, out: &mut Response) {
        match self.find(id).map(|known| known.state) {
            Some(State::Starting { .. } | State::Ready { .. }) => {
                self.lose_candidate(now, id, false, out);
                self.candidate_failed(id, Failure::Vanished, out);
            }
            Some(State::Live) => self.lose_live(now, id, None, false, out),
            Some(State::Draining(_)) | None => {}
        }
        self.release(now, id, out);
    }

    pub(super) fn ready_timeout(&mut self, now: Time, out: &mut Response) {
        let late = |known: &&Generation| match known.state {
            State::Starting { until, .. } => now >= until,
            State::Ready { .. } | State::Live | State::Draining(_) => false,
        };
        if let Some(id) = self.generations.iter().find(late).map(|late| late.id) {
            self.dismiss(now, id, out);
            self.candidate_failed(id, Failure::ReadyTimeout, out);
        }
    }

    pub(super) fn candidate_failed(&mut self, id: GenId, failure: Failure, out: &mut Response) {
        if let Some(&failed) = self.find(id) {
            self.failed_to_follow(&failed, failure, out);
        }
    }

    /// It was started and never live.
    fn failed_to_follow(&mut self, failed: &Generation, failure: Failure, out: &mut Response) {
        self.lose_successor(failed, failure);
        self.failed(failed.id, failure, out);
    }

    pub(super) fn failed(&self, id: GenId, failure: Failure, out: &mut Response) {
        if self.quit.is_none() {
            let live = self.live();
            out.notice(id, GenNotice::Failed { failure, live });
        }
    }
}
