//! The driver's main loop.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Result;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::config::Config;
use crate::reload::{Event, Time};
use crate::ui::{Level, Report, Ui};

use super::notify::RECEIVE_TIMEOUT;
use super::requests::sleep_to;
use super::setup::{self, Sources};
use super::state::{Driver, Outcome, TaskMessage};

/// Runs hotrun until the user quits. Must be called in a current-thread runtime on the main thread, because a guardian
/// gets the parent-death signal as soon as the thread that started it ends.
///
/// # Errors
/// The log or a socket cannot be opened, there is nothing to build or start, or signal handling or the watch cannot be
/// set up.
pub async fn run(config: Config, ui: Ui) -> Result<Outcome> {
    let (driver, sources, ui_thread) = setup::prepare(config, ui)?;
    let outcome = driver.drive(sources).await;
    ui_thread.finish().await?;
    Ok(outcome)
}

impl Driver {
    async fn drive(mut self, mut sources: Sources) -> Outcome {
        if let Some(log) = &self.log {
            log.begin(self.machine.policy(), self.config.cli.instances.count);
        }
        let sender = self.sender.clone();
        self.sockets.on_event(move |address, event| {
            sender.send(move |driver| driver.address_event(address, event));
        });
        for listening in self.sockets.listening() {
            self.feed.report(Report::Listening {
                name: listening.name,
                address: listening.address.to_string(),
                by: None,
                first: true,
            });
        }
        self.start_sources();
        let mut watching = true;
        loop {
            if let Some(outcome) = self.ending.outcome {
                self.hooks.finish().await;
                return outcome;
            }
            let deadline = self.machine.deadline();
            tokio::select! {
                biased;
                signal = sources.signals.next() => self.signalled(signal),
                Some(message) = sources.messages.recv() => message(&mut self),
                message = sources.watch.recv(), if watching => match message {
                    Some(message) => self.watched(message),
                    // The watch thread has panicked.
                    None => {
                        watching = false;
                        let text = "the watch has failed; hotrun no longer notices changes".to_owned();
                        self.feed.error(text, Some("restart hotrun".to_owned()));
                    }
                },
                event = sources.terminal.next() => {
                    self.terminal_event(event, &mut sources.terminal).await;
                }
                key = self.fd_store.hung_up() => self.fd_store.close_hung_up(key),
                () = sleep_to(self.next_due()) => self.run_due(),
                () = sleep_to(self.next_count()) => self.count_connections(),
                () = sleep_to(deadline.and_then(|at| self.clock.instant(at))) => {
                    self.deadline_passed(deadline, &mut sources.messages).await;
                }
                (id, received) = self.next_notification() => self.notified(id, received),
            }
        }
    }

    /// Handles a deadline, but first the notifications that have arrived: a program must not count as late because hotrun
    /// was too busy to read its message.
    async fn deadline_passed(
        &mut self,
        deadline: Option<Time>,
        messages: &mut UnboundedReceiver<TaskMessage>,
    ) {
        if self.clock.skip_suspension(deadline) {
            return;
        }
        let until = Instant::now() + RECEIVE_TIMEOUT;
        let ids: Vec<_> = self.generations.keys().copied().collect();
        for id in ids {
            self.receive_notifications(id, until);
        }
        // Lets the readiness tasks act on these notifications.
        tokio::task::yield_now().await;
        while let Ok(message) = messages.try_recv() {
            message(self);
        }
        self.handle(Event::Tick);
    }

    /// Passes an event to the machine, performs the effects, and handles the events that result from them.
    pub(super) fn handle(&mut self, event: Event) {
        // If hotrun was suspended, the event may not be as late as it seems.
        self.clock.skip_suspension(self.machine.deadline());
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.clock.now();
            let reaction = self.machine.handle(now, event);
            if let Some(log) = &self.log {
                log.record(now, &event, &reaction);
                // hotrun continues without a log.
                if let Some(error) = log.failure() {
                    let text = format!("the log is incomplete: {error}");
                    self.feed.message(Level::Warning, text, None);
                }
            }
            for notice in reaction.notices {
                self.notice(notice);
            }
            for effect in reaction.effects {
                events.extend(self.perform(effect));
            }
            self.sockets.set_reloading(self.machine.is_busy());
            if let Some(preview) = &mut self.preview {
                preview.lead_to(self.machine.newest_ready(), &self.sockets);
            }
        }
    }
}
