//! The state that the driver owns.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::artifact::{self, Fingerprint};
use crate::build::{Plan, WatchRoots};
use crate::config::Config;
use crate::drain::{InUse, KeptConnections};
use crate::os::terminal::Size;
use crate::process::notify::{FdStore, NotifySocket};
use crate::process::{Control, Pty};
use crate::ready::{Exec, NotifyState, UnreadyReason};
use crate::reload::{Event, GenEvent, GenId, Instances};
use crate::socket::{OwnPath, Sockets};
use crate::ui::Feed;
use crate::watch::{FileWatch, LockFileWindow, SelfTrigger, Suspicion};

use super::clock::Clock;
use super::log::Log;
use super::preview::Preview;

/// How hotrun exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether everything has ended and nothing exceeded its time limit.
    pub clean: bool,
    /// The signal that made hotrun quit; `None` for Ctrl-C and `q`.
    pub signal: Option<i32>,
}

/// The driver, which owns everything that lasts as long as hotrun runs.
pub(super) struct Driver {
    pub(super) config: Config,
    pub(super) log: Option<Log>,
    pub(super) machine: Instances,
    pub(super) clock: Clock,
    pub(super) sender: TaskSender,
    pub(super) feed: Feed,
    pub(super) sockets: Sockets,
    /// Whether hotrun adopts the sockets that programs open.
    pub(super) adopts: bool,
    pub(super) builds: Builds,
    pub(super) artifacts: artifact::ArtifactStore,
    /// The generations that were started and still have processes.
    pub(super) generations: BTreeMap<GenId, Running>,
    /// Whether a program's `shutdown(2)` can be made to do nothing.
    pub(super) ignores_shutdown: Arc<AtomicBool>,
    /// The descriptors that programs store for later generations.
    pub(super) fd_store: FdStore,
    /// The rule commands that have been needed so far, keyed by shell command.
    pub(super) commands: BTreeMap<String, Command>,
    pub(super) hooks: Hooks,
    pub(super) preview: Option<Preview>,
    /// The tasks that run the sources.
    pub(super) sources: JoinSet<()>,
    pub(super) watch: WatchSet,
    pub(super) reported: Reported,
    pub(super) ending: Ending,
    /// The size of the terminal.
    pub(super) size: Size,
    /// When to count connections next.
    pub(super) count_at: Instant,
}

/// A message from a task to the driver: what the driver does when it receives the message.
pub(super) type TaskMessage = Box<dyn FnOnce(&mut Driver) + Send>;

/// Sends messages to the driver.
#[derive(Clone)]
pub(super) struct TaskSender(pub(super) mpsc::UnboundedSender<TaskMessage>);

impl TaskSender {
    pub(super) fn event(&self, id: GenId, event: GenEvent) {
        self.send(move |driver| driver.handle(Event::Generation(id, event)));
    }

    pub(super) fn send(&self, message: impl FnOnce(&mut Driver) + Send + 'static) {
        // Cannot fail before hotrun exits, because the receiver lives until then.
        let _ = self.0.send(Box::new(message));
    }
}

/// A generation that was started and still has processes. Dropping it kills the process tree and aborts the tasks.
pub(super) struct Running {
    pub(super) control: Control,
    /// `None` after the notify socket has failed.
    pub(super) notify: Option<Notify>,
    /// The fingerprint of the artifact, if known.
    pub(super) fingerprint: Option<Fingerprint>,
    /// Why the generation was not ready at the last check.
    pub(super) unready_reason: watch::Sender<Option<UnreadyReason>>,
    pub(super) terminal: Option<ProgramTerminal>,
    /// The number of connections that the last count found.
    pub(super) connections: Option<usize>,
    /// How many connections were in use at the last check. Updated while the generation drains.
    pub(super) in_use: Arc<InUse>,
    /// The idle connections to keep open when the generation is stopped.
    pub(super) kept: Arc<KeptConnections>,
    /// Whether the waiting task updates `in_use`.
    pub(super) observed: bool,
    /// The paths of the unix sockets that the program has opened itself.
    pub(super) own_paths: Vec<OwnPath>,
    /// Runs an `exec:` command with the program's environment and working directory.
    pub(super) exec: Exec,
    /// The task that waits until the generation is ready or, while it drains, quiescent or idle, or that checks whether it
    /// is alive. None while the generation is kept.
    pub(super) waiting: JoinSet<()>,
}

/// A notify socket, and what the program has sent to it.
pub(super) struct Notify {
    pub(super) socket: NotifySocket,
    pub(super) state: watch::Sender<NotifyState>,
    /// When the program began to reload its configuration. Set from `RELOADING=1` until `READY=1`.
    pub(super) reloading: Option<Instant>,
    pub(super) status: String,
}

/// The pseudoterminal of a program.
pub(super) struct ProgramTerminal {
    pub(super) pty: Arc<Pty>,
    typed: mpsc::UnboundedSender<Vec<u8>>,
    _writer: JoinSet<()>,
}

impl ProgramTerminal {
    pub(super) fn new(pty: Arc<Pty>) -> Self {
        let (typed, mut waiting) = mpsc::unbounded_channel::<Vec<u8>>();
        let (mut writer, to) = (JoinSet::new(), pty.clone());
        writer.spawn(async move {
            while let Some(bytes) = waiting.recv().await {
                if to.write(&bytes).await.is_err() {
                    return;
                }
            }
        });
        Self {
            pty,
            typed,
            _writer: writer,
        }
    }

    /// Queues terminal input for the program.
    pub(super) fn type_in(&self, bytes: Vec<u8>) {
        // Fails if the program has closed its terminal, because then the writer has ended.
        let _ = self.typed.send(bytes);
    }
}

