//! A generation's processes: how they are started, and the tasks that watch them.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};

use crate::build::Launch;
use crate::os::leftovers::Kept;
use crate::process::notify::NotifySocket;
use crate::process::output::Lines;
use crate::process::{self, Control, Process, Reports, Spec};
use crate::ready::{self, Dial, Heard, Inputs, Listens, ReadySpec};
use crate::reload::{Event, GenId};
use crate::socket::{Adopter, Passed};
use crate::ui::{Level, Report, Stream};

use super::adopting;
use super::exec;
use super::feed::Feed;
use super::inbox::Inbox;
use super::patience::Patience;
use super::reloading::Reloading;

/// The last words of a program are shown before its end is told, if they come within this time. Only what it
/// left running can keep them from ending at once.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// What is to be started, and how.
pub(super) struct Start {
    pub(super) id: GenId,
    pub(super) launch: Launch,
    /// The complete environment but for what hotrun itself adds.
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) passed: Vec<Passed>,
    pub(super) listen_pid: bool,
    pub(super) ready: Arc<ReadySpec>,
    pub(super) dial: Dial,
    /// Where sockets are told of that the program opens by itself, where they may be.
    pub(super) adopter: Option<Adopter>,
    /// Whether they are taken over.
    pub(super) traps: bool,
    /// What its guardian puts away if hotrun is killed.
    pub(super) kept: Vec<Kept>,
}

/// A generation that was started and is not gone.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) control: Control,
    /// What its readiness waits for.
    pub(super) patience: Patience,
    /// What waits for something of this generation: its words, its readiness, its settling, its idleness.
    tasks: Vec<AbortHandle>,
    /// What waits for its readiness.
    readiness: Option<AbortHandle>,
}

/// Starts the program of a generation and the tasks that watch it. They answer with `StartFailed`, or with
/// `Ready`, `Exited` and `Gone`.
pub(super) fn start(start: Start, inbox: &Inbox, feed: &Feed) -> Result<Running> {
    let Start {
        id,
        launch,
        mut env,
        passed,
        listen_pid,
        ready,
        dial,
        adopter,
        traps,
        kept,
    } = start;
    let traps = adopter.clone().filter(|_| traps);
    let adopts = traps.is_some();
    let (trapped, trap) = traps.map(adopting::trap).transpose()?.unzip();
    let notify = NotifySocket::open().context("opening the notify socket")?;
    env.retain(|(name, _)| name != "HOTRUN" && name != "HOTRUN_GENERATION");
    env.push(("HOTRUN".into(), "1".into()));
    env.push(("HOTRUN_GENERATION".into(), id.to_string().into()));
    let listens = listens(id, adopter, &passed);
    let process = process::spawn(Spec {
        argv: launch.argv.clone(),
        env: env.clone(),
        workdir: launch.workdir.clone(),
        sockets: passed
            .into_iter()
            .map(|passed| (passed.name, passed.fd))
            .collect(),
        listen_pid,
        notify: Some(notify.env_value().to_owned()),
        kept,
        trap,
    })?;
    if let Some(trapped) = trapped {
        trapped.begin(id, process.control.clone(), inbox)?;
    }
    let program = launch.argv.into_iter().next().unwrap_or_default();
    let control = process.control.clone();
    let lines = attend(
        Attendant {
            id,
            program,
            inbox: inbox.clone(),
            feed: feed.clone(),
        },
        process,
        &ready,
    );
    let mut running = Running {
        control: control.clone(),
        patience: Patience::default(),
        tasks: Vec::new(),
        readiness: None,
    };
    let heard = running.listen(id, notify, feed.clone());
    let inputs = Inputs {
        pids: Box::new(move || control.pids()),
        listens,
        adopts,
        heard,
        lines,
        dial,
        exec: exec::runner(env, launch.workdir),
        trouble: running.patience.recorder(),
    };
    running.await_readiness(id, ready, inputs, inbox.clone(), feed.clone());
    Ok(running)
}

/// What the generation listens on, at the moment of the call.
fn listens(
    id: GenId,
    adopter: Option<Adopter>,
    passed: &[Passed],
) -> Box<dyn FnMut() -> Listens + Send> {
    let sockets: Vec<u64> = passed.iter().map(|passed| passed.inode).collect();
    match adopter {
        Some(adopter) => Box::new(move || {
            let opened = adopter.opened(id);
            Listens {
                sockets: opened.inodes,
                datagrams: opened.datagrams,
                missing: opened.missing,
                beside: opened.beside,
            }
        }),
        None => Box::new(move || Listens {
            sockets: sockets.clone(),
            ..Listens::default()
        }),
    }
}

