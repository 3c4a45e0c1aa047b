//! The shell lines of rules.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use tokio::net::unix::pipe::Receiver;

use crate::process::output::{Lines, Piece};
use crate::process::{self, Control, Process, Report, Spec};
use crate::ui::{self, Level};

use super::Driver;
use super::feed::Feed;
use super::inbox::{Inbox, Input};
use super::later::Later;
use super::looping::{Looping, Verdict};
use super::own::Span;
use super::remedy;

/// Those that have been run, by their lines, and those that wait for the end of a pause.
#[derive(Debug, Default)]
pub(super) struct Commands {
    all: BTreeMap<String, Command>,
    wait: BTreeSet<String>,
}

#[derive(Debug)]
struct Command {
    /// What it runs as, if it does. What it has started is killed when this is dropped.
    control: Option<Control>,
    /// Whether something changed since it began.
    again: bool,
    /// How often it was started.
    runs: u32,
    /// When it ran last.
    span: Span,
    looping: Looping,
    /// For what changed while it ran, and may have been changed by it.
    later: Later,
}

impl Commands {
    /// What they run as.
    pub(super) fn controls(&self) -> impl Iterator<Item = &Control> {
        self.all.values().flat_map(|command| &command.control)
    }

    /// Whether this change is to make that one run.
    pub(super) fn judge(
        &mut self,
        line: &str,
        paths: &[PathBuf],
        heard: (Instant, Instant),
    ) -> Verdict {
        let Some(command) = self.all.get_mut(line) else {
            return Verdict::Now;
        };
        let after = command.span.saw(paths, heard);
        let during = after.map(|after| (command.runs, after));
        let verdict = command.looping.judge(paths, during);
        if let Verdict::Later(pause) = verdict {
            command.later = Later::after(pause, command.control.is_some());
        }
        verdict
    }

    /// When one is to be run that was put off.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = |command: &Command| command.later.due();
        self.all.values().filter_map(due).min()
    }

    /// Changes wait, and so does this.
    fn wait(&mut self, line: &str) {
        if let Some(command) = self.all.get_mut(line) {
            (command.again, command.later) = (false, Later::No);
        }
        self.wait.insert(line.to_owned());
    }
}

impl Command {
    fn new(control: Control) -> Self {
        Self {
            control: Some(control),
            again: false,
            runs: 1,
            span: Span::from_now(),
            looping: Looping::default(),
            later: Later::No,
        }
    }

    fn started(&mut self, control: Control) {
        *self = Self {
            runs: self.runs + 1,
            looping: std::mem::take(&mut self.looping),
            ..Self::new(control)
        };
    }

    /// Says whether it is to be run once more.
    fn ended(&mut self) -> bool {
        self.control = None;
        self.span.end();
        self.later.ended();
        self.again
    }
}

impl Driver {
    /// Runs a shell line, unless changes wait: then so does it.
    pub(super) fn run_command(&mut self, line: &str) {
        match self.machine.is_paused() {
            true => self.commands.wait(line),
            false => self.run_now(line),
        }
    }

    /// Runs it, after its end once more if it runs already. Who quits wants none of that any more.
    fn run_now(&mut self, line: &str) {
        if self.machine.is_quitting() {
            return;
        }
        let known = self.commands.all.get_mut(line);
        if let Some(command) = known.filter(|command| command.control.is_some()) {
            command.again = true;
            return;
        }
        let control = match self.start_command(line) {
            Ok(control) => control,
            Err(error) => {
                self.commands.all.remove(line);
                let text = format!("cannot run `{line}`: {error:#}");
                return self.feed.error(text, remedy::for_error(&error));
            }
        };
        match self.commands.all.get_mut(line) {
            Some(command) => command.started(control),
            None => drop(
                self.commands
                    .all
                    .insert(line.to_owned(), Command::new(control)),
            ),
        }
    }

    /// Runs what has waited.
    pub(super) fn run_waiting(&mut self) {
        for line in std::mem::take(&mut self.commands.wait) {
            self.run_now(&line);
        }
    }

    /// It has come to its end.
    pub(super) fn command_ended(&mut self, line: &str) {
        let command = self.commands.all.get_mut(line);
        if command.is_some_and(Command::ended) {
            self.run_command(line);
        }
    }

    /// Those that were put off until now.
    pub(super) fn run_due(&mut self) {
        let now = Instant::now();
        let mut lines = Vec::new();
        for (line, command) in &mut self.commands.all {
            if command.later.due().is_some_and(|due| due <= now) {
                // Whether it is run now or not: else it would be due all the time.
                command.later = Later::No;
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
            argv: vec!["sh".into(), "-c".into(), line.into()],
            env,
            workdir: self.config.workdir.clone(),
            sockets: Vec::new(),
            stored: Vec::new(),
            watchdog: None,
            listen_pid: false,
            notify: None,
            intercept: None,
            cleanup: self.kept(),
        })?;
        let control = process.control.clone();
        let (line, feed, inbox) = (line.to_owned(), self.feed.clone(), self.inbox.clone());
        self.feed
            .message(Level::Info, format!("running `{line}`"), None);
        tokio::spawn(attend(line, process, feed, inbox));
        Ok(control)
    }
}

/// Shows what it prints, and tells its end.
async fn attend(line: String, process: Process, feed: Feed, inbox: Inbox) {
    let Process {
        control,
        mut reports,
        stdout,
        stderr,
    } = process;
    ui::panic_for_test();
    let ended = async {
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
    };
    let (failure, (), ()) = tokio::join!(
        async {
            let failure = ended.await;
            // What it leaves running keeps its output open, and is no part of it.
            control.kill();
            failure
        },
        show(stdout, &feed),
        show(stderr, &feed)
    );
    if let Some(failure) = failure {
        feed.message(Level::Warning, format!("`{line}` failed: {failure}"), None);
    }
    inbox.input(Input::CommandEnded { line });
}

async fn show(pipe: Receiver, feed: &Feed) {
    let mut lines = Lines::new(pipe);
    while let Some(text) = next_line(&mut lines).await {
        feed.pass(Feed::text(Level::Info, text)).await;
    }
}

/// The longest line that is shown whole.
const LONGEST: usize = 16 << 10;

/// The next line, or a part of one that is too long, or what there is of the last one.
async fn next_line(lines: &mut Lines) -> Option<String> {
    let mut line = Vec::new();
    let mut ended = false;
    while !ended && line.len() < LONGEST {
        let Some(Piece { bytes, ends_line }) = lines.next().await else {
            break;
        };
        line.extend(bytes);
        ended = ends_line;
    }
    (ended || !line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::unix::pipe::pipe;

    use super::*;

    #[tokio::test]
    async fn the_last_line_is_shown_without_its_end_and_a_long_one_in_parts() {
        let (mut sender, receiver) = pipe().unwrap();
        let long = "x".repeat(3 * LONGEST);
        let printed = format!("one\n\n{long}\ndone");
        tokio::spawn(async move { sender.write_all(printed.as_bytes()).await });
        let mut lines = Lines::new(receiver);
        let mut told = Vec::new();
        while let Some(line) = next_line(&mut lines).await {
            assert!(line.len() <= 2 * LONGEST, "{}", line.len());
            told.push(line);
        }
        assert_eq!(told[..2], ["one", ""]);
        assert_eq!(told.last().unwrap(), "done");
        let parts = told[2..told.len() - 1].concat();
        assert_eq!(parts, long);
    }
}
