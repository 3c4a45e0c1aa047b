//! Performs the effects that the machine requests.

use std::io;
use std::time::Duration;

use crate::os::cleanup::Cleanup;
use crate::process::Signal;
use crate::reload::{Effect, Event, GenEffect, GenEvent, GenId};

use super::running::Running;
use super::state::{Driver, Outcome};

/// How long a response may pause between two pieces without counting as complete.
const RESPONSE_PAUSE: Duration = Duration::from_secs(5);

impl Driver {
    /// Performs an effect. Returns its result if that is known at once.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Hold => {
                let held = self.sockets.hold();
                self.report_failure("holding connections", held);
            }
            Effect::RespondUnavailable { id, failure } => self.answer_for(id, failure),
            Effect::StopResponding => {
                let held = self.sockets.stop_responding();
                self.report_failure("holding connections", held);
            }
            Effect::Generation(id, effect) => {
                let event = self.perform_on(id, effect)?;
                return Some(Event::Generation(id, event));
            }
            Effect::Finish { clean } => {
                self.ending.outcome = Some(Outcome {
                    clean,
                    signal: self.ending.signal,
                });
            }
        }
        None
    }

    fn perform_on(&mut self, id: GenId, effect: GenEffect) -> Option<GenEvent> {
        match effect {
            GenEffect::Build => return self.build(id),
            GenEffect::CancelBuild => {
                if let Some(build) = &self.builds.active {
                    build.cancel();
                }
            }
            GenEffect::Start { artifact } => return self.start(id, artifact),
            GenEffect::Switch => return Some(self.switch(id)),
            GenEffect::SendReloadSignal { signal } => {
                let handled = self.send_reload_signal(id, signal);
                return Some(GenEvent::ReloadSignalSent { signal, handled });
            }
            GenEffect::AwaitQuiescent => self.await_quiescent(id),
            GenEffect::CheckStopSignal => return Some(self.check_stop_signal(id)),
            GenEffect::AwaitIdle => self.await_idle(id),
            GenEffect::Forward => {
                let forwarded = self.sockets.drain(id);
                self.report_failure("forwarding connections", forwarded);
            }
            GenEffect::Stop => {
                if let Some(running) = self.generations.get_mut(&id) {
                    running.forget_readiness();
                    running.control.stop(self.config.stop_signal);
                }
            }
            GenEffect::Abort => {
                if let Some(running) = self.generations.get(&id) {
                    running.control.signal(Signal::SIGABRT);
                }
            }
            GenEffect::Kill => {
                if let Some(running) = self.generations.get(&id) {
                    running.control.kill();
                }
            }
            GenEffect::Release => {
                self.generations.remove(&id);
                let released = self.sockets.release(id);
                self.report_failure("closing the sockets of a generation", released);
            }
        }
        None
    }

    fn send_reload_signal(&self, id: GenId, signal: i32) -> bool {
        let control = self.generations.get(&id).map(|running| &running.control);
        let signal = Signal::try_from(signal).ok();
        control
            .zip(signal)
            .is_some_and(|(control, signal)| control.reload_config(signal))
    }

    fn switch(&mut self, id: GenId) -> GenEvent {
        if let Some(running) = self.generations.get_mut(&id) {
            running.stop_draining();
        }
        match self.sockets.switch(id) {
            Ok(()) => GenEvent::Switched,
            Err(error) => {
                let text = format!("cannot switch to gen {id}: {error}");
                self.feed.error(text, None);
                GenEvent::SwitchFailed
            }
        }
    }

    fn check_stop_signal(&mut self, id: GenId) -> GenEvent {
        let handles = |running: &Running| running.control.handles(self.config.stop_signal);
        // A generation that is gone needs no wait.
        let handled = self.generations.get(&id).is_none_or(handles);
        GenEvent::StopSignalChecked { handled }
    }

    fn await_quiescent(&mut self, id: GenId) {
        let (monitor, inbox) = (self.sockets.drain_monitor(id), self.inbox.clone());
        if let Some(running) = self.generations.get_mut(&id) {
            let control = running.control.clone();
            running.drain(async move {
                monitor.quiescent(|| control.pids()).await;
                inbox.generation(id, GenEvent::Quiescent);
            });
        }
    }

    /// A response in several pieces with pauses in between looks complete during a pause. While another generation is
    /// live, nothing waits for the end of this one, so it gets longer pauses.
    fn await_idle(&mut self, id: GenId) {
        let (mut monitor, inbox) = (self.sockets.drain_monitor(id), self.inbox.clone());
        if self.machine.live().is_some() {
            monitor = monitor.quiet_for(RESPONSE_PAUSE);
        }
        if let Some(running) = self.generations.get_mut(&id) {
            let control = running.control.clone();
            running.drain(async move {
                monitor.idle(|| control.pids()).await;
                inbox.generation(id, GenEvent::Idle);
            });
        }
    }

    /// What a guardian removes if hotrun is killed.
    pub(super) fn cleanup(&self) -> Vec<Cleanup> {
        let mut cleanup = self.sockets.paths();
        cleanup.extend(self.artifacts.cleanup());
        cleanup
    }

    pub(super) fn report_failure(&self, doing: &str, result: io::Result<()>) {
        if let Err(error) = result {
            let text = format!("{doing}: {error}");
            self.feed.message(crate::ui::Level::Warning, text, None);
        }
    }
}
