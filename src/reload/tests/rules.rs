//! What must hold for every effect, and for every response as a whole.
//!
//! Long because it lists every event and every effect.

use super::ledger::{Ledger, Rule};
use super::process::{Drain, Gen, Role, Tree, Watch};
use super::world::{Build, Steering, World};
use crate::reload::{
    ArtifactId, Cause, Effect, Event, Failure, GenEffect, GenEvent, GenId, GenNotice, Machine,
    Notice, Phase, Response, Time,
};

impl World {
    /// Performs an effect.
    pub(super) fn perform(&mut self, effect: Effect, ledger: &mut Ledger) {
        ledger.check(Rule::OneFinish, !self.finished, || {
            format!("{effect:?} after the finish")
        });
        match effect {
            Effect::Generation(id, GenEffect::Build) => self.build(id, ledger),
            Effect::Generation(id, GenEffect::CancelBuild) => self.cancel_build(id, ledger),
            Effect::Generation(id, GenEffect::Start { artifact }) => {
                self.start(id, artifact, ledger);
            }
            Effect::Hold => self.hold(ledger),
            Effect::RespondUnavailable { .. } => self.answer(ledger),
            Effect::StopResponding => {
                let answered = std::mem::take(&mut self.answering);
                ledger.check(Rule::Protocol, answered, || "an end to no answers".into());
            }
            Effect::Finish { clean } => self.finish(clean, ledger),
            Effect::Generation(
                id,
                GenEffect::Switch
                | GenEffect::SendReloadSignal { .. }
                | GenEffect::AwaitQuiescent
                | GenEffect::CheckStopSignal
                | GenEffect::AwaitIdle
                | GenEffect::Forward
                | GenEffect::Stop
                | GenEffect::Abort
                | GenEffect::Kill
                | GenEffect::Release,
            ) => self.perform_on(id, effect, ledger),
        }
    }

    fn build(&mut self, id: GenId, ledger: &mut Ledger) {
        let now = self.now;
        self.something_comes(ledger);
        ledger.check(Rule::OneOfEach, self.builds.is_empty(), || {
            format!("a second build, {id}")
        });
        let fine = self.policy.builds && self.quitting.is_none() && id > self.last_build;
        ledger.check(Rule::Protocol, fine, || format!("build {id}"));
        self.last_build = id;
        self.told_waiting = false;
        self.builds.push(Build {
            id,
            since: now,
            cancelled: false,
            newest: true,
            answers_all: true,
            forced: std::mem::take(&mut self.forced),
        });
    }

    fn cancel_build(&mut self, id: GenId, ledger: &mut Ledger) {
        let may = self.quitting.is_some();
        let cancels = self.cancels();
        let build = self.builds.iter_mut().find(|build| build.id == id);
        let fine = build.is_some_and(|build| {
            let fine = !build.cancelled && (may || cancels && !build.newest);
            build.cancelled = true;
            fine
        });
        ledger.check(Rule::Protocol, fine, || format!("cancel build {id}"));
    }

