//! A build has come to its end.

use super::{Building, Machine, Next, Response};
use crate::reload::{Action, BuildOutcome, Failure, GenId, Notice, Time};

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
            BuildOutcome::Built if self.is_outdated() => self.outdated(&building, id, out),
            // What is the same is nothing else to go back to.
            BuildOutcome::Same { like } if self.is_outdated() => {
                let build = self.build_of(like).unwrap_or(id);
                self.outdated(&building, build, out);
            }
            BuildOutcome::Same { like } if self.is_enough(like, &building) => {
                self.builds.made(self.build_of(like).unwrap_or(id));
                out.notices.push(Notice::Unchanged { id, like });
                let older = self.next.take();
                out.notices
                    .extend(older.map(|older| Notice::Outdated { id: older.id }));
            }
            BuildOutcome::Same { like } => {
                let build = self.build_of(like).unwrap_or(id);
                self.built(now, &building, build, out);
            }
            BuildOutcome::Built => self.built(now, &building, id, out),
        }
    }

    fn built(&mut self, now: Time, building: &Building, build: GenId, out: &mut Response) {
        let &Building {
            id, since, cause, ..
        } = building;
        // A restart that was asked for meanwhile is this start.
        self.wanted = None;
        self.builds.made(build);
        let took = now.since(since);
        out.notices.push(Notice::Built { id, took });
        let older = self.next.replace(Next { id, cause, build });
        out.notices
            .extend(older.map(|older| Notice::Outdated { id: older.id }));
    }

    /// It is not started now. Should what is built after it be broken, it is the best there is: also for what waits to be
    /// started from the one before it.
    fn outdated(&mut self, building: &Building, build: GenId, out: &mut Response) {
        self.pass_on_force(building);
        let before = self.builds.newest;
        let newest = |next: &&mut Next| Some(next.build) == before && !next.cause.goes_back();
        if let Some(next) = self.next.as_mut().filter(newest) {
            next.build = build;
        }
        self.builds.made(build);
        out.notices.push(Notice::Outdated { id: building.id });
    }

    /// The build from which this generation was started, as long as it is known.
    fn build_of(&self, id: GenId) -> Option<GenId> {
        match self.candidate {
            Some(candidate) if candidate.id == id => Some(candidate.build),
            Some(_) | None if self.live == Some(id) => self.builds.served(),
            Some(_) | None => None,
        }
    }

    fn given_up(&mut self, building: &Building, out: &mut Response) {
        self.pass_on_force(building);
        out.notices.push(Notice::BuildCancelled { id: building.id });
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
