//! The loop.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::config::{Config, Stdin};
use crate::process;
use crate::process::signals::Signals;
use crate::reload::{BuildOutcome, Event, GenEvent, Request, Response, Time};
use crate::ui::{Level, Mode, Report, TerminalInput, Ui, feed};
use crate::watch::Message;

use super::adopting::Adopting;
use super::inbox::{self, Input};
use super::log::Log;
use super::requests::{Suspend, sleep_to};
use super::setup;
use super::state::{Driver, Outcome};
use super::watch_set::WatchSet;

/// Where events come from.
struct Sources {
    inputs: UnboundedReceiver<Input>,
    watch: UnboundedReceiver<Message>,
    signals: Signals,
    terminal: TerminalInput,
}

/// Runs until the user quits. Call it in a current-thread runtime, from the main thread: the parent of the guardians is
/// the thread that starts them.
///
/// # Errors
/// A socket cannot be opened, there is nothing to build or to start, or the signals or the watch are unavailable.
pub async fn run(config: Config, ui: Ui) -> Result<Outcome> {
    let log = config.log.as_deref().map(Log::create).transpose()?;
    // The sockets first: connections wait from here on. The signals next: from here on everything is cleaned up.
    let sockets = setup::sockets(&config)?;
    let adopting = Adopting::probe(&config, sockets.adopter().as_ref());
    let signals = Signals::new().context("handling signals")?;
    process::become_subreaper().context("becoming a subreaper")?;
    let plan = setup::plan(&config)?;
    let roots = plan.watch_roots()?;
    let spec = setup::watch_spec(&config, &roots);
    let (inbox, inputs) = inbox::channel();
    let (changes, watch) = mpsc::unbounded_channel();
    let for_program = config.stdin == Stdin::Program;
    let terminal = TerminalInput::new(config.ui.mode, for_program);
    let terminal = terminal.context("reading from the terminal")?;
    let watch_set = WatchSet::new(setup::watch(&spec, changes)?, roots);
    let sources = Sources {
        inputs,
        watch,
        signals,
        terminal,
    };
    let quit = inbox.clone();
    let on_quit: feed::OnQuit = Arc::new(move || quit.event(Event::Requested(Request::Quit)));
    let (feed, ui_thread) = feed::start(ui, on_quit.clone()).context("starting a thread")?;
    if config.ui.mode == Mode::Live {
        ui_thread.quit_on_panic(on_quit);
    }
    adopting.report(&config, &feed);
    let mut driver = Driver::new(config, plan, watch_set, (sockets, adopting), inbox, feed)?;
    driver.log = log;
    let outcome = driver.drive(sources).await;
    ui_thread.finish().await?;
    Ok(outcome)
}

impl Driver {
    async fn drive(mut self, mut sources: Sources) -> Outcome {
        if let Some(log) = &self.log {
            log.begin(self.machine.policy());
        }
        for listening in self.sockets.listening() {
            let address = listening.address.to_string();
            self.feed.report(Report::Listening {
                name: listening.name,
                address,
                by: None,
                first: true,
            });
        }
        loop {
            if let Some(outcome) = self.ending.outcome {
                self.builds.kill_leftovers();
                return outcome;
            }
            let deadline = self.machine.deadline();
            tokio::select! {
                biased;
                signal = sources.signals.next() => self.signalled(signal),
                Some(input) = sources.inputs.recv() => self.take(input),
                message = sources.watch.recv(), if !self.watch.ended => self.watched(message),
                event = sources.terminal.next() => if let Some(Suspend) = self.terminal_event(event) {
                    self.suspend(&mut sources.terminal).await;
                },
                key = self.fd_store.hung_up() => self.fd_store.close_hung_up(key),
                () = sleep_to(self.builds.trigger.due()) => self.start_postponed_build(),
                () = sleep_to(self.commands.due()) => self.run_due(),
                () = sleep_to(self.next_count()) => self.count_connections(),
                () = self.clock.sleep_until(deadline), if !self.clock.drains => self.deadline_passed(deadline),
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Event(Event::Generation(id, GenEvent::BuildEnded(outcome))) => {
                // A cancelled build did not fail.
                let outcome = match self.builds.ended() {
                    true => BuildOutcome::Cancelled,
                    false => outcome,
                };
                self.handle(Event::Generation(id, GenEvent::BuildEnded(outcome)));
            }
            Input::Event(event) => self.handle(event),
            Input::Built { id, built } => match self.builds.ended() {
                // It ended before it could be cancelled. The machine no longer wants the result.
                true => {
                    let outcome = BuildOutcome::Cancelled;
                    self.handle(Event::Generation(id, GenEvent::BuildEnded(outcome)));
                }
                false => self.built(id, built),
            },
            Input::Drained => self.drained(),
            Input::CommandEnded { line } => self.command_ended(&line),
            Input::Learnt(lesson) => self.watch.learn(lesson, &self.config),
            Input::Intercepted { id, event } => self.intercepted(id, event),
            Input::Notified(notification) => self.notified(*notification),
            Input::Planned { number, planned } => self.planned(number, planned),
        }
    }

    /// Hands an event to the machine, and then the events that its effects report at once.
    pub(super) fn handle(&mut self, event: Event) {
        // If hotrun was suspended, the event must not count as late.
        if !self.clock.drains {
            self.clock.skip_suspension(self.machine.deadline());
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.clock.now();
            let response = self.machine.handle(now, event);
            self.record(now, &event, &response);
            for notice in response.notices {
                self.notice(notice);
            }
            for effect in response.effects {
                events.extend(self.perform(effect));
            }
        }
    }

    /// Logs an event. A log that cannot be written must not stop hotrun.
    pub(super) fn record(&self, now: Time, event: &Event, response: &Response) {
        let Some(log) = &self.log else {
            return;
        };
        log.record(now, event, response);
        if let Some(error) = log.failure() {
            let text = format!("the log is incomplete: {error}");
            self.feed.message(Level::Warning, text, None);
        }
    }
}
