//! Starts generations, and handles the events of sockets that their programs open.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::Stdin;
use crate::os::seccomp;
use crate::process::notify::NotifySocket;
use crate::process::{Control, Spawner, Spec, shell};
use crate::ready::{self, Connect, LastUnreadyReason, ListenState, ReadyInputs, ReadyReason};
use crate::reload::{ArtifactId, Event, GenEvent, GenId};
use crate::socket::intercept::{self, InterceptEvent};
use crate::socket::{Address, Joined, Passed, Route};
use crate::ui::{Level, OutputStream, Report, UiMode};

use super::generation::{Notify, Running, Terminal};
use super::inbox::Input;
use super::monitor::{Monitor, Output};
use super::state::Driver;

impl Driver {
    /// Starts a generation's program and the tasks that monitor it. The tasks report [`GenEvent::StartFailed`], or
    /// `Ready`, `Exited` and `Gone`.
    pub(super) fn start(&mut self, id: GenId, artifact: ArtifactId) -> Result<()> {
        let (launch, fingerprint) = self.artifacts.launch(artifact)?;
        let mut env = self.config.environment(launch.env.iter().cloned())?;
        env.retain(|(name, _)| name != "HOTRUN" && name != "HOTRUN_GENERATION");
        env.push(("HOTRUN".into(), "1".into()));
        env.push(("HOTRUN_GENERATION".into(), id.to_string().into()));
        let passed = self.sockets.prepare(id).context("preparing its sockets")?;
        let listen_state = self.listen_state(id, &passed);
        let notify = Notify::new(NotifySocket::open().context("opening the notify socket")?);
        let channel = self.adopts.then(seccomp::channel).transpose();
        let channel = channel.context("opening a channel to the program")?;
        let (channel, intercept) = channel.unzip();
        let sockets = passed.into_iter().map(|passed| (passed.name, passed.fd));
        let spec = Spec {
            sockets: sockets.collect(),
            stored: self.fd_store.all(),
            watchdog: self.config.cli.watchdog,
            listen_pid: self.config.sets_listen_pid(&launch.argv),
            notify: Some(notify.socket.env_value().to_owned()),
            cleanup: self.cleanup(),
            intercept,
            ..Spec::new(launch.argv, env.clone(), launch.workdir.clone())
        };
        let (sender, lines) = mpsc::unbounded_channel();
        let sender = self.config.cli.ready.reads_output().then_some(sender);
        let (control, terminal) = self.spawn(id, spec, sender)?;
        if let Some(channel) = channel {
            let intercepted = self.intercept(id, channel, control.clone());
            intercepted.inspect_err(|_| control.kill())?;
        }
        let (unready_reason, tree) = (LastUnreadyReason::default(), control.clone());
        let inputs = ReadyInputs {
            sockets: ready::GenerationSockets {
                pids: Box::new(move || tree.pids()),
                state: listen_state,
            },
            adopts: self.adopts,
            notify_state: notify.state.subscribe(),
            lines,
            connect: connect(self.sockets.routes(id)),
            // The `--ready exec:` command has the program's environment and working directory.
            exec: Box::new(move |line| {
                let spec = Spec::shell(line, env.clone(), launch.workdir.clone());
                Box::pin(shell::run(spec))
            }),
            on_unready: unready_reason.recorder(),
        };
        let mut running = Running {
            control,
            notify: Some(notify),
            fingerprint,
            unready_reason,
            terminal,
            connections: None,
            waiting: JoinSet::new(),
        };
        running.wait(self.readiness(id, inputs));
        self.generations.insert(id, running);
        Ok(())
    }

    /// Starts the program. With the live user interface, it runs on its own terminal, so that it prints colors.
    fn spawn(
        &self,
        id: GenId,
        spec: Spec,
        lines: Option<mpsc::UnboundedSender<Vec<u8>>>,
    ) -> Result<(Control, Option<Terminal>)> {
        let monitor = Monitor {
            id,
            program: spec.argv.first().cloned().unwrap_or_default(),
            inbox: self.inbox.clone(),
            feed: self.feed.clone(),
        };
        let output = Output {
            id,
            feed: self.feed.clone(),
            lines,
            line: Vec::new(),
        };
        let (control, reports, terminal, tasks) = match self.config.ui.mode {
            UiMode::Live => {
                let reads = self.config.cli.stdin == Stdin::Program;
                let process = Spawner::default().spawn_on_pty(spec, self.size, reads)?;
                let pty = Arc::new(process.pty);
                let task = tokio::spawn(output.pass_pty(pty.clone()));
                let terminal = Some(Terminal::new(pty));
                (process.control, process.reports, terminal, vec![task])
            }
            UiMode::Plain | UiMode::Json | UiMode::Off => {
                let process = Spawner::default().spawn(spec)?;
                let stdout = output
                    .clone()
                    .pass_pipe(OutputStream::Stdout, process.stdout);
                let stderr = output.pass_pipe(OutputStream::Stderr, process.stderr);
                let tasks = vec![tokio::spawn(stdout), tokio::spawn(stderr)];
                (process.control, process.reports, None, tasks)
            }
        };
        tokio::spawn(monitor.run(control.clone(), reports, tasks));
        Ok((control, terminal))
    }

