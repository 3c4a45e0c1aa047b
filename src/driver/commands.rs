//! The commands of rules, `--on GLOB=run:COMMAND`, and the task that monitors one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tokio::net::unix::pipe::Receiver;

use crate::process::output::{Lines, Piece};
use crate::process::{Control, Process, Report};
use crate::ui::{self, Feed, Level};
use crate::watch::{Batch, Moment, SelfTrigger, Verdict};

use super::inbox::{Inbox, Input};

/// The commands that have run, by their shell lines, and those that wait for the end of a pause.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) all: BTreeMap<String, Command>,
    pub(super) waiting: BTreeSet<String>,
}

#[derive(Debug)]
pub(super) struct Command {
    /// Set while it runs. Everything it has started is killed when this is dropped.
    pub(super) control: Option<Control>,
    /// Whether files have changed since it started, so that it must run again.
    pub(super) again: bool,
    pub(super) trigger: SelfTrigger,
}

impl Commands {
    /// Of the commands that run.
    pub(super) fn controls(&self) -> impl Iterator<Item = &Control> {
        self.all.values().flat_map(|command| &command.control)
    }

    /// Decides whether these changes cause this command to run.
    pub(super) fn judge(&mut self, line: &str, batch: &Batch<'_>) -> Verdict {
        match self.all.get_mut(line) {
            Some(command) => command.trigger.judge(batch, Instant::now()),
            None => Verdict::Now,
        }
    }

    /// When to run the next command that was put off.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = |command: &Command| command.trigger.due();
        self.all.values().filter_map(due).min()
    }

    /// Runs this command at the end of the pause.
    pub(super) fn wait(&mut self, line: &str) {
        if let Some(command) = self.all.get_mut(line) {
            command.again = false;
            command.trigger.cancel();
        }
        self.waiting.insert(line.to_owned());
    }

    pub(super) fn started(&mut self, line: &str, control: Control) {
        let command = self.all.entry(line.to_owned()).or_insert_with(|| Command {
            control: None,
            again: false,
            trigger: SelfTrigger::default(),
        });
        command.control = Some(control);
        command.again = false;
        command.trigger.started(Instant::now());
    }
}

impl Command {
    /// Returns whether it must run again.
    pub(super) fn ended(&mut self) -> bool {
        self.control = None;
        self.trigger.ended(Moment::now());
        self.again
    }
}

/// Shows what a command prints, and reports its end.
pub(super) async fn monitor(line: String, process: Process, feed: Feed, inbox: Inbox) {
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
            // What it leaves running would keep its output open.
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

/// The longest line in bytes that is shown as a whole.
const MAX_LINE: usize = 16 << 10;

/// The next line or the next part of a long one. The last line may have no line end.
async fn next_line(lines: &mut Lines) -> Option<String> {
    let mut line = Vec::new();
    let mut ended = false;
    while !ended && line.len() < MAX_LINE {
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
    async fn a_long_line_is_shown_in_parts_and_the_last_one_without_its_end() {
        let (mut sender, receiver) = pipe().unwrap();
        let long = "x".repeat(3 * MAX_LINE);
        let printed = format!("one\n\n{long}\ndone");
        tokio::spawn(async move { sender.write_all(printed.as_bytes()).await });
        let mut lines = Lines::new(receiver);
        let mut shown = Vec::new();
        while let Some(line) = next_line(&mut lines).await {
            assert!(line.len() <= 2 * MAX_LINE, "{}", line.len());
            shown.push(line);
        }
        assert_eq!(shown[..2], ["one", ""]);
        assert_eq!(shown.last().unwrap(), "done");
        let parts = shown[2..shown.len() - 1].concat();
        assert_eq!(parts, long);
    }
}
