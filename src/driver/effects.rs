//! Performs the machine's effects, and shows its notices.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::drain::{DrainMonitor, KeptConnections, carry_closed, carry_left};
use crate::os::cleanup::Cleanup;
use crate::os::hint_for_error;
use crate::process::{Control, Signal};
use crate::reload::{
    BuildOutcome, Effect, Ended, Event, GenEffect, GenEvent, GenFailure, GenId, GenNotice, Notice,
    Stopped,
};
use crate::socket::{Address, OwnPath};
use crate::ui::{Conflict, Level, Report};
use crate::unclaimed::Reason;

use super::state::{Driver, Outcome};

/// For how long after a switch the program may still do what it does at every start, such as registering itself.
const SOON: Duration = Duration::from_secs(1);
/// How long requests that were hidden may take to arrive and to be answered before the stop signal.
const ARRIVAL: Duration = Duration::from_secs(1);

impl Driver {
    /// Performs an effect. Returns the resulting event if it is known at once.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Hold => {
                let held = self.sockets.hold();
                self.report_failure("holding connections", held);
            }
            Effect::HoldNew => {
                let held = self.sockets.hold_new(true);
                self.report_failure("holding new connections", held);
            }
            Effect::StopHolding => {
                let stopped = self.sockets.hold_new(false);
                self.report_failure("forwarding the connections that waited", stopped);
            }
            Effect::MeasureMemory => self.measure_memory(),
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
        match effect {
            GenEffect::Build => {
                if let Err(error) = self.build(id) {
                    self.report_error("cannot start the build", &error);
                    return Some(GenEvent::BuildEnded(BuildOutcome::Failed));
                }
            }
            GenEffect::CancelBuild => self.cancel_build(),
            GenEffect::Start { artifact } => {
                self.report_builder(id, artifact);
                let reports_writes = self.builds.program_starts(id) && self.adopts;
                let event = reports_writes.then_some(GenEvent::ReportsWrites);
                return self.start_after_hooks(id, artifact).or(event);
            }
            GenEffect::Switch => return Some(self.switch(id)),
            GenEffect::Share { percent } => return self.share(id, percent),
            GenEffect::CheckShare => self.check_share(id),
            GenEffect::SendReloadSignal { signal } => {
                let running = self.generations.get(&id).zip(Signal::try_from(signal).ok());
                let handled =
                    running.is_some_and(|(running, signal)| running.control.reload_config(signal));
                return Some(GenEvent::ReloadSignalSent { signal, handled });
            }
            GenEffect::Keep => self.end_liveness_checks(id),
            GenEffect::AwaitQuiescent => self.await_quiescent(id),
            GenEffect::AwaitIdle { pause } => return self.await_idle(id, pause),
            GenEffect::Forward => self.forward(id),
            GenEffect::KeepPaths => self.on_own_paths(id, OwnPath::keep),
            GenEffect::RestorePaths => self.on_own_paths(id, OwnPath::restore),
            GenEffect::Stop | GenEffect::Abort | GenEffect::Kill if self.hooks.cancel_start(id) => {
                return Some(GenEvent::StartFailed);
            }
            GenEffect::Stop => self.stop(id, self.config.cli.stop_signal),
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
                let gone = self.generations.remove(&id);
                self.builds.suspicion.settled(Instant::now());
                self.builds.start_ended(id, Instant::now());
                let released = self.sockets.release(id);
                let lost = released.map(|lost| self.report_lost(id, &lost));
                self.report_failure("closing a generation's sockets", lost);
                if let Some(gone) = gone {
                    self.report_dead_paths(id, gone.own_paths);
                }
            }
        }
        None
    }

    fn switch(&mut self, id: GenId) -> GenEvent {
        let kept = self.kept_connections();
        if let Some(running) = self.generations.get_mut(&id) {
            // The generation may have been draining. It goes live again, so its drain no longer matters.
            running.waiting.abort_all();
            running.observed = false;
            running.kept.close();
            running.kept = kept;
        }
        self.builds.suspicion.settled(Instant::now());
        self.builds.start_ended(id, Instant::now() + SOON);
        let beside = self.machine.beside(id);
        match self.sockets.switch_beside(id, beside) {
            Ok(()) => {
                self.check_liveness(id);
                GenEvent::Switched
            }
            Err(error) => {
                let text = format!("cannot switch to gen {id}: {error}");
                self.feed.error(text, None);
                GenEvent::SwitchFailed
            }
        }
    }

    fn forward(&mut self, id: GenId) {
        let forwarded = self.sockets.forward(id);
        self.report_failure("forwarding connections", forwarded);
    }

    /// Creates the store for a generation's idle connections.
    pub(super) fn kept_connections(&self) -> Arc<KeptConnections> {
        let enabled = self.config.keeps_connections();
        Arc::new(KeptConnections::new(
            enabled,
            &self.ignores_shutdown,
            self.adopts,
        ))
    }

    /// Sends the stop signal after the generation's `drain` hooks, and keeps its idle connections open for the live
    /// generation. From then on, only the number of connections in use matters.
    fn stop(&mut self, id: GenId, signal: Signal) {
        let Some(running) = self.generations.get(&id) else {
            return;
        };
        let (kept, observed) = (running.kept.clone(), running.observed);
        let keeps = self.config.keeps_connections();
        if keeps && self.ending.requested.is_none() {
            let carry = self.sockets.carrier();
            let ignores_shutdown = self.ignores_shutdown.clone();
            let feed = self.feed.clone();
            let queue = self.hooks.queues.get(&id);
            let hooks = queue.and_then(|queue| queue.drain.clone());
            self.monitor(id, |monitor, control| async move {
                if let Some(mut hooks) = hooks {
                    kept.show();
                    while hooks.changed().await.is_ok() {}
                }
                monitor.hide_requests(|| control.pids()).await;
                let (pids, store) = (control.pids(), kept.clone());
                let sealed = spawn_blocking(move || store.seal(&pids)).await;
                if let Some(error) = kept.take_refusal() {
                    let text = format!("gen {id}: cannot keep its connections: {error}");
                    feed.message(Level::Detail, text, None);
                    sleep(ARRIVAL).await;
                }
                control.stop(signal);
                let tree = control.clone();
                // This must outlast the generation's tasks.
                tokio::spawn(async move {
                    let sealed = sealed.unwrap_or_default();
                    carry_left(sealed, &ignores_shutdown, || tree.pids(), carry).await;
                });
                monitor.observe(|| control.pids()).await;
            });
            return;
        }
        kept.close();
        if !observed {
            self.monitor(id, |monitor, control| {
                monitor.observe(move || control.pids())
            });
        }
        self.stop_after_hooks(id, signal);
    }

    /// Makes this task, which gets the generation's drain monitor, the generation's waiting task.
    fn monitor<T>(&mut self, id: GenId, task: impl FnOnce(DrainMonitor, Control) -> T)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let stop_timeout = self.config.cli.stop_timeout;
        if let Some(running) = self.generations.get_mut(&id) {
            let adopter = self.sockets.adopter();
            if adopter.is_some_and(|one| !one.opened(id).datagrams.is_empty()) {
                running.in_use.hide();
            }
            let listeners = self.sockets.monitored(id);
            let (in_use, kept) = (&running.in_use, &running.kept);
            let monitor = DrainMonitor::new(listeners, stop_timeout, in_use, kept);
            let task = task(monitor, running.control.clone());
            running.waiting = JoinSet::new();
            running.waiting.spawn(task);
            running.observed = true;
        }
    }

    /// Starts a task that reports when a draining generation is quiescent.
    fn await_quiescent(&mut self, id: GenId) {
        let sender = self.sender.clone();
        self.monitor(id, |monitor, control| async move {
            monitor.quiescent(|| control.pids()).await;
            sender.event(id, GenEvent::Quiescent);
        });
    }

    /// Starts a task that reports when a generation is idle, and then continues to observe it. If the system does not
    /// report connections, the drain ends with its timeout, but quitting does not wait.
    fn await_idle(&mut self, id: GenId, pause: Option<Duration>) -> Option<GenEvent> {
        let sender = self.sender.clone();
        let control = &self.generations.get(&id)?.control;
        let handled = control.handles(self.config.cli.stop_signal);
        let may_handle = control.may_handle(self.config.cli.stop_signal);
        let kept = &self.generations.get(&id)?.kept;
        kept.set_handles_signal(handled, may_handle);
        let (kept, carry) = (kept.clone(), self.sockets.carrier());
        let pause = pause.filter(|_| !handled);
        let quits = self.machine.is_quitting();
        self.monitor(id, |monitor, control| async move {
            let known = tokio::select! {
                known = monitor.idle(pause, || control.pids()) => known.is_ok(),
                () = carry_closed(&kept, carry) => false,
            };
            if known || quits {
                sender.event(id, GenEvent::Idle);
            }
            monitor.observe(|| control.pids()).await;
        });
        handled.then_some(GenEvent::HandlesStopSignal)
    }

    /// Responds to HTTP requests with an error page about this generation's failure, until the next `StopResponding`.
    fn respond_unavailable(&mut self, id: GenId, failure: GenFailure) {
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
        let responds = self.sockets.respond(Arc::new(reason));
        self.report_failure("responding to connections", responds);
    }

    /// Shows a notice. If it reports a failure, also shows what the driver knows about the cause.
    pub(super) fn notice(&mut self, notice: Notice) {
        self.feed.report(Report::Notice(notice));
        self.run_hooks(notice);
        self.share_ends(notice);
        if let Notice::Generation(id, GenNotice::Killing { why, .. }) = notice
            && why == Stopped::TimedOut
            && self.reported.once.insert("stop timeout")
        {
            let text = format!("gen {id} did not end within its stop timeout");
            let running = self.generations.get(&id);
            let hint = match running.is_some_and(|running| running.kept.has_sealed()) {
                true => {
                    "if it waits until its clients have closed their connections, which hotrun keeps open, use `--keep-alive never`; `--stop-timeout` allows more time"
                }
                false => {
                    "if another signal makes it finish its requests and end, choose it with `--stop-signal`; `--stop-timeout` allows more time"
                }
            };
            self.feed.message(Level::Info, text, Some(hint.into()));
        }
        let Notice::Generation(id, GenNotice::Failed { failure, live }) = notice else {
            return;
        };
        if matches!(failure, GenFailure::ReadyTimeout | GenFailure::WarmUp)
            && let Some(running) = self.generations.get(&id)
            && let Some(reason) = running.unready_reason.borrow().as_ref()
        {
            let hint = "`--ready` sets a different condition, `--ready-timeout` allows more time";
            let hint = (failure == GenFailure::ReadyTimeout).then(|| hint.into());
            self.feed.error(reason.to_string(), hint);
        }
        if let GenFailure::ExitedEarly(Ended::Code(_)) = failure
            && !self.reported.explained.contains(&id)
            && let Some((text, hint)) = self.conflict(id, live)
            && self.reported.once.insert("conflict")
        {
            self.feed.message(Level::Info, text, Some(hint.into()));
        }
    }

    /// If a generation may have exited because of a conflict with hotrun or with the live generation, returns the
    /// likely reason and a hint.
    fn conflict(&self, id: GenId, live: Option<GenId>) -> Option<(String, &'static str)> {
        let recent = self.feed.recent_output();
        let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
        match (recent.conflict(id)?, live) {
            (Conflict::Port, _) if self.adopts => Some((
                format!("gen {id} may have found its port in use because hotrun keeps it open"),
                "if so, `--adopt never` frees the port before the next generation starts; connections are refused in the meantime",
            )),
            (Conflict::Port | Conflict::Other, Some(live)) => Some((
                format!(
                    "gen {id} may be unable to run beside gen {live}, for example because of a lock"
                ),
                match self.config.cli.instances.count {
                    1 => {
                        "if so, `--stop-first` stops the old generation first and holds connections in the meantime"
                    }
                    _ => "if so, it cannot have several `--instances`",
                },
            )),
            (Conflict::Port | Conflict::Other, None) => None,
        }
    }

    /// The files that a guardian removes if hotrun is killed.
    pub(super) fn cleanup(&self) -> Vec<Cleanup> {
        let mut cleanup = self.sockets.paths();
        let running = self.generations.values();
        let paths = running.flat_map(|running| &running.own_paths);
        cleanup.extend(paths.map(OwnPath::cleanup));
        cleanup.extend(self.artifacts.cleanup());
        cleanup
    }

    pub(super) fn report_failure(&self, doing: &str, result: io::Result<()>) {
        if let Err(error) = result {
            let text = format!("{doing}: {error}");
            self.feed.message(Level::Warning, text, None);
        }
    }

    /// Reports the connections to unix sockets that a generation has left behind.
    fn report_lost(&self, id: GenId, lost: &[(Address, u32)]) {
        for (address, count) in lost {
            let text = format!(
                "gen {id} ended before it accepted all connections to `{address}`; closed: {count}"
            );
            self.feed.message(Level::Warning, text, None);
        }
    }

    /// Shows an error, with a hint if there is one.
    pub(super) fn report_error(&self, what: &str, error: &anyhow::Error) {
        let hint = hint_for_error(error.as_ref());
        self.feed.error(format!("{what}: {error:#}"), hint);
    }
}
