//! Recovers from a crash of the live generation: rolls back to an earlier artifact, or starts the same one again. Replaces
//! a live generation that fails its liveness check.

use std::time::Duration;

use super::drain::Progress;
use super::generation::{GenState, Generation};
use super::state::{Crash, Recovery};
use super::{Machine, Turn};
use crate::reload::{ArtifactId, Cause, Ended, GenEffect, GenFailure, GenId, GenNotice};

/// How long hotrun waits before it restarts a crashed program.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How many starts may be caused by crashes alone, until something changes or the user acts.
const MAX_STARTS: u8 = 2;

impl Machine {
    fn recovers(&self) -> bool {
        self.quit.is_none() && !self.policy.rollback_within.is_zero()
    }

    /// Whether the newest artifact is about to be started.
    pub(super) fn is_newest_queued(&self) -> bool {
        let queued = self.queued.map(|queued| queued.artifact);
        let next = queued.or_else(|| Some(self.candidate()?.artifact));
        next.is_some() && next == self.artifacts.newest
    }

    /// Handles the end of the live generation. `ended`: how its program ended, if known.
    pub(super) fn live_ended(
        &mut self,
        id: GenId,
        ended: Option<Ended>,
        survivors: bool,
        turn: &mut Turn,
    ) {
        let is_server = self.find(id).is_some_and(|known| known.is_server);
        self.begin_drain(id, Progress::Stopped, turn);
        let artifact = self.artifacts.failed();
        let soon = self
            .recovery
            .blame_until
            .is_some_and(|until| turn.now < until);
        // Exit status 0 counts as intentional.
        let crashed = is_server && !ended.is_some_and(Ended::success) && self.recovers();
        let blamed = soon && self.recovery.replaced != artifact;
        self.recovery.replaced = artifact;
        let failure = ended.map_or(GenFailure::Vanished, GenFailure::Crashed);
        self.recovery.crash = artifact.filter(|_| crashed).map(|artifact| Crash {
            id,
            artifact,
            failure,
            blamed,
            restart_at: None,
        });
        self.recovery.restoring = None;
        self.take_all(turn);
        let may_restore = soon || self.kept().is_some();
        let restoring = crashed && may_restore && self.restore(turn);
        self.forward_and_kill(id, survivors, turn);
        if !restoring {
            self.failed(id, failure, turn);
        }
    }

    /// Tries to make the kept generation or, if there is none, the previous one live again, so that no client has to wait.
    /// It must be draining, and must not have been asked to stop. If this returns true, the crash is reported once the
    /// result of the switch is known.
    fn restore(&mut self, turn: &mut Turn) -> bool {
        let newer = self.is_newest_queued();
        let before = self.kept().or(self.recovery.before);
        let before = before.filter(|_| !self.is_switching());
        let before = before.and_then(|id| self.find_mut(id));
        let may_stay = |known: &&mut Generation| matches!(known.state, GenState::Draining(drain) if drain.may_stay());
        let Some(known) = before.filter(|known| may_stay(known) && !known.watchdog.fired) else {
            return false;
        };
        known.state = GenState::Live;
        known.sick = false;
        known.watchdog.restart(turn.now);
        let owed = std::mem::take(&mut known.owed);
        let &mut Generation {
            id,
            artifact,
            is_server,
            ..
        } = known;
        self.artifacts.went_live(artifact, !newer);
        self.recovery = Recovery {
            blame_until: None,
            before: None,
            restoring: Some(id),
            is_server,
            ..self.recovery
        };
        turn.effect(id, GenEffect::Switch);
        for signal in owed.numbers() {
            turn.effect(id, GenEffect::SendReloadSignal { signal });
        }
        true
    }

    /// Handles the result of the switch to a restored generation. The switch is refused if the generation has already
    /// shut down its sockets; the crash is then handled like any other.
    pub(super) fn restored(&mut self, id: GenId, done: bool, turn: &mut Turn) {
        let restoring = self.recovery.restoring.take_if(|it| *it == id);
        let Some(crash) = self.recovery.crash.filter(|_| restoring.is_some()) else {
            return;
        };
        // The restored generation may already be draining again, because a queued one cannot start beside it.
        let lives = self.live() == Some(id);
        if lives && !done {
            self.begin_drain(id, Progress::Quiescing, turn);
            self.hold(turn);
            self.retire(id, turn);
        } else if lives {
            self.recovery.crash = None;
        }
        self.failed(crash.id, crash.failure, turn);
        if lives && done {
            let cause = Cause::Crash;
            turn.notice(id, GenNotice::Restored { cause });
        }
    }

