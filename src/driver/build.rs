//! Runs a build and reads what it prints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use cargo_metadata::diagnostic::DiagnosticLevel;
use tokio::time::{Instant, sleep_until};

use crate::artifact::{self, Fingerprint};
use crate::build::{BuildCommand, BuildOutput, Launch, OutputLine, Plan, take_progress};
use crate::os::cleanup::Cleanup;
use crate::os::hint_for_errno;
use crate::process::output::{Lines, Piece};
use crate::process::{self, Control, Process, Refusal, Reports, Signal, Spec};
use crate::reload::{BuildOutcome, Ended, GenId};
use crate::ui::{Feed, Level, Report};
use crate::watch::LockFileWindow;

use super::inbox::{Built, Inbox, Inferred, Input, Lesson};
use super::watch_set;

/// A running build.
#[derive(Debug)]
pub(super) struct ActiveBuild {
    pub(super) control: Control,
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) lock_file: LockFileWindow,
}

/// What to build.
pub(super) struct BuildRequest {
    pub(super) id: GenId,
    pub(super) plan: Plan,
    /// The files that the guardian removes if hotrun is killed.
    pub(super) cleanup: Vec<Cleanup>,
    /// The generations that run.
    pub(super) known: Vec<(GenId, Fingerprint)>,
    /// Whether to have cargo print its progress.
    pub(super) progress: bool,
}

/// Starts a build. It reports `BuildEnded` or [`Input::Built`].
pub(super) fn start(
    request: BuildRequest,
    began: SystemTime,
    inbox: &Inbox,
    feed: &Feed,
) -> Result<ActiveBuild> {
    let BuildRequest {
        id,
        plan,
        cleanup,
        known,
        progress,
    } = request;
    let command = plan.build_command()?.context("there is nothing to build")?;
    let process = process::spawn(spec(command, cleanup, progress))?;
    let lock_file = LockFileWindow::new(began);
    let control = process.control.clone();
    let cancelled = Arc::<AtomicBool>::default();
    let reader = Reader {
        id,
        cancelled: cancelled.clone(),
        lock_file: lock_file.clone(),
        known,
        output: plan.output(),
        silent: true,
        plan,
        inbox: inbox.clone(),
        feed: feed.clone(),
    };
    tokio::spawn(reader.run(process));
    Ok(ActiveBuild {
        control,
        cancelled,
        lock_file,
    })
}

/// `progress`: without a terminal, cargo prints its progress only on request.
fn spec(command: BuildCommand, cleanup: Vec<Cleanup>, progress: bool) -> Spec {
    let mut env: Vec<_> = std::env::vars_os().collect();
    if progress {
        let wanted = [
            ("CARGO_TERM_PROGRESS_WHEN", "always"),
            ("CARGO_TERM_PROGRESS_WIDTH", "60"),
        ];
        env.retain(|(name, _)| wanted.iter().all(|(ours, _)| name != ours));
        env.extend(wanted.map(|(name, value)| (name.into(), value.into())));
    }
    let BuildCommand { argv, workdir, .. } = command;
    Spec {
        cleanup,
        ..Spec::new(argv, env, workdir)
    }
}

/// How long a cancelled build has to remove unfinished files: `make` removes its targets on `SIGTERM`. After `SIGKILL` they
/// would stay, and the next build would take them for complete.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

impl ActiveBuild {
    /// Ends the build. Does not wait for its end.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.control.stop(Signal::SIGTERM);
        let control = self.control.clone();
        tokio::spawn(async move {
            tokio::time::sleep(CANCEL_TIMEOUT).await;
            control.kill();
        });
    }
}

/// How the build's process ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Exited(Ended),
    Refused(Refusal),
    /// The guardian ended without a report.
    Vanished,
}

/// Waits for the end of the first process. What it leaves running does not belong to the build.
async fn wait(reports: &mut Reports) -> End {
    loop {
        match reports.next().await {
            Some(process::Report::Started { .. }) => {}
            Some(process::Report::Exited { ended, .. }) => return End::Exited(ended),
            Some(process::Report::Refused { error }) => return End::Refused(error),
            Some(process::Report::Gone) | None => return End::Vanished,
        }
    }
}

struct Reader {
    id: GenId,
    cancelled: Arc<AtomicBool>,
    lock_file: LockFileWindow,
    known: Vec<(GenId, Fingerprint)>,
    plan: Plan,
    output: BuildOutput,
    /// Whether nothing was shown.
    silent: bool,
    inbox: Inbox,
    feed: Feed,
}

/// After the end of a build, no more output is expected once nothing arrived for this long. Usually the pipes end; a process
/// that the build left running (the daemon of a compiler cache) keeps them open.
const QUIET: Duration = Duration::from_millis(100);
/// How long a process that continues to print may delay the end.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest line in bytes that is read as a whole. Cargo's messages have a few kilobytes, a launch some tens of them.
const MAX_LINE: usize = 16 << 20;

/// An output of the build, assembled to lines.
struct Stream {
    lines: Lines,
    line: Vec<u8>,
    open: bool,
}

