//! The task that reads a build's output and finds out what the build produced.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cargo_metadata::diagnostic::DiagnosticLevel;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

use crate::artifact::Fingerprint;
use crate::build::{BuildOutput, Launch, OutputLine, Plan, WatchRoots, take_progress};
use crate::error::Failure;
use crate::os::{hint_for_errno, terminal};
use crate::process::output::{Lines, Piece};
use crate::process::{Process, ProgramEvent, Signal};
use crate::reload::{Ended, GenId};
use crate::ui::{self, Feed, Level, Report, UiCommand};
use crate::watch::LockFileWindow;

use super::state::TaskSender;

/// After a build has ended, its output counts as complete once nothing has arrived for this long. Usually the pipes end
/// first, but a process that the build leaves running, such as a compiler cache's daemon, keeps them open.
const QUIET: Duration = Duration::from_millis(100);
/// How long a process that a build leaves running may delay the result by printing.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum length of a line in bytes; longer lines are split. Most of cargo's messages take a few kilobytes, and the
/// one that contains the launch takes tens of kilobytes.
const MAX_LINE: usize = 16 << 20;

/// Gives the terminal to this process group of the build or of a command, which is trying to use it, until the group
/// ends. Returns false if hotrun is in the background.
pub(super) async fn lend_terminal(feed: &Feed, name: &str, group: i32) -> bool {
    let terminal = File::open("/dev/tty").and_then(terminal::in_foreground);
    if !terminal.unwrap_or(false) {
        let text = format!("{name} is waiting for the terminal, but hotrun is in the background");
        let hint = "bring hotrun to the foreground (`fg`), then save the file again";
        feed.message(Level::Warning, text, Some(hint.into()));
        return false;
    }
    let text = format!("{name} is using the terminal and gets keyboard input until it ends");
    let last = Feed::text(Level::Info, text);
    if !feed.release_terminal(Some(last)).await {
        ui::restore_terminal();
    }
    // Both fail only if the process group has ended.
    let _ = terminal::set_foreground(group);
    let _ = killpg(Pid::from_raw(group), Signal::SIGCONT);
    // Until hotrun is in the foreground again, the user interface only prints lines.
    let away = Duration::ZERO;
    feed.command(UiCommand::Resume { away });
    true
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

/// What a successful build produced.
pub(super) struct Built {
    pub(super) launch: Launch,
    pub(super) fingerprint: Option<Fingerprint>,
    /// A running generation with the same fingerprint.
    pub(super) like: Option<GenId>,
    /// Files that have changed but that the build has not read.
    pub(super) unread: Vec<PathBuf>,
}

pub(super) struct BuildTask {
    pub(super) id: GenId,
    pub(super) plan: Plan,
    pub(super) output: BuildOutput,
    /// Whether the build has printed nothing so far.
    pub(super) silent: bool,
    /// The files that have changed since the last successful build.
    pub(super) changed: BTreeSet<PathBuf>,
    pub(super) lock_file: LockFileWindow,
    pub(super) workdir: PathBuf,
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
                piece = out.pieces.next(), if out.open => if let Some(line) = out.take(piece) {
                    self.lock_file.until.get_or_init(SystemTime::now);
                    let line = self.output.stdout(&line);
                    self.show(line).await;
                },
                piece = err.pieces.next(), if err.open => self.stderr(&mut err, piece).await,
                event = events.next(), if end.is_none() => {
                    end = self.ended(event).await;
                    ended_at = Instant::now();
                }
                // Output that cargo has already written is read first, because the branches above are polled before this
                // one, and the runtime polls the pipes during the yield.
                () = tokio::task::yield_now(), if self.output.is_complete() => {
                    end = Some(Ok(Ended::Code(0)));
                    break;
                }
                () = sleep(QUIET), if end.is_some() => break,
            }
        }
        if let Some(Ok(Ended::Signal(_))) = end {
            // The remaining processes of a killed build would interfere with the next build.
            control.kill();
            while events.next().await.is_some() {}
        }
        let built = match end {
            Some(Ok(ended)) => self.finish(ended).await,
            Some(Err(failure)) => Err(Some(failure)),
            None => Err(None),
        };
        let id = self.id;
        self.sender.send(move |driver| driver.built(id, built));
        // Closes the task's feed, which would otherwise keep the user interface open until the processes that the build
        // left behind have ended.
        drop(self);
        while events.next().await.is_some() {}
    }

    /// How the build has ended, if this event says so.
    async fn ended(&mut self, event: Option<ProgramEvent>) -> Option<Result<Ended, Failure>> {
        match event {
            Some(ProgramEvent::Started { .. }) => None,
            Some(ProgramEvent::NeedsTerminal { group }) => {
                lend_terminal(&self.feed, "the build", group).await;
                None
            }
            Some(ProgramEvent::Exited { ended, .. }) => Some(Ok(ended)),
            Some(ProgramEvent::Refused { error }) => {
                let failure = Failure::environment(format!("cannot start the build: {error}"));
                Some(Err(failure.hints(hint_for_errno(error.errno))))
            }
            Some(ProgramEvent::Gone) | None => {
                Some(Err(Failure::environment("the build's processes vanished")))
            }
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
        let text =
            |bytes: Vec<u8>| Report::BuildLine(id, String::from_utf8_lossy(&bytes).into_owned());
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
                self.feed.report(Report::BuildBlocked);
                text(bytes)
            }
            OutputLine::Text(bytes) => text(bytes),
            OutputLine::Nothing => return,
        };
        self.silent = false;
        self.feed.pass(report).await;
    }

    /// Finds out what the build produced and which files it read.
    async fn finish(&mut self, ended: Ended) -> Result<Built, Option<Failure>> {
        let success = match ended {
            Ended::Code(code) => code == 0,
            // A killed build has failed, no matter what it printed.
            Ended::Signal(signal) => return Err(Some(killed(signal))),
        };
        if !self.output.succeeded(success) {
            self.ask_cargo(self.plan.to_mend(&self.output));
            let text = format!("the build failed with {ended} and printed nothing");
            return Err(self.silent.then(|| Failure::environment(text)));
        }
        let launch = self.plan.launch(&mut self.output).map_err(Some)?;
        let mut unread = Vec::new();
        match self.plan.inputs(&self.output, &launch) {
            Ok(inputs) => {
                let (id, began) = (self.id, self.lock_file.started);
                unread = inputs.ignored_for_age(&self.changed);
                self.report_ignored(&unread);
                self.sender
                    .send(move |driver| driver.watch_inputs(id, began, Ok(inputs)));
            }
            Err(missing) => {
                if let Some(path) = missing {
                    let path = path.display();
                    let text = format!(
                        "cargo names the input `{path}`, which does not exist, so every file is watched"
                    );
                    let hint = "is `build.dep-info-basedir` in cargo's configuration correct?";
                    self.feed.message(Level::Warning, text, Some(hint.into()));
                }
                self.ask_cargo(Vec::new());
            }
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
        Ok(Built {
            like,
            launch,
            fingerprint,
            unread,
        })
    }

    /// Reports the changed files that cargo has ignored because of their age.
    fn report_ignored(&self, ignored: &[PathBuf]) {
        let Some(first) = ignored.first() else {
            return;
        };
        let first = ui::path(first, &self.workdir);
        let text = match ignored.len() {
            1 => format!("cargo ignored `{first}`, which is older than the last build"),
            count => {
                format!("cargo ignored {count} files older than the last build, such as `{first}`")
            }
        };
        let hint = format!("`touch {first}` makes cargo read it");
        self.feed.message(Level::Warning, text, Some(hint));
    }

    /// Asks cargo, in a blocking thread, which files the next build may read. `to_mend`: further files to watch,
    /// because a mistake in one of them may have to be fixed.
    fn ask_cargo(&self, to_mend: Vec<PathBuf>) {
        let (id, began, sender) = (self.id, self.lock_file.started, self.sender.clone());
        let plan = self.plan.clone();
        if let Plan::Cargo(_) = &plan {
            tokio::task::spawn_blocking(move || {
                // If cargo cannot read a manifest, the watched directories do not change.
                let found = plan.watch_roots().unwrap_or_default();
                let roots = WatchRoots { to_mend, ..found };
                sender.send(move |driver| driver.watch_inputs(id, began, Err(roots)));
            });
        }
    }
}

/// Describes a build that was killed by something other than hotrun.
fn killed(signal: i32) -> Failure {
    let text = format!("the build was killed by {}", Ended::Signal(signal));
    let hint =
        "if memory ran out, `dmesg` shows it; fewer jobs need less memory (`cargo run -j 2`)";
    let is_kill = signal == Signal::SIGKILL as i32;
    Failure::environment(text).hints(is_kill.then(|| hint.into()))
}
