//! Performs effects in the world, and checks that each of them is allowed.

use super::ledger::{Ledger, Rule};
use super::process::{DrainStage, Gen, Role, TreeState};
use super::world::{Build, Steering, World};
use crate::reload::{ArtifactId, Cause, Effect, GenEffect, GenId, Time};

impl World {
    /// Performs an effect, and checks that it is allowed.
    pub(super) fn perform(&mut self, effect: Effect, ledger: &mut Ledger) {
        ledger.check(Rule::OneFinish, !self.finished, || {
            format!("{effect:?} although hotrun has finished")
        });
        match effect {
            Effect::Generation(id, effect) => self.perform_on(id, effect, ledger),
            Effect::Hold => self.hold(ledger),
            Effect::HoldNew => self.hold_new(true, ledger),
            Effect::StopHolding => self.hold_new(false, ledger),
            Effect::MeasureMemory => self.measure_memory(ledger),
            Effect::RespondUnavailable { .. } => self.respond(ledger),
            Effect::StopResponding => {
                let responding = std::mem::take(&mut self.responding);
                ledger.check(Rule::Protocol, responding, || {
                    "responding was stopped, but had not been started".into()
                });
            }
            Effect::Finish { clean } => self.finish(clean, ledger),
        }
    }

    fn perform_on(&mut self, id: GenId, effect: GenEffect, ledger: &mut Ledger) {
        match effect {
            GenEffect::Build => self.build(id, ledger),
            GenEffect::CancelBuild => self.cancel_build(id, ledger),
            GenEffect::Start { artifact } => self.start(id, artifact, ledger),
            GenEffect::Switch
            | GenEffect::Share { .. }
            | GenEffect::CheckShare
            | GenEffect::SendReloadSignal { .. }
            | GenEffect::Keep
            | GenEffect::AwaitQuiescent
            | GenEffect::AwaitIdle { .. }
            | GenEffect::Forward
            | GenEffect::KeepPaths
            | GenEffect::RestorePaths
            | GenEffect::Stop
            | GenEffect::Abort
            | GenEffect::Kill
            | GenEffect::Release => self.perform_on_started(id, effect, ledger),
        }
    }

    fn build(&mut self, id: GenId, ledger: &mut Ledger) {
        let now = self.now;
        self.no_error_response(ledger);
        ledger.check(Rule::OneOfEach, self.builds.is_empty(), || {
            format!("gen {id} is built while another build is running")
        });
        let fine = self.policy.builds && self.quitting.is_none() && id > self.last_build;
        ledger.check(Rule::Protocol, fine, || format!("must not build gen {id}"));
        self.last_build = id;
        self.waiting_reported = false;
        self.builds.push(Build {
            id,
            since: now,
            cancelled: false,
            newest: true,
            answers_all: true,
        });
    }

    fn cancel_build(&mut self, id: GenId, ledger: &mut Ledger) {
        let may = self.quitting.is_some() || self.undone;
        let cancels = self.cancels();
        let build = self.builds.iter_mut().find(|build| build.id == id);
        let fine = build.is_some_and(|build| {
            let fine = !build.cancelled && (may || cancels && !build.newest);
            build.cancelled = true;
            fine
        });
        ledger.check(Rule::Protocol, fine, || {
            format!("the build of gen {id} must not be cancelled")
        });
    }

    fn start(&mut self, id: GenId, artifact: ArtifactId, ledger: &mut Ledger) {
        self.paths_are_kept(ledger);
        self.forced = false;
        let candidates = self
            .gens
            .iter()
            .filter(|known| known.role == Role::Candidate);
        ledger.check(Rule::OneOfEach, candidates.count() == 0, || {
            format!("gen {id} is started while another candidate exists")
        });
        let cause = self.past.starting.take();
        let older = self.past.made != Some(artifact);
        let back = matches!(cause, Some(Cause::Undo | Cause::RollBack));
        if self.policy.builds && (older || back) {
            self.start_again(id, artifact, cause, ledger);
        } else {
            self.start_newest(id, artifact, cause, ledger);
        }
    }

