//! Starts generations, and reports the sockets that their programs open.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use libc::EPERM;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Stdin;
use crate::drain::InUse;
use crate::intercept::{self, InterceptEvent};
use crate::os::seccomp;
use crate::process::notify::NotifySocket;
use crate::process::{Control, Spawner, Spec, shell};
use crate::ready::{self, Connect, Exec, NotifyState, ReadyInputs, ReadyReason};
use crate::reload::{ArtifactId, Event, GenEvent, GenId};
use crate::socket::{Address, GenSockets, Joined, OwnPath, Route};
use crate::ui::{Level, OutputStream, Report, UiMode};

use super::program::{OutputTask, ProgramTask};
use super::state::{Driver, Notify, ProgramTerminal, Running};

/// The variable with the number of the generation.
pub(super) const GENERATION: &str = "HOTRUN_GENERATION";
/// The variable with the number of the instance, from 0.
pub(super) const INSTANCE: &str = "HOTRUN_INSTANCE";

impl Driver {
    /// Starts a generation's program and the tasks that monitor it. The tasks report [`GenEvent::StartFailed`], or
    /// `Ready`, `Exited` and `Gone`.
    pub(super) fn start(&mut self, id: GenId, artifact: ArtifactId) -> Result<()> {
        let (launch, fingerprint) = self.artifacts.launch(artifact)?;
        let mut env = self.config.environment(launch.env.iter().cloned())?;
        self.identify(id, &mut env);
        let passed = self.sockets.prepare(id).context("preparing its sockets")?;
        let inodes = passed.iter().map(|passed| passed.inode).collect();
        let notify = Notify {
            socket: NotifySocket::open().context("opening the notify socket")?,
            state: watch::Sender::default(),
            reloading: None,
            status: String::new(),
        };
        let notify_state = notify.state.subscribe();
        let channel = self.adopts.then(seccomp::channel).transpose();
        let (channel, intercept) = channel.context("opening a channel to the program")?.unzip();
        let sockets = passed.into_iter().map(|passed| (passed.name, passed.fd));
        let spec = Spec {
            sockets: sockets.collect(),
            stored: self.fd_store.all(),
            watchdog: self.config.cli.watchdog,
            listen_pid: self.config.sets_listen_pid(&launch.argv),
            notify: Some(notify.socket.env_value().to_owned()),
            cleanup: self.cleanup(),
            intercept,
            reports_writes: self.builds.suspicion.intercepts(),
            ..Spec::new(launch.argv, env.clone(), launch.workdir.clone())
        };
        let (sender, lines) = mpsc::unbounded_channel();
        let sender = self.config.cli.ready.reads_output().then_some(sender);
        let in_use = Arc::default();
        let (control, terminal) = self.spawn(id, spec, sender, &in_use)?;
        if let Some(channel) = channel {
            let intercepted = self.intercept(id, channel, control.clone());
            intercepted.inspect_err(|_| control.kill())?;
        }
        let exec = exec(env.clone(), launch.workdir.clone());
        let mut running = Running {
            control,
            notify: Some(notify),
            fingerprint,
            unready_reason: watch::Sender::default(),
            terminal,
            connections: None,
            in_use,
            observed: false,
            kept: self.kept_connections(),
            own_paths: Vec::new(),
            exec: exec.clone(),
            waiting: JoinSet::new(),
        };
        let ready = self.readiness(id, &running, inodes, notify_state, lines, exec);
        let warm_up = self.warm_up(id, &running, ready, env, launch.workdir);
        running.waiting.spawn(warm_up);
        self.generations.insert(id, running);
        Ok(())
    }

    /// Sets the variables from which the program learns which process it is.
    fn identify(&self, id: GenId, env: &mut Vec<(OsString, OsString)>) {
        let instance = self.instance(id).map(|number| number.to_string());
        for (name, value) in [
            ("HOTRUN", Some("1".to_owned())),
            (GENERATION, Some(id.to_string())),
            (INSTANCE, instance),
        ] {
            env.retain(|(known, _)| known != name);
            env.extend(value.map(|value| (name.into(), value.into())));
        }
    }

    /// The number of a generation's instance, from 0, if there are several.
    pub(super) fn instance(&self, id: GenId) -> Option<usize> {
        let instance = self.machine.instance(id);
        instance.filter(|_| self.config.cli.instances.count > 1)
    }

