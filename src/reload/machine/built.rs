//! A build has come to its end.

use super::{Building, Machine, Next, Response};
use crate::reload::{Action, ArtifactId, BuildOutcome, Failure, GenId, GenNotice, Notice, Time};

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
            BuildOutcome::Cancelled => self.given_up(&building, out),
            BuildOutcome::Failed if building.cancelled => self.given_up(&building, out),
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

    fn unchanged(&mut self, now: Time, building: &Building, like: GenId, out: &mut Response) {
        let id = building.id;
        let Some(artifact) = self.artifact(like) else {
            return self.failed(id, Failure::Build, out);
        };
        if self.is_outdated() || !self.is_enough(like, building) {
            return self.built(now, building, artifact, out);
        }
        self.artifacts.made(artifact);
        out.notices
            .push(Notice::Generation(id, GenNotice::Unchanged { like }));
        let older = self.next.take();
        out.notices
            .extend(older.map(|older| Notice::Generation(older.id, GenNotice::Outdated)));
    }

    fn built(&mut self, now: Time, building: &Building, artifact: ArtifactId, out: &mut Response) {
        if self.is_outdated() {
            return self.outdated(building, artifact, out);
        }
        let &Building {
            id, since, cause, ..
        } = building;
        // A restart that was asked for during the build is this start.
        self.wanted = None;
        self.artifacts.made(artifact);
        let took = now.since(since);
        out.notices
            .push(Notice::Generation(id, GenNotice::Built { took }));
        let next = Next {
            id,
            cause,
            artifact,
        };
        let older = self.next.replace(next);
        out.notices
            .extend(older.map(|older| Notice::Generation(older.id, GenNotice::Outdated)));
    }

    /// It is not started now. Should the build after it fail, it is the best there is, also for a generation that waits
    /// to be started from the one before it.
    fn outdated(&mut self, building: &Building, artifact: ArtifactId, out: &mut Response) {
        self.pass_on_force(building);
        let before = self.artifacts.newest;
        let newest = |next: &&mut Next| Some(next.artifact) == before && !next.cause.rolls_back();
        if let Some(next) = self.next.as_mut().filter(newest) {
            next.artifact = artifact;
        }
        self.artifacts.made(artifact);
        out.notices
            .push(Notice::Generation(building.id, GenNotice::Outdated));
    }

    fn given_up(&mut self, building: &Building, out: &mut Response) {
        self.pass_on_force(building);
        out.notices
            .push(Notice::Generation(building.id, GenNotice::BuildCancelled));
    }

    /// What the user asked for is asked of the build that follows.
    fn pass_on_force(&mut self, building: &Building) {
        if let Some(wanted) = &mut self.wanted {
            wanted.forced |= building.forced;
        }
    }

    fn is_outdated(&self) -> bool {
        let newer = self
            .wanted
            .is_some_and(|wanted| wanted.action == Action::Build);
        newer || self.quit.is_some()
    }

    /// Nothing is gained by starting what is there: it is the newest that was started, and nobody asked for more.
    fn is_enough(&self, like: GenId, building: &Building) -> bool {
        let newest = self.candidate.map(|candidate| candidate.id).or(self.live);
        newest == Some(like) && !building.forced && self.wanted.is_none()
    }
}