    fn start_newest(
        &mut self,
        id: GenId,
        artifact: ArtifactId,
        cause: Option<Cause>,
        ledger: &mut Ledger,
    ) {
        let newest = !self.policy.builds || self.good == Some(true);
        let best = newest || self.undone || self.broken && self.good.is_some();
        let best = best && self.builds.iter().all(|build| !build.newest);
        ledger.check(Rule::NewestSources, best, || {
            format!("gen {id} is started from old sources")
        });
        let fits = self.may_start(cause, artifact);
        ledger.check(Rule::NewestSources, fits, || {
            format!("gen {id} may not start for {cause:?} after {:?}", self.past)
        });
        self.started_for(cause);
        let share = self.may_share(cause);
        let known = Gen::starting((id, artifact), self.start_times(), newest, share);
        self.begin(known, cause, ledger);
    }

    /// Starts an earlier artifact, at the user's request or after a crash. A running build will replace it.
    fn start_again(
        &mut self,
        id: GenId,
        artifact: ArtifactId,
        cause: Option<Cause>,
        ledger: &mut Ledger,
    ) {
        let fits = self.may_start_again(cause, artifact);
        ledger.check(Rule::NewestSources, fits, || {
            format!(
                "gen {id} may not start again from {artifact:?} for {cause:?} after {:?}",
                self.past
            )
        });
        self.started_for(cause);
        self.past.again = Some(artifact);
        let share = self.may_share(cause);
        let mut known = Gen::starting((id, artifact), self.start_times(), true, share);
        known.again = true;
        known.undoes = cause == Some(Cause::Undo);
        known.answers_all = self.builds.is_empty();
        self.begin(known, cause, ledger);
    }

    fn start_times(&self) -> (Time, Time) {
        (self.now, self.now.plus(self.policy.ready_timeout))
    }

    fn begin(&mut self, known: Gen, cause: Option<Cause>, ledger: &mut Ledger) {
        let id = known.id;
        self.no_error_response(ledger);
        let own = self.count_start(cause);
        ledger.note_starts(own);
        ledger.check(Rule::NoLoop, own <= 2, || {
            format!("crashes alone caused {own} starts")
        });
        let room = self.gens.iter().all(|known| self.may_overlap(known)) && self.has_room();
        let fine = room && self.quitting.is_none() && id > self.last_start;
        ledger.check(Rule::Protocol, fine, || format!("must not start gen {id}"));
        self.last_start = id;
        self.waiting_reported = false;
        if self.steering == Steering::Hold(None) {
            self.steering = Steering::Hold(Some(id));
        }
        self.gens.push(known);
    }

    /// Checks that clients do not get an error while a generation is being built or started, because they wait for it.
    fn no_error_response(&self, ledger: &mut Ledger) {
        ledger.check(Rule::Steering, !self.responding, || {
            "clients get an error response although a generation is being built or started".into()
        });
    }

    fn hold(&mut self, ledger: &mut Ledger) {
        let must_leave = |known: &Gen| known.role == Role::Live && !self.may_overlap(known);
        let unserved = self.live().is_none() || self.gens.iter().any(must_leave);
        ledger.check(Rule::Steering, unserved, || {
            "connections are held although a generation is live".into()
        });
        let switched = self.switching.filter(|(_, done)| *done).map(|(id, _)| id);
        let starting = self.gens.iter().find(|known| {
            known.role == Role::Candidate && !known.forwarded && Some(known.id) != switched
        });
        self.steering = Steering::Hold(starting.map(|known| known.id));
    }

    fn finish(&mut self, clean: bool, ledger: &mut Ledger) {
        let left = !self.gens.is_empty() || !self.builds.is_empty();
        let due = self.quitting.is_some_and(|quit| self.now >= quit.until);
        let fine = self.quitting.is_some() && (!left || due && !clean);
        ledger.check(Rule::OneFinish, fine, || {
            format!("hotrun must not finish with `clean: {clean}`; something is left: {left}")
        });
        self.finished = true;
    }

