//! Effects, performed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::build::{BuildError, Launch};
use crate::config::{EnvFileError, Stdin};
use crate::os::cleanup::Cleanup;
use crate::process::Signal;
use crate::ready::{self, Connect};
use crate::reload::{ArtifactId, BuildOutcome, Effect, Event, GenEffect, GenEvent, GenId};
use crate::socket::{Address, Route};
use crate::ui::{Level, Mode, Report};

use super::generation::{self, Stage, Start};
use super::later::Later;
use super::{Driver, Outcome, build, remedy};

/// How long the pause between two pieces of an answer may be.
const BETWEEN_PIECES: Duration = Duration::from_secs(5);

impl Driver {
    /// Does what the machine wants, and returns what is known at once of how it went.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Hold => {
                let held = self.sockets.hold();
                self.told("letting connections wait", held);
            }
            Effect::RespondUnavailable { id, failure } => self.answer_for(id, failure),
            Effect::StopResponding => {
                let kept = self.sockets.stop_responding();
                self.told("letting connections wait", kept);
            }
            Effect::Generation(id, effect) => {
                let event = self.perform_on(id, effect)?;
                return Some(Event::Generation(id, event));
            }
            Effect::Finish { clean } => {
                self.outcome = Some(Outcome {
                    clean,
                    signal: self.signal,
                });
            }
        }
        None
    }

    fn perform_on(&mut self, id: GenId, effect: GenEffect) -> Option<GenEvent> {
        match effect {
            GenEffect::Build => return self.build(id),
            GenEffect::CancelBuild => self.cancel_build(),
            GenEffect::Start { artifact } => return self.start(id, artifact),
            GenEffect::Switch => return Some(self.switch(id)),
            GenEffect::SendReloadSignal { signal } => {
                let handled = self.reload_config(id, signal);
                return Some(GenEvent::ReloadSignalSent { signal, handled });
            }
            GenEffect::AwaitQuiescent => self.settle(id),
            GenEffect::CheckStopSignal => return Some(self.inspect(id)),
            GenEffect::AwaitIdle => self.await_idle(id),
            GenEffect::Forward => {
                let relayed = self.sockets.drain(id);
                self.told("relaying connections", relayed);
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
                self.prints.remove(&id);
                let released = self.sockets.release(id);
                self.told("closing its sockets", released);
            }
        }
        None
    }

    fn reload_config(&self, id: GenId, signal: i32) -> bool {
        let control = self.generations.get(&id).map(|running| &running.control);
        let signal = Signal::try_from(signal).ok();
        control
            .zip(signal)
            .is_some_and(|(control, signal)| control.reload_config(signal))
    }

    fn build(&mut self, id: GenId) -> Option<GenEvent> {
        let bars = match self.config.ui.mode {
            Mode::Live | Mode::Json => true,
            Mode::Plain | Mode::Off => false,
        };
        let known = self.prints.iter().map(|(id, print)| (*id, print.clone()));
        let with = build::With {
            plan: self.plan.clone(),
            kept: self.kept(),
            known: known.collect(),
            bars,
        };
        // It reads what another one was put off for.
        self.later = Later::No;
        self.watch.build_begins();
        match build::start(id, with, &self.inbox, &self.feed) {
            Ok(active) => {
                self.times = Some(active.times.clone());
                self.build = Some(active);
                None
            }
            Err(error) => {
                self.feed.error(
                    format!("cannot start the build: {error:#}"),
                    remedy::for_error(&error),
                );
                Some(GenEvent::BuildEnded(BuildOutcome::Failed))
            }
        }
    }

    fn cancel_build(&mut self) {
        if let Some(build) = &self.build {
            build.give_up();
        }
    }

    /// A build's process ended with success: keeps what it says is to be started.
    pub(super) fn built(
        &mut self,
        id: GenId,
        launch: Result<Launch, BuildError>,
        like: Option<GenId>,
    ) {
        let outcome = match launch {
            Ok(launch) => {
                // That generation may have ended or begun to drain by now.
                let like = like.filter(|like| self.machine.phase(*like).stays());
                let known = like.and_then(|like| Some((like, self.machine.artifact(like)?)));
                let (artifact, outcome) = match known {
                    Some((like, artifact)) => (artifact, BuildOutcome::Unchanged { like }),
                    None => {
                        let (artifact, kept) = self.keep(id, &launch);
                        (artifact, BuildOutcome::Built { artifact, kept })
                    }
                };
                self.launch = Some((artifact, launch));
                outcome
            }
            Err(error) => {
                self.feed.error(error.to_string(), error.hint());
                BuildOutcome::Failed
            }
        };
        self.handle(Event::Generation(id, GenEvent::BuildEnded(outcome)));
    }

    /// Names what this build made, and keeps it to roll back to. Everything else works without that.
    fn keep(&mut self, id: GenId, launch: &Launch) -> (ArtifactId, bool) {
        let machine = &self.machine;
        let added = self
            .keep
            .add(id, launch, |artifact| machine.needs(artifact));
        match added {
            Ok(Some((artifact, new))) => {
                if new {
                    self.feed.tell(Report::ArtifactKept { id });
                }
                return (artifact, true);
            }
            Ok(None) => {}
            Err(error) => {
                let text = format!("the executable of gen {id} can't be kept: {error}");
                self.feed.message(Level::Detail, text, None);
            }
        }
        (self.keep.new_id(), false)
    }

    /// What whoever outlives a hotrun that was killed puts away.
    pub(super) fn kept(&self) -> Vec<Cleanup> {
        let mut kept = self.sockets.paths();
        kept.extend(self.keep.leftovers());
        kept
    }

    fn start(&mut self, id: GenId, artifact: ArtifactId) -> Option<GenEvent> {
        let error = self.try_start(id, artifact).err()?;
        let hint = error.downcast_ref().map(EnvFileError::hint);
        let hint = hint.map(str::to_owned);
        let text = format!("cannot start gen {id}: {error:#}");
        self.feed
            .error(text, hint.or_else(|| remedy::for_error(&error)));
        Some(GenEvent::StartFailed)
    }

    fn try_start(&mut self, id: GenId, artifact: ArtifactId) -> Result<()> {
        let newest = self
            .launch
            .as_ref()
            .filter(|(newest, _)| *newest == artifact);
        let (launch, is_newest) = match newest {
            Some((_, launch)) => (launch.clone(), true),
            None => (self.keep.launch(artifact)?, false),
        };
        let env = self.config.environment(launch.env.iter().cloned())?;
        let passed = self.sockets.prepare(id).context("preparing its sockets")?;
        let dial = self.dial(id).context("preparing the probes")?;
        let start = Start {
            id,
            listen_pid: self.config.listen_pid.applies_to(&launch.argv),
            launch,
            env,
            passed,
            stored: self.store.all(),
            watchdog: self.config.watchdog,
            ready: Arc::clone(&self.config.ready),
            dial,
            adopter: self.sockets.adopter(),
            traps: self.adopting.works(),
            kept: self.kept(),
            stage: self.stage(),
        };
        let running = generation::start(start, &self.inbox, &self.feed)?;
        self.generations.insert(id, running);
        self.look_soon();
        let print = self.print.clone().filter(|_| is_newest);
        self.prints.extend(print.map(|print| (id, print)));
        Ok(())
    }

    /// On what a program runs: on a terminal of its own where its output ends up on ours.
    fn stage(&self) -> Stage {
        let (size, reads) = (self.size, self.config.stdin == Stdin::Program);
        match self.config.ui.mode {
            Mode::Live => Stage::Terminal { size, reads },
            Mode::Plain | Mode::Json | Mode::Off => Stage::Pipes,
        }
    }

    /// What the program opens by itself comes to light later.
    fn dial(&self, id: GenId) -> io::Result<Connect> {
        Ok(match self.sockets.adopter() {
            Some(adopter) => dial(move || adopter.routes(id)),
            None => {
                let routes = self.sockets.probe(id)?;
                dial(move || routes.clone())
            }
        })
    }

    fn switch(&mut self, id: GenId) -> GenEvent {
        if let Some(running) = self.generations.get_mut(&id) {
            running.stay();
        }
        match self.sockets.switch(id) {
            Ok(()) => GenEvent::Switched,
            Err(error) => {
                self.feed
                    .error(format!("cannot switch to gen {id}: {error}"), None);
                GenEvent::SwitchFailed
            }
        }
    }

    fn inspect(&mut self, id: GenId) -> GenEvent {
        let handles =
            |running: &generation::Running| running.control.handles(self.config.stop_signal);
        // A generation that is gone has nothing to wait for.
        let handled = self.generations.get(&id).is_none_or(handles);
        GenEvent::StopSignalChecked { handled }
    }

    fn settle(&mut self, id: GenId) {
        let (monitor, inbox) = (self.sockets.drain_monitor(id), self.inbox.clone());
        if let Some(running) = self.generations.get_mut(&id) {
            let control = running.control.clone();
            running.leave(async move {
                monitor.quiescent(|| control.pids()).await;
                inbox.event(Event::Generation(id, GenEvent::Quiescent));
            });
        }
    }

    /// An answer that comes in pieces with pauses between them looks like one that is complete. As long as another one
    /// serves, nobody waits for this one to end.
    fn await_idle(&mut self, id: GenId) {
        let (mut monitor, inbox) = (self.sockets.drain_monitor(id), self.inbox.clone());
        if self.machine.live().is_some() {
            monitor = monitor.quiet_for(BETWEEN_PIECES);
        }
        if let Some(running) = self.generations.get_mut(&id) {
            let control = running.control.clone();
            running.leave(async move {
                monitor.idle(|| control.pids()).await;
                inbox.event(Event::Generation(id, GenEvent::Idle));
            });
        }
    }

    pub(super) fn told(&self, doing: &str, result: io::Result<()>) {
        if let Err(error) = result {
            self.feed
                .message(Level::Warning, format!("{doing}: {error}"), None);
        }
    }
}

/// Connects to one generation alone: to its socket with this port, or without one to its first socket.
fn dial(routes: impl Fn() -> Vec<Route> + Send + 'static) -> Connect {
    Box::new(move |port| {
        let fits = |route: &Route| port.is_none() || address_port(route) == port;
        let route = routes().into_iter().find(fits);
        Box::pin(async move {
            let route = route.ok_or_else(|| match port {
                Some(port) => io::Error::other(format!("it does not listen on port {port}")),
                None => io::Error::other("it does not listen"),
            })?;
            let stream = route.dial().await?;
            Ok(Box::new(stream) as Box<dyn ready::Stream>)
        })
    })
}

fn address_port(route: &Route) -> Option<u16> {
    match &route.listening().address {
        Address::Tcp(address) => Some(address.port()),
        Address::Unix(_) => None,
    }
}
