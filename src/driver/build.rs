//! Starts builds, reads their output in a task, and handles their results.

use std::env;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use cargo_metadata::diagnostic::DiagnosticLevel;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

use crate::artifact::Fingerprint;
use crate::build::{BuildOutput, OutputLine, Plan, take_progress};
use crate::error::Failure;
use crate::os::hint_for_errno;
use crate::process::output::{Lines, Piece};
use crate::process::{Process, Signal, Spawner, Spec};
use crate::reload::{Action, BuildOutcome, Ended, Event, GenEvent, GenId};
use crate::ui::{Feed, Level, Report, UiMode};
use crate::watch::{LockFileWindow, Moment};

use super::setup;
use super::state::{ActiveBuild, Driver, Running};
use super::task_message::{Built, Inputs, TaskMessage, TaskSender};

/// How long a cancelled build may take to remove unfinished files, as `make` does on `SIGTERM`. If it were killed at
/// once, the next build would treat these files as complete.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Environment variables that make cargo print its progress.
const PROGRESS: [(&str, &str); 2] = [
    ("CARGO_TERM_PROGRESS_WHEN", "always"),
    ("CARGO_TERM_PROGRESS_WIDTH", "60"),
];

/// After a build has ended, its output counts as complete once nothing has arrived for this long. Usually the pipes end
/// first, but a process that the build leaves running, such as a compiler cache's daemon, keeps them open.
const QUIET: Duration = Duration::from_millis(100);
/// How long a process that a build leaves running may delay the result by printing.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum length of a line in bytes; longer lines are split. Most of cargo's messages take a few kilobytes, and the
/// one that contains the launch takes tens of kilobytes.
const MAX_LINE: usize = 16 << 20;

impl Driver {
    /// Starts a build and a task that sends [`TaskMessage::Built`] when the build has ended.
    pub(super) fn build(&mut self, id: GenId) -> Result<()> {
        // This build includes the changes for which a build was postponed.
        self.builds.trigger.cancel();
        self.watch.watch.build_begins();
        let began = Moment::now();
        let plan = self.builds.plan.clone();
        let command = plan.build_command()?.context("there is nothing to build")?;
        let mut env: Vec<_> = env::vars_os().collect();
        match self.config.ui.mode {
            // Cargo has no terminal, so it prints its progress only on request.
            UiMode::Live | UiMode::Json => {
                env.retain(|(name, _)| PROGRESS.iter().all(|(ours, _)| name != ours));
                env.extend(PROGRESS.map(|(name, value)| (name.into(), value.into())));
            }
            UiMode::Plain | UiMode::Off => {}
        }
        let process = Spawner::default().spawn(Spec {
            cleanup: self.cleanup(),
            ..Spec::new(command.argv, env, command.workdir)
        })?;
        let control = process.control.clone();
        let known = |(id, running): (&GenId, &Running)| Some((*id, running.fingerprint.clone()?));
        let lock_file = LockFileWindow {
            started: began.wall,
            until: Arc::default(),
        };
        let task = BuildTask {
            id,
            lock_file: lock_file.clone(),
            known: self.generations.iter().filter_map(known).collect(),
            output: plan.output(),
            silent: true,
            plan,
            sender: self.sender.clone(),
            feed: self.feed.clone(),
        };
        tokio::spawn(task.run(process));
        self.builds.trigger.started(began.monotonic);
        self.builds.lock_file = Some(lock_file);
        let cancelled = false;
        self.builds.active = Some(ActiveBuild { control, cancelled });
        Ok(())
    }

    /// Cancels the active build without waiting for its end.
    pub(super) fn cancel_build(&mut self) {
        let Some(build) = &mut self.builds.active else {
            return;
        };
        build.cancelled = true;
        build.control.stop(Signal::SIGTERM);
        let control = build.control.clone();
        tokio::spawn(async move {
            tokio::time::sleep(CANCEL_TIMEOUT).await;
            control.kill();
        });
    }