    fn start(&mut self, id: GenId, artifact: ArtifactId, ledger: &mut Ledger) {
        let candidates = self
            .gens
            .iter()
            .filter(|known| known.role == Role::Candidate);
        ledger.check(Rule::OneOfEach, candidates.count() == 0, || {
            format!("start {id} beside another")
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
        let best = newest || self.broken && self.good.is_some();
        let best = best && self.builds.iter().all(|build| !build.newest);
        ledger.check(Rule::NewestSources, best, || {
            format!("start {id} from old sources")
        });
        let fits = self.may_start(cause, artifact);
        ledger.check(Rule::NewestSources, fits, || {
            format!("start {id} for {cause:?} after {:?}", self.past)
        });
        self.begun_for(cause);
        let known = Gen::starting((id, artifact), self.start_times(), newest);
        self.begin(known, cause, ledger);
    }

    /// Starts an earlier artifact, because of the user or a crash. A running build will replace it.
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
                "start {id} again from {artifact:?} for {cause:?} after {:?}",
                self.past
            )
        });
        self.begun_for(cause);
        self.past.again = Some(artifact);
        let mut known = Gen::starting((id, artifact), self.start_times(), true);
        known.again = true;
        known.answers_all = self.builds.is_empty();
        self.begin(known, cause, ledger);
    }

    fn start_times(&self) -> (Time, Time) {
        (self.now, self.now.plus(self.policy.ready_timeout))
    }

    fn begin(&mut self, known: Gen, cause: Option<Cause>, ledger: &mut Ledger) {
        let id = known.id;
        self.something_comes(ledger);
        let own = self.count_start(cause);
        ledger.note_starts(own);
        ledger.check(Rule::NoLoop, own <= 2, || {
            format!("{own} starts that nobody wished for")
        });
        let room = self.gens.iter().all(|known| self.bears_company(known));
        let fine = room && self.quitting.is_none() && id > self.last_start;
        ledger.check(Rule::Protocol, fine, || format!("start {id}"));
        self.last_start = id;
        self.told_waiting = false;
        if self.steering == Steering::Hold(None) {
            self.steering = Steering::Hold(Some(id));
        }
        self.gens.push(known);
    }

    fn answer(&mut self, ledger: &mut Ledger) {
        let comes =
            !self.builds.is_empty() || self.gens.iter().any(|known| known.role != Role::Leaving);
        let fine = !comes && self.quitting.is_none() && !self.answering;
        ledger.check(Rule::Steering, fine, || {
            "an answer beside one that comes".into()
        });
        self.answering = true;
    }

    /// New connections wait for what is on its way, so they must not get an error.
    fn something_comes(&self, ledger: &mut Ledger) {
        ledger.check(Rule::Steering, !self.answering, || {
            "answers in place of one that comes".into()
        });
    }

    fn hold(&mut self, ledger: &mut Ledger) {
        let lonely = |known: &Gen| known.role == Role::Live && !self.bears_company(known);
        let unserved = self.live().is_none() || self.gens.iter().any(lonely);
        ledger.check(Rule::Steering, unserved, || "hold beside a live one".into());
        let switched = self.switching.filter(|(_, done)| *done).map(|(id, _)| id);
        let starting = self.gens.iter().find(|known| {
            known.role == Role::Candidate && !known.relayed && Some(known.id) != switched
        });
        self.steering = Steering::Hold(starting.map(|known| known.id));
    }

    fn finish(&mut self, clean: bool, ledger: &mut Ledger) {
        let left = !self.gens.is_empty() || !self.builds.is_empty();
        let due = self.quitting.is_some_and(|quit| self.now >= quit.until);
        let fine = self.quitting.is_some() && (!left || due && !clean);
        ledger.check(Rule::OneFinish, fine, || {
            format!("finish, clean: {clean}, left: {left}")
        });
        self.finished = true;
    }

    fn perform_on(&mut self, id: GenId, effect: Effect, ledger: &mut Ledger) {
        let Some(index) = self.gens.iter().position(|known| known.id == id) else {
            return ledger.check(Rule::Protocol, false, || {
                format!("{effect:?} of one that is not there")
            });
        };
        let mut known = self.gens[index].clone();
        let gone = known.tree == Tree::Gone;
        let late = matches!(
            effect,
            Effect::Generation(_, GenEffect::Forward | GenEffect::Release)
        );
        ledger.check(Rule::Protocol, !gone || late, || {
            format!("{effect:?} of one that is gone")
        });
        let fine = match effect {
            Effect::Generation(_, GenEffect::Switch) => self.switch(&mut known),
            Effect::Generation(_, GenEffect::SendReloadSignal { .. }) => {
                let asked = known.role == Role::Live && known.owed;
                known.owed = false;
                known.signalling = true;
                asked
            }
            Effect::Generation(_, GenEffect::AwaitQuiescent) => self.settle(&mut known),
            Effect::Generation(_, GenEffect::CheckStopSignal) => self.inspect(&mut known),
            Effect::Generation(_, GenEffect::AwaitIdle) => {
                let asked = known.drain == Drain::Unwilling;
                known.drain = Drain::AwaitingIdle;
                asked
            }
            Effect::Generation(_, GenEffect::Forward) => self.relay(&mut known, ledger),
            Effect::Generation(_, GenEffect::Stop) => self.stop(&mut known, ledger),
            Effect::Generation(_, GenEffect::Abort) => self.abort(&mut known),
            Effect::Generation(_, GenEffect::Kill) => self.kill(&mut known, ledger),
            Effect::Generation(_, GenEffect::Release) => return self.release(index, ledger),
            Effect::Generation(
                _,
                GenEffect::Build | GenEffect::CancelBuild | GenEffect::Start { .. },
            )
            | Effect::Hold
            | Effect::RespondUnavailable { .. }
            | Effect::StopResponding
            | Effect::Finish { .. } => true,
        };
        ledger.check(Rule::Protocol, fine, || format!("{effect:?} of {known:?}"));
        self.gens[index] = known;
    }

    /// To the ready generation; back to the live one if that ended; or to the draining one if the live one ended.
    fn switch(&mut self, known: &mut Gen) -> bool {
        let id = known.id;
        match known.role {
            Role::Candidate => {
                let done = !std::mem::take(&mut self.refuse);
                let first = self.switching.replace((id, done)).is_none();
                if done {
                    self.steering = Steering::To(id);
                }
                known.ready && first
            }
            Role::Live => {
                self.steering = Steering::To(id);
                !self.switches()
            }
            Role::Leaving => {
                let done = !std::mem::take(&mut self.refuse);
                let first = self.switching.replace((id, done)).is_none();
                if done {
                    self.steering = Steering::To(id);
                }
                first && !self.switches() && self.take_back(known)
            }
        }
    }

    fn switches(&self) -> bool {
        let switches = |other: &Gen| other.role == Role::Candidate && other.ready;
        self.gens.iter().any(switches)
    }

    /// The generation before the live one is live again. It has neither ended nor been asked to.
    fn take_back(&mut self, known: &mut Gen) -> bool {
        let in_time = self.past.lost.is_some() && self.now < self.soon && self.quitting.is_none();
        let serves = known.still_serves_its_own() && known.drain != Drain::MayStop;
        let fine = in_time && serves && self.live().is_none();
        self.soon = Time::START;
        self.past.comes_back(known.artifact, self.is_server(known));
        known.again = true;
        known.role = Role::Live;
        known.drain = Drain::No;
        if let Some(period) = self.policy.watchdog {
            known.watch = Watch::Until(self.now.plus(period));
        }
        fine
    }

    fn settle(&self, known: &mut Gen) -> bool {
        let fine = match known.role {
            Role::Leaving => known.drain == Drain::OwesSettle,
            Role::Candidate => false,
            Role::Live => {
                let again = self
                    .gens
                    .iter()
                    .any(|live| live.role == Role::Live && live.again);
                let good = self.good == Some(true) || self.broken || again;
                let built = !self.policy.builds || good;
                let room = !self.bears_company(known) && self.steering != Steering::To(known.id);
                known.retire(self.now, &self.policy, Drain::OwesSettle);
                built && room && self.quitting.is_none()
            }
        };
        known.drain = Drain::Settling;
        fine
    }

    fn inspect(&self, known: &mut Gen) -> bool {
        let least = self.now >= known.since.plus(self.policy.stop_delay_min);
        let most = self.now >= known.since.plus(self.policy.stop_delay_max);
        let fine = match known.drain {
            Drain::Settled => least,
            Drain::Settling => most,
            Drain::No
            | Drain::OwesSettle
            | Drain::Inspecting
            | Drain::Unwilling
            | Drain::AwaitingIdle
            | Drain::MayStop => false,
        };
        known.drain = Drain::Inspecting;
        // It is quiescent: its time begins.
        known.until = known.until.min(self.now.plus(self.policy.stop_timeout));
        fine && known.still_serves_its_own()
    }

    fn relay(&self, known: &mut Gen, ledger: &mut Ledger) -> bool {
        self.leave_live_alone(known, ledger);
        let fine = !known.relayed;
        known.relayed = true;
        if known.role != Role::Candidate {
            return fine;
        }
        let late = self.now >= known.until;
        let newer = self.cancels() && !known.answers_all;
        let refused = known.ready && self.switching.is_none();
        known.leave(self.now, self.now.plus(self.policy.stop_timeout));
        fine && (refused || !known.ready && (late || newer))
    }

    fn stop(&self, known: &mut Gen, ledger: &mut Ledger) -> bool {
        self.leave_live_alone(known, ledger);
        let mut willing = matches!(known.drain, Drain::No | Drain::MayStop);
        if known.drain == Drain::AwaitingIdle && self.now >= known.until {
            // Its time is over, and it gets a moment to clean up.
            willing = true;
            known.until = self.now.plus(self.policy.late_grace());
        }
        let first = !known.stopped && !known.killed;
        known.stopped = true;
        known.role = Role::Leaving;
        first && (known.relayed && willing || self.quitting.is_some())
    }

    fn kill(&self, known: &mut Gen, ledger: &mut Ledger) -> bool {
        if known.role != Role::Leaving && self.put_down(known) {
            return true;
        }
        self.leave_live_alone(known, ledger);
        let unasked = known.drain == Drain::AwaitingIdle && !known.stopped;
        let late = known.role == Role::Leaving && self.now >= known.until && !unasked;
        let insists = self.quitting.is_some_and(|quitting| quitting.at_once);
        let why = late || insists || known.to_be_killed;
        let fine = !known.killed && why && (known.relayed || self.quitting.is_some());
        known.killed = true;
        fine
    }

    fn leave_live_alone(&self, known: &Gen, ledger: &mut Ledger) {
        let alone = known.role == Role::Live && self.quitting.is_none();
        ledger.check(Rule::LiveIsLeftAlone, !alone, || {
            format!("the live one, {}, has to go", known.id)
        });
    }

    fn release(&mut self, index: usize, ledger: &mut Ledger) {
        let known = self.gens.remove(index);
        let served = self.quitting.is_some() || known.relayed;
        let fine = served && known.tree == Tree::Gone;
        ledger.check(Rule::Protocol, fine, || format!("release of {known:?}"));
    }

    /// Records a notice.
    pub(super) fn told(&mut self, notice: &Notice, ledger: &mut Ledger) {
        match notice {
            Notice::Generation(id, GenNotice::Failed { failure, live }) => {
                let lost = self.lost.filter(|(lost, _)| lost == id);
                let known = self.find(*id).map(|known| known.answers_all);
                let answers = known.or(lost.map(|(_, answers)| answers)) == Some(true);
                self.told_failure |= answers && *failure != Failure::Build;
                if *failure != Failure::Build {
                    self.lose_successor(*id, *failure);
                }
                ledger.check(Rule::FailureSparesLive, *live == self.live(), || {
                    format!("{notice:?} beside {:?}", self.live())
                });
            }
            Notice::Waiting => {
                self.told_waiting = true;
                let idle = self.builds.is_empty() && self.live().is_none();
                ledger.check(Rule::Protocol, idle, || "waiting while busy".into());
            }
            Notice::Generation(id, GenNotice::Superseded) => {
                let early = self.find(*id).is_some_and(|known| !known.ready);
                ledger.check(Rule::Protocol, early && self.cancels(), || {
                    format!("{id} superseded")
                });
            }
            Notice::Generation(id, GenNotice::Restored) => {
                let live = self.live();
                let fine = live == Some(*id);
                ledger.check(Rule::Protocol, fine, || {
                    format!("{id}, but {live:?} is live")
                });
            }
            Notice::Generation(id, GenNotice::Unchanged { like }) => {
                self.unchanged(*id, *like, ledger);
            }
            Notice::Generation(_, GenNotice::Starting { cause }) => {
                self.past.starting = Some(*cause);
            }
            Notice::Generation(
                _,
                GenNotice::Building { .. }
                | GenNotice::ReloadSignalSent { .. }
                | GenNotice::ReloadSignalUnhandled { .. }
                | GenNotice::BuildCancelled
                | GenNotice::Built { .. }
                | GenNotice::Outdated
                | GenNotice::Ready { .. }
                | GenNotice::Live { .. }
                | GenNotice::Draining { .. }
                | GenNotice::TimeoutExtended { .. }
                | GenNotice::StoredFds
                | GenNotice::Aborting { .. }
                | GenNotice::RestartScheduled { .. }
                | GenNotice::Killing { .. }
                | GenNotice::Gone { .. },
            )
            | Notice::Paused
            | Notice::Resumed
            | Notice::NothingToUndo
            | Notice::Quitting { .. } => {}
        }
    }

    /// The failure of another generation leaves the live one alone.
    pub(super) fn spared(
        &self,
        live: Option<GenId>,
        event: Event,
        response: &Response,
        ledger: &mut Ledger,
    ) {
        let Some(live) = live.filter(|_| self.quitting.is_none()) else {
            return;
        };
        let hangs = self
            .find(live)
            .is_some_and(|known| known.is_put_down(self.now));
        let own = hangs
            || match event {
                Event::Generation(
                    id,
                    GenEvent::Exited { .. } | GenEvent::Gone | GenEvent::SwitchFailed,
                ) => id == live,
                Event::Generation(_, GenEvent::Switched) => true,
                Event::Begin
                | Event::Changed(_)
                | Event::ConfigChanged { .. }
                | Event::Generation(
                    _,
                    GenEvent::ReloadSignalSent { .. }
                    | GenEvent::BuildEnded(_)
                    | GenEvent::StartFailed
                    | GenEvent::Listening
                    | GenEvent::IsServer
                    | GenEvent::Ready
                    | GenEvent::Quiescent
                    | GenEvent::StopSignalChecked { .. }
                    | GenEvent::Idle
                    | GenEvent::ExtendTimeout { .. }
                    | GenEvent::StoredFds
                    | GenEvent::Watchdog(_),
                )
                | Event::Requested(_)
                | Event::Tick => false,
            };
        if own {
            return;
        }
        let beside = self
            .find(live)
            .is_some_and(|known| self.bears_company(known));
        let touches = |effect: &&Effect| touches(effect, live, beside);
        let touched = response.effects.iter().find(touches);
        ledger.check(Rule::FailureSparesLive, touched.is_none(), || {
            format!("{event:?} leads to {touched:?}")
        });
    }

    /// The machine's phases are those that the world sees.
    pub(super) fn compare(&self, machine: &Machine, ledger: &mut Ledger) {
        let count = |role| self.gens.iter().filter(|known| known.role == role).count();
        let one = self.builds.len() <= 1 && count(Role::Candidate) <= 1 && count(Role::Live) <= 1;
        ledger.check(
            Rule::OneOfEach,
            one && machine.live() == self.live(),
            || format!("live {:?}, not {:?}", machine.live(), self.live()),
        );
        for known in &self.gens {
            let phase = match known.role {
                Role::Candidate if known.ready => Phase::Ready,
                Role::Candidate => Phase::Starting,
                Role::Live => Phase::Live,
                Role::Leaving => Phase::Draining,
            };
            ledger.check(Rule::Protocol, machine.phase(known.id) == phase, || {
                format!("{:?} is not {phase:?}", machine.phase(known.id))
            });
        }
        // An unknown generation stands for all that are gone.
        let gone = machine.phase(GenId::new(0)) == Phase::Gone;
        ledger.check(Rule::Protocol, gone, || "the unknown is not gone".into());
        for build in &self.builds {
            let phase = machine.phase(build.id);
            ledger.check(Rule::Protocol, phase == Phase::Building, || {
                format!("a build runs for one that is {phase:?}")
            });
        }
    }
}

fn touches(effect: &Effect, live: GenId, beside: bool) -> bool {
    match effect {
        Effect::Generation(id, GenEffect::AwaitQuiescent) => *id == live && beside,
        Effect::Generation(
            id,
            GenEffect::CheckStopSignal
            | GenEffect::AwaitIdle
            | GenEffect::Forward
            | GenEffect::Stop
            | GenEffect::Abort
            | GenEffect::Kill
            | GenEffect::Release,
        ) => *id == live,
        Effect::Hold => beside,
        Effect::Generation(
            _,
            GenEffect::Build
            | GenEffect::CancelBuild
            | GenEffect::Start { .. }
            | GenEffect::Switch
            | GenEffect::SendReloadSignal { .. },
        )
        | Effect::RespondUnavailable { .. }
        | Effect::StopResponding
        | Effect::Finish { .. } => false,
    }
}