    /// Starts the thread that replies to the program's `bind` and `listen` calls.
    fn intercept(&self, id: GenId, channel: OwnedFd, control: Control) -> Result<()> {
        let adopter = self.sockets.adopter();
        let inbox = self.inbox.clone();
        let adopter = adopter.context("hotrun cannot adopt sockets on this system")?;
        let notify = move |event| inbox.send(Input::Intercepted { id, event });
        let started = intercept::start(channel, id, adopter, move || control.pids(), notify);
        started.context("starting the thread that replies to `bind` and `listen`")
    }

    pub(super) fn intercepted(&mut self, id: GenId, event: InterceptEvent) {
        let warn = |text, hint: &str| self.feed.message(Level::Warning, text, Some(hint.into()));
        match event {
            InterceptEvent::Listens(Joined { address, first }) => {
                self.feed.report(Report::Listening {
                    name: String::new(),
                    address: address.to_string(),
                    by: Some(id),
                    first,
                });
                self.handle(Event::Generation(id, GenEvent::Listening));
            }
            InterceptEvent::Refused => {
                self.reported.explained.insert(id);
            }
            InterceptEvent::InUse(error) => {
                self.feed.error(format!("gen {id}: {error}"), error.hint());
            }
            InterceptEvent::Listed { address, listed } => {
                self.reported.explained.insert(id);
                let text =
                    format!("gen {id} opens `{address}`, which conflicts with `--listen {listed}`");
                let hint = format!("remove `--listen`, or use `--listen {address}`");
                self.feed.error(text, Some(hint));
            }
            InterceptEvent::NotIntercepted(why) => {
                let text = format!("gen {id}: its sockets can't be adopted: {why}");
                warn(text, why.hint());
            }
            InterceptEvent::NotAdopted { address, error } => {
                let at = address.map_or_else(String::new, |address| format!(" on `{address}`"));
                let text = format!("gen {id}: its socket{at} can't be adopted: {error}");
                warn(text, "use `--listen`, so that hotrun opens the socket");
            }
        }
    }

    /// Returns a function that lists the sockets that the generation has at the time of the call.
    fn listen_state(&self, id: GenId, passed: &[Passed]) -> Box<dyn FnMut() -> ListenState + Send> {
        let sockets: Vec<u64> = passed.iter().map(|passed| passed.inode).collect();
        match self.sockets.adopter() {
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

    /// The task that waits until the generation is ready.
    fn readiness(&self, id: GenId, inputs: ReadyInputs) -> impl Future<Output = ()> + use<> {
        let (spec, adopts) = (Arc::clone(&self.config.cli.ready), self.adopts);
        let (inbox, feed) = (self.inbox.clone(), self.feed.clone());
        async move {
            let how = ready::wait(&spec, inputs).await;
            let text = format!("gen {id} is ready: {how}");
            // Reported only for the first generation, because later ones open the same sockets.
            if how == ReadyReason::Running && adopts && id == GenId::FIRST {
                let text = text + ", but has opened no socket so far";
                let hint = "if it opens one later, `--ready listen` waits for it";
                feed.message(Level::Info, text, Some(hint.into()));
            } else {
                feed.message(Level::Detail, text, None);
            }
            if how.implies_server() {
                inbox.event(id, GenEvent::IsServer);
            }
            inbox.event(id, GenEvent::Ready);
        }
    }
}

/// Connects to the generation's listener on this port, or to its first listener if no port is given.
fn connect(routes: impl Fn() -> Vec<Route> + Send + 'static) -> Connect {
    Box::new(move |port| {
        let fits = |route: &Route| match &route.address {
            Address::Tcp(address) => port.is_none_or(|port| port == address.port()),
            Address::Unix(_) => port.is_none(),
        };
        let route = routes().into_iter().find(fits);
        Box::pin(async move {
            let route = route.ok_or_else(|| match port {
                Some(port) => io::Error::other(format!("it is not listening on port {port}")),
                None => io::Error::other("it is not listening"),
            })?;
            let stream = route.dial().await?;
            Ok(Box::new(stream) as Box<dyn ready::ProbeStream>)
        })
    })
}
