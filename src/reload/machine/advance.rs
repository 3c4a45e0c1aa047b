//! Does what the state allows after an event. Builds and programs are started only here.

use std::time::Duration;

use super::generation::{GenState, Generation};
use super::state::{Building, Queued, Room};
use super::{Machine, Turn};
use crate::reload::{
    Action, ArtifactId, Cause, Effect, GenEffect, GenNotice, Mode, Notice, Time, WhenBusy,
};

/// How long changes may wait for a generation that is starting, so that a program that does not get ready does not delay
/// the start of its mended version.
pub(in crate::reload) const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Machine {
    pub(super) fn advance(&mut self, turn: &mut Turn) {
        if self.quit.is_some() {
            self.finish(turn);
            return self.hold_new(turn);
        }
        self.recover(turn);
        self.act_on_pending(turn);
        self.replace_sick(turn);
        self.start_queued(turn);
        if self.is_busy() || self.live().is_none() && self.recovery.crash.is_some() {
            if std::mem::take(&mut self.responding) {
                // Comes first, because a client must not get an error while the program that it waits for is being
                // started.
                turn.reaction.effects.insert(0, Effect::StopResponding);
            }
        } else if self.live().is_none() && self.respond_if_failed(turn) {
            turn.reaction.notices.push(Notice::Waiting);
        }
        self.hold_new(turn);
    }

    /// Acts on a change or a request: builds, or queues an artifact without a build.
    fn act_on_pending(&mut self, turn: &mut Turn) {
        let Some(pending) = self.pending else {
            return;
        };
        if self.building.is_some() {
            // A restart does not cancel the running build, which leads to a start anyway.
            if pending.action == Action::Build && self.policy.when_busy == WhenBusy::Cancel {
                self.cancel_build(turn);
            }
            return;
        }
        self.pending = None;
        let nothing_built = self.artifacts.newest.is_none();
        if self.policy.builds && (pending.action == Action::Build || nothing_built) {
            let cause = pending.cause;
            let id = self.new_id();
            self.building = Some(Building {
                id,
                since: turn.now,
                cause,
                cancelled: false,
            });
            turn.notice(id, GenNotice::Building { cause });
            return turn.effect(id, GenEffect::Build);
        }
        match &mut self.queued {
            // It serves as the restart. If the user asks for that, it need not wait any longer.
            Some(queued) if queued.cause == Cause::Change => queued.cause = pending.cause,
            Some(_) => {}
            None => {
                let artifact = self.to_restart().unwrap_or(ArtifactId::FIRST);
                self.queue(artifact, pending.cause);
            }
        }
    }

    pub(super) fn cancel_build(&mut self, turn: &mut Turn) {
        let building = self.building.as_mut();
        if let Some(building) = building.filter(|building| !building.cancelled) {
            building.cancelled = true;
            turn.effect(building.id, GenEffect::CancelBuild);
        }
    }

    /// The artifact that a restart starts: the newest one, unless hotrun has rolled back since it was built.
    fn to_restart(&self) -> Option<ArtifactId> {
        let candidate = self.candidate().filter(|candidate| candidate.rolled_back);
        let candidate = candidate.map(|candidate| candidate.artifact);
        let rolled_back = candidate.or(self.artifacts.rolled_back_to);
        let rolled_back = rolled_back.filter(|artifact| self.artifacts.has(*artifact));
        rolled_back.or(self.artifacts.newest)
    }

    /// Whether a generation is being built, is queued, or is starting.
    pub fn is_busy(&self) -> bool {
        self.building.is_some() || self.queued.is_some() || self.candidate().is_some()
    }

    /// If a generation has just failed, sends the waiting clients an error response. Called when no other generation is
    /// about to go live. Returns whether one has failed.
    pub(super) fn respond_if_failed(&mut self, turn: &mut Turn) -> bool {
        let failed = turn.reaction.notices.iter().rev().find_map(|notice| {
            let Notice::Generation(id, GenNotice::Failed { failure, .. }) = *notice else {
                return None;
            };
            Some(Effect::RespondUnavailable { id, failure })
        });
        self.responding |= failed.is_some();
        turn.reaction.effects.extend(failed);
        failed.is_some()
    }

    /// Starts the queued generation, or stops the generations that must end before it can start. While newer sources
    /// are being built, the queued generation waits, and is started only if that build fails.
    fn start_queued(&mut self, turn: &mut Turn) {
        let Some(queued) = self.to_start() else {
            return;
        };
        let waits = self
            .change_waits_until()
            .is_some_and(|until| turn.now < until);
        let cancels = self.policy.when_busy == WhenBusy::Cancel && !waits;
        let makes_way = |known: &&Generation| match known.state {
            GenState::Starting { .. } => cancels,
            // It is ready, but may never get everything.
            GenState::Sharing(_) => true,
            GenState::Ready { .. } | GenState::Live | GenState::Draining(_) => false,
        };
        if let Some(id) = self.candidate().filter(makes_way).map(|known| known.id) {
            self.superseded(id, turn);
            self.supersede(id, turn);
        }
        if self.candidate().is_some() {
            return;
        }
        let kept = self.kept().and_then(|id| self.find(id));
        if let Some(kept) = kept.filter(|kept| !self.may_start_beside(kept)) {
            self.retire(kept.id, turn);
        }
        let live = self.live_generation();
        let in_the_way = live.filter(|live| !self.may_start_beside(live));
        if let Some(id) = in_the_way.map(|live| live.id) {
            turn.reaction.effects.push(Effect::Hold);
            self.retire(id, turn);
        }
        if !self
            .generations
            .iter()
            .all(|known| self.may_start_beside(known))
        {
            return;
        }
        if !self.has_room(turn) {
            return;
        }
        self.queued = None;
        let Queued {
            id,
            cause,
            artifact,
            ..
        } = queued;
        let older = cause.rolls_back() || self.artifacts.newest != Some(artifact);
        let mut new = Generation::start(id, artifact, turn.now, &self.policy);
        new.rolled_back = older;
        new.may_share = cause.shares() && !self.policy.share.is_empty();
        new.undoes = cause == Cause::Undo;
        self.generations.push(new);
        self.recovery.starts += u8::from(cause.is_failure());
        turn.notice(id, GenNotice::Starting { cause });
        self.must_start = false;
        turn.effect(id, GenEffect::Start { artifact });
    }

    /// The queued generation, unless it waits for the build of newer sources.
    fn to_start(&self) -> Option<Queued> {
        let newer = |queued: &Queued| self.building.is_some_and(|build| build.id > queued.id);
        self.queued.filter(|queued| !newer(queued))
    }

    /// Until when the queued change waits for the generation that is starting. That generation's own changes do not count,
    /// but another one's do. If those superseded it, a program that writes files again and again would never be replaced.
    pub(super) fn change_waits_until(&self) -> Option<Time> {
        let queued = self.to_start().filter(|it| it.cause == Cause::Change);
        let new = self.candidate().filter(|new| new.reports_writes);
        let GenState::Starting { since, .. } = new.filter(|_| queued.is_some())?.state else {
            return None;
        };
        let others = self.generations.iter().any(|known| !known.reports_writes);
        let waits = others && self.policy.when_busy == WhenBusy::Cancel;
        waits.then(|| since.plus(LONGEST_WAIT))
    }

    /// Queues this artifact. It is started as soon as no other generation has to end first.
    pub(super) fn queue(&mut self, artifact: ArtifactId, cause: Cause) {
        self.queued = Some(Queued {
            id: self.new_id(),
            cause,
            artifact,
            room: Room::Unknown,
        });
    }

    /// Whether another generation may be started beside this one. Not if generations store descriptors: the next one must
    /// inherit them all, and this one may still store some when it ends.
    pub(super) fn may_start_beside(&self, known: &Generation) -> bool {
        !self.stores_fds
            && match self.policy.mode {
                Mode::Overlap => true,
                Mode::StopFirst => false,
                Mode::Auto => known.listens,
            }
    }
}
