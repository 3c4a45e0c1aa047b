//! The commands of `--on GLOB=run:COMMAND` rules.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use tokio::net::unix::pipe::Receiver;

use crate::process::output::Lines;
use crate::process::{Control, FirstExit, Process, Spawner, Spec};
use crate::reload::{Action, Event};
use crate::ui::{self, Feed, Level};
use crate::watch::SelfTrigger;

use super::build_task::lend_terminal;
use super::state::Driver;

/// The maximum length of `HOTRUN_CHANGED` in bytes. The kernel allows 128 KiB for a variable (`MAX_ARG_STRLEN`,
/// `execve(2)`).
const MAX_CHANGED: usize = 64 * 1024;

/// The variable that lists the changed files.
pub(super) const CHANGED: &str = "HOTRUN_CHANGED";

/// Lists files, one on each line, as many as fit.
pub(super) fn changed_files(paths: &BTreeSet<PathBuf>) -> OsString {
    let mut text = Vec::new();
    for path in paths {
        let path = path.as_os_str().as_bytes();
        if text.len() + path.len() > MAX_CHANGED {
            break;
        }
        text.extend_from_slice(path);
        text.push(b'\n');
    }
    text.pop();
    OsString::from_vec(text)
}

impl Driver {
    /// Runs a command. If the command is already running or hotrun is paused, runs it afterwards.
    pub(super) fn run_command(&mut self, line: &str, changed: Vec<PathBuf>) {
        let command = self.commands.entry(line.to_owned()).or_default();
        command.pending = true;
        command.changed.extend(changed);
        self.run_unless_paused();
    }

    fn run_unless_paused(&mut self) {
        if !self.machine.is_paused() {
            self.run_pending_commands();
        }
    }

    /// Starts the pending commands that are not running.
    pub(super) fn run_pending_commands(&mut self) {
        let commands = self.commands.iter_mut();
        let starts = commands.filter_map(|(line, command)| {
            let starts = command.control.is_none() && std::mem::take(&mut command.pending);
            starts.then(|| line.clone())
        });
        // If hotrun is quitting, the commands are no longer needed.
        let quitting = self.machine.is_quitting();
        for line in starts.filter(|_| !quitting).collect::<Vec<_>>() {
            match self.start_command(&line) {
                Ok(control) => {
                    let command = self.commands.entry(line).or_default();
                    command.guardian = Some(control.guardian());
                    command.control = Some(control);
                    command.changed.clear();
                    command.trigger.started(Instant::now());
                }
                Err(error) => self.report_error(&format!("cannot run `{line}`"), &error),
            }
        }
    }

    fn start_command(&self, line: &str) -> Result<Control> {
        let mut env = self.config.environment(env::vars_os())?;
        let command = self.commands.get(line);
        let changed = command.map_or_else(OsString::new, |one| changed_files(&one.changed));
        env.push((CHANGED.into(), changed));
        let process = Spawner::default().spawn(Spec {
            cleanup: self.cleanup(),
            ..Spec::shell(line, env, self.config.workdir.clone())
        })?;
        let text = format!("running `{line}`");
        self.feed.message(Level::Info, text, None);
        let control = process.control.clone();
        let (line, feed, sender) = (line.to_owned(), self.feed.clone(), self.sender.clone());
        tokio::spawn(async move {
            if let Some(failure) = monitor(&line, "", process, &feed).await {
                feed.message(Level::Warning, format!("`{line}` failed: {failure}"), None);
            }
            sender.send(move |driver| driver.command_ended(&line));
        });
        Ok(control)
    }

    pub(super) fn command_ended(&mut self, line: &str) {
        if let Some(command) = self.commands.get_mut(line) {
            command.control = None;
            command.trigger.ended(Instant::now());
        }
        self.run_unless_paused();
    }

    /// Runs the postponed commands and requests the postponed build, if their time has come.
    pub(super) fn run_due(&mut self) {
        let now = Instant::now();
        for command in self.commands.values_mut() {
            command.pending |= command.trigger.take_due(now);
        }
        self.run_unless_paused();
        if self.builds.restarts.take_due(now) {
            self.handle(Event::Changed(Action::Restart));
        }
        if self.builds.trigger.take_due(now) && !self.build_waiting() {
            self.handle(Event::Changed(Action::Build));
        }
    }

    /// When to call [`Driver::run_due`].
    pub(super) fn next_due(&self) -> Option<Instant> {
        let all = self.triggers().chain([&self.builds.restarts]);
        all.filter_map(SelfTrigger::due).min()
    }

    /// What detects that the build or a command triggers itself.
    pub(super) fn triggers(&self) -> impl Iterator<Item = &SelfTrigger> {
        let commands = self.commands.values().map(|command| &command.trigger);
        commands.chain([&self.builds.trigger])
    }
}

/// Shows a command's output, with this mark before each line. If the command fails, returns the reason.
pub(super) async fn monitor(
    line: &str,
    mark: &str,
    process: Process,
    feed: &Feed,
) -> Option<String> {
    ui::panic_for_test();
    let Process {
        control,
        mut events,
        stdout,
        stderr,
    } = process;
    let ended = async {
        let failure = loop {
            break match events.first_exit().await {
                Ok(FirstExit::NeedsTerminal(group)) => {
                    if lend_terminal(feed, &format!("`{line}`"), group).await {
                        continue;
                    }
                    Some("it waits for the terminal".to_owned())
                }
                Ok(FirstExit::Ended(Some(ended))) if ended.success() => None,
                Ok(FirstExit::Ended(Some(ended))) => Some(ended.to_string()),
                Ok(FirstExit::Ended(None)) => Some("its processes vanished".to_owned()),
                Err(refusal) => Some(refusal.to_string()),
            };
        };
        // Otherwise, processes that the command leaves running would keep its output open.
        control.kill();
        failure
    };
    tokio::join!(ended, show(stdout, mark, feed), show(stderr, mark, feed)).0
}

pub(super) async fn show(pipe: Receiver, mark: &str, feed: &Feed) {
    let mut lines = Lines::new(pipe);
    while let Some(line) = lines.next().await {
        let text = format!("{mark}{}", String::from_utf8_lossy(&line.bytes));
        feed.pass(Feed::text(Level::Info, text)).await;
    }
}
