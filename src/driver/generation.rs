//! A generation's processes: how they are started, and the tasks that watch them.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::build::Launch;
use crate::os::cleanup::Cleanup;
use crate::os::terminal::Size;
use crate::process::notify::NotifySocket;
use crate::process::{Control, Pty, Spec};
use crate::ready::{self, Connect, ListenState, NotifyState, ReadyInputs, ReadyReason, ReadySpec};
use crate::reload::{Event, GenEvent, GenId};
use crate::socket::{Adopter, Passed};
use crate::ui::Level;

use super::adopting;
use super::attendant::Attendant;
use super::exec;
use super::feed::Feed;
use super::inbox::Inbox;
use super::notified::{HearOut, Listener};
use super::patience::Patience;
use super::reloading::Reloading;

/// What is to be started, and how.
pub(super) struct Start {
    pub(super) id: GenId,
    pub(super) launch: Launch,
    /// The complete environment but for what hotrun itself adds.
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) passed: Vec<Passed>,
    /// What was stored for it.
    pub(super) stored: Vec<(String, Arc<OwnedFd>)>,
    /// How often it is to give a sign of life.
    pub(super) watchdog: Option<Duration>,
    pub(super) listen_pid: bool,
    pub(super) ready: Arc<ReadySpec>,
    pub(super) dial: Connect,
    /// Where sockets are told of that the program opens by itself, where they may be.
    pub(super) adopter: Option<Adopter>,
    /// Whether they are taken over.
    pub(super) traps: bool,
    /// What its guardian puts away if hotrun is killed.
    pub(super) kept: Vec<Cleanup>,
    pub(super) stage: Stage,
}

/// On what a program runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// Two pipes, and nothing to read.
    Pipes,
    /// A terminal of its own.
    Terminal {
        size: Size,
        /// Whether it reads what is typed.
        reads: bool,
    },
}

/// A generation that was started and is not gone.
pub(super) struct Running {
    pub(super) control: Control,
    /// Whom to ask to hear it out.
    pub(super) listener: mpsc::UnboundedSender<HearOut>,
    /// What its readiness waits for.
    pub(super) patience: Patience,
    /// The terminal that it runs on, if it has one.
    pub(super) terminal: Option<Arc<Pty>>,
    /// Takes what is typed for it, if it reads that.
    pub(super) typing: Option<mpsc::UnboundedSender<Vec<u8>>>,
    /// How many connections it had when they were counted last.
    pub(super) connections: Option<usize>,
    /// What waits for something of this generation: its words, what it reads.
    tasks: Vec<AbortHandle>,
    /// What waits for its readiness.
    readiness: Option<AbortHandle>,
    /// What waits until it has settled, or is idle.
    leaving: Option<AbortHandle>,
}

/// Starts the program of a generation and the tasks that watch it. They answer with `StartFailed`, or with
/// `Ready`, `Exited` and `Gone`.
pub(super) fn start(start: Start, inbox: &Inbox, feed: &Feed) -> Result<Running> {
    let Start {
        id,
        launch,
        mut env,
        passed,
        stored,
        watchdog,
        listen_pid,
        ready,
        dial,
        adopter,
        traps,
        kept,
        stage,
    } = start;
    let traps = adopter.clone().filter(|_| traps);
    let adopts = traps.is_some();
    let (trapped, trap) = traps.map(adopting::prepare).transpose()?.unzip();
    let notify = NotifySocket::open().context("opening the notify socket")?;
    env.retain(|(name, _)| name != "HOTRUN" && name != "HOTRUN_GENERATION");
    env.push(("HOTRUN".into(), "1".into()));
    env.push(("HOTRUN_GENERATION".into(), id.to_string().into()));
    let listens = listens(id, adopter, &passed);
    let spec = Spec {
        argv: launch.argv.clone(),
        env: env.clone(),
        workdir: launch.workdir.clone(),
        sockets: passed
            .into_iter()
            .map(|passed| (passed.name, passed.fd))
            .collect(),
        stored,
        watchdog,
        listen_pid,
        notify: Some(notify.env_value().to_owned()),
        cleanup: kept,
        intercept: trap,
    };
    let (listener, requests) = mpsc::unbounded_channel();
    let attendant = Attendant {
        id,
        listener,
        program: launch.argv.into_iter().next().unwrap_or_default(),
        inbox: inbox.clone(),
        feed: feed.clone(),
    };
    let (mut running, lines) = attendant.begin(spec, stage, &ready)?;
    let control = running.control.clone();
    if let Some(trapped) = trapped {
        trapped.start(id, control.clone(), inbox)?;
    }
    let heard = running.listen(id, notify, requests, inbox.clone(), feed.clone());
    let inputs = ReadyInputs {
        pids: Box::new(move || control.pids()),
        listen_state: listens,
        adopts,
        notify_state: heard,
        lines,
        connect: dial,
        exec: exec::runner(env, launch.workdir),
        on_unready: running.patience.recorder(),
    };
    running.await_readiness(id, ready, inputs, inbox.clone(), feed.clone());
    Ok(running)
}

