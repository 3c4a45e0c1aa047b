//! Starts the program of a generation, and the tasks that monitor it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, watch};

use crate::build::Launch;
use crate::os::cleanup::Cleanup;
use crate::process::notify::NotifySocket;
use crate::process::{Spec, shell};
use crate::ready::{
    self, Connect, Exec, ListenState, NotifyState, ReadyInputs, ReadyReason, ReadySpec,
};
use crate::reload::{GenEvent, GenId};
use crate::socket::{Adopter, Passed};
use crate::ui::{Feed, Level};

use super::adopting;
use super::inbox::Inbox;
use super::monitor::Monitor;
use super::notify::{DrainRequest, Listener};
use super::running::{Running, Stdio};

/// What to start, and how.
pub(super) struct Start {
    pub(super) id: GenId,
    pub(super) launch: Launch,
    /// The environment, without the variables that hotrun adds.
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) passed: Vec<Passed>,
    /// The descriptors that earlier generations stored.
    pub(super) stored: Vec<(String, Arc<OwnedFd>)>,
    /// The period of the watchdog.
    pub(super) watchdog: Option<Duration>,
    pub(super) listen_pid: bool,
    pub(super) ready: Arc<ReadySpec>,
    pub(super) dial: Connect,
    /// Adopts the listeners that the program opens itself.
    pub(super) adopter: Option<Adopter>,
    /// Whether the program's `bind` and `listen` are intercepted.
    pub(super) intercepts: bool,
    /// What its guardian removes if hotrun is killed.
    pub(super) cleanup: Vec<Cleanup>,
    pub(super) stdio: Stdio,
}

/// Starts the program of a generation and the tasks that monitor it. They report `StartFailed`, or `Ready`, `Exited` and
/// `Gone`.
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
        intercepts,
        cleanup,
        stdio,
    } = start;
    let intercepting = adopter.clone().filter(|_| intercepts);
    let adopts = intercepting.is_some();
    let (pending, intercept) = intercepting.map(adopting::prepare).transpose()?.unzip();
    let notify = NotifySocket::open().context("opening the notify socket")?;
    env.retain(|(name, _)| name != "HOTRUN" && name != "HOTRUN_GENERATION");
    env.push(("HOTRUN".into(), "1".into()));
    env.push(("HOTRUN_GENERATION".into(), id.to_string().into()));
    let listens = listens(id, adopter, &passed);
    let sockets = passed.into_iter().map(|passed| (passed.name, passed.fd));
    let spec = Spec {
        sockets: sockets.collect(),
        stored,
        watchdog,
        listen_pid,
        notify: Some(notify.env_value().to_owned()),
        cleanup,
        intercept,
        ..Spec::new(launch.argv.clone(), env.clone(), launch.workdir.clone())
    };
    let (listener, requests) = mpsc::unbounded_channel();
    let monitor = Monitor {
        id,
        listener,
        program: launch.argv.into_iter().next().unwrap_or_default(),
        inbox: inbox.clone(),
        feed: feed.clone(),
    };
    let (mut running, lines) = monitor.start(spec, stdio, &ready)?;
    let control = running.control.clone();
    if let Some(pending) = pending {
        pending.start(id, control.clone(), inbox)?;
    }
    let heard = listen(
        &mut running,
        id,
        notify,
        requests,
        inbox.clone(),
        feed.clone(),
    );
    let inputs = ReadyInputs {
        pids: Box::new(move || control.pids()),
        listen_state: listens,
        adopts,
        notify_state: heard,
        lines,
        connect: dial,
        exec: exec(env, launch.workdir),
        on_unready: running.unready_reason.recorder(),
    };
    await_readiness(&mut running, id, ready, inputs, inbox.clone(), feed.clone());
    Ok(running)
}

/// Runs the command of `--ready exec:` in the program's environment and directory.
fn exec(env: Vec<(OsString, OsString)>, workdir: PathBuf) -> Exec {
    Box::new(move |line| {
        let spec = Spec::shell(line, env.clone(), workdir.clone());
        Box::pin(shell::run(spec))
    })
}

/// The current sockets of the generation, at each call.
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

/// A user who sees a generation live and cannot connect needs a hint. Later generations will open the same sockets.
fn report_ready(id: GenId, how: ReadyReason, adopts: bool, feed: &Feed) {
    let text = format!("gen {id} is ready: {how}");
    match how == ReadyReason::Running && adopts && id == GenId::FIRST {
        true => feed.message(
            Level::Info,
            text + ", but has opened no socket so far",
            Some("if it opens one later, `--ready listen` waits for it".into()),
        ),
        false => feed.message(Level::Detail, text, None),
    }
}

/// Reads the notify socket.
fn listen(
    running: &mut Running,
    id: GenId,
    socket: NotifySocket,
    requests: mpsc::UnboundedReceiver<DrainRequest>,
    inbox: Inbox,
    feed: Feed,
) -> watch::Receiver<NotifyState> {
    let (heard, receiver) = watch::channel(NotifyState::Silent);
    let control = running.control.clone();
    let listener = Listener::new(id, socket, control, (heard, requests), (inbox, feed));
    running.spawn(listener.run());
    receiver
}

fn await_readiness(
    running: &mut Running,
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
                report_ready(id, how, adopts, &feed);
                if how.implies_server() {
                    inbox.generation(id, GenEvent::IsServer);
                }
                inbox.generation(id, GenEvent::Ready);
            }
            // The timeout stops it. Until then it may exit and say why.
            Err(why) => feed.message(
                Level::Warning,
                format!("gen {id}: {why}"),
                Some(why.hint().into()),
            ),
        }
    });
    running.readiness = Some(waiting.abort_handle());
}