    fn perform_on_started(&mut self, id: GenId, effect: GenEffect, ledger: &mut Ledger) {
        let Some(index) = self.gens.iter().position(|known| known.id == id) else {
            return ledger.check(Rule::Protocol, false, || {
                format!("{effect:?} was requested for an unknown generation")
            });
        };
        let mut known = self.gens[index].clone();
        let gone = known.tree == TreeState::Gone;
        let late = matches!(effect, GenEffect::Forward | GenEffect::Release);
        ledger.check(Rule::Protocol, !gone || late, || {
            format!("{effect:?} was requested for a generation that is gone")
        });
        let fine = match effect {
            GenEffect::Switch => self.switch(&mut known),
            GenEffect::Share { percent } => self.share(percent, &mut known),
            GenEffect::CheckShare => self.check_share(&mut known),
            GenEffect::SendReloadSignal { .. } => {
                let due = known.role == Role::Live && known.owed;
                known.owed = false;
                known.signalling = true;
                due
            }
            GenEffect::Keep => {
                std::mem::replace(&mut known.drain, DrainStage::Kept) == DrainStage::OwesKeep
            }
            GenEffect::AwaitQuiescent => self.await_quiescent(&mut known),
            GenEffect::AwaitIdle { .. } => self.await_idle(&mut known),
            GenEffect::Forward => self.forward(&mut known, ledger),
            GenEffect::KeepPaths => !std::mem::replace(&mut known.kept, true) && known.own_paths,
            GenEffect::RestorePaths => self.restore_paths(&known),
            GenEffect::Stop => self.stop(&mut known, ledger),
            GenEffect::Abort => self.abort(&mut known),
            GenEffect::Kill => self.kill(&mut known, ledger),
            GenEffect::Release => return self.release(index, ledger),
            GenEffect::Build | GenEffect::CancelBuild | GenEffect::Start { .. } => false,
        };
        ledger.check(Rule::Protocol, fine, || {
            format!("{effect:?} must not be requested for {known:?}")
        });
        self.gens[index] = known;
    }

    /// Switches to the ready generation, back to the live one if the ready one has ended, or to the draining one if
    /// the live one has ended or the user has undone it.
    fn switch(&mut self, known: &mut Gen) -> bool {
        let id = known.id;
        match known.role {
            Role::Candidate => {
                let done = !std::mem::take(&mut self.refuse);
                let first = self.switching.replace((id, done)).is_none();
                if done {
                    self.steering = Steering::To(id);
                }
                known.ready && first && self.may_take_all(known)
            }
            Role::Live => {
                self.steering = Steering::To(id);
                !self.switches()
            }
            Role::Draining => {
                let done = !std::mem::take(&mut self.refuse);
                let first = self.switching.replace((id, done)).is_none();
                if done {
                    self.steering = Steering::To(id);
                }
                first
                    && !self.switches()
                    && match self.undo && known.is_kept() {
                        true => self.undo_to(known),
                        false => self.restore(known),
                    }
            }
        }
    }

    fn switches(&self) -> bool {
        let switches =
            |other: &Gen| other.role == Role::Candidate && other.ready && !other.share.on;
        self.gens.iter().any(switches)
    }

    /// Makes the previous generation live again. Allowed only if that generation has neither ended nor been asked to
    /// stop.
    fn restore(&mut self, known: &mut Gen) -> bool {
        let in_time = self.now < self.soon || known.is_kept();
        let nothing_is_overdue = self.past.lost.is_some() && in_time && self.quitting.is_none();
        self.must_restore = false;
        let serves = known.is_unforwarded() && known.drain != DrainStage::MayStop;
        let fine = nothing_is_overdue && serves && self.live().is_none();
        self.soon = Time::START;
        self.past.restored(known.artifact, self.is_server(known));
        known.again = true;
        known.role = Role::Live;
        known.drain = DrainStage::No;
        known.sick = false;
        self.restart_watchdog(known);
        fine
    }

