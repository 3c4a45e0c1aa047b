//! The commands of rules, `--on GLOB=run:COMMAND`.

use std::env;
use std::time::Instant;

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;

use crate::process::{Control, Process, Report, Reports, Spawner, Spec};
use crate::ui::{self, Feed, Level};
use crate::watch::Moment;

use super::inbox::Input;
use super::state::Driver;

impl Driver {
    /// Runs a command. While it runs already, or during a pause, it runs once more afterwards.
    pub(super) fn run_command(&mut self, line: &str) {
        let paused = self.machine.is_paused();
        let command = self.commands.entry(line.to_owned()).or_default();
        command.pending = command.control.is_some() || paused;
        if command.pending || self.machine.is_quitting() {
            return;
        }
        match self.start_command(line) {
            Ok(control) => {
                let command = self.commands.entry(line.to_owned()).or_default();
                command.control = Some(control);
                command.trigger.started(Instant::now());
            }
            Err(error) => self.report_error(&format!("cannot run `{line}`"), &error),
        }
    }

    fn start_command(&self, line: &str) -> Result<Control> {
        let env = self.config.environment(env::vars_os())?;
        let process = Spawner::default().spawn(Spec {
            cleanup: self.cleanup(),
            ..Spec::shell(line, env, self.config.workdir.clone())
        })?;
        let text = format!("running `{line}`");
        self.feed.message(Level::Info, text, None);
        let control = process.control.clone();
        let (line, feed, inbox) = (line.to_owned(), self.feed.clone(), self.inbox.clone());
        tokio::spawn(async move {
            if let Some(failure) = monitor(process, &feed).await {
                feed.message(Level::Warning, format!("`{line}` failed: {failure}"), None);
            }
            inbox.send(Input::CommandEnded { line });
        });
        Ok(control)
    }

    pub(super) fn command_ended(&mut self, line: &str) {
        if let Some(command) = self.commands.get_mut(line) {
            command.control = None;
            command.trigger.ended(Moment::now());
            if command.pending {
                self.run_command(line);
            }
        }
    }

    /// Runs the commands that waited for the end of a pause, or were put off until now.
    pub(super) fn run_waiting_commands(&mut self) {
        let now = Instant::now();
        let mut lines = Vec::new();
        for (line, command) in &mut self.commands {
            let due = command.trigger.due().is_some_and(|due| due <= now);
            if due {
                // Even if it does not run now: it would be due all the time.
                command.trigger.cancel();
            }
            if due || command.pending && command.control.is_none() {
                lines.push(line.clone());
            }
        }
        for line in lines {
            self.run_command(&line);
        }
    }

    /// When to run the next command that was put off.
    pub(super) fn commands_due(&self) -> Option<Instant> {
        let commands = self.commands.values();
        commands.filter_map(|command| command.trigger.due()).min()
    }
}

/// Shows what a command prints, and returns how it failed.
async fn monitor(process: Process, feed: &Feed) -> Option<String> {
    ui::panic_for_test();
    let Process {
        control,
        reports,
        stdout,
        stderr,
    } = process;
    let ended = async {
        let failure = failure(reports).await;
        // What it leaves running would keep its output open.
        control.kill();
        failure
    };
    tokio::join!(ended, show(stdout, feed), show(stderr, feed)).0
}

async fn failure(mut reports: Reports) -> Option<String> {
    while let Some(report) = reports.next().await {
        match report {
            Report::Started { .. } => {}
            Report::Refused { error } => return Some(error.to_string()),
            Report::Exited { ended, .. } if ended.success() => return None,
            Report::Exited { ended, .. } => return Some(ended.to_string()),
            Report::Gone => break,
        }
    }
    Some("its processes vanished".to_owned())
}

async fn show(pipe: Receiver, feed: &Feed) {
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let text = String::from_utf8_lossy(&line).into_owned();
        feed.pass(Feed::text(Level::Info, text)).await;
    }
}