    /// Reports which instance a generation is, and that it is started from an earlier generation's build.
    pub(super) fn report_builder(&self, id: GenId, artifact: ArtifactId) {
        if let Some(number) = self.instance(id) {
            self.feed.report(Report::Instance(id, number));
        }
        let builder = GenId(artifact.0);
        if builder != id && self.machine.policy().builds {
            self.feed.report(Report::EarlierBuild(id, builder));
        }
    }

    /// Starts the program. With the live user interface, the program runs on its own pty, so that it prints colors.
    fn spawn(
        &self,
        id: GenId,
        spec: Spec,
        lines: Option<UnboundedSender<Vec<u8>>>,
        in_use: &Arc<InUse>,
    ) -> Result<(Control, Option<ProgramTerminal>)> {
        let task = ProgramTask {
            id,
            program: spec.argv.first().cloned().unwrap_or_default(),
            sender: self.sender.clone(),
            feed: self.feed.clone(),
            in_use: in_use.clone(),
        };
        let output = OutputTask {
            id,
            feed: self.feed.clone(),
            lines,
            line: Vec::new(),
        };
        let (control, events, terminal, tasks) = match self.config.ui.mode {
            UiMode::Live => {
                let reads = self.config.cli.stdin == Stdin::Program;
                let spawner = Spawner::default();
                let (control, events, pty) = spawner.spawn_on_pty(spec, self.size, reads)?;
                let pty = Arc::new(pty);
                let shown = tokio::spawn(output.pass_pty(pty.clone()));
                let terminal = Some(ProgramTerminal::new(pty));
                (control, events, terminal, vec![shown])
            }
            UiMode::Plain | UiMode::Json | UiMode::Off => {
                let process = Spawner::default().spawn(spec)?;
                let stdout = output
                    .clone()
                    .pass_pipe(OutputStream::Stdout, process.stdout);
                let stderr = output.pass_pipe(OutputStream::Stderr, process.stderr);
                let tasks = vec![tokio::spawn(stdout), tokio::spawn(stderr)];
                (process.control, process.events, None, tasks)
            }
        };
        tokio::spawn(task.run(control.clone(), events, tasks));
        Ok((control, terminal))
    }

    /// Starts the thread that replies to the program's `bind`, `listen` and `connect` calls.
    fn intercept(&self, id: GenId, channel: OwnedFd, control: Control) -> Result<()> {
        let adopter = self.sockets.adopter();
        let sender = self.sender.clone();
        let adopter = adopter.context("hotrun cannot adopt sockets on this system")?;
        let adopter = adopter.expecting(self.config.cli.ready_timeout);
        let notify = move |event| sender.send(move |driver| driver.intercepted(id, event));
        let (calls, guardian) = (self.watch.watch.calls.clone(), control.guardian());
        let wrote = move |path| calls.record(path, guardian, Instant::now());
        let pids = move || control.pids();
        let started = intercept::start(channel, id, adopter, pids, notify, wrote);
        started.context("starting the thread that intercepts system calls")
    }

    pub(super) fn intercepted(&mut self, id: GenId, event: InterceptEvent) {
        let not_adopted = format!("gen {id}: its sockets can't be adopted");
        let (level, text, hint) = match event {
            InterceptEvent::Listens(Joined { address, first }) => {
                self.feed.report(Report::Listening {
                    name: String::new(),
                    address: address.to_string(),
                    by: Some(id),
                    first,
                });
                return self.handle(Event::Generation(id, GenEvent::Listening));
            }
            InterceptEvent::ListensOnPath(path) => return self.listens_on_path(id, path),
            InterceptEvent::Refused => {
                self.reported.explained.insert(id);
                return;
            }
            InterceptEvent::InUse(error) => {
                (Level::Error, format!("gen {id}: {error}"), error.hint)
            }
            InterceptEvent::Listed { address, listed } => {
                self.reported.explained.insert(id);
                (
                    Level::Error,
                    format!("gen {id} opens `{address}`, which conflicts with `--listen {listed}`"),
                    Some(format!("remove `--listen`, or use `--listen {address}`")),
                )
            }
            InterceptEvent::NotIntercepted(why) => (
                Level::Warning,
                format!("{not_adopted}: {why}"),
                Some(why.hint().into()),
            ),
            InterceptEvent::NotAdopted { error, .. } if error.raw_os_error() == Some(EPERM) => {
                if !self.reported.once.insert("hidden program") {
                    return;
                }
                let hint = "it runs as another user, or is not dumpable (`prctl(2)`): give hotrun CAP_SYS_PTRACE \
                            (in a container, `--cap-add SYS_PTRACE`), or use `--listen`, so that hotrun opens the \
                            socket";
                (
                    Level::Warning,
                    format!("{not_adopted}: the kernel does not let hotrun inspect the program"),
                    Some(hint.into()),
                )
            }
            InterceptEvent::NotAdopted { address, error } => {
                let at = address.map_or_else(String::new, |address| format!(" on `{address}`"));
                (
                    Level::Warning,
                    format!("gen {id}: its socket{at} can't be adopted: {error}"),
                    Some("use `--listen`, so that hotrun opens the socket".into()),
                )
            }
        };
        self.feed.message(level, text, hint);
    }

