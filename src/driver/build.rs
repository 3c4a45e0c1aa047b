//! The task that reads a build's output and collects its result.

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

/// After the build has ended, its output counts as complete once nothing has arrived for this long. Usually the pipes
/// end first, but a process that the build leaves running, such as a compiler cache's daemon, keeps them open.
const QUIET: Duration = Duration::from_millis(100);
/// How long a process that the build leaves running may delay the result by printing.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer lines are split. In bytes. Cargo's messages take a few kilobytes, and the one with the launch takes tens of
/// kilobytes.
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

    /// Adds a piece, and returns the line if the piece completes it.
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
    /// Whether the build has printed nothing so far.
    pub(super) silent: bool,
    pub(super) lock_file: LockFileWindow,
    /// The fingerprints of the running generations.
    pub(super) known: Vec<(GenId, Fingerprint)>,
    pub(super) inbox: Inbox,
    pub(super) feed: Feed,
}

impl BuildTask {
    pub(super) async fn run(mut self, process: Process) {
        // Dropping `control` kills the process tree, so processes that the build leaves running are killed when hotrun
        // exits.
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
                // Output that cargo has already written is read first: the branches above are polled before this one,
                // and the runtime polls the pipes during the yield.
                () = tokio::task::yield_now(), if self.output.is_complete() => {
                    end = Some(Ok(Ended::Code(0)));
                    break;
                }
                () = sleep(QUIET), if end.is_some() => break,
            }
        }
        if let Some(Ok(Ended::Signal(_))) = end {
            // Remaining processes of a killed build would interfere with the next one.
            control.kill();
            while reports.next().await.is_some() {}
        }
        let built = match end {
            Some(Ok(ended)) => self.finish(ended).await,
            Some(Err(failure)) => Err(Some(failure)),
            None => Err(None),
        };
        self.inbox.send(Input::Built { id: self.id, built });
        // Otherwise, its feed would keep the user interface open while processes that the build left behind are running.
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

    /// Finds out what the build produced and which files it read.
    async fn finish(&mut self, ended: Ended) -> Result<Box<Built>, Option<Failure>> {
        let success = match ended {
            Ended::Code(code) => code == 0,
            // A killed build has failed, no matter what it printed.
            Ended::Signal(signal) => return Err(Some(killed(signal))),
        };
        if !self.output.succeeded(success) {
            self.ask_cargo();
            let text = format!("the build failed with {ended} and printed nothing");
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
            // Only the next build needs the hashes, so this one does not wait for them.
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

/// Waits until the build's first process has ended. The processes that it leaves running are not part of the build.
async fn first_end(reports: &mut Reports) -> Result<Ended, Failure> {
    while let Some(report) = reports.next().await {
        match report {
            process::Report::Started { .. } => {}
            process::Report::Exited { ended, .. } => return Ok(ended),
            process::Report::Refused { error } => {
                let text = format!("cannot start the build: {error}");
                return Err(Failure::environment(text).hints(hint_for_errno(error.errno)));
            }
            process::Report::Gone => break,
        }
    }
    Err(Failure::environment("the build's processes vanished"))
}

/// The failure to report if something other than hotrun killed the build.
fn killed(signal: i32) -> Failure {
    let out_of_memory =
        "if memory ran out, `dmesg` shows it; fewer jobs need less (`cargo run -j 2`)";
    let hint = (signal == Signal::SIGKILL as i32).then(|| out_of_memory.into());
    let text = format!("the build was killed by {}", Ended::Signal(signal));
    Failure::environment(text).hints(hint)
}