/// The current build, and how to build next.
pub(super) struct Builds {
    pub(super) plan: Plan,
    /// Whether the next build needs a new plan.
    pub(super) plan_is_outdated: bool,
    /// Whether a new plan was requested and is not available yet.
    pub(super) is_planning: bool,
    /// The build that waits for the new plan or for the end of a pause.
    pub(super) waiting: Option<GenId>,
    /// The files that have changed since the last successful build.
    pub(super) changed: BTreeSet<PathBuf>,
    pub(super) active: Option<ActiveBuild>,
    /// The pid of the newest build's guardian.
    pub(super) guardian: Option<i32>,
    /// Detects builds that write their own inputs.
    pub(super) trigger: SelfTrigger,
    /// Detects programs that change a source when they start. A run lasts from the start until soon after the switch.
    pub(super) restarts: SelfTrigger,
    /// The generation that was started last, until its start is over.
    starting: Option<GenId>,
    /// Detects programs that write watched files.
    pub(super) suspicion: Suspicion,
    /// When the newest build may have written `Cargo.lock`.
    pub(super) lock_file: Option<LockFileWindow>,
}

impl Builds {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan_is_outdated: plan.is_provisional(),
            plan,
            is_planning: false,
            waiting: None,
            changed: BTreeSet::new(),
            active: None,
            guardian: None,
            trigger: SelfTrigger::default(),
            restarts: SelfTrigger::default(),
            starting: None,
            suspicion: Suspicion::default(),
            lock_file: None,
        }
    }

    /// Records that a program is started. Returns whether to intercept its calls that write files.
    pub(super) fn program_starts(&mut self, id: GenId) -> bool {
        let now = Instant::now();
        self.restarts.started(now);
        self.starting = Some(id);
        self.suspicion.started(now)
    }

    /// Records that this generation's start is over at this time, unless that is known already or a newer one was started.
    pub(super) fn start_ended(&mut self, id: GenId, at: Instant) {
        if self.starting.take_if(|starting| *starting == id).is_some() {
            self.restarts.ended(at);
        }
    }
}

pub(super) struct ActiveBuild {
    pub(super) control: Control,
    pub(super) cancelled: bool,
}

/// The command of an `--on GLOB=run:COMMAND` rule.
#[derive(Default)]
pub(super) struct Command {
    /// Set while the command runs. Dropping it kills the process tree.
    pub(super) control: Option<Control>,
    /// Whether to run the command once its current run has ended and hotrun is not paused.
    pub(super) pending: bool,
    /// The pid of the newest run's guardian.
    pub(super) guardian: Option<i32>,
    /// The files that have changed since its last start.
    pub(super) changed: BTreeSet<PathBuf>,
    /// Detects a command that writes the files that trigger it.
    pub(super) trigger: SelfTrigger,
}

/// The hooks that are running or waiting, and what they need to know.
#[derive(Default)]
pub(super) struct Hooks {
    /// The files that have changed since the start of the live generation.
    pub(super) changed: BTreeSet<PathBuf>,
    pub(super) queues: BTreeMap<GenId, HookQueue>,
    /// The tasks that run the queues.
    pub(super) tasks: JoinSet<()>,
    /// The tasks of the live generations' `every` hooks.
    pub(super) live: BTreeMap<GenId, JoinSet<()>>,
}

/// The hooks of one generation.
pub(super) struct HookQueue {
    pub(super) waiting: mpsc::UnboundedSender<HookTask>,
    pub(super) task: AbortHandle,
    /// Whether the `before-start` hooks are running.
    pub(super) starts: bool,
    /// Closed when the `drain` hooks have ended.
    pub(super) drain: Option<watch::Receiver<()>>,
    /// The program's first process, once the program is ready.
    pub(super) pid: Option<i32>,
    pub(super) changed: BTreeSet<PathBuf>,
}

/// Runs the hooks of one event.
pub(super) type HookTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The watch, and the files that it covers.
pub(super) struct WatchSet {
    pub(super) watch: FileWatch,
    /// The places to watch if `--watch` is not set.
    pub(super) roots: WatchRoots,
    /// The inputs of the last successful build: files and directories.
    pub(super) inputs: Vec<PathBuf>,
    /// The newest build that has updated the watch.
    pub(super) newest: Option<GenId>,
    /// Whether the watch is set up and the first build has begun.
    pub(super) begun: bool,
}

impl WatchSet {
    pub(super) const fn new(watch: FileWatch, roots: WatchRoots) -> Self {
        Self {
            watch,
            roots,
            inputs: Vec::new(),
            newest: None,
            begun: false,
        }
    }
}

/// Whether, why and how hotrun exits.
#[derive(Default)]
pub(super) struct Ending {
    /// When the first Ctrl-C, `q` or `SIGTERM` arrived.
    pub(super) requested: Option<Instant>,
    /// The last signal that asked hotrun to quit; `None` for Ctrl-C and `q`.
    pub(super) signal: Option<i32>,
    /// Set when the loop should end.
    pub(super) outcome: Option<Outcome>,
}

/// The reports that have already been made and must not be repeated.
#[derive(Default)]
pub(super) struct Reported {
    /// The generations whose failure to start has been explained.
    pub(super) explained: BTreeSet<GenId>,
    /// The files that the program or the build writes, as far as hotrun has noticed.
    pub(super) written: BTreeSet<PathBuf>,
    /// Those that hotrun has named, at most two for each directory and extension: uploads are not named one by one.
    pub(super) kinds: BTreeMap<(PathBuf, OsString), Vec<PathBuf>>,
    /// Whether `--env-from` has been read.
    pub(super) has_env: bool,
    /// Whether hotrun goes on trying to read `--env-from`.
    pub(super) reads_env_again: bool,
    /// The topics of the messages and hints that are shown only once.
    pub(super) once: BTreeSet<&'static str>,
}
