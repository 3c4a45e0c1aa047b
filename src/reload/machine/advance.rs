//! What follows from the state alone: the one place that starts things.

use super::configured::Signals;
use super::{Building, Candidate, Machine, Next, Response};
use crate::reload::{
    Action, ArtifactId, Effect, GenEffect, GenId, GenNotice, Notice, Time, WhenBusy,
};

impl Machine {
    pub(super) fn advance(&mut self, now: Time, out: &mut Response) {
        if self.quit.is_some() {
            return self.finish(out);
        }
        self.recover(now, out);
        self.act_on_wanted(now, out);
        self.grow_fd_table(now, out);
        self.start_next(now, out);
        match self.something_comes() {
            true => self.answer_no_more(out),
            false => self.wait_for_a_change(out),
        }
    }

    /// Whether a generation is on its way to be live.
    fn something_comes(&self) -> bool {
        self.something_is_made() || self.recovers()
    }

    /// Whether a generation is built, waits for room, or starts.
    pub(super) fn something_is_made(&self) -> bool {
        self.building.is_some() || self.next.is_some() || self.candidate.is_some()
    }

    /// Nothing will be live until somebody does something: that is said to the user, and to who connects.
    fn wait_for_a_change(&mut self, out: &mut Response) {
        let failed = out.notices.iter().rev().find_map(|notice| {
            let Notice::Generation(id, GenNotice::Failed { failure, .. }) = *notice else {
                return None;
            };
            Some(Effect::RespondUnavailable { id, failure })
        });
        if let Some(answer) = failed.filter(|_| self.live.is_none()) {
            self.answers = true;
            out.effects.push(answer);
            out.notices.push(Notice::Waiting);
        }
    }

    /// It comes first: what waits for a program must not be answered while that is being started.
    fn answer_no_more(&mut self, out: &mut Response) {
        if std::mem::take(&mut self.answers) {
            out.effects.insert(0, Effect::StopResponding);
        }
    }

    fn act_on_wanted(&mut self, now: Time, out: &mut Response) {
        let Some(wanted) = self.wanted else {
            return;
        };
        let build = self.policy.builds
            && (wanted.action == Action::Build || self.artifacts.newest.is_none());
        if let Some(building) = &mut self.building {
            // A restart is content with what is being built, also if there is nothing else yet.
            let newer = wanted.action == Action::Build;
            if newer && self.policy.when_busy == WhenBusy::Cancel && !building.cancelled {
                building.cancelled = true;
                out.effects
                    .push(Effect::Generation(building.id, GenEffect::CancelBuild));
            }
            return;
        }
        self.wanted = None;
        if !build && self.next.is_some() {
            // What waits to be started is the restart.
            return;
        }
        let id = self.upcoming;
        self.upcoming = id.next();
        let again = self.to_restart();
        if build {
            self.building = Some(Building {
                id,
                since: now,
                cause: wanted.cause,
                cancelled: false,
                forced: wanted.forced,
            });
            out.notices.push(Notice::Generation(
                id,
                GenNotice::Building {
                    cause: wanted.cause,
                },
            ));
            out.effects.push(Effect::Generation(id, GenEffect::Build));
        } else {
            self.next = Some(Next {
                id,
                cause: wanted.cause,
                artifact: again.unwrap_or(ArtifactId::FIRST),
            });
        }
    }

    /// What a restart is of: the newest build, unless somebody went back since.
    fn to_restart(&self) -> Option<ArtifactId> {
        let again = self.candidate.filter(|candidate| candidate.again);
        let again = again.map(|candidate| candidate.artifact);
        let back = again.or(self.artifacts.rolled_back_to());
        let back = back.filter(|artifact| self.artifacts.has(*artifact));
        back.or(self.artifacts.newest)
    }

    /// Something newer waits to be started: what stands in its way goes.
    fn grow_fd_table(&mut self, now: Time, out: &mut Response) {
        if self.ready_to_start().is_none() {
            return;
        }
        let starting = |candidate: &mut Candidate| candidate.ready.is_none();
        if self.policy.when_busy == WhenBusy::Cancel
            && let Some(candidate) = self.candidate.take_if(starting)
        {
            out.notices
                .push(Notice::Generation(candidate.id, GenNotice::Superseded));
            self.dismiss(now, candidate.id, out);
        }
        if self.candidate.is_none()
            && let Some(old) = self.live.filter(|live| !self.bears_company(*live))
        {
            self.live = None;
            out.effects.push(Effect::Hold);
            self.retire(now, old, out);
        }
    }

    fn start_next(&mut self, now: Time, out: &mut Response) {
        let mut others = self
            .leaving
            .iter()
            .map(|leaving| leaving.id)
            .chain(self.live);
        if self.candidate.is_some() || !others.all(|id| self.bears_company(id)) {
            return;
        }
        if let Some(Next {
            id,
            cause,
            artifact,
        }) = self.ready_to_start()
        {
            let older = cause.rolls_back() || self.artifacts.newest != Some(artifact);
            let again = older && self.policy.builds;
            self.next = None;
            self.candidate = Some(Candidate {
                id,
                artifact,
                again,
                since: now,
                until: now.plus(self.policy.ready_timeout),
                ready: None,
                owed: Signals::default(),
            });
            out.notices
                .push(Notice::Generation(id, GenNotice::Starting { cause }));
            self.recovery.started(cause);
            out.effects
                .push(Effect::Generation(id, GenEffect::Start { artifact }));
        }
    }

    /// What is built while newer sources are being built waits for them: if they are broken, it is the best there is.
    fn ready_to_start(&self) -> Option<Next> {
        let newer = |next: &Next| self.building.is_some_and(|building| building.id > next.id);
        self.next.filter(|next| !newer(next))
    }

    /// Whether another generation may be started beside this one. Not if the other is to have what this one stores,
    /// which may come as late as its end.
    fn bears_company(&self, id: GenId) -> bool {
        !self.stores && self.policy.beside(self.listening.contains(&id))
    }
}
