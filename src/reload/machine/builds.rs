//! Turns pending changes into builds, and handles the end of a build.

use super::state::{Building, Pending, Queued};
use super::{Machine, Turn};
use crate::reload::{
    Action, ArtifactId, BuildOutcome, GenEffect, GenFailure, GenId, GenNotice, WhenBusy,
};

impl Machine {
    pub(super) fn act_on_pending(&mut self, turn: &mut Turn) {
        let Some(pending) = self.pending else {
            return;
        };
        if self.building.is_some() {
            // A restart needs no other build: the running one leads to a start anyway.
            if pending.action == Action::Build && self.policy.when_busy == WhenBusy::Cancel {
                self.cancel_build(turn);
            }
            return;
        }
        self.pending = None;
        let nothing_built = self.artifacts.newest.is_none();
        if self.policy.builds && (pending.action == Action::Build || nothing_built) {
            return self.build(pending, turn);
        }
        // A queued generation serves as the restart.
        if self.queued.is_none() {
            let artifact = self.to_restart().unwrap_or(ArtifactId::FIRST);
            self.queue(artifact, pending.cause);
        }
    }

    fn build(&mut self, pending: Pending, turn: &mut Turn) {
        let Pending { cause, forced, .. } = pending;
        let id = self.new_id();
        self.building = Some(Building {
            id,
            since: turn.now,
            cause,
            cancelled: false,
            forced,
        });
        turn.notice(id, GenNotice::Building { cause });
        turn.effect(id, GenEffect::Build);
    }

    /// The artifact that a restart starts: the newest one, unless hotrun has rolled back since it was built.
    fn to_restart(&self) -> Option<ArtifactId> {
        let candidate = self.candidate().filter(|candidate| candidate.rolled_back);
        let candidate = candidate.map(|candidate| candidate.artifact);
        let rolled_back = candidate.or(self.artifacts.rolled_back_to);
        let rolled_back = rolled_back.filter(|artifact| self.artifacts.has(*artifact));
        rolled_back.or(self.artifacts.newest)
    }

    pub(super) fn cancel_build(&mut self, turn: &mut Turn) {
        let building = self.building.as_mut();
        if let Some(building) = building.filter(|building| !building.cancelled) {
            building.cancelled = true;
            turn.effect(building.id, GenEffect::CancelBuild);
        }
    }

    pub(super) fn build_ended(&mut self, id: GenId, outcome: BuildOutcome, turn: &mut Turn) {
        let Some(building) = self.building.take_if(|building| building.id == id) else {
            return;
        };
        match outcome {
            BuildOutcome::Failed if !building.cancelled => self.failed(id, GenFailure::Build, turn),
            BuildOutcome::Failed | BuildOutcome::Cancelled => {
                self.pass_on_force(&building);
                turn.notice(id, GenNotice::BuildCancelled);
            }
            BuildOutcome::Built { artifact, kept } => {
                if kept {
                    self.keep(artifact);
                }
                self.built(&building, artifact, turn);
            }
            BuildOutcome::Unchanged { like } => self.unchanged(&building, like, turn),
        }
    }

    /// Keeps this artifact from now on, and forgets the others that are not needed.
    fn keep(&mut self, artifact: ArtifactId) {
        let needed: Vec<_> = self.needed().collect();
        let kept = &mut self.artifacts.kept;
        kept.retain(|kept| *kept != artifact && needed.contains(kept));
        kept.push(artifact);
    }

    /// Starts nothing if the newest generation was started from the same artifact and the user did not ask for a
    /// reload.
    fn unchanged(&mut self, building: &Building, like: GenId, turn: &mut Turn) {
        let id = building.id;
        let Some(artifact) = self.artifact(like) else {
            return self.failed(id, GenFailure::Build, turn);
        };
        let candidate = self.candidate().map(|candidate| candidate.id);
        let is_newest = candidate.or(self.live()) == Some(like);
        if !is_newest || building.forced || self.pending.is_some() || self.quit.is_some() {
            return self.built(building, artifact, turn);
        }
        self.artifacts.built(artifact);
        turn.notice(id, GenNotice::Unchanged { like });
        if let Some(older) = self.queued.take() {
            turn.notice(older.id, GenNotice::Outdated);
        }
    }

    fn built(&mut self, building: &Building, artifact: ArtifactId, turn: &mut Turn) {
        let action = self.pending.map(|pending| pending.action);
        if action == Some(Action::Build) || self.quit.is_some() {
            return self.outdated(building, artifact, turn);
        }
        let &Building {
            id, since, cause, ..
        } = building;
        // This start serves as the restart that was requested during the build.
        self.pending = None;
        self.artifacts.built(artifact);
        let took = turn.now.since(since);
        turn.notice(id, GenNotice::Built { took });
        let queued = Queued {
            id,
            cause,
            artifact,
        };
        if let Some(older) = self.queued.replace(queued) {
            turn.notice(older.id, GenNotice::Outdated);
        }
    }

    /// Does not start the artifact now, but records it as the newest one, in case the next build fails. A generation
    /// that is queued with the previous newest artifact is started from this one.
    fn outdated(&mut self, building: &Building, artifact: ArtifactId, turn: &mut Turn) {
        self.pass_on_force(building);
        let newest = self.artifacts.newest;
        let is_newest =
            |queued: &&mut Queued| Some(queued.artifact) == newest && !queued.cause.rolls_back();
        if let Some(queued) = self.queued.as_mut().filter(is_newest) {
            queued.artifact = artifact;
        }
        self.artifacts.built(artifact);
        turn.notice(building.id, GenNotice::Outdated);
    }

    /// If the user asked for this build, the next one takes over that request.
    fn pass_on_force(&mut self, building: &Building) {
        if let Some(pending) = &mut self.pending {
            pending.forced |= building.forced;
        }
    }
}