impl Stream {
    fn new(pipe: tokio::net::unix::pipe::Receiver) -> Self {
        Self {
            lines: Lines::new(pipe),
            line: Vec::new(),
            open: true,
        }
    }

    /// A whole line, or `None` if this piece did not complete one.
    fn take(&mut self, piece: Option<Piece>) -> Option<Vec<u8>> {
        let Some(Piece { bytes, ends_line }) = piece else {
            self.open = false;
            return Some(std::mem::take(&mut self.line)).filter(|line| !line.is_empty());
        };
        self.line.extend(bytes);
        (ends_line || self.line.len() > MAX_LINE).then(|| std::mem::take(&mut self.line))
    }
}

impl Reader {
    async fn run(mut self, process: Process) {
        // The guardian lives as long as this task: what the build left running is killed when hotrun ends.
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
                piece = out.lines.next(), if out.open => self.stdout(&mut out, piece).await,
                piece = err.lines.next(), if err.open => self.stderr(&mut err, piece).await,
                found = wait(&mut reports), if end.is_none() => {
                    end = Some(found);
                    ended_at = Instant::now();
                }
                // Earlier output of cargo is read first: this is the last branch, and after a yield the runtime has
                // polled the pipes again.
                () = tokio::task::yield_now(), if self.output.is_complete() => {
                    end = Some(End::Exited(Ended::Code(0)));
                    break;
                }
                () = tokio::time::sleep(QUIET), if end.is_some() => break,
            }
        }
        let end = end.unwrap_or(End::Vanished);
        if let End::Exited(Ended::Signal(_)) = end {
            // What a killed build had started is useless, and would disturb the next build.
            control.kill();
            while reports.next().await.is_some() {}
        }
        self.finish(end).await;
        while reports.next().await.is_some() {}
    }

    async fn stdout(&mut self, out: &mut Stream, piece: Option<Piece>) {
        if let Some(line) = out.take(piece) {
            self.lock_file.first_message.get_or_init(SystemTime::now);
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

    /// Something other than hotrun has killed the build, and will not report that.
    fn report_killed(&self, signal: i32) {
        if self.cancelled.load(Ordering::Relaxed) {
            return;
        }
        let out_of_memory =
            "if memory ran out, `dmesg` says so; fewer jobs need less (`cargo run -j 2`)";
        let hint = (signal == Signal::SIGKILL as i32).then(|| out_of_memory.into());
        let text = format!("the build was ended by {}", Ended::Signal(signal));
        self.feed.error(text, hint);
    }

    /// Which generation already runs what was built. In a thread, because an executable may be large.
    async fn find_like(&mut self, fingerprint: Option<Fingerprint>) -> Option<GenId> {
        let fingerprint = fingerprint?;
        let known = std::mem::take(&mut self.known);
        let mine = fingerprint.clone();
        let search = tokio::task::spawn_blocking(move || artifact::find(&known, &mine));
        let like = search.await.ok().flatten();
        // Only the next build needs the hashes.
        tokio::task::spawn_blocking(move || fingerprint.hash_files());
        like
    }

    /// From now on the files that this build read are watched.
    fn teach(&self, launch: &Launch) {
        let (id, began) = (self.id, self.lock_file.started);
        match self.plan.inputs(&self.output, launch) {
            Some(inputs) => {
                let inferred = Inferred::Exact(inputs);
                let lesson = Lesson {
                    id,
                    began,
                    inferred,
                };
                self.inbox.input(Input::Learnt(lesson));
            }
            None => watch_set::ask_cargo(id, began, self.plan.clone(), &self.inbox),
        }
    }

    /// The exit code, or `None` if the build failed in another way, which this reports.
    fn exit_code(&self, end: End) -> Option<i32> {
        match end {
            End::Exited(Ended::Code(code)) => return Some(code),
            // A killed build has failed, whatever it had printed.
            End::Exited(Ended::Signal(number)) => self.report_killed(number),
            End::Vanished => self.feed.error("the processes of the build vanished", None),
            End::Refused(refusal) => {
                let text = format!("the build could not be started: {refusal}");
                self.feed.error(text, hint_for_errno(refusal.errno));
            }
        }
        None
    }

    async fn finish(mut self, end: End) {
        let id = self.id;
        let Some(code) = self.exit_code(end) else {
            return self.inbox.build_ended(id, BuildOutcome::Failed);
        };
        if !self.output.succeeded(code == 0) {
            if self.silent && !self.cancelled.load(Ordering::Relaxed) {
                let ended = Ended::Code(code);
                let text = format!("the build printed nothing and ended with {ended}");
                self.feed.error(text, None);
            }
            self.inbox.build_ended(id, BuildOutcome::Failed);
            return watch_set::ask_cargo(id, self.lock_file.started, self.plan, &self.inbox);
        }
        let built = match self.plan.launch(&mut self.output) {
            Ok(launch) => {
                self.teach(&launch);
                let fingerprint = Fingerprint::new(&launch, &self.output.runtime_files());
                Ok(Box::new(Built {
                    like: self.find_like(fingerprint.clone()).await,
                    launch,
                    fingerprint,
                }))
            }
            Err(error) => Err(error),
        };
        self.inbox.input(Input::Built { id, built });
    }
}
