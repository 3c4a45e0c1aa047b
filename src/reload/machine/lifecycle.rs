//! Takes a generation from its start to its switch, and handles its end.

use super::generation::{GenState, Generation, SignalSet};
use super::state::Recovery;
use super::{Machine, Turn};
use crate::reload::{Cause, Ended, GenEffect, GenFailure, GenId, GenNotice, Phase};

impl Machine {
    pub(super) fn ready(&mut self, id: GenId, turn: &mut Turn) {
        let Some(known) = self.find_mut(id).filter(|known| !known.watchdog.fired) else {
            return;
        };
        let GenState::Starting { since, .. } = known.state else {
            return;
        };
        known.watchdog.restart(turn.now);
        let took = turn.now.since(since);
        turn.notice(id, GenNotice::Ready { took });
        self.go_live(id, turn);
    }

    pub(super) fn warm_up_failed(&mut self, id: GenId, turn: &mut Turn) {
        let known = self.find(id).filter(|known| !known.watchdog.fired);
        if known.is_some_and(|known| matches!(known.state, GenState::Starting { .. })) {
            self.stop_candidate(id, turn);
            self.candidate_failed(id, GenFailure::WarmUp, turn);
        }
    }

    pub(super) fn lacks_addresses(&mut self, id: GenId, otherwise_ready: bool) {
        let state = self.find_mut(id).map(|known| &mut known.state);
        if let Some(GenState::Starting { moved, .. }) = state {
            *moved = otherwise_ready;
        }
    }

    /// Makes a ready generation live, and keeps or drains the one that was live before.
    pub(super) fn switched(&mut self, id: GenId, turn: &mut Turn) {
        let (old, newer) = (self.live(), self.is_newest_queued());
        let Some(known) = self.find_mut(id) else {
            return;
        };
        let GenState::Ready { at } = known.state else {
            return self.restored(id, true, turn);
        };
        let took = turn.now.since(at);
        turn.notice(
            id,
            match std::mem::replace(&mut known.was_live, true) {
                false => GenNotice::Live { took },
                true => GenNotice::Restored { cause: Cause::Undo },
            },
        );
        known.state = GenState::Live;
        let owed = std::mem::take(&mut known.owed);
        let known = *known;
        let last = self.artifacts.live;
        let rolled_back = known.rolled_back && !newer;
        self.artifacts.went_live(known.artifact, rolled_back);
        self.recovery = Recovery {
            blame_until: Some(turn.now.plus(self.policy.rollback_within)),
            replaced: last.or(self.recovery.replaced),
            before: old,
            is_server: known.is_server,
            starts: self.recovery.starts,
            ..Recovery::default()
        };
        if let Some(old) = old {
            if let Some(old) = self.find_mut(old) {
                old.owed = SignalSet::default();
            }
            self.keep_or_retire(old, known.undoes, turn);
        }
        for signal in owed.numbers() {
            turn.effect(id, GenEffect::SendReloadSignal { signal });
        }
    }

    pub(super) fn switch_failed(&mut self, id: GenId, turn: &mut Turn) {
        if self.phase(id) != Phase::Ready {
            return self.restored(id, false, turn);
        }
        self.stop_candidate(id, turn);
        self.candidate_failed(id, GenFailure::Switch, turn);
    }

    pub(super) fn start_failed(&mut self, id: GenId, turn: &mut Turn) {
        if !self.find(id).is_some_and(Generation::is_candidate) {
            // The generation was already being stopped when the driver found that it could not be started.
            return self.release(id, None, turn);
        }
        self.candidate_failed(id, GenFailure::Start, turn);
        self.generations.retain(|known| known.id != id);
        self.forward(id, turn);
        turn.effect(id, GenEffect::Release);
    }

    /// Handles the end of the first process. If it exited with status 0 and other processes of its tree are still running,
    /// the program has daemonized, and the generation continues.
    pub(super) fn exited(&mut self, id: GenId, ended: Ended, survivors: bool, turn: &mut Turn) {
        if self.find(id).is_some_and(Generation::is_draining) {
            self.kept_ended(id, GenFailure::Crashed(ended), turn);
            self.with_drain(id, turn, |drain, _| drain.exited());
        } else if !(survivors && ended.success()) {
            self.ended(id, Some(ended), survivors, turn);
        }
    }

    pub(super) fn gone(&mut self, id: GenId, in_use: Option<u32>, turn: &mut Turn) {
        self.ended(id, None, false, turn);
        self.kept_ended(id, GenFailure::Vanished, turn);
        self.release(id, in_use, turn);
    }

    /// Handles the end of a generation that was not draining. `ended`: how its program ended, if known.
    fn ended(&mut self, id: GenId, ended: Option<Ended>, survivors: bool, turn: &mut Turn) {
        match self.phase(id) {
            Phase::Starting | Phase::Ready | Phase::Sharing => {
                let shared = self.find(id).is_some_and(|known| known.shared);
                self.candidate_ended(id, survivors, turn);
                let failure = match (ended, shared) {
                    (None, _) => GenFailure::Vanished,
                    (Some(ended), true) => GenFailure::Crashed(ended),
                    (Some(ended), false) => GenFailure::ExitedEarly(ended),
                };
                self.candidate_failed(id, failure, turn);
            }
            Phase::Live => self.live_ended(id, ended, survivors, turn),
            Phase::Building | Phase::Kept | Phase::Draining | Phase::Gone => {}
        }
    }

    pub(super) fn ready_timeout(&mut self, turn: &mut Turn) {
        let is_late = |known: &&Generation| matches!(known.state, GenState::Starting { until, .. } if turn.now >= until);
        let Some(&late) = self.generations.iter().find(is_late) else {
            return;
        };
        let moved = matches!(late.state, GenState::Starting { moved: true, .. });
        if moved && !late.watchdog.fired {
            return self.ready(late.id, turn);
        }
        self.stop_candidate(late.id, turn);
        self.candidate_failed(late.id, GenFailure::ReadyTimeout, turn);
    }

    pub(super) fn failed(&self, id: GenId, failure: GenFailure, turn: &mut Turn) {
        if self.quit.is_none() {
            let live = self.live();
            turn.notice(id, GenNotice::Failed { failure, live });
        }
    }
}