    fn listens_on_path(&mut self, id: GenId, path: OwnPath) {
        if let Some(running) = self.generations.get_mut(&id) {
            running.own_paths.push(path);
            self.handle(Event::Generation(id, GenEvent::ListensOnPath));
        }
    }

    /// Returns the task that waits until the generation is ready for its warm-up. `inodes`: the sockets that were passed to
    /// the program.
    fn readiness(
        &self,
        id: GenId,
        running: &Running,
        inodes: Vec<u64>,
        notify_state: watch::Receiver<NotifyState>,
        lines: UnboundedReceiver<Vec<u8>>,
        exec: Exec,
    ) -> impl Future<Output = ()> + use<> {
        let (tree, adopter) = (running.control.clone(), self.sockets.adopter());
        let state = move || match &adopter {
            Some(adopter) => adopter.opened(id),
            None => GenSockets {
                inodes: inodes.clone(),
                ..GenSockets::default()
            },
        };
        let mut report = self.address_reporter(id);
        let last_reason = running.unready_reason.clone();
        let inputs = ReadyInputs {
            sockets: ready::GenerationSockets {
                pids: Box::new(move || tree.pids()),
                state: Box::new(state),
            },
            adopts: self.adopts,
            notify_state,
            lines,
            connect: connect(self.sockets.routes(id)),
            exec,
            on_unready: Box::new(move |reason| {
                report(&reason);
                last_reason.send_replace(Some(reason));
            }),
        };
        let (spec, adopts) = (Arc::clone(&self.config.cli.ready), self.adopts);
        let (sender, feed) = (self.sender.clone(), self.feed.clone());
        async move {
            let how = ready::wait(&spec, inputs).await;
            let text = format!("gen {id} is ready: {how}");
            // Reported only for the first generation, because later ones open the same sockets.
            if how == ReadyReason::Running && adopts && id == GenId::FIRST {
                let text = text + ", but hotrun has not seen it open a socket so far";
                let hint = "if it opens one later, `--ready listen` waits for it";
                feed.message(Level::Info, text, Some(hint.into()));
            } else {
                feed.message(Level::Detail, text, None);
            }
            if how.implies_server() {
                sender.event(id, GenEvent::IsServer);
            }
        }
    }
}

/// Returns a function that runs an `exec:` command with the program's environment and working directory.
fn exec(env: Vec<(OsString, OsString)>, workdir: PathBuf) -> Exec {
    Arc::new(move |line| {
        let spec = Spec::shell(line, env.clone(), workdir.clone());
        Box::pin(shell::run(spec))
    })
}

/// Returns a function that connects to the generation's listener on a port, or to its listeners in turn if no port is
/// given: the first one may be a debugger's.
pub(super) fn connect(routes: impl Fn() -> Vec<Route> + Send + 'static) -> Connect {
    let mut turn = 0_usize;
    Box::new(move |port| {
        let fits = |route: &Route| match &route.address {
            Address::Tcp(address) => port.is_none_or(|port| port == address.port()),
            Address::Unix(_) => port.is_none(),
        };
        let mut routes: Vec<Route> = routes().into_iter().filter(fits).collect();
        let index = turn % routes.len().max(1);
        turn = turn.wrapping_add(1);
        let route = (!routes.is_empty()).then(|| routes.swap_remove(index));
        Box::pin(async move {
            match (route, port) {
                (Some(route), _) => route.dial().await,
                (None, Some(port)) => Err(io::Error::other(format!(
                    "the program is not listening on port {port}"
                ))),
                (None, None) => Err(io::Error::other("the program is not listening")),
            }
        })
    })
}
