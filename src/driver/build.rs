//! Runs a build and reads what it prints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep_until};

use crate::build::{self, BuildCommand, BuildOutput, Launch, OutputLine, Plan, take_progress};
use crate::os::cleanup::Cleanup;
use crate::process::output::{Lines, Piece};
use crate::process::{self, Control, Process, Refusal, Reports, Signal, Spec};
use crate::reload::{BuildOutcome, Ended, GenId};
use crate::ui::{Level, Report};

use super::feed::Feed;
use super::inbox::{Inbox, Input};
use super::own::Times;
use super::print::{self, Known, Print};
use super::remedy;
use super::scope::{self, Lesson, Taught};

/// The build that runs.
#[derive(Debug)]
pub(super) struct ActiveBuild {
    pub(super) control: Control,
    /// Whether its end was asked for.
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) times: Times,
}

/// What a build is made with.
pub(super) struct With {
    pub(super) plan: Plan,
    /// What its guardian puts away if hotrun is killed.
    pub(super) kept: Vec<Cleanup>,
    /// What runs.
    pub(super) known: Known,
    /// Whether to ask for its progress.
    pub(super) bars: bool,
}

/// Starts the build of a generation. It answers with `BuildEnded`, or with [`Input::Built`], through the inbox.
pub(super) fn start(id: GenId, with: With, inbox: &Inbox, feed: &Feed) -> Result<ActiveBuild> {
    let With {
        plan,
        kept,
        known,
        bars,
    } = with;
    let invocation = plan.build_command()?.context("there is nothing to build")?;
    let times = Times::from_now(id);
    let process = process::spawn(spec(invocation, kept, bars))?;
    let control = process.control.clone();
    let cancelled = Arc::<AtomicBool>::default();
    let reader = Reader {
        id,
        cancelled: cancelled.clone(),
        times: times.clone(),
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
        times,
    })
}

/// `bars`: whether to ask cargo for its progress, which it shows by itself only on a terminal.
fn spec(invocation: BuildCommand, kept: Vec<Cleanup>, bars: bool) -> Spec {
    let mut env: Vec<_> = std::env::vars_os().collect();
    if bars {
        let asked = [
            ("CARGO_TERM_PROGRESS_WHEN", "always"),
            ("CARGO_TERM_PROGRESS_WIDTH", "60"),
        ];
        env.retain(|(name, _)| asked.iter().all(|(ours, _)| name != ours));
        env.extend(asked.map(|(name, value)| (name.into(), value.into())));
    }
    let BuildCommand { argv, workdir, .. } = invocation;
    Spec {
        argv,
        env,
        workdir,
        sockets: Vec::new(),
        stored: Vec::new(),
        watchdog: None,
        listen_pid: false,
        notify: None,
        cleanup: kept,
        intercept: None,
    }
}

/// How long a build that is given up may put away what is half done: `make` removes its targets on `TERM`, and leaves
/// them behind on `KILL`, where the next build takes them for whole.
const GIVE_UP: Duration = Duration::from_secs(1);

impl ActiveBuild {
    /// Makes it end. Does not wait for that.
    pub(super) fn give_up(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.control.stop(Signal::SIGTERM);
        let control = self.control.clone();
        tokio::spawn(async move {
            tokio::time::sleep(GIVE_UP).await;
            control.kill();
        });
    }
}

/// How the build's process ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Exited(Ended),
    Refused(Refusal),
    /// Nobody saw how.
    Vanished,
}

/// Up to the end of the first process. What it leaves running is not part of the build.
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
    times: Times,
    known: Known,
    plan: Plan,
    output: BuildOutput,
    /// Whether it has printed nothing that is shown.
    silent: bool,
    inbox: Inbox,
    feed: Feed,
}

/// How long the output of a build that has ended may be quiet before no more of it is expected. Only what it
/// left running (a compiler cache's daemon) can make us wait so long: else the pipes end.
const REST: Duration = Duration::from_millis(100);
/// How long something that goes on printing may hold up the end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The longest line that is read whole. Cargo's messages are a few kilobytes, a launch some tens of them.
const LONGEST: usize = 16 << 20;

/// A stream of the build, its lines put together again.
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
        (ends_line || self.line.len() > LONGEST).then(|| std::mem::take(&mut self.line))
    }
}

