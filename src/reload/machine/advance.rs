//! What follows from the state alone: the one place that starts anything.

use super::generation::{Generation, State};
use super::state::{Building, Pending, Queued};
use super::{Machine, Response};
use crate::reload::{
    Action, ArtifactId, Effect, GenEffect, GenId, GenNotice, Notice, Time, WhenBusy,
};

impl Machine {
    pub(super) fn advance(&mut self, now: Time, out: &mut Response) {
        if self.quit.is_some() {
            return self.finish(out);
        }
        self.recover(now, out);
        self.act_on_pending(now, out);
        self.make_room(now, out);
        self.start_queued(now, out);
        if self.is_busy() || self.live().is_none() && self.recovery.crash.is_some() {
            self.stop_responding(out);
        } else {
            self.wait_for_a_change(out);
        }
    }

    /// Whether a generation is being built, waits for room, or is starting.
    pub(super) fn is_busy(&self) -> bool {
        self.building.is_some() || self.queued.is_some() || self.candidate().is_some()
    }

    /// Nothing will be live until something changes: the user and waiting clients get to know.
    fn wait_for_a_change(&mut self, out: &mut Response) {
        let failed = out.notices.iter().rev().find_map(|notice| {
            let Notice::Generation(id, GenNotice::Failed { failure, .. }) = *notice else {
                return None;
            };
            Some(Effect::RespondUnavailable { id, failure })
        });
        if let Some(respond) = failed.filter(|_| self.live().is_none()) {
            self.responding = true;
            out.effects.push(respond);
            out.notices.push(Notice::Waiting);
        }
    }

    /// Comes first: a client that waits for a program must not get an error while that is being started.
    fn stop_responding(&mut self, out: &mut Response) {
        if std::mem::take(&mut self.responding) {
            out.effects.insert(0, Effect::StopResponding);
        }
    }

    fn act_on_pending(&mut self, now: Time, out: &mut Response) {
        let Some(pending) = self.pending else {
            return;
        };
        if self.building.is_some() {
            // A restart is content with what is being built.
            if pending.action == Action::Build && self.policy.when_busy == WhenBusy::Cancel {
                self.cancel_build(out);
            }
            return;
        }
        self.pending = None;
        let nothing_built = self.artifacts.newest.is_none();
        if self.policy.builds && (pending.action == Action::Build || nothing_built) {
            return self.build(now, pending, out);
        }
        // Otherwise the generation that is queued is the restart.
        if self.queued.is_none() {
            self.queued = Some(Queued {
                id: self.new_id(),
                cause: pending.cause,
                artifact: self.to_restart().unwrap_or(ArtifactId::FIRST),
            });
        }
    }

    fn build(&mut self, now: Time, pending: Pending, out: &mut Response) {
        let Pending { cause, forced, .. } = pending;
        let id = self.new_id();
        self.building = Some(Building {
            id,
            since: now,
            cause,
            cancelled: false,
            forced,
        });
        out.notice(id, GenNotice::Building { cause });
        out.effect(id, GenEffect::Build);
    }

    /// What a restart starts: the newest artifact, unless hotrun has rolled back since it was built.
    fn to_restart(&self) -> Option<ArtifactId> {
        let candidate = self.candidate().filter(|candidate| candidate.rolled_back);
        let candidate = candidate.map(|candidate| candidate.artifact);
        let rolled_back = candidate.or(self.artifacts.rolled_back_to());
        let rolled_back = rolled_back.filter(|artifact| self.artifacts.has(*artifact));
        rolled_back.or(self.artifacts.newest)
    }

    /// A newer generation is to be started: those in its way leave.
    fn make_room(&mut self, now: Time, out: &mut Response) {
        if self.ready_to_start().is_none() {
            return;
        }
        let starting = |known: &&Generation| matches!(known.state, State::Starting { .. });
        let superseded = self.candidate().filter(starting).map(|known| known.id);
        if let Some(id) = superseded.filter(|_| self.policy.when_busy == WhenBusy::Cancel) {
            out.notice(id, GenNotice::Superseded);
            self.dismiss(now, id, out);
        }
        let live = self.live_generation();
        let in_the_way = live.filter(|live| !self.may_start_beside(live));
        let in_the_way = in_the_way.map(|live| live.id);
        if let Some(id) = in_the_way.filter(|_| self.candidate().is_none()) {
            out.effects.push(Effect::Hold);
            self.retire(now, id, out);
        }
    }

    fn start_queued(&mut self, now: Time, out: &mut Response) {
        let mut others = self.generations.iter();
        if self.candidate().is_some() || !others.all(|known| self.may_start_beside(known)) {
            return;
        }
        let Some(queued) = self.ready_to_start() else {
            return;
        };
        let Queued {
            id,
            cause,
            artifact,
        } = queued;
        self.queued = None;
        let older = cause.rolls_back() || self.artifacts.newest != Some(artifact);
        let mut new = Generation::start(id, artifact, now, &self.policy);
        new.rolled_back = older && self.policy.builds;
        self.generations.push(new);
        self.recovery.started(cause);
        out.notice(id, GenNotice::Starting { cause });
        out.effect(id, GenEffect::Start { artifact });
    }

    /// While newer sources are being built, what is built already waits: if they are broken, it is the best there is.
    fn ready_to_start(&self) -> Option<Queued> {
        let newer = |id: GenId| self.building.is_some_and(|building| building.id > id);
        self.queued.filter(|queued| !newer(queued.id))
    }

    /// Whether another generation may be started beside this one. Not if it is to inherit the descriptors that this one
    /// stores, which may come as late as its end.
    fn may_start_beside(&self, known: &Generation) -> bool {
        !self.stores_fds && self.policy.may_overlap(known.listens)
    }
}
