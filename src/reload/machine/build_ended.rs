//! What follows from the end of a build.

use super::state::{Building, Queued};
use super::{Machine, Response};
use crate::reload::{Action, ArtifactId, BuildOutcome, Failure, GenId, GenNotice, Time};

impl Machine {
    pub(super) fn build_ended(
        &mut self,
        now: Time,
        id: GenId,
        outcome: BuildOutcome,
        out: &mut Response,
    ) {
        let Some(building) = self.building.take_if(|building| building.id == id) else {
            return;
        };
        match outcome {
            BuildOutcome::Cancelled => self.build_cancelled(&building, out),
            BuildOutcome::Failed if building.cancelled => self.build_cancelled(&building, out),
            BuildOutcome::Failed => self.failed(id, Failure::Build, out),
            BuildOutcome::Built { artifact, kept } => {
                if kept {
                    self.keep(artifact);
                }
                self.built(now, &building, artifact, out);
            }
            BuildOutcome::Unchanged { like } => self.unchanged(now, &building, like, out),
        }
    }

    fn keep(&mut self, artifact: ArtifactId) {
        let mut artifacts = self.artifacts.clone();
        artifacts.keep(artifact, |kept| self.needs(kept));
        self.artifacts = artifacts;
    }

    fn unchanged(&mut self, now: Time, building: &Building, like: GenId, out: &mut Response) {
        let id = building.id;
        let Some(artifact) = self.artifact(like) else {
            return self.failed(id, Failure::Build, out);
        };
        if self.is_outdated() || !self.is_enough(like, building) {
            return self.built(now, building, artifact, out);
        }
        self.artifacts.built(artifact);
        out.notice(id, GenNotice::Unchanged { like });
        if let Some(older) = self.queued.take() {
            out.notice(older.id, GenNotice::Outdated);
        }
    }

    fn built(&mut self, now: Time, building: &Building, artifact: ArtifactId, out: &mut Response) {
        if self.is_outdated() {
            return self.outdated(building, artifact, out);
        }
        let &Building {
            id, since, cause, ..
        } = building;
        // This start is the restart that was requested during the build.
        self.pending = None;
        self.artifacts.built(artifact);
        let took = now.since(since);
        out.notice(id, GenNotice::Built { took });
        let queued = Queued {
            id,
            cause,
            artifact,
        };
        if let Some(older) = self.queued.replace(queued) {
            out.notice(older.id, GenNotice::Outdated);
        }
    }

    /// It is not started now. If the build after it fails, it is the best there is, also for a generation that waits to
    /// be started from the artifact before it.
    fn outdated(&mut self, building: &Building, artifact: ArtifactId, out: &mut Response) {
        self.pass_on_force(building);
        let newest = self.artifacts.newest;
        let is_newest =
            |queued: &&mut Queued| Some(queued.artifact) == newest && !queued.cause.rolls_back();
        if let Some(queued) = self.queued.as_mut().filter(is_newest) {
            queued.artifact = artifact;
        }
        self.artifacts.built(artifact);
        out.notice(building.id, GenNotice::Outdated);
    }

    fn build_cancelled(&mut self, building: &Building, out: &mut Response) {
        self.pass_on_force(building);
        out.notice(building.id, GenNotice::BuildCancelled);
    }

    /// What the user asked of this build is asked of the next one.
    fn pass_on_force(&mut self, building: &Building) {
        if let Some(pending) = &mut self.pending {
            pending.forced |= building.forced;
        }
    }

    /// Whether newer sources must be built first, or nothing is started at all.
    fn is_outdated(&self) -> bool {
        let action = self.pending.map(|pending| pending.action);
        action == Some(Action::Build) || self.quit.is_some()
    }

    /// Whether starting what was built would gain nothing: the newest generation was started from it, and the user did
    /// not ask for more.
    fn is_enough(&self, like: GenId, building: &Building) -> bool {
        let newest = self
            .candidate()
            .map(|candidate| candidate.id)
            .or(self.live());
        newest == Some(like) && !building.forced && self.pending.is_none()
    }
}
