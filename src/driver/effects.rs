//! Performs the effects that the machine requests, and shows its notices.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::os::cleanup::Cleanup;
use crate::os::hint_for_error;
use crate::process::Signal;
use crate::reload::{Effect, Ended, Event, Failure, GenEffect, GenEvent, GenId, GenNotice, Notice};
use crate::socket::Respond;
use crate::socket::pending::{Reason, Responder};
use crate::ui::{Level, Report};

use super::generation::Running;
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
            Effect::RespondUnavailable { id, failure } => self.respond_unavailable(id, failure),
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
        let stop_signal = self.config.cli.stop_signal;
        match effect {
            GenEffect::Build => return self.build(id),
            GenEffect::CancelBuild => self.cancel_build(),
            GenEffect::Start { artifact } => return self.start(id, artifact),
            GenEffect::Switch => return Some(self.switch(id)),
            GenEffect::SendReloadSignal { signal } => {
                let running = self.generations.get(&id).zip(Signal::try_from(signal).ok());
                let handled =
                    running.is_some_and(|(running, signal)| running.control.reload_config(signal));
                return Some(GenEvent::ReloadSignalSent { signal, handled });
            }
            GenEffect::AwaitQuiescent => self.await_quiescent(id),
            GenEffect::CheckStopSignal => {
                let handles = |running: &Running| running.control.handles(stop_signal);
                // A generation that is gone needs no wait.
                let handled = self.generations.get(&id).is_none_or(handles);
                return Some(GenEvent::StopSignalChecked { handled });
            }
            GenEffect::AwaitIdle => self.await_idle(id),
            GenEffect::Forward => {
                let forwarded = self.sockets.drain(id);
                self.report_failure("forwarding connections", forwarded);
            }
            GenEffect::Stop => {
                if let Some(running) = self.generations.get_mut(&id) {
                    // If it is not ready now, the stop is the reason.
                    running.waiting.abort_all();
                    running.control.stop(stop_signal);
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

    fn switch(&mut self, id: GenId) -> GenEvent {
        if let Some(running) = self.generations.get_mut(&id) {
            // It may have begun to drain.
            running.waiting.abort_all();
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

    fn await_quiescent(&mut self, id: GenId) {
        let (monitor, inbox) = (self.sockets.drain_monitor(id), self.inbox.clone());
        if let Some(running) = self.generations.get_mut(&id) {
            let control = running.control.clone();
            running.wait(async move {
                monitor.quiescent(|| control.pids()).await;
                inbox.event(id, GenEvent::Quiescent);
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
            running.wait(async move {
                monitor.idle(|| control.pids()).await;
                inbox.event(id, GenEvent::Idle);
            });
        }
    }

    /// From now on, HTTP requests get a response that says how this generation failed.
    fn respond_unavailable(&mut self, id: GenId, failure: Failure) {
        if !self.config.ui.error_page {
            return;
        }
        let recent = self.feed.recent_output();
        let reason = move || {
            let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
            Reason {
                summary: format!("gen {id} {failure}"),
                details: recent.explain(id, failure),
            }
        };
        let responder: Arc<dyn Respond> = Arc::new(Responder::new(reason));
        let responds = self.sockets.respond(&responder);
        self.report_failure("responding to connections", responds);
    }

    /// Shows a notice, and what the driver knows about a failure.
    pub(super) fn notice(&mut self, notice: Notice) {
        self.feed.report(Report::Notice(notice));
        let Notice::Generation(id, GenNotice::Failed { failure, live }) = notice else {
            return;
        };
        if failure == Failure::ReadyTimeout
            && let Some(running) = self.generations.get(&id)
            && let Some(reason) = running.unready_reason.get()
        {
            let hint = "`--ready` sets another condition, `--ready-timeout` allows more time";
            self.feed.error(reason, Some(hint.into()));
        }
        if let (Failure::ExitedEarly(Ended::Code(_)), Some(live)) = (failure, live)
            && self.may_conflict(id)
        {
            let text = format!(
                "gen {id} may be unable to run beside gen {live}, for example because of a lock"
            );
            let hint = "if so, `--stop-first` ends the old generation first, and holds connections until then";
            self.feed.message(Level::Info, text, Some(hint.into()));
        }
    }

    /// Whether a generation may have exited because it cannot run beside another one, and nothing else explains it. Only
    /// once.
    fn may_conflict(&mut self, id: GenId) -> bool {
        let recent = self.feed.recent_output();
        let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
        !self.reported.explained.contains(&id)
            && recent.may_mind_other_instance(id)
            && !std::mem::replace(&mut self.reported.stop_first, true)
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
            self.feed.message(Level::Warning, text, None);
        }
    }

    /// Shows why something could not be started.
    pub(super) fn report_error(&self, what: &str, error: &anyhow::Error) {
        let hint = hint_for_error(error.as_ref());
        self.feed.error(format!("{what}: {error:#}"), hint);
    }
}