    /// Requests the postponed build.
    pub(super) fn start_postponed_build(&mut self) {
        self.builds.trigger.cancel();
        self.handle(Event::Changed(Action::Build));
    }

    /// Handles the end of a build, and reports the result to the machine.
    pub(super) fn built(&mut self, id: GenId, built: Result<Box<Built>, Option<Failure>>) {
        let now = Moment::now();
        self.builds.trigger.ended(now);
        if let Some(window) = &self.builds.lock_file {
            window.until.get_or_init(|| now.wall);
        }
        let build = self.builds.active.take();
        let cancelled = build.is_some_and(|build| build.cancelled);
        let outcome = match built {
            // The machine no longer needs the result, even if the build ended before it was killed.
            Ok(_) | Err(_) if cancelled => BuildOutcome::Cancelled,
            Ok(built) => self.build_succeeded(id, *built),
            Err(failure) => {
                if let Some(failure) = failure {
                    self.feed.error(failure.message(), failure.first_hint());
                }
                BuildOutcome::Failed
            }
        };
        self.handle(Event::Generation(id, GenEvent::BuildEnded(outcome)));
    }

    /// Keeps the artifact of a build, unless it is the same as that of a running generation.
    fn build_succeeded(&mut self, id: GenId, built: Built) -> BuildOutcome {
        let Built {
            launch,
            fingerprint,
            like,
        } = built;
        let machine = &self.machine;
        // The matching generation may have begun to drain in the meantime.
        let like = like.filter(|like| machine.phase(*like).stays());
        if let Some((like, artifact)) = like.and_then(|like| Some((like, machine.artifact(like)?)))
        {
            self.artifacts.set_newest(artifact, launch, fingerprint);
            return BuildOutcome::Unchanged { like };
        }
        let needed = |artifact| machine.needs(artifact);
        let (artifact, kept) = match self.artifacts.keep(&launch, needed) {
            Ok(Some((artifact, new))) => {
                if new {
                    self.feed.report(Report::ArtifactKept { id });
                }
                (artifact, true)
            }
            Ok(None) => (self.artifacts.new_id(), false),
            // The artifact can still be started, but hotrun cannot roll back to it.
            Err(error) => {
                let text = format!("cannot keep gen {id}'s executable: {error}");
                self.feed.message(Level::Detail, text, None);
                (self.artifacts.new_id(), false)
            }
        };
        self.artifacts.set_newest(artifact, launch, fingerprint);
        BuildOutcome::Built { artifact, kept }
    }

    /// Reads cargo's configuration and determines the toolchain again, in a blocking thread, because rustup may take
    /// minutes to install a toolchain.
    pub(super) fn renew_plan(&mut self) {
        let (config, sender) = (self.config.clone(), self.sender.clone());
        self.builds.plan_requests += 1;
        let number = self.builds.plan_requests;
        tokio::task::spawn_blocking(move || {
            let planned = Plan::new(&setup::plan_options(&config));
            sender.send(TaskMessage::Planned { number, planned });
        });
    }

    /// Uses the new plan, unless a newer one has been requested. Of two requests, the older one may finish last.
    pub(super) fn planned(&mut self, number: u32, planned: Result<Plan, Failure>) {
        match planned {
            Ok(_) | Err(_) if number < self.builds.plan_requests => {}
            Ok(plan) => self.builds.plan = plan,
            // The next build will fail with cargo's own message.
            Err(error) => self
                .feed
                .message(Level::Warning, error.message(), error.first_hint()),
        }
    }
}

/// An output stream of the build, read line by line.
struct BuildStream {
    pieces: Lines,
    line: Vec<u8>,
    open: bool,
}

impl BuildStream {
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
    pub(super) sender: TaskSender,
    pub(super) feed: Feed,
}