    fn await_quiescent(&self, known: &mut Gen) -> bool {
        let fine = match known.role {
            Role::Draining if known.is_kept() => {
                // It is in the way of the next start.
                known.retire(self.now, &self.policy, DrainStage::OwesQuiescent);
                !self.may_overlap(known) && self.quitting.is_none()
            }
            Role::Draining => known.drain == DrainStage::OwesQuiescent,
            Role::Candidate => false,
            Role::Live => {
                let again = self
                    .gens
                    .iter()
                    .any(|live| live.role == Role::Live && live.again);
                let good = self.good == Some(true) || self.broken || again || known.sick;
                let built = !self.policy.builds || good;
                let room = !self.may_overlap(known) && self.steering != Steering::To(known.id);
                known.retire(self.now, &self.policy, DrainStage::OwesQuiescent);
                built && room && self.quitting.is_none()
            }
        };
        known.drain = DrainStage::Quiescing;
        fine
    }

    fn forward(&self, known: &mut Gen, ledger: &mut Ledger) -> bool {
        self.leave_live_alone(known, ledger);
        let fine = !known.forwarded || known.superseded;
        known.forwarded = true;
        if known.role != Role::Candidate {
            return fine;
        }
        let late = self.now >= known.until;
        let newer = self.undone || self.cancels() && !known.answers_all && !self.is_spared(known);
        let refused = known.ready && !known.share.on && self.switching.is_none();
        let ends = self.ends_before_its_share(known);
        known.drain_until(self.now, self.now.plus(self.policy.stop_timeout));
        let connected = newer && !known.ready && !late || known.share.had;
        if connected && self.live().is_none() {
            known.superseded = true;
            known.drain = DrainStage::OwesIdle;
        }
        fine && (refused || ends || !known.ready && (late || newer))
    }

    fn stop(&self, known: &mut Gen, ledger: &mut Ledger) -> bool {
        self.leave_live_alone(known, ledger);
        self.paths_are_kept(ledger);
        let mut willing = matches!(known.drain, DrainStage::No | DrainStage::MayStop);
        willing |= known.is_signal_due(self.now);
        if known.drain == DrainStage::AwaitingIdle && self.now >= known.until {
            // The stop timeout has passed. The program gets a little more time to clean up.
            known.until = self.now.plus(self.policy.late_grace());
        }
        let first = !known.stopped && !known.killed && !self.answers_before_quitting(known);
        known.stopped = true;
        known.role = Role::Draining;
        first && (known.forwarded && willing || self.quitting.is_some())
    }

    fn kill(&self, known: &mut Gen, ledger: &mut Ledger) -> bool {
        if known.role != Role::Draining && self.kill_hung(known) {
            return true;
        }
        self.leave_live_alone(known, ledger);
        let unasked = known.drain == DrainStage::AwaitingIdle && !known.stopped;
        let late = known.role == Role::Draining && self.now >= known.until && !unasked;
        let at_once = self.quitting.is_some_and(|quitting| quitting.at_once);
        let why = late || at_once || known.to_be_killed;
        let fine = !known.killed && why && (known.forwarded || self.quitting.is_some());
        known.killed = true;
        fine
    }

    fn leave_live_alone(&self, known: &Gen, ledger: &mut Ledger) {
        let alone = known.role == Role::Live && self.quitting.is_none();
        ledger.check(Rule::LiveIsLeftAlone, !alone, || {
            format!("the live generation, gen {}, is not left alone", known.id)
        });
    }

    fn release(&mut self, index: usize, ledger: &mut Ledger) {
        let known = self.gens.remove(index);
        self.unrestored |= self
            .gens
            .iter()
            .any(|live| live.role == Role::Live && live.kept);
        let served = self.quitting.is_some() || known.forwarded;
        let fine = served && known.tree == TreeState::Gone;
        ledger.check(Rule::Protocol, fine, || {
            format!("{known:?} must not be released")
        });
    }
}
