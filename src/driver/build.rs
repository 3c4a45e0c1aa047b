//! The task that reads the output of a build and collects the result.

use std::time::{Duration, SystemTime};

use cargo_metadata::diagnostic::DiagnosticLevel;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

use crate::artifact::Fingerprint;
use crate::build::{BuildOutput, OutputLine, Plan, take_progress};
use crate::error::Failure;
use crate::os::hint_for_errno;
use crate::process::output::{Lines, Piece};
use crate::process::{self, Process, Reports, Signal};
use crate::reload::{Ended, GenId};
use crate::ui::{Feed, Level, Report};
use crate::watch::LockFileWindow;

use super::inbox::{Built, Inbox, Input, Inputs};

/// After the build has ended, its output counts as complete once nothing has arrived for this long. Usually the pipes end
/// first. A process that the build leaves running, such as the daemon of a compiler cache, keeps them open.
const QUIET: Duration = Duration::from_millis(100);
/// How long such a process may delay the result by printing.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);
/// In bytes. A longer line is split. Messages of cargo have a few kilobytes, and the message with the launch tens of them.
const MAX_LINE: usize = 16 << 20;

/// An output stream of the build, read line by line.
struct Stream {
    pieces: Lines,
    line: Vec<u8>,
    open: bool,
}

impl Stream {
    fn new(pipe: Receiver) -> Self {
        Self {
            pieces: Lines::new(pipe),
            line: Vec::new(),
            open: true,
        }
    }

    /// Adds a piece. Returns the line if this completes it.
    fn take(&mut self, piece: Option<Piece>) -> Option<Vec<u8>> {
        let Some(Piece { bytes, ends_line }) = piece else {
            self.open = false;
            return Some(std::mem::take(&mut self.line)).filter(|line| !line.is_empty());
        };
        self.line.extend(bytes);
        (ends_line || self.line.len() > MAX_LINE).then(|| std::mem::take(&mut self.line))
    }
}

pub(super) struct BuildTask {
    pub(super) id: GenId,
    pub(super) plan: Plan,
    pub(super) output: BuildOutput,
    /// Whether the build has printed nothing.
    pub(super) silent: bool,
    pub(super) lock_file: LockFileWindow,
    /// The fingerprints of the running generations.
    pub(super) known: Vec<(GenId, Fingerprint)>,
    pub(super) inbox: Inbox,
    pub(super) feed: Feed,
}

impl BuildTask {
    pub(super) async fn run(mut self, process: Process) {
        // Dropping `control` kills the process tree. So what the build leaves running is killed when hotrun ends.
        let Process {
            control,
            mut reports,
            stdout,
            stderr,
        } = process;
        let (mut out, mut err) = (Stream::new(stdout), Stream::new(stderr));
        let mut end = None;
        let mut ended_at = Instant::now();
        while end.is_none() || out.open || err.open {
            tokio::select! {
                biased;
                () = sleep_until(ended_at + OUTPUT_TIMEOUT), if end.is_some() => break,
                piece = out.pieces.next(), if out.open => self.stdout(&mut out, piece).await,
                piece = err.pieces.next(), if err.open => self.stderr(&mut err, piece).await,
                found = first_end(&mut reports), if end.is_none() => {
                    end = Some(found);
                    ended_at = Instant::now();
                }
                // Cargo's earlier output comes first: this branch is the last one, and the runtime polls the pipes
                // during the yield.
                () = tokio::task::yield_now(), if self.output.is_complete() => {
                    end = Some(Ok(Ended::Code(0)));
                    break;
                }
                () = sleep(QUIET), if end.is_some() => break,
            }
        }
        if let Some(Ok(Ended::Signal(_))) = end {
            // The rest of a killed build would disturb the next one.
            control.kill();
            while reports.next().await.is_some() {}
        }
        let built = match end {
            Some(Ok(ended)) => self.finish(ended).await,
            Some(Err(failure)) => Err(Some(failure)),
            None => Err(None),
        };
        self.inbox.send(Input::Built { id: self.id, built });
        // Its feed would keep the user interface open for as long as the build's leftovers run.
        drop(self);
        while reports.next().await.is_some() {}
    }

    async fn stdout(&mut self, out: &mut Stream, piece: Option<Piece>) {
        if let Some(line) = out.take(piece) {
            self.lock_file.until.get_or_init(SystemTime::now);
            let line = self.output.stdout(&line);
            self.show(line).await;
        }
    }

