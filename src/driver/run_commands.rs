//! When the commands of rules run.

use std::ffi::OsString;
use std::time::Instant;

use anyhow::Result;

use crate::os::hint_for_error;
use crate::process::{self, Control, Spec};
use crate::ui::Level;

use super::commands::{Command, monitor};
use super::state::Driver;

impl Driver {
    /// Runs a command, during a pause at its end.
    pub(super) fn run_command(&mut self, line: &str) {
        match self.machine.is_paused() {
            true => self.commands.wait(line),
            false => self.run_now(line),
        }
    }

    /// Runs a command; if it runs already, once more after its end. When the user quits, nothing runs.
    fn run_now(&mut self, line: &str) {
        if self.machine.is_quitting() {
            return;
        }
        let known = self.commands.all.get_mut(line);
        if let Some(command) = known.filter(|command| command.control.is_some()) {
            command.again = true;
            return;
        }
        match self.start_command(line) {
            Ok(control) => self.commands.started(line, control),
            Err(error) => {
                self.commands.all.remove(line);
                let text = format!("cannot run `{line}`: {error:#}");
                self.feed.error(text, hint_for_error(error.as_ref()));
            }
        }
    }

    /// Runs the commands that waited for the end of a pause.
    pub(super) fn run_waiting(&mut self) {
        for line in std::mem::take(&mut self.commands.waiting) {
            self.run_now(&line);
        }
    }

    pub(super) fn command_ended(&mut self, line: &str) {
        let command = self.commands.all.get_mut(line);
        if command.is_some_and(Command::ended) {
            self.run_command(line);
        }
    }

    /// Runs the commands that were put off until now.
    pub(super) fn run_due(&mut self) {
        let now = Instant::now();
        let mut lines = Vec::new();
        for (line, command) in &mut self.commands.all {
            if command.trigger.due().is_some_and(|due| due <= now) {
                // Even if it does not run now: it would be due all the time.
                command.trigger.cancel();
                lines.push(line.clone());
            }
        }
        for line in lines {
            self.run_command(&line);
        }
    }

    fn start_command(&self, line: &str) -> Result<Control> {
        let env: Vec<(OsString, OsString)> = self.config.environment(std::env::vars_os())?;
        let process = process::spawn(Spec {
            cleanup: self.cleanup(),
            ..Spec::shell(line, env, self.config.workdir.clone())
        })?;
        let control = process.control.clone();
        let (line, feed, inbox) = (line.to_owned(), self.feed.clone(), self.inbox.clone());
        self.feed
            .message(Level::Info, format!("running `{line}`"), None);
        tokio::spawn(monitor(line, process, feed, inbox));
        Ok(control)
    }
}
