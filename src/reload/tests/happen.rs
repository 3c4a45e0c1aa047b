//! How an event changes the world. Each event is recorded before the machine gets it.

use super::process::{DrainStage, Gen, Role, TreeState, WatchdogState};
use super::world::{Quitting, World};
use crate::reload::{Action, ArtifactId, BuildOutcome, Event, GenEvent, GenId, Request};

impl World {
    /// Records an event that the machine is about to get.
    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::ChangeSeen => self.new.seen = true,
            Event::ChangesSettled => self.new.seen = false,
            Event::Begin => {
                self.begun = true;
                self.change(Action::Build);
            }
            Event::Changed(Action::Build) if self.paused => self.held_build = true,
            Event::Changed(Action::Restart) if self.paused => self.held_restart = true,
            Event::Changed(action) => self.change(action),
            Event::Requested(Request::Reload) => {
                (self.held_build, self.held_restart) = (false, false);
                self.forced = self.quitting.is_none();
                self.change(Action::Build);
                self.ask();
            }
            Event::Requested(Request::Pause) => self.paused = true,
            Event::Requested(Request::Resume) => {
                self.paused = false;
                if std::mem::take(&mut self.held_config) {
                    self.configured();
                }
                if std::mem::take(&mut self.held_build) {
                    self.change(Action::Build);
                }
                if std::mem::take(&mut self.held_restart) {
                    self.change(Action::Restart);
                }
            }
            // Only the machine's reaction shows whether the undo was accepted.
            Event::Requested(Request::Undo) => {}
            Event::Requested(Request::KillDraining) if self.gens.iter().any(Gen::is_kept) => {
                self.free(|_| true);
            }
            Event::Requested(Request::KillDraining) => {
                let leaving = self
                    .gens
                    .iter_mut()
                    .filter(|known| known.role == Role::Draining);
                leaving.for_each(|known| known.to_be_killed = true);
            }
            Event::MemoryMeasured { .. } => self.measuring -= 1,
            Event::ConfigChanged { .. } if self.paused => self.held_config = true,
            Event::ConfigChanged { .. } => self.configured(),
            Event::Generation(id, GenEvent::ReloadSignalSent { handled, .. }) => {
                self.signalled(id, handled);
            }
            Event::Requested(Request::ShareMore | Request::ShareLess | Request::ShareAll)
            | Event::Generation(_, GenEvent::ShareFailed | GenEvent::ShareChecked { .. }) => {
                self.share_happens(event);
            }
            Event::Requested(Request::Quit) if self.quitting.is_some() => {}
            Event::Requested(Request::Quit) => self.quit(false),
            Event::Requested(Request::QuitNow) => self.quit(true),
            Event::Generation(id, GenEvent::BuildEnded(outcome)) => self.build_ended(id, outcome),
            Event::Generation(id, GenEvent::Switched) => self.switched(id),
            Event::Generation(id, GenEvent::SwitchFailed) => self.switch_failed(id),
            Event::Generation(
                id,
                GenEvent::ReportsWrites
                | GenEvent::StartFailed
                | GenEvent::Ready
                | GenEvent::Listening
                | GenEvent::IsServer
                | GenEvent::ListensOnPath
                | GenEvent::Quiescent
                | GenEvent::HandlesStopSignal
                | GenEvent::Idle
                | GenEvent::Exited { .. }
                | GenEvent::Gone { .. },
            ) => {
                let now = self.now;
                let stop_timeout = self.policy.stop_timeout;
                let policy = self.policy.clone();
                let live = self.live();
                if let Some(known) = self.find_mut(id) {
                    known.happen(event, now, now.plus(stop_timeout));
                    if event == Event::Generation(id, GenEvent::HandlesStopSignal) {
                        let longest = policy.longest_wait_for_idle(live.is_some());
                        let by = now.plus(longest);
                        known.signal_by = Some(known.signal_by.map_or(by, |before| before.min(by)));
                    }
                    if let (Event::Generation(_, GenEvent::Ready), Some(period)) =
                        (event, policy.watchdog)
                    {
                        known.watch = WatchdogState::Until(now.plus(period));
                    }
                }
                self.recognise(id);
                self.ready_to_share();
                // The live generation crashed or vanished.
                if live.is_some() && self.live().is_none() {
                    self.lose_live(id, event);
                    self.must_restore = self.past.lost.is_some()
                        && self.gens.iter().any(Gen::is_kept)
                        && self.switching.is_none()
                        && !self.has_sharing()
                        && self.quitting.is_none();
                    self.lost = self.find(id).map(|known| (id, known.answers_all));
                }
                let lost = |(id, _): &(GenId, bool)| {
                    self.find(*id)
                        .is_none_or(|known| known.role == Role::Draining)
                };
                if self.switching.as_ref().is_some_and(lost) {
                    self.switching = None;
                }
            }
            Event::Generation(id, GenEvent::WarmUpFailed) => {
                let now = self.now;
                if let Some(known) = self.find_mut(id) {
                    // The time for the start is up.
                    (known.until, known.moved) = (now, false);
                    if known.tree == TreeState::Unknown {
                        known.tree = TreeState::Running;
                    }
                }
            }
            Event::Generation(id, GenEvent::LacksAddresses { otherwise_ready }) => {
                if let Some(known) = self.find_mut(id) {
                    known.moved = otherwise_ready;
                    if known.tree == TreeState::Unknown {
                        known.tree = TreeState::Running;
                    }
                }
            }
            Event::Generation(id, GenEvent::ExtendTimeout { by }) => self.extended(id, by),
            Event::Generation(id, GenEvent::StoredFds) => self.stored(id),
            Event::Generation(id, GenEvent::Watchdog(message)) => {
                self.watchdog_message(id, message);
            }
            Event::Generation(id, GenEvent::Liveness { alive }) => {
                if let Some(known) = self.find_mut(id).filter(|known| known.role == Role::Live) {
                    known.sick = !alive;
                    let artifact = known.artifact;
                    self.past.sick = self.past.sick.or((!alive).then_some(artifact));
                }
            }
            Event::Tick => {
                let (now, watchdog) = (self.now, self.policy.watchdog);
                self.free(|known| now >= known.until);
                let due = |known: &&mut Gen| known.moved && now >= known.until;
                for known in self.gens.iter_mut().filter(due) {
                    if known.role == Role::Candidate && !known.ready && !known.is_aborted() {
                        known.ready = true;
                        let until = watchdog.map(|period| WatchdogState::Until(now.plus(period)));
                        known.watch = until.unwrap_or(known.watch);
                    }
                }
                self.ready_to_share();
            }
        }
    }

    pub(super) fn change(&mut self, action: Action) {
        if self.quitting.is_some() {
            return;
        }
        self.failure_reported = false;
        self.undone &= action == Action::Restart;
        self.new_reason();
        self.forced |= action == Action::Restart;
        let build = self.policy.builds && action == Action::Build;
        if build {
            self.good = self.good.map(|_| false);
            self.broken = false;
        }
        for running in &mut self.builds {
            running.answers_all = false;
            running.newest &= !build;
        }
        for known in &mut self.gens {
            known.answers_all = false;
            known.newest &= !build;
        }
        self.lost = None;
    }

    fn quit(&mut self, at_once: bool) {
        let killed = self.now.plus(self.policy.kill_timeout);
        let stopped = killed.plus(self.policy.stop_timeout);
        let before = self.quitting.map_or(stopped, |quitting| quitting.until);
        let until = if at_once { before.min(killed) } else { before };
        let kill = self.now.plus(self.policy.stop_timeout);
        let signal = self.now.plus(self.policy.longest_wait_on_quit());
        let first = self.quitting.is_none();
        for known in self.gens.iter_mut().filter(|_| first) {
            known.signal_by = Some(known.signal_by.map_or(signal, |by| by.min(signal)));
            known.until = match known.role {
                Role::Candidate | Role::Live => kill,
                Role::Draining if known.is_kept() => kill,
                Role::Draining => known.until.min(kill),
            };
        }
        self.quitting = Some(Quitting { until, at_once });
    }

    fn build_ended(&mut self, id: GenId, outcome: BuildOutcome) {
        let Some(index) = self.builds.iter().position(|build| build.id == id) else {
            return;
        };
        let build = self.builds.remove(index);
        match outcome {
            BuildOutcome::Built { artifact, kept } => {
                if kept {
                    self.past.keep(artifact);
                }
                self.past.made(artifact);
                self.good = Some(build.newest);
            }
            BuildOutcome::Unchanged { like } => {
                let known = self.find(like).filter(|known| known.role != Role::Draining);
                let made = known.map_or(ArtifactId::FIRST, |known| known.artifact);
                self.past.made(made);
                self.good = Some(build.newest);
                self.same = Some((build, like));
            }
            BuildOutcome::Failed if build.newest => {
                self.broken = true;
                self.failure_reported |= build.answers_all;
            }
            BuildOutcome::Failed | BuildOutcome::Cancelled => {}
        }
    }

    fn switched(&mut self, id: GenId) {
        let (now, policy) = (self.now, self.policy.clone());
        self.switching = None;
        if self
            .find(id)
            .is_none_or(|known| known.role != Role::Candidate)
        {
            // The generation is live again, or already draining again.
            if self.live() == Some(id) {
                self.past.lost = None;
            }
            return;
        }
        self.serves(id);
        self.unrestored = false;
        let keeps = self.keeps_live(id);
        if keeps {
            self.free(|_| true);
        }
        for known in &mut self.gens {
            if known.id == id && known.role == Role::Candidate {
                known.role = Role::Live;
            } else if known.role == Role::Live && keeps {
                known.keep(now, &policy);
            } else if known.role == Role::Live {
                known.retire(now, &policy, DrainStage::OwesQuiescent);
            }
        }
    }

    fn switch_failed(&mut self, id: GenId) {
        let (now, policy) = (self.now, self.policy.clone());
        self.switching = None;
        let back = self.find_mut(id).filter(|known| known.role == Role::Live);
        if let Some(known) = back {
            known.retire(now, &policy, DrainStage::OwesQuiescent);
        }
    }

    /// Records a configuration change. Running generations are owed the signal; if none is running, one is started.
    pub(super) fn configured(&mut self) {
        if self.quitting.is_some() {
            return;
        }
        // A draining generation gets the signal if it goes live again after a crash.
        let may_be_restored = |known: &Gen| known.is_unforwarded();
        for known in &mut self.gens {
            known.owed |= known.role != Role::Draining || may_be_restored(known);
        }
        let stays = |known: &Gen| known.role != Role::Draining;
        if !self.gens.iter().any(stays) && self.builds.is_empty() {
            self.change(Action::Restart);
        }
    }

    pub(super) fn signalled(&mut self, id: GenId, handled: bool) {
        let Some(known) = self.find_mut(id) else {
            return;
        };
        known.signalling = false;
        if known.role == Role::Live && !handled {
            self.change(Action::Restart);
        }
    }
}
