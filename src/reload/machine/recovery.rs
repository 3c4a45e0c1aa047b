//! What follows from a crash of the live generation: an earlier artifact, or another start of the same one.

use std::time::Duration;

use super::drain::Drain;
use super::generation::{Generation, State};
use super::recovery_state::{Crash, Recovery, Restoring};
use super::signals::Signals;
use super::state::Queued;
use super::{Machine, Response};
use crate::reload::{ArtifactId, Cause, Ended, Failure, GenEffect, GenId, GenNotice, Time};

/// How long hotrun waits before it restarts what crashed.
const BACK_OFF: Duration = Duration::from_secs(1);
/// At most this many starts follow from crashes alone, until something changes or the user acts.
const MOST_STARTS: u8 = 2;

impl Machine {
    /// This generation is live now instead of `old`. Returns the signals that it is owed.
    pub(super) fn went_live(&mut self, now: Time, id: GenId, old: Option<GenId>) -> Signals {
        let last = self.artifacts.live();
        let newer = self.is_newest_queued();
        let Some(known) = self.find_mut(id) else {
            return Signals::NONE;
        };
        known.state = State::Live;
        let owed = std::mem::take(&mut known.owed);
        let known = *known;
        if let Some(old) = old.and_then(|old| self.find_mut(old)) {
            old.owed = Signals::NONE;
        }
        let rolled_back = known.rolled_back && !newer;
        self.artifacts.went_live(known.artifact, rolled_back);
        self.recovery = Recovery {
            blame_until: Some(now.plus(self.policy.roll_back_within)),
            replaced: last.or(self.recovery.replaced),
            before: old,
            crash: None,
            rolling_back: None,
            restoring: None,
            server: known.is_server(&self.policy),
            ..self.recovery
        };
        owed
    }

    fn recovers(&self) -> bool {
        self.quit.is_none() && !self.policy.roll_back_within.is_zero()
    }

    /// Whether the newest artifact is about to be started.
    fn is_newest_queued(&self) -> bool {
        let next = self.queued.map(|queued| queued.artifact);
        let starting = || Some(self.candidate()?.artifact);
        let starting = next.or_else(starting);
        starting.is_some() && starting == self.artifacts.newest
    }

    /// The live generation ended. `ended`: how, if that was seen.
    pub(super) fn lose_live(
        &mut self,
        now: Time,
        id: GenId,
        ended: Option<Ended>,
        survivors: bool,
        out: &mut Response,
    ) {
        let server = self.find(id).is_some_and(|it| it.is_server(&self.policy));
        self.begin_drain(id, Drain::ended(now, &self.policy));
        let artifact = self.artifacts.failed();
        let soon = self.recovery.blame_until.is_some_and(|until| now < until);
        // Exit status 0 counts as intentional.
        let crashed = server && !ended.is_some_and(Ended::success) && self.recovers();
        let blamed = soon && self.recovery.replaced != artifact;
        self.recovery.replaced = artifact;
        self.recovery.crash = artifact.filter(|_| crashed).map(|artifact| Crash {
            id,
            artifact,
            blamed,
            restart_at: None,
        });
        self.recovery.restoring = None;
        let failure = ended.map_or(Failure::Vanished, Failure::Crashed);
        let restoring = crashed && soon && self.restore(now, (id, failure), out);
        self.clean_up(id, survivors, out);
        if !restoring {
            self.failed(id, failure, out);
        }
    }

    /// Makes the generation live again that was live before, if it drains and was not asked to stop. This comes before
    /// everything else: no client has to wait. Whether it works decides what is reported about it and the crash.
    fn restore(&mut self, now: Time, crashed: (GenId, Failure), out: &mut Response) -> bool {
        let newer = self.is_newest_queued();
        let before = self.recovery.before.filter(|_| !self.is_switching());
        let may_stay = |known: &&Generation| {
            known.drain().is_some_and(Drain::may_stay) && !known.watchdog.has_fired()
        };
        let before = before.and_then(|id| self.find(id));
        let Some(&before) = before.filter(may_stay) else {
            return false;
        };
        let Generation { id, artifact, .. } = before;
        if let Some(known) = self.find_mut(id) {
            known.state = State::Live;
            known.watchdog.restart(now);
            known.owed = Signals::NONE;
        }
        self.artifacts.went_live(artifact, !newer);
        self.recovery = Recovery {
            blame_until: None,
            before: None,
            restoring: Some(Restoring { id, crashed }),
            server: before.is_server(&self.policy),
            ..self.recovery
        };
        out.effect(id, GenEffect::Switch);
        for signal in before.owed.numbers() {
            out.effect(id, GenEffect::SendReloadSignal { signal });
        }
        true
    }

