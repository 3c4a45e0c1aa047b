//! The tasks that accompany a program: they show its output and report its exit.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use crate::artifact;
use crate::drain::InUse;
use crate::os::hint_for_errno;
use crate::process::output::{Lines, Piece};
use crate::process::{Control, ProgramEvent, ProgramEvents, Pty, Refusal, StartStep};
use crate::reload::{GenEvent, GenId};
use crate::ui::{Feed, Level, OutputStream, Report};

use super::notify::RECEIVE_TIMEOUT;
use super::state::TaskSender;

/// How long to wait for a program's last output before its exit is reported. Usually the output ends sooner, but a
/// process that the program leaves running keeps the pipe open.
const LAST_OUTPUT: Duration = Duration::from_millis(20);
/// How many bytes to read at a time from a terminal.
const CHUNK: usize = 32 * 1024;
/// The maximum length of a line for `--ready log:REGEX` in bytes; longer lines are split.
const MAX_LINE: usize = 16 * 1024;

/// Reports what happens to the processes of one generation.
pub(super) struct ProgramTask {
    pub(super) id: GenId,
    pub(super) program: OsString,
    pub(super) sender: TaskSender,
    pub(super) feed: Feed,
    pub(super) in_use: Arc<InUse>,
}

impl ProgramTask {
    /// Runs until the process tree is gone. `output` contains the tasks that show the program's output.
    pub(super) async fn run(
        self,
        control: Control,
        mut events: ProgramEvents,
        mut output: Vec<JoinHandle<()>>,
    ) {
        let id = self.id;
        // How the first process ended, if another process has taken over as the main process.
        let mut first = None;
        while let Some(event) = events.next().await {
            match event {
                ProgramEvent::Started { pid } => {
                    let program = artifact::display_name(&self.program);
                    self.feed.report(Report::Spawned { id, pid, program });
                }
                ProgramEvent::Refused { error } => self.refused(error),
                ProgramEvent::NeedsTerminal { .. } => {
                    let text = format!("gen {id} is stopped: it is waiting for the terminal");
                    let hint = "`--ui live --stdin program` passes keyboard input to it";
                    self.feed.message(Level::Warning, text, Some(hint.into()));
                }
                ProgramEvent::Exited { ended, survivors } => {
                    // The process may have announced another main process before it exited.
                    self.receive_notifications().await;
                    if control.main_alive() {
                        first = Some(ended);
                        continue;
                    }
                    first = None;
                    let end = Instant::now() + LAST_OUTPUT;
                    for task in output.drain(..) {
                        // An output task that has not ended by the timeout keeps running.
                        let _ = timeout_at(end.into(), task).await;
                    }
                    self.sender.event(id, GenEvent::Exited { ended, survivors });
                }
                ProgramEvent::Gone => {
                    self.receive_notifications().await;
                    if let Some(ended) = first {
                        let survivors = false;
                        self.sender.event(id, GenEvent::Exited { ended, survivors });
                    }
                    let in_use = self.in_use.count();
                    self.sender.event(id, GenEvent::Gone { in_use });
                }
            }
        }
    }

    async fn receive_notifications(&self) {
        let (done, is_done) = oneshot::channel();
        let id = self.id;
        self.sender.send(move |driver| {
            driver.receive_notifications(id, Instant::now() + RECEIVE_TIMEOUT);
            let _ = done.send(());
        });
        // Fails only if hotrun is about to exit.
        let _ = is_done.await;
    }

    fn refused(&self, error: Refusal) {
        let hint = match error.step {
            StartStep::Exec => {
                Some("check that the path is correct and the file is executable".into())
            }
            StartStep::Interpreter => Some("check the first line of the script".into()),
            StartStep::Workdir => Some("check `--workdir`".into()),
            StartStep::Guardian | StartStep::Setup => hint_for_errno(error.errno),
        };
        let text = format!("cannot start `{}`: {error}", self.program.display());
        self.feed.error(text, hint);
        self.sender.event(self.id, GenEvent::StartFailed);
    }
}

/// Shows the output of one generation, and passes its lines to the readiness check.
#[derive(Clone)]
pub(super) struct OutputTask {
    pub(super) id: GenId,
    pub(super) feed: Feed,
    /// Where to send the lines; `None` if the readiness check is not reading them.
    pub(super) lines: Option<UnboundedSender<Vec<u8>>>,
    /// The beginning of an incomplete line.
    pub(super) line: Vec<u8>,
}

impl OutputTask {
    pub(super) async fn pass_pipe(mut self, stream: OutputStream, pipe: Receiver) {
        let mut pieces = Lines::new(pipe);
        while let Some(Piece {
            mut bytes,
            ends_line,
        }) = pieces.next().await
        {
            bytes.extend(ends_line.then_some(b'\n'));
            self.pass(stream, bytes).await;
        }
        let id = self.id;
        self.feed.report(Report::OutputEnded(id, stream));
    }

    /// Shows what the program writes to its pty, which does not distinguish standard output from standard error.
    pub(super) async fn pass_pty(mut self, pty: Arc<Pty>) {
        let (id, stream) = (self.id, OutputStream::Stdout);
        let mut buffer = vec![0; CHUNK];
        while let Ok(count @ 1..) = pty.read(&mut buffer).await {
            self.pass(stream, buffer[..count].to_vec()).await;
        }
        self.feed.report(Report::OutputEnded(id, stream));
    }

    async fn pass(&mut self, stream: OutputStream, bytes: Vec<u8>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(lines) = &self.lines else { break };
            self.line.extend_from_slice(piece);
            // An incomplete line may be a prompt, so it is sent now, and again when it is complete.
            if lines.send(self.line.trim_ascii_end().to_vec()).is_err() {
                self.lines = None;
            }
            if self.line.ends_with(b"\n") || self.line.len() > MAX_LINE {
                self.line.clear();
            }
        }
        let id = self.id;
        self.feed.pass(Report::Output(id, stream, bytes)).await;
    }
}