/// What the generation listens on, at the moment of the call.
fn listens(
    id: GenId,
    adopter: Option<Adopter>,
    passed: &[Passed],
) -> Box<dyn FnMut() -> ListenState + Send> {
    let sockets: Vec<u64> = passed.iter().map(|passed| passed.inode).collect();
    match adopter {
        Some(adopter) => Box::new(move || {
            let opened = adopter.opened(id);
            ListenState {
                listening: opened.inodes,
                datagram: opened.datagrams,
                missing: opened.missing,
                other_live: opened.beside,
            }
        }),
        None => Box::new(move || ListenState {
            listening: sockets.clone(),
            ..ListenState::default()
        }),
    }
}

impl Running {
    pub(super) fn new(control: Control, listener: mpsc::UnboundedSender<HearOut>) -> Self {
        Self {
            control,
            listener,
            patience: Patience::default(),
            terminal: None,
            typing: None,
            connections: None,
            tasks: Vec::new(),
            readiness: None,
            leaving: None,
        }
    }

    /// Passes on what is typed. What the program does not read waits here.
    pub(super) fn type_into(&mut self, terminal: Arc<Pty>) -> mpsc::UnboundedSender<Vec<u8>> {
        let (sender, mut typed) = mpsc::unbounded_channel::<Vec<u8>>();
        self.spawn(async move {
            while let Some(bytes) = typed.recv().await {
                if terminal.write(&bytes).await.is_err() {
                    return;
                }
            }
        });
        sender
    }

    /// A task that ends with the generation at the latest.
    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.retain(|task| !task.is_finished());
        self.tasks.push(tokio::spawn(task).abort_handle());
    }

    /// Hears what the program says on its notify socket.
    fn listen(
        &mut self,
        id: GenId,
        socket: NotifySocket,
        requests: mpsc::UnboundedReceiver<HearOut>,
        inbox: Inbox,
        feed: Feed,
    ) -> watch::Receiver<NotifyState> {
        let (heard, receiver) = watch::channel(NotifyState::Silent);
        let listener = Listener {
            id,
            socket,
            control: self.control.clone(),
            heard,
            requests,
            inbox,
            feed,
            reloading: Reloading::default(),
            status: String::new(),
        };
        self.spawn(listener.run());
        receiver
    }

    fn await_readiness(
        &mut self,
        id: GenId,
        spec: Arc<ReadySpec>,
        inputs: ReadyInputs,
        inbox: Inbox,
        feed: Feed,
    ) {
        let adopts = inputs.adopts;
        let waiting = tokio::spawn(async move {
            match ready::wait(&spec, inputs).await {
                Ok(how) => {
                    let text = format!("gen {id} counts as ready: {how}");
                    // Whoever sees it live and can't connect wonders. Of later ones it is known what they will open.
                    match how == ReadyReason::Running && adopts && id == GenId::FIRST {
                        true => feed.message(
                            Level::Info,
                            text + ", and has opened no socket so far",
                            Some("if it opens one later, `--ready listen` waits for it".into()),
                        ),
                        false => feed.message(Level::Detail, text, None),
                    }
                    if how.implies_server() {
                        inbox.event(Event::Generation(id, GenEvent::IsServer));
                    }
                    inbox.event(Event::Generation(id, GenEvent::Ready));
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

    /// A task that waits for something of a generation that leaves, in place of the one before it.
    pub(super) fn leave(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.stay();
        self.leaving = Some(tokio::spawn(task).abort_handle());
    }

    /// It serves, maybe again.
    pub(super) fn stay(&mut self) {
        if let Some(leaving) = self.leaving.take() {
            leaving.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.forget_readiness();
        self.stay();
        for task in &self.tasks {
            task.abort();
        }
    }
}
