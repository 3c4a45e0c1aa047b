//! Checks the notices, and every reaction as a whole.

use super::ledger::{Ledger, Rule};
use super::process::{Gen, Role};
use super::world::World;
use crate::reload::{
    Effect, Event, GenEffect, GenEvent, GenFailure, GenId, GenNotice, Machine, Notice, Phase,
    Reaction,
};

impl World {
    /// Records a notice, and checks it.
    pub(super) fn notified(&mut self, notice: &Notice, ledger: &mut Ledger) {
        match notice {
            Notice::Generation(id, GenNotice::Failed { failure, live }) => {
                self.new.failed = true;
                let lost = self.lost.filter(|(lost, _)| lost == id);
                let known = self.find(*id).map(|known| known.answers_all);
                let answers = known.or(lost.map(|(_, answers)| answers)) == Some(true);
                self.failure_reported |= answers && *failure != GenFailure::Build;
                if *failure != GenFailure::Build {
                    self.lose_successor(*id, *failure);
                }
                ledger.check(Rule::FailureSparesLive, *live == self.live(), || {
                    format!("{notice:?}, but {:?} is live", self.live())
                });
            }
            Notice::Waiting => {
                self.waiting_reported = true;
                let idle = self.builds.is_empty() && self.live().is_none();
                ledger.check(Rule::Protocol, idle, || {
                    "hotrun reports that it is waiting, although a generation is live or being built".into()
                });
            }
            Notice::Generation(id, GenNotice::Superseded) => {
                let may = self.undone || self.cancels();
                let early = |known: &Gen| !known.ready && may || self.ends_before_its_share(known);
                let early = self.find(*id).is_some_and(early);
                ledger.check(Rule::Protocol, early, || {
                    format!("gen {id} must not be superseded")
                });
            }
            Notice::Undone { live } => {
                (self.undone, self.undo, self.forced) = (true, false, false);
                ledger.check(Rule::Protocol, self.live() == Some(*live), || {
                    format!("gen {live} is not live")
                });
            }
            Notice::Generation(id, GenNotice::Restored { .. }) => {
                let live = self.live();
                let fine = live == Some(*id);
                ledger.check(Rule::Protocol, fine, || {
                    format!("gen {id} is restored, but {live:?} is live")
                });
            }
            Notice::Generation(id, GenNotice::Unchanged { like }) => {
                self.unchanged(*id, *like, ledger);
            }
            Notice::Generation(id, GenNotice::MakesRoom { .. }) => self.makes_room(*id, ledger),
            // The start that needed the room is cancelled.
            Notice::Generation(_, GenNotice::Outdated) => self.makes_room = None,
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
                | GenNotice::Ready { .. }
                | GenNotice::Sharing { .. }
                | GenNotice::Live { .. }
                | GenNotice::Kept { .. }
                | GenNotice::KeptEnded { .. }
                | GenNotice::Draining { .. }
                | GenNotice::TimeoutExtended { .. }
                | GenNotice::StoredFds
                | GenNotice::Aborting { .. }
                | GenNotice::NotReplaced
                | GenNotice::RestartScheduled { .. }
                | GenNotice::Killing { .. }
                | GenNotice::Gone { .. },
            )
            | Notice::Paused
            | Notice::Resumed
            | Notice::NothingToUndo
            | Notice::NothingShared
            | Notice::NothingToKill
            | Notice::Quitting { .. } => {}
        }
    }

    /// Checks that the failure of another generation leaves the live one alone.
    pub(super) fn failure_spares_live(
        &self,
        live: Option<GenId>,
        event: Event,
        reaction: &Reaction,
        ledger: &mut Ledger,
    ) {
        let Some(live) = live.filter(|_| self.quitting.is_none()) else {
            return;
        };
        let hangs = self
            .find(live)
            .is_some_and(|known| known.watchdog_is_due(self.now));
        let own = hangs
            || match event {
                Event::Generation(
                    id,
                    GenEvent::Exited { .. }
                    | GenEvent::Gone { .. }
                    | GenEvent::SwitchFailed
                    | GenEvent::Liveness { .. },
                ) => id == live,
                Event::Generation(_, GenEvent::Switched) => true,
                Event::Begin
                | Event::ChangeSeen
                | Event::ChangesSettled
                | Event::Changed(_)
                | Event::ConfigChanged { .. }
                | Event::Generation(
                    _,
                    GenEvent::ReloadSignalSent { .. }
                    | GenEvent::BuildEnded(_)
                    | GenEvent::ReportsWrites
                    | GenEvent::StartFailed
                    | GenEvent::Listening
                    | GenEvent::IsServer
                    | GenEvent::ListensOnPath
                    | GenEvent::Ready
                    | GenEvent::WarmUpFailed
                    | GenEvent::ShareFailed
                    | GenEvent::ShareChecked { .. }
                    | GenEvent::LacksAddresses { .. }
                    | GenEvent::Quiescent
                    | GenEvent::HandlesStopSignal
                    | GenEvent::Idle
                    | GenEvent::ExtendTimeout { .. }
                    | GenEvent::StoredFds
                    | GenEvent::Watchdog(_),
                )
                | Event::Requested(_)
                | Event::MemoryMeasured { .. }
                | Event::Tick => false,
            };
        if own {
            return;
        }
        let beside = self.find(live).is_some_and(|known| self.may_overlap(known));
        let touches = |effect: &&Effect| touches(effect, live, beside);
        let touched = reaction.effects.iter().find(touches);
        ledger.check(Rule::FailureSparesLive, touched.is_none(), || {
            format!("{event:?} leads to {touched:?}")
        });
    }

    /// Checks that the end of a generation is reported with the number of connections that were in use.
    pub(super) fn cut_connections_are_reported(
        event: Event,
        reaction: &Reaction,
        ledger: &mut Ledger,
    ) {
        let Event::Generation(_, GenEvent::Gone { in_use }) = event else {
            return;
        };
        let honest = reaction.notices.iter().all(|notice| match *notice {
            Notice::Generation(_, GenNotice::Gone { in_use: told, .. }) => told == in_use,
            Notice::Generation(..)
            | Notice::Paused
            | Notice::Resumed
            | Notice::NothingToUndo
            | Notice::NothingShared
            | Notice::NothingToKill
            | Notice::Undone { .. }
            | Notice::Waiting
            | Notice::Quitting { .. } => true,
        });
        ledger.check(Rule::Protocol, honest, || {
            format!("{event:?} leads to {:?}", reaction.notices)
        });
    }

    /// Checks that the machine's phases match those in the world.
    pub(super) fn phases_match(&self, machine: &Machine, ledger: &mut Ledger) {
        let count = |role| self.gens.iter().filter(|known| known.role == role).count();
        let one = self.builds.len() <= 1 && count(Role::Candidate) <= 1 && count(Role::Live) <= 1;
        ledger.check(
            Rule::OneOfEach,
            one && machine.live() == self.live(),
            || {
                format!(
                    "at most one in each phase: {one}; live: {:?} in the machine, {:?} in the world",
                    machine.live(),
                    self.live()
                )
            },
        );
        for known in &self.gens {
            let phase = match known.role {
                Role::Candidate if known.share.on => Phase::Sharing,
                Role::Candidate if known.ready => Phase::Ready,
                Role::Candidate => Phase::Starting,
                Role::Live => Phase::Live,
                Role::Draining if known.is_kept() => Phase::Kept,
                Role::Draining => Phase::Draining,
            };
            ledger.check(Rule::Protocol, machine.phase(known.id) == phase, || {
                format!("the phase is {:?}, not {phase:?}", machine.phase(known.id))
            });
        }
        // An unknown generation represents all generations that are gone.
        let gone = machine.phase(GenId(0)) == Phase::Gone;
        ledger.check(Rule::Protocol, gone, || {
            "an unknown generation is not gone".into()
        });
        for build in &self.builds {
            let phase = machine.phase(build.id);
            ledger.check(Rule::Protocol, phase == Phase::Building, || {
                format!("a build is running for a generation that is {phase:?}")
            });
        }
    }

    /// Checks that the build of `id` produced what `like` was started from, and that nothing else requires a start.
    pub(super) fn unchanged(&mut self, id: GenId, like: GenId, ledger: &mut Ledger) {
        let newest = self.newest_started();
        let (build, same) = match self.same.take() {
            Some((build, same)) => (Some(build), Some(same)),
            None => (None, None),
        };
        let fits = build.as_ref().is_some_and(|build| {
            build.id == id && build.newest && build.answers_all && !self.forced
        });
        let fine = fits && same == Some(like) && newest == same && self.quitting.is_none();
        ledger.check(Rule::NothingForgotten, fine, || {
            format!(
                "gen {id} is reported to be the same as gen {like}, but {build:?} is the same as {same:?}"
            )
        });
        if let Some(known) = self.find_mut(like) {
            known.newest = true;
            known.answers_all = true;
        }
    }

    /// Checks that nothing is started after a build that produced what is already running, unless there is another
    /// reason for a start.
    pub(super) fn unchanged_is_kept(&mut self, ledger: &mut Ledger) {
        let Some((build, like)) = self.same.take() else {
            return;
        };
        let asked = self.forced || !build.newest || !build.answers_all;
        let older = self.newest_started() != Some(like);
        let due = asked || older || self.quitting.is_some();
        ledger.check(Rule::Protocol, due, || {
            format!("{build:?} is started although it is the same as gen {like}")
        });
    }
}

fn touches(effect: &Effect, live: GenId, beside: bool) -> bool {
    match effect {
        Effect::Generation(id, GenEffect::AwaitQuiescent) => *id == live && beside,
        Effect::Generation(
            id,
            GenEffect::Keep
            | GenEffect::AwaitIdle { .. }
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
            | GenEffect::Share { .. }
            | GenEffect::CheckShare
            | GenEffect::SendReloadSignal { .. }
            | GenEffect::KeepPaths
            | GenEffect::RestorePaths,
        )
        | Effect::HoldNew
        | Effect::StopHolding
        | Effect::RespondUnavailable { .. }
        | Effect::StopResponding
        | Effect::MeasureMemory
        | Effect::Finish { .. } => false,
    }
}