    /// The switch to a restored generation was made, or refused because it has already shut down its sockets. Then
    /// follows what would have followed without it.
    pub(super) fn restored(&mut self, now: Time, id: GenId, done: bool, out: &mut Response) {
        let is_it = |restoring: &mut Restoring| restoring.id == id;
        let Some(Restoring { crashed, .. }) = self.recovery.restoring.take_if(is_it) else {
            return;
        };
        // It may have had to leave already for a generation that was queued.
        let lives = self.live() == Some(id);
        if lives && !done {
            self.begin_drain(id, Drain::retired(now, &self.policy));
            self.hold(out);
            self.retire(now, id, out);
        } else if lives {
            self.recovery.crash = None;
        }
        self.failed(crashed.0, crashed.1, out);
        if lives && done {
            out.notice(id, GenNotice::Restored);
        }
    }

    /// Nothing is live because of a crash, and nothing else is on its way.
    pub(super) fn recover(&mut self, now: Time, out: &mut Response) {
        let Some(crash) = self.recovery.crash.filter(|_| self.live().is_none()) else {
            return;
        };
        if self.is_busy() || self.pending.is_some() {
            // The crash matters again if that fails.
            let restart_at = None;
            self.recovery.crash = Some(Crash {
                restart_at,
                ..crash
            });
            return;
        }
        let earlier = self.earlier(crash.artifact).filter(|_| crash.blamed);
        let may_start = earlier.is_some() || self.has(crash.artifact);
        if self.recovery.starts == MOST_STARTS || !may_start {
            self.recovery.crash = None;
        } else if let Some(artifact) = earlier {
            self.start_over(artifact, Cause::RollBack);
        } else if crash.restart_at.is_none() {
            let restart_at = Some(now.plus(BACK_OFF));
            self.recovery.crash = Some(Crash {
                restart_at,
                ..crash
            });
            let after = BACK_OFF;
            out.notice(crash.id, GenNotice::RestartScheduled { after });
        } else if crash.restart_at.is_some_and(|at| now >= at) {
            self.start_over(crash.artifact, Cause::Crash);
        }
    }

    fn start_over(&mut self, artifact: ArtifactId, cause: Cause) {
        let id = self.new_id();
        if let Some(crash) = &mut self.recovery.crash {
            crash.restart_at = None;
        }
        self.queued = Some(Queued {
            id,
            cause,
            artifact,
        });
    }

    /// The artifact to roll back to from this one.
    fn earlier(&self, crashed: ArtifactId) -> Option<ArtifactId> {
        self.artifacts
            .before(crashed)
            .filter(|_| self.policy.builds)
    }

    /// Whether this artifact can be started.
    fn has(&self, artifact: ArtifactId) -> bool {
        !self.policy.builds || self.artifacts.has(artifact)
    }

    /// A generation failed that was never live. The one before it may have had to end first: it is started again.
    pub(super) fn lose_successor(&mut self, failed: &Generation, failure: Failure) {
        let &Generation { id, artifact, .. } = failed;
        let rolling_back = self.recovery.rolling_back.take();
        if failed.rolled_back && failure == Failure::Start {
            // Cleaning the target directory removes kept executables as well.
            self.artifacts.lose(artifact);
            let blamed = false;
            let again = rolling_back.map(|crash| Crash { blamed, ..crash });
            self.recovery.crash = again.or(self.recovery.crash);
        }
        // Not if the same artifact was live last.
        let last = self.artifacts.live().or(self.recovery.replaced);
        let blamed = self.recovers() && self.recovery.server && last != Some(artifact);
        let first = self.live().is_none() && self.recovery.crash.is_none();
        if blamed && first && self.earlier(artifact).is_some() {
            self.recovery.crash = Some(Crash {
                id,
                artifact,
                blamed,
                restart_at: None,
            });
        }
    }
}