    async fn stderr(&mut self, err: &mut Stream, piece: Option<Piece>) {
        let mut line = err.take(piece);
        if let Some((done, all)) = take_progress(line.as_mut().unwrap_or(&mut err.line)) {
            let id = self.id;
            self.feed.pass(Report::Progress { id, done, all }).await;
        }
        if let Some(line) = line {
            let line = self.output.stderr(&line);
            self.show(line).await;
        }
    }

    async fn show(&mut self, line: OutputLine) {
        let id = self.id;
        let text = |bytes: Vec<u8>| Report::BuildLine {
            id,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        };
        let report = match line {
            OutputLine::Diagnostic { level, rendered } => Report::Diagnostic {
                id,
                level: match level {
                    DiagnosticLevel::Warning => Level::Warning,
                    DiagnosticLevel::Note
                    | DiagnosticLevel::Help
                    | DiagnosticLevel::FailureNote => Level::Info,
                    DiagnosticLevel::Error | DiagnosticLevel::Ice | _ => Level::Error,
                },
                rendered,
            },
            OutputLine::Blocked(bytes) => {
                self.feed.report(Report::BuildBlocked { id });
                text(bytes)
            }
            OutputLine::Text(bytes) => text(bytes),
            OutputLine::Nothing => return,
        };
        self.silent = false;
        self.feed.pass(report).await;
    }

    /// Finds out what the build made and which files it read.
    async fn finish(&mut self, ended: Ended) -> Result<Box<Built>, Option<Failure>> {
        let success = match ended {
            Ended::Code(code) => code == 0,
            // A killed build has failed, whatever it printed.
            Ended::Signal(signal) => return Err(Some(killed(signal))),
        };
        if !self.output.succeeded(success) {
            self.ask_cargo();
            let text = format!("the build printed nothing and ended with {ended}");
            return Err(self.silent.then(|| Failure::environment(text)));
        }
        let launch = self.plan.launch(&mut self.output).map_err(Some)?;
        match self.plan.inputs(&self.output, &launch) {
            Some(inputs) => self.inbox.send(Input::Inputs(Box::new(Inputs {
                id: self.id,
                began: self.lock_file.started,
                files: Ok(inputs),
            }))),
            None => self.ask_cargo(),
        }
        let fingerprint = Fingerprint::new(&launch, &self.output.runtime_files());
        let mut like = None;
        if let Some(mine) = fingerprint.clone() {
            let (known, read) = (std::mem::take(&mut self.known), mine.clone());
            // In a blocking thread, because an executable may be large.
            let search = tokio::task::spawn_blocking(move || {
                let mut newest_first = known.into_iter().rev();
                newest_first.find(|(_, known)| known.matches(&read))
            });
            like = search.await.ok().flatten().map(|(id, _)| id);
            // The next build needs the hashes; this one need not wait for them.
            tokio::task::spawn_blocking(move || mine.hash_files());
        }
        Ok(Box::new(Built {
            like,
            launch,
            fingerprint,
        }))
    }

    /// Asks cargo in a blocking thread which files the next build may need.
    fn ask_cargo(&self) {
        let (id, began, inbox) = (self.id, self.lock_file.started, self.inbox.clone());
        let plan = self.plan.clone();
        if let Plan::Cargo(_) = &plan {
            tokio::task::spawn_blocking(move || {
                // If cargo cannot read a manifest, the watched directories stay the same.
                let files = Err(plan.watch_roots().unwrap_or_default());
                inbox.send(Input::Inputs(Box::new(Inputs { id, began, files })));
            });
        }
    }
}

/// Waits until the first process has ended. Processes that it leaves running do not belong to the build.
async fn first_end(reports: &mut Reports) -> Result<Ended, Failure> {
    while let Some(report) = reports.next().await {
        match report {
            process::Report::Started { .. } => {}
            process::Report::Exited { ended, .. } => return Ok(ended),
            process::Report::Refused { error } => {
                let text = format!("the build could not be started: {error}");
                return Err(Failure::environment(text).hints(hint_for_errno(error.errno)));
            }
            process::Report::Gone => break,
        }
    }
    Err(Failure::environment("the processes of the build vanished"))
}

/// The failure of a build that something other than hotrun has killed.
fn killed(signal: i32) -> Failure {
    let out_of_memory =
        "if memory ran out, `dmesg` says so; fewer jobs need less (`cargo run -j 2`)";
    let hint = (signal == Signal::SIGKILL as i32).then(|| out_of_memory.into());
    let text = format!("the build was ended by {}", Ended::Signal(signal));
    Failure::environment(text).hints(hint)
}