    /// Switches to the kept generation, because the user has undone its successor. It is a candidate again until the
    /// result of the switch is known.
    pub(super) fn switch_back(&mut self, id: GenId, turn: &mut Turn) {
        let now = turn.now;
        self.must_start = false;
        if let Some(known) = self.find_mut(id) {
            known.state = GenState::Ready { at: now };
            known.watchdog.restart(now);
            (known.rolled_back, known.undoes) = (true, true);
            turn.effect(id, GenEffect::Switch);
        }
    }

    /// Rolls back or restarts after a crash, if no generation is live or about to be built or started.
    pub(super) fn recover(&mut self, turn: &mut Turn) {
        let Some(crash) = self.recovery.crash.filter(|_| self.live().is_none()) else {
            return;
        };
        let Crash { id, artifact, .. } = crash;
        let earlier = self.roll_back_to(crash);
        let can_start = self.artifacts.has(artifact) || earlier.is_some();
        let may_start = can_start && self.recovery.starts < MAX_STARTS;
        let restart_at = match (earlier, crash.restart_at) {
            // If the generation that is about to start fails, recovery starts over.
            _ if self.is_busy() || self.pending.is_some() => None,
            _ if !may_start => {
                self.recovery.crash = None;
                return;
            }
            (Some(earlier), _) => {
                self.queue(earlier, Cause::RollBack);
                None
            }
            (None, None) => {
                let after = BACK_OFF;
                turn.notice(id, GenNotice::RestartScheduled { after });
                Some(turn.now.plus(after))
            }
            (None, Some(at)) if turn.now < at => Some(at),
            (None, Some(_)) => {
                self.queue(artifact, Cause::Crash);
                None
            }
        };
        self.recovery.crash = Some(Crash {
            restart_at,
            ..crash
        });
    }

    /// Handles a change in the result of the live generation's liveness check.
    pub(super) fn liveness(&mut self, id: GenId, alive: bool, turn: &mut Turn) {
        let replaces = self.is_busy() || self.recovery.starts < MAX_STARTS;
        let live = self
            .find_mut(id)
            .filter(|known| known.state == GenState::Live);
        if let Some(known) = live {
            known.sick = !alive;
            if !alive && !replaces {
                turn.notice(id, GenNotice::NotReplaced);
            }
        }
    }

    /// Starts the artifact of a sick live generation again, unless a reload is in progress, which replaces it anyway.
    pub(super) fn replace_sick(&mut self, turn: &mut Turn) {
        let sick = self.live_generation().filter(|live| live.sick);
        if sick.is_some() {
            self.take_all(turn);
        }
        let sick = self.live_generation().filter(|live| live.sick);
        let artifact = sick.map(|live| live.artifact);
        let may_start = !self.is_busy() && self.recovery.starts < MAX_STARTS;
        if let Some(artifact) = artifact.filter(|it| may_start && self.artifacts.has(*it)) {
            self.queue(artifact, Cause::Unhealthy);
        }
    }

    fn roll_back_to(&self, crash: Crash) -> Option<ArtifactId> {
        let earlier = self.artifacts.before(crash.artifact);
        earlier.filter(|_| crash.blamed)
    }

    /// Handles the failure of a generation that was never live. If the previous generation had to end first, its artifact
    /// is started again.
    pub(super) fn candidate_failed(&mut self, id: GenId, failure: GenFailure, turn: &mut Turn) {
        let Some(&failed) = self.find(id) else {
            return;
        };
        let artifact = failed.artifact;
        let crash = self.recovery.crash;
        let recovers_with = crash.map(|crash| self.roll_back_to(crash).unwrap_or(crash.artifact));
        if failed.rolled_back && failure == GenFailure::Start {
            // The executable is missing: `cargo clean`, for example, also removes kept executables.
            self.artifacts.kept.retain(|kept| *kept != artifact);
            if let Some(crash) = &mut self.recovery.crash {
                crash.blamed = false;
            }
        } else if recovers_with == Some(artifact) {
            self.recovery.crash = None;
        }
        // The artifact that was live last has proven that it works.
        let last = self.artifacts.live.or(self.recovery.replaced);
        let blamed = self.recovers() && self.recovery.is_server && last != Some(artifact);
        let first = self.live().is_none() && self.recovery.crash.is_none();
        if blamed && first && self.artifacts.before(artifact).is_some() {
            self.recovery.crash = Some(Crash {
                id,
                artifact,
                failure,
                blamed,
                restart_at: None,
            });
        }
        self.failed(id, failure, turn);
    }
}
