//! Effects, performed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::build::{BuildError, Launch};
use crate::config::{EnvFileError, Stdin};
use crate::os::cleanup::Cleanup;
use crate::process::Signal;
use crate::ready::{self, Dial};
use crate::reload::{BuildOutcome, Effect, Event, GenId};
use crate::socket::{Address, Route};
use crate::ui::{Level, Mode, Report};

use super::generation::{self, Stage, Start};
use super::keep::Added;
use super::later::Later;
use super::{Driver, Outcome, build, remedy};

/// How long the pause between two pieces of an answer may be.
const BETWEEN_PIECES: Duration = Duration::from_secs(5);

impl Driver {
    /// Does what the machine wants, and returns what is known at once of how it went.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Build { id } => return self.build(id),
            Effect::CancelBuild { .. } => self.cancel_build(),
            Effect::Start { id } => return self.start(id, None),
            Effect::StartAgain { id, build } => return self.start(id, Some(build)),
            Effect::Switch { id } => return Some(self.switch(id)),
            Effect::Signal { id, signal } => {
                let handled = self.reload_config(id, signal);
                return Some(Event::Signalled {
                    id,
                    signal,
                    handled,
                });
            }
            Effect::Hold => {
                let held = self.sockets.hold();
                self.told("letting connections wait", held);
            }
            Effect::Answer { id, failure } => self.answer_for(id, failure),
            Effect::AnswerNoMore => {
                let kept = self.sockets.answer_no_more();
                self.told("letting connections wait", kept);
            }
            Effect::Settle { id } => self.settle(id),
            Effect::Inspect { id } => return Some(self.inspect(id)),
            Effect::AwaitIdle { id } => self.await_idle(id),
            Effect::Relay { id } => {
                let relayed = self.sockets.relay(id);
                self.told("relaying connections", relayed);
            }
            Effect::Stop { id } => {
                if let Some(running) = self.generations.get_mut(&id) {
                    running.forget_readiness();
                    running.control.stop(self.config.stop_signal);
                }
            }
            Effect::Abort { id } => {
                if let Some(running) = self.generations.get(&id) {
                    running.control.signal(Signal::SIGABRT);
                }
            }
            Effect::Kill { id } => {
                if let Some(running) = self.generations.get(&id) {
                    running.control.kill();
                }
            }
            Effect::Release { id } => {
                self.generations.remove(&id);
                self.prints.remove(&id);
                let released = self.sockets.release(id);
                self.told("closing its sockets", released);
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

    fn reload_config(&self, id: GenId, signal: i32) -> bool {
        let control = self.generations.get(&id).map(|running| &running.control);
        let signal = Signal::try_from(signal).ok();
        control
            .zip(signal)
            .is_some_and(|(control, signal)| control.reload_config(signal))
    }

    fn build(&mut self, id: GenId) -> Option<Event> {
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
                Some(Event::BuildEnded {
                    id,
                    outcome: BuildOutcome::Failed,
                })
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
                // It may have ended meanwhile; and what is on its way out may have been let go of.
                let like = like.filter(|like| self.machine.phase(*like).stays());
                let outcome = match like {
                    Some(like) => BuildOutcome::Same { like },
                    None => {
                        self.keep(id, &launch);
                        BuildOutcome::Built
                    }
                };
                self.launch = Some(launch);
                outcome
            }
            Err(error) => {
                self.feed.error(error.to_string(), error.hint());
                BuildOutcome::Failed
            }
        };
        self.handle(Event::BuildEnded { id, outcome });
    }

    /// To go back to it. Without that all else works.
    fn keep(&mut self, id: GenId, launch: &Launch) {
        let machine = &self.machine;
        match self
            .keep
            .add(id, launch, |build| machine.may_return_to(build))
        {
            Ok(Some(Added { same })) => {
                // Nothing else to go back to.
                if same.is_none() {
                    self.feed.tell(Report::ArtifactKept { id });
                }
                self.handle(Event::Kept { id, same });
            }
            Ok(None) => {}
            Err(error) => {
                let text = format!("the executable of gen {id} can't be kept: {error}");
                self.feed.message(Level::Detail, text, None);
            }
        }
    }

    /// What whoever outlives a hotrun that was killed puts away.
    pub(super) fn kept(&self) -> Vec<Cleanup> {
        let mut kept = self.sockets.paths();
        kept.extend(self.keep.leftovers());
        kept
    }

    /// Starts it from this build, or from the newest.
    fn start(&mut self, id: GenId, build: Option<GenId>) -> Option<Event> {
        let error = self.try_start(id, build).err()?;
        let hint = error.downcast_ref().map(EnvFileError::hint);
        let hint = hint.map(str::to_owned);
        let text = format!("cannot start gen {id}: {error:#}");
        self.feed
            .error(text, hint.or_else(|| remedy::for_error(&error)));
        Some(Event::StartFailed { id })
    }

    fn try_start(&mut self, id: GenId, build: Option<GenId>) -> Result<()> {
        let launch = match build {
            Some(build) => self.keep.launch(build)?,
            None => self.launch.clone().context("nothing was built yet")?,
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
        // What is started again is not what the newest build made.
        let print = self.print.clone().filter(|_| build.is_none());
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
    fn dial(&self, id: GenId) -> io::Result<Dial> {
        Ok(match self.sockets.adopter() {
            Some(adopter) => dial(move || adopter.routes(id)),
            None => {
                let routes = self.sockets.probe(id)?;
                dial(move || routes.clone())
            }
        })
    }

    fn switch(&mut self, id: GenId) -> Event {
        if let Some(running) = self.generations.get_mut(&id) {
            running.stay();
        }
        match self.sockets.switch(id) {
            Ok(()) => Event::Switched { id },
            Err(error) => {
                self.feed
                    .error(format!("cannot switch to gen {id}: {error}"), None);
                Event::SwitchFailed { id }
            }
        }
    }

    fn inspect(&mut self, id: GenId) -> Event {
        let handles =
            |running: &generation::Running| running.control.handles(self.config.stop_signal);
        // A generation that is gone has nothing to wait for.
        let handles_stop = self.generations.get(&id).is_none_or(handles);
        Event::Inspected { id, handles_stop }
    }

    fn settle(&mut self, id: GenId) {
        let (monitor, inbox) = (self.sockets.drain_monitor(id), self.inbox.clone());
        if let Some(running) = self.generations.get_mut(&id) {
            let control = running.control.clone();
            running.leave(async move {
                monitor.quiescent(|| control.pids()).await;
                inbox.event(Event::Settled { id });
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
                inbox.event(Event::Idle { id });
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
fn dial(routes: impl Fn() -> Vec<Route> + Send + 'static) -> Dial {
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
