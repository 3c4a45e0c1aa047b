//! What follows from the result of a build.

use super::state::{Building, Queued, Room};
use super::{Machine, Turn};
use crate::reload::{Action, ArtifactId, BuildOutcome, GenFailure, GenId, GenNotice};

impl Machine {
    pub(super) fn build_ended(&mut self, id: GenId, outcome: BuildOutcome, turn: &mut Turn) {
        let Some(building) = self.building.take_if(|building| building.id == id) else {
            return;
        };
        match outcome {
            BuildOutcome::Failed if !building.cancelled => self.failed(id, GenFailure::Build, turn),
            BuildOutcome::Failed | BuildOutcome::Cancelled => {
                turn.notice(id, GenNotice::BuildCancelled);
            }
            BuildOutcome::Built { artifact, kept } => {
                if kept {
                    // Forgets the kept artifacts that are not needed, as the driver does.
                    let needed: Vec<_> = self.needed().collect();
                    let kept = &mut self.artifacts.kept;
                    kept.retain(|kept| *kept != artifact && needed.contains(kept));
                    kept.push(artifact);
                }
                self.built(&building, artifact, turn);
            }
            BuildOutcome::Unchanged { like } => self.unchanged(&building, like, turn),
        }
    }

    /// Handles a build that produced what `like` was started from. Nothing is started if `like` is the newest generation
    /// and nothing else requires a start.
    fn unchanged(&mut self, building: &Building, like: GenId, turn: &mut Turn) {
        let id = building.id;
        let Some(artifact) = self.artifact(like) else {
            return self.failed(id, GenFailure::Build, turn);
        };
        let candidate = self.candidate().map(|candidate| candidate.id);
        let is_newest = candidate.or(self.live()) == Some(like);
        if !is_newest || self.must_start || self.pending.is_some() || self.quit.is_some() {
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
        // Without a newer build, the user has undone this one.
        if action == Some(Action::Build) || building.cancelled || self.quit.is_some() {
            return self.outdated(building, artifact, turn);
        }
        let &Building {
            id, since, cause, ..
        } = building;
        // The new generation also serves as the restart that was requested during the build.
        self.pending = None;
        self.artifacts.built(artifact);
        let took = turn.now.since(since);
        turn.notice(id, GenNotice::Built { took });
        let queued = Queued {
            id,
            cause,
            artifact,
            room: Room::Unknown,
        };
        if let Some(older) = self.queued.replace(queued) {
            turn.notice(older.id, GenNotice::Outdated);
        }
    }

    /// Records the artifact as the newest one, in case the next build fails, but does not start it now. A generation that
    /// is queued with the previous newest artifact will be started from this one.
    fn outdated(&mut self, building: &Building, artifact: ArtifactId, turn: &mut Turn) {
        let newest = self.artifacts.newest;
        let is_newest =
            |queued: &&mut Queued| Some(queued.artifact) == newest && !queued.cause.rolls_back();
        if let Some(queued) = self.queued.as_mut().filter(is_newest) {
            queued.artifact = artifact;
        }
        self.artifacts.built(artifact);
        turn.notice(building.id, GenNotice::Outdated);
    }
}