impl BuildTask {
    pub(super) async fn run(mut self, process: Process) {
        // Dropping `control` kills the process tree. This task keeps it until the tree is gone, so the build may leave
        // processes running until hotrun exits.
        let Process {
            control,
            mut events,
            stdout,
            stderr,
        } = process;
        let (mut out, mut err) = (BuildStream::new(stdout), BuildStream::new(stderr));
        let mut end = None;
        let mut ended_at = Instant::now();
        while end.is_none() || out.open || err.open {
            tokio::select! {
                biased;
                () = sleep_until(ended_at + OUTPUT_TIMEOUT), if end.is_some() => break,
                piece = out.pieces.next(), if out.open => self.stdout(&mut out, piece).await,
                piece = err.pieces.next(), if err.open => self.stderr(&mut err, piece).await,
                exit = events.first_exit(), if end.is_none() => {
                    end = Some(exit);
                    ended_at = Instant::now();
                }
                // Output that cargo has already written is read first, because the branches above are polled before this
                // one, and the runtime polls the pipes during the yield.
                () = tokio::task::yield_now(), if self.output.is_complete() => {
                    end = Some(Ok(Some(Ended::Code(0))));
                    break;
                }
                () = sleep(QUIET), if end.is_some() => break,
            }
        }
        if let Some(Ok(Some(Ended::Signal(_)))) = end {
            // The remaining processes of a killed build would interfere with the next build.
            control.kill();
            while events.next().await.is_some() {}
        }
        let built = match end {
            Some(Ok(Some(ended))) => self.finish(ended).await,
            Some(Ok(None)) => Err(Some(Failure::environment("the build's processes vanished"))),
            Some(Err(refusal)) => {
                let text = format!("cannot start the build: {refusal}");
                let failure = Failure::environment(text).hints(hint_for_errno(refusal.errno));
                Err(Some(failure))
            }
            None => Err(None),
        };
        self.sender.send(TaskMessage::Built { id: self.id, built });
        // Closes the task's feed, which would otherwise keep the user interface open until the processes that the build
        // left behind have ended.
        drop(self);
        while events.next().await.is_some() {}
    }

    async fn stdout(&mut self, out: &mut BuildStream, piece: Option<Piece>) {
        if let Some(line) = out.take(piece) {
            self.lock_file.until.get_or_init(SystemTime::now);
            let line = self.output.stdout(&line);
            self.show(line).await;
        }
    }

    async fn stderr(&mut self, err: &mut BuildStream, piece: Option<Piece>) {
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
            Some(inputs) => self.sender.send(TaskMessage::Inputs(Box::new(Inputs {
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
            // Runs in a blocking thread, because executables may be large.
            let search = tokio::task::spawn_blocking(move || {
                let mut newest_first = known.into_iter().rev();
                newest_first.find(|(_, known)| known.matches(&read))
            });
            like = search.await.ok().flatten().map(|(id, _)| id);
            // Only the next build needs the hashes, so nothing waits for them.
            tokio::task::spawn_blocking(move || mine.hash_files());
        }
        Ok(Box::new(Built {
            like,
            launch,
            fingerprint,
        }))
    }

    /// Asks cargo, in a blocking thread, which files the next build may read.
    fn ask_cargo(&self) {
        let (id, began, sender) = (self.id, self.lock_file.started, self.sender.clone());
        let plan = self.plan.clone();
        if let Plan::Cargo(_) = &plan {
            tokio::task::spawn_blocking(move || {
                // If cargo cannot read a manifest, the watched directories do not change.
                let files = Err(plan.watch_roots().unwrap_or_default());
                sender.send(TaskMessage::Inputs(Box::new(Inputs { id, began, files })));
            });
        }
    }
}

/// Describes a build that was killed by something other than hotrun.
fn killed(signal: i32) -> Failure {
    let out_of_memory =
        "if memory ran out, `dmesg` shows it; fewer jobs need less memory (`cargo run -j 2`)";
    let hint = (signal == Signal::SIGKILL as i32).then(|| out_of_memory.into());
    let text = format!("the build was killed by {}", Ended::Signal(signal));
    Failure::environment(text).hints(hint)
}