impl Reader {
    async fn run(mut self, process: Process) {
        // The tree lives as long as this does: what the build left running is killed when hotrun ends.
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
                () = sleep_until(ended_at + LAST_WORDS), if end.is_some() => break,
                piece = out.lines.next(), if out.open => {
                    if let Some(line) = out.take(piece) {
                        self.times.spoke.get_or_init(SystemTime::now);
                        let line = self.output.stdout(&line);
                        self.show(line).await;
                    }
                }
                piece = err.lines.next(), if err.open => {
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
                found = wait(&mut reports), if end.is_none() => {
                    end = Some(found);
                    ended_at = Instant::now();
                }
                // What cargo printed came before, and is read first: this branch is the last one, and after a
                // yield the runtime has looked at the pipes again.
                () = tokio::task::yield_now(), if self.plan.is_complete(&self.output) => {
                    end = Some(End::Exited(Ended::Code(0)));
                    break;
                }
                () = tokio::time::sleep(REST), if end.is_some() => break,
            }
        }
        let end = end.unwrap_or(End::Vanished);
        if let End::Exited(Ended::Signal(_)) = end {
            // It was made to end; what it had started is of no more use, and must not get in the next one's way.
            control.kill();
            while reports.next().await.is_some() {}
        }
        self.answer(end).await;
        while reports.next().await.is_some() {}
    }

    async fn show(&mut self, line: OutputLine) {
        let id = self.id;
        let text = |bytes: Vec<u8>| Report::BuildLine {
            id,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        };
        let report = match line {
            OutputLine::Diagnostic(diagnostic) => Report::Diagnostic {
                id,
                level: match diagnostic.level {
                    build::Level::Error => Level::Error,
                    build::Level::Warning => Level::Warning,
                    build::Level::Note => Level::Info,
                },
                rendered: diagnostic.rendered,
            },
            OutputLine::Blocked(bytes) => {
                self.feed.tell(Report::BuildBlocked { id });
                text(bytes)
            }
            OutputLine::Text(bytes) => text(bytes),
            OutputLine::Artifact { .. } | OutputLine::Finished { .. } | OutputLine::Nothing => {
                return;
            }
        };
        self.silent = false;
        self.feed.pass(report).await;
    }

    /// Somebody else has ended it, who will not say so.
    fn tell_killed(&self, signal: i32) {
        if self.cancelled.load(Ordering::Relaxed) {
            return;
        }
        let out_of_memory =
            "if memory ran out, `dmesg` says so, and fewer jobs need less of it (`cargo run -j 2`)";
        let hint = (signal == Signal::SIGKILL as i32).then(|| out_of_memory.into());
        let text = format!("the build was ended by {}", Ended::Signal(signal));
        self.feed.error(text, hint);
    }

    /// Which generation runs what was built. In a thread: an executable may be large.
    async fn find_like(&mut self, print: Option<Print>) -> Option<GenId> {
        let print = print?;
        let known = std::mem::take(&mut self.known);
        let mine = print.clone();
        let search = tokio::task::spawn_blocking(move || print::find(&known, &mine));
        let like = search.await.ok().flatten();
        // Not waited for: it is of use for the next build.
        tokio::task::spawn_blocking(move || print.remember());
        like
    }

    /// What it was made from is what counts from now on.
    fn teach(&self, launch: &Launch) {
        let (id, began) = (self.id, self.times.began);
        match self.plan.inputs(&self.output, launch) {
            Some(inputs) => {
                let taught = Taught::Exact(inputs);
                self.inbox
                    .input(Input::Learnt(Lesson { id, began, taught }));
            }
            None => scope::ask_anew(id, began, self.plan.clone(), &self.inbox),
        }
    }

    async fn answer(mut self, end: End) {
        let id = self.id;
        let code = match end {
            End::Exited(Ended::Code(code)) => code,
            // Whatever it had printed: it was not done.
            End::Exited(Ended::Signal(number)) => {
                self.tell_killed(number);
                return self.inbox.build_ended(id, BuildOutcome::Failed);
            }
            End::Vanished => {
                self.feed.error("the processes of the build vanished", None);
                return self.inbox.build_ended(id, BuildOutcome::Failed);
            }
            End::Refused(refusal) => {
                let text = format!("the build could not be started: {refusal}");
                self.feed.error(text, remedy::for_errno(refusal.errno));
                return self.inbox.build_ended(id, BuildOutcome::Failed);
            }
        };
        if !self.plan.succeeded(&self.output, code == 0) {
            if self.silent && !self.cancelled.load(Ordering::Relaxed) {
                let ended = Ended::Code(code);
                let text = format!("the build printed nothing and ended with {ended}");
                self.feed.error(text, None);
            }
            self.inbox.build_ended(id, BuildOutcome::Failed);
            return scope::ask_anew(id, self.times.began, self.plan, &self.inbox);
        }
        let launch = self.plan.launch(&mut self.output);
        let mut print = None;
        if let Ok(launch) = &launch {
            self.teach(launch);
            print = Print::new(launch, &self.output.runtime_files());
        }
        let like = self.find_like(print.clone()).await;
        self.inbox.input(Input::Built {
            id,
            launch,
            print: print.map(Box::new),
            like,
        });
    }
}
