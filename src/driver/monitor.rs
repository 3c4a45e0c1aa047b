//! Watches the processes of a generation, and reports what becomes of them.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::artifact;
use crate::os::hint_for_errno;
use crate::process::{self, Control, Process, PtyProcess, Reports, Spec, Step};
use crate::ready::ReadySpec;
use crate::reload::{Ended, GenEvent, GenId};
use crate::ui::{Feed, Report, Stream};

use super::inbox::Inbox;
use super::notify::{DrainRequest, drain};
use super::output;
use super::running::{Running, Stdio};

/// The last output of a program is shown before its end is reported, if it arrives within this time. Only a process that
/// the program left running can keep its output open for longer.
const LAST_OUTPUT: Duration = Duration::from_millis(20);

/// Monitors the processes of one generation.
pub(super) struct Monitor {
    pub(super) id: GenId,
    pub(super) program: OsString,
    pub(super) listener: mpsc::UnboundedSender<DrainRequest>,
    pub(super) inbox: Inbox,
    pub(super) feed: Feed,
}

impl Monitor {
    /// Starts the program, and the tasks that pass on its output and report its end. Returns the lines that readiness
    /// wants to see.
    pub(super) fn start(
        self,
        spec: Spec,
        stdio: Stdio,
        ready: &ReadySpec,
    ) -> Result<(Running, mpsc::UnboundedReceiver<Vec<u8>>)> {
        let (sender, lines) = mpsc::unbounded_channel();
        let sender = ready.reads_output().then_some(sender);
        let running = match stdio {
            Stdio::Pipes => self.on_pipes(process::spawn(spec)?, &sender),
            Stdio::Pty { size, reads } => {
                let process = process::spawn_on_pty(spec, size, reads)?;
                self.on_pty(process, reads, sender)
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
            tokio::spawn(output::from_pipe(self.id, stream, pipe, feed, lines))
        };
        let output = vec![pass(Stream::Stdout, stdout), pass(Stream::Stderr, stderr)];
        let running = Running::new(control.clone(), self.listener.clone());
        tokio::spawn(self.run(control, reports, output));
        running
    }

    fn on_pty(
        self,
        process: PtyProcess,
        reads: bool,
        lines: Option<mpsc::UnboundedSender<Vec<u8>>>,
    ) -> Running {
        let PtyProcess {
            control,
            reports,
            pty,
        } = process;
        let pty = Arc::new(pty);
        let mut running = Running::new(control, self.listener.clone());
        running.pty = Some(pty.clone());
        if reads {
            running.typing = Some(running.type_into(pty.clone()));
        }
        let output = tokio::spawn(output::from_pty(self.id, pty, self.feed.clone(), lines));
        tokio::spawn(self.run(running.control.clone(), reports, vec![output]));
        running
    }

    async fn run(self, control: Control, mut reports: Reports, output: Vec<JoinHandle<()>>) {
        let id = self.id;
        let mut output = Some(output);
        // How the first process ended, if the program continues in another one.
        let mut first = None;
        while let Some(report) = reports.next().await {
            match report {
                process::Report::Started { pid } => {
                    let program = artifact::display_name(&self.program);
                    self.feed.report(Report::Spawned { id, pid, program });
                }
                process::Report::Refused { error } => self.refused(error),
                process::Report::Exited { ended, survivors } => {
                    // It may have named another main process just before.
                    drain(&self.listener).await;
                    if control.main_alive() {
                        first = Some(ended);
                        continue;
                    }
                    first = None;
                    await_last_output(&mut output).await;
                    self.exited(ended, survivors);
                }
                process::Report::Gone => {
                    drain(&self.listener).await;
                    if let Some(ended) = first {
                        self.exited(ended, false);
                    }
                    self.inbox.generation(id, GenEvent::Gone);
                }
            }
        }
    }

    fn exited(&self, ended: Ended, survivors: bool) {
        let event = GenEvent::Exited { ended, survivors };
        self.inbox.generation(self.id, event);
    }

    fn refused(&self, error: process::Refusal) {
        let program = self.program.display();
        let hint = match error.step {
            Step::Exec => Some("check the path, and that the file is executable".into()),
            Step::Interpreter => Some("check the first line of the script".into()),
            Step::Workdir => Some("check `--workdir`".into()),
            Step::Guardian | Step::Fork | Step::Descriptors => hint_for_errno(error.errno),
        };
        let text = format!("cannot start `{program}`: {error}");
        self.feed.error(text, hint);
        self.inbox.generation(self.id, GenEvent::StartFailed);
    }
}

async fn await_last_output(output: &mut Option<Vec<JoinHandle<()>>>) {
    let output = output.take().unwrap_or_default();
    let ends = async {
        for end in output {
            let _ = end.await;
        }
    };
    // After the timeout the tasks continue without their handles.
    let _ = tokio::time::timeout(LAST_OUTPUT, ends).await;
}