impl Running {
    /// A task that ends with the generation at the latest.
    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.retain(|task| !task.is_finished());
        self.tasks.push(tokio::spawn(task).abort_handle());
    }

    /// Hears what the program says on its notify socket.
    fn listen(&mut self, id: GenId, notify: NotifySocket, feed: Feed) -> watch::Receiver<Heard> {
        let (sender, receiver) = watch::channel(Heard::Nothing);
        let control = self.control.clone();
        let mut reloading = Reloading::default();
        self.spawn(async move {
            loop {
                match notify.recv(|| control.pids()).await {
                    Ok(Ok(message)) => {
                        reloading.follow(id, &message.said, &feed);
                        sender.send_modify(|heard| *heard = heard.after(message.said.ready));
                        if let Some(status) = message.said.status {
                            let text = format!("gen {id} says: {status}");
                            feed.pass(Feed::text(Level::Info, text)).await;
                        }
                    }
                    Ok(Err(refused)) => {
                        feed.message(
                            Level::Warning,
                            format!("gen {id}: {refused} was ignored"),
                            None,
                        );
                    }
                    Err(error) => {
                        feed.error(
                            format!("gen {id}: reading its notify socket: {error}"),
                            None,
                        );
                        return;
                    }
                }
            }
        });
        receiver
    }

    fn await_readiness(
        &mut self,
        id: GenId,
        spec: Arc<ReadySpec>,
        inputs: Inputs,
        inbox: Inbox,
        feed: Feed,
    ) {
        let waiting = tokio::spawn(async move {
            match ready::wait(&spec, inputs).await {
                Ok(how) => {
                    feed.message(
                        Level::Detail,
                        format!("gen {id} counts as ready: {how}"),
                        None,
                    );
                    inbox.event(Event::Ready { id });
                }
                // It will be stopped by the timeout; until then it may still end by itself and say why.
                Err(why) => feed.message(
                    Level::Warning,
                    format!("gen {id}: {why}"),
                    Some(why.hint().into()),
                ),
            }
        });
        self.readiness = Some(waiting.abort_handle());
    }

    /// It is asked to end: whether it gets ready does not matter any more, and why not is its stop's doing.
    pub(super) fn forget_readiness(&mut self) {
        if let Some(readiness) = self.readiness.take() {
            readiness.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.forget_readiness();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Tells what becomes of a program.
struct Attendant {
    id: GenId,
    program: OsString,
    inbox: Inbox,
    feed: Feed,
}

/// Starts to pass on what the tree prints and what becomes of it, until both have ended. The lines that
/// readiness wants to see come out here.
fn attend(
    attendant: Attendant,
    process: Process,
    ready: &ReadySpec,
) -> mpsc::UnboundedReceiver<Vec<u8>> {
    let Process {
        control: _,
        reports,
        stdout,
        stderr,
    } = process;
    let (sender, lines) = mpsc::unbounded_channel();
    let sender = ready.reads_output().then_some(sender);
    let pass = |stream, pipe| {
        tokio::spawn(pass_on(
            attendant.id,
            stream,
            pipe,
            attendant.feed.clone(),
            sender.clone(),
        ))
    };
    let output = [pass(Stream::Stdout, stdout), pass(Stream::Stderr, stderr)];
    tokio::spawn(attendant.attend(reports, output));
    lines
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
    async fn attend(self, mut reports: Reports, output: [JoinHandle<()>; 2]) {
        let id = self.id;
        let mut output = Some(output);
        while let Some(report) = reports.next().await {
            match report {
                process::Report::Started { pid } => self.feed.tell(Report::Spawned { id, pid }),
                process::Report::Refused { error } => self.refused(error),
                process::Report::Exited { ended, survivors } => {
                    if let Some(output) = output.take() {
                        await_last_words(output).await;
                    }
                    self.inbox.event(Event::Exited {
                        id,
                        ended,
                        survivors,
                    });
                }
                process::Report::Gone => self.inbox.event(Event::Gone { id }),
            }
        }
    }

    fn refused(&self, error: process::Refusal) {
        let program = self.program.display();
        let hint = match error.step {
            process::Step::Exec => Some("check the path, and that the file is executable".into()),
            process::Step::Interpreter => Some("check the first line of the script".into()),
            process::Step::Workdir => Some("check `--workdir`".into()),
            process::Step::Guardian | process::Step::Fork | process::Step::Descriptors => None,
        };
        self.feed
            .error(format!("cannot start `{program}`: {error}"), hint);
        self.inbox.event(Event::StartFailed { id: self.id });
    }
}

async fn await_last_words(output: [JoinHandle<()>; 2]) {
    let [stdout, stderr] = output;
    // A timeout drops the handles; the tasks go on.
    let _ = tokio::time::timeout(LAST_WORDS, async { (stdout.await, stderr.await) }).await;
}
