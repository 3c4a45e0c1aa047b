//! Passes on what a program prints, and what becomes of it.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::process::output::Lines;
use crate::process::{self, Control, Process, PtyProcess, Reports, Spec};
use crate::ready::ReadySpec;
use crate::reload::{Ended, Event, GenEvent, GenId};
use crate::ui::{Report, Stream};

use super::feed::Feed;
use super::generation::{Running, Stage};
use super::inbox::Inbox;
use super::keep;
use super::notified::{HearOut, hear_out};
use super::remedy;
use super::shown::show;

/// The last words of a program are shown before its end is told, if they come within this time. Only what it
/// left running can keep them from ending at once.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// Tells what becomes of a program.
pub(super) struct Attendant {
    pub(super) id: GenId,
    pub(super) program: OsString,
    pub(super) listener: mpsc::UnboundedSender<HearOut>,
    pub(super) inbox: Inbox,
    pub(super) feed: Feed,
}

async fn pass_on(
    id: GenId,
    stream: Stream,
    pipe: Receiver,
    feed: Feed,
    mut ready: Option<mpsc::UnboundedSender<Vec<u8>>>,
) {
    let mut lines = Lines::new(pipe);
    while let Some(piece) = lines.next().await {
        let mut bytes = piece.bytes;
        if let Some(lines) = &ready
            && lines.send(bytes.clone()).is_err()
        {
            ready = None;
        }
        if piece.ends_line {
            bytes.push(b'\n');
        }
        feed.pass(Report::Output { id, stream, bytes }).await;
    }
    feed.tell(Report::OutputEnded { id, stream });
}

impl Attendant {
    /// Starts the program, and to pass on what its tree prints and what becomes of it, until both have ended. The lines
    /// that readiness wants to see come out here.
    pub(super) fn begin(
        self,
        spec: Spec,
        stage: Stage,
        ready: &ReadySpec,
    ) -> Result<(Running, mpsc::UnboundedReceiver<Vec<u8>>)> {
        let (sender, lines) = mpsc::unbounded_channel();
        let sender = ready.reads_output().then_some(sender);
        let running = match stage {
            Stage::Pipes => self.on_pipes(process::spawn(spec)?, &sender),
            Stage::Terminal { size, reads } => {
                let on = process::spawn_on_pty(spec, size, reads)?;
                self.on_terminal(on, reads, sender)
            }
        };
        Ok((running, lines))
    }

    fn on_pipes(self, process: Process, lines: &Option<mpsc::UnboundedSender<Vec<u8>>>) -> Running {
        let Process {
            control,
            reports,
            stdout,
            stderr,
        } = process;
        let pass = |stream, pipe| {
            let (feed, lines) = (self.feed.clone(), lines.clone());
            tokio::spawn(pass_on(self.id, stream, pipe, feed, lines))
        };
        let output = vec![pass(Stream::Stdout, stdout), pass(Stream::Stderr, stderr)];
        let running = Running::new(control.clone(), self.listener.clone());
        tokio::spawn(self.attend(control, reports, output));
        running
    }

    fn on_terminal(
        self,
        on: PtyProcess,
        reads: bool,
        lines: Option<mpsc::UnboundedSender<Vec<u8>>>,
    ) -> Running {
        let PtyProcess {
            control,
            reports,
            pty: terminal,
        } = on;
        let terminal = Arc::new(terminal);
        let mut running = Running::new(control, self.listener.clone());
        running.terminal = Some(terminal.clone());
        if reads {
            running.typing = Some(running.type_into(terminal.clone()));
        }
        let shown = tokio::spawn(show(self.id, terminal, self.feed.clone(), lines));
        tokio::spawn(self.attend(running.control.clone(), reports, vec![shown]));
        running
    }

    async fn attend(self, control: Control, mut reports: Reports, output: Vec<JoinHandle<()>>) {
        let id = self.id;
        let mut output = Some(output);
        // How the first process ended, though the program goes on in another one.
        let mut first = None;
        while let Some(report) = reports.next().await {
            match report {
                process::Report::Started { pid } => {
                    let program = keep::name(&self.program);
                    self.feed.tell(Report::Spawned { id, pid, program });
                }
                process::Report::Refused { error } => self.refused(error),
                process::Report::Exited { ended, survivors } => {
                    // It may have named another one just before its end.
                    hear_out(&self.listener).await;
                    if control.main_alive() {
                        first = Some(ended);
                        continue;
                    }
                    first = None;
                    await_last_words(&mut output).await;
                    self.exited(ended, survivors);
                }
                process::Report::Gone => {
                    hear_out(&self.listener).await;
                    if let Some(ended) = first {
                        self.exited(ended, false);
                    }
                    self.inbox.event(Event::Generation(id, GenEvent::Gone));
                }
            }
        }
    }

    fn exited(&self, ended: Ended, survivors: bool) {
        let id = self.id;
        self.inbox
            .event(Event::Generation(id, GenEvent::Exited { ended, survivors }));
    }

    fn refused(&self, error: process::Refusal) {
        let program = self.program.display();
        let hint = match error.step {
            process::Step::Exec => Some("check the path, and that the file is executable".into()),
            process::Step::Interpreter => Some("check the first line of the script".into()),
            process::Step::Workdir => Some("check `--workdir`".into()),
            process::Step::Guardian | process::Step::Fork | process::Step::Descriptors => {
                remedy::for_errno(error.errno)
            }
        };
        self.feed
            .error(format!("cannot start `{program}`: {error}"), hint);
        self.inbox
            .event(Event::Generation(self.id, GenEvent::StartFailed));
    }
}

async fn await_last_words(output: &mut Option<Vec<JoinHandle<()>>>) {
    let output = output.take().unwrap_or_default();
    let ends = async {
        for end in output {
            let _ = end.await;
        }
    };
    // A timeout drops the handles; the tasks go on.
    let _ = tokio::time::timeout(LAST_WORDS, ends).await;
}
