//! The loop.

use std::collections::VecDeque;

use anyhow::Result;

use crate::config::Config;
use crate::reload::{Event, Time};
use crate::ui::{Level, Report, Ui};

use super::generation::next_notification;
use super::requests::sleep_to;
use super::setup::{self, Setup, Sources};
use super::state::{Driver, Outcome};

/// Runs until the user quits. Call it in a current-thread runtime, from the main thread: the parent of the guardians is
/// the thread that starts them.
///
/// # Errors
/// A socket cannot be opened, there is nothing to build or to start, or the signals or the watch are unavailable.
pub async fn run(config: Config, ui: Ui) -> Result<Outcome> {
    let Setup {
        driver,
        sources,
        ui_thread,
    } = setup::prepare(config, ui)?;
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
            self.feed.report(Report::Listening {
                name: listening.name,
                address: listening.address.to_string(),
                by: None,
                first: true,
            });
        }
        loop {
            if let Some(outcome) = self.ending.outcome {
                return outcome;
            }
            let deadline = self.machine.deadline();
            tokio::select! {
                biased;
                signal = sources.signals.next() => self.signalled(signal),
                Some(input) = sources.inputs.recv() => self.take(input),
                Some(message) = sources.watch.recv() => self.watched(message),
                event = sources.terminal.next() => {
                    self.terminal_event(event, &mut sources.terminal).await;
                }
                key = self.fd_store.hung_up() => self.fd_store.close_hung_up(key),
                () = sleep_to(self.builds.trigger.due()) => self.start_postponed_build(),
                () = sleep_to(self.commands_due()) => self.run_waiting_commands(),
                () = sleep_to(self.next_count()) => self.count_connections(),
                () = self.clock.sleep_until(deadline) => self.deadline_passed(deadline),
                (id, received) = next_notification(&self.generations) => self.notified(id, received),
            }
        }
    }

    /// First reads the notifications that programs have sent: they may wait in the sockets only because hotrun had no time
    /// to read them.
    fn deadline_passed(&mut self, deadline: Option<Time>) {
        if self.clock.skip_suspension(deadline) {
            return;
        }
        let ids: Vec<_> = self.generations.keys().copied().collect();
        for id in ids {
            self.drain_notifications(id);
        }
        self.handle(Event::Tick);
    }

    /// Hands an event to the machine, and then the events that its effects report at once.
    pub(super) fn handle(&mut self, event: Event) {
        // If hotrun was suspended, the event must not count as late.
        self.clock.skip_suspension(self.machine.deadline());
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.clock.now();
            let response = self.machine.handle(now, event);
            if let Some(log) = &self.log {
                log.record(now, &event, &response);
                // A log that cannot be written must not stop hotrun.
                if let Some(error) = log.failure() {
                    let text = format!("the log is incomplete: {error}");
                    self.feed.message(Level::Warning, text, None);
                }
            }
            for notice in response.notices {
                self.notice(notice);
            }
            for effect in response.effects {
                events.extend(self.perform(effect));
            }
        }
    }
}
