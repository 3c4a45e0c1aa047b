//! Starts generations.

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
use crate::reload::{ArtifactId, GenEvent, GenId};
use crate::socket::{Address, Passed, Route, intercept};
use crate::ui::{Level, Mode, Stream};

use super::generation::{Notify, Running, Terminal};
use super::inbox::Input;
use super::monitor::{Monitor, Output, ReadyLines};
use super::state::Driver;

impl Driver {
    /// Starts the program of a generation and the tasks that monitor it. They report `StartFailed`, or `Ready`, `Exited` and
    /// `Gone`.
    pub(super) fn start(&mut self, id: GenId, artifact: ArtifactId) -> Option<GenEvent> {
        let error = self.try_start(id, artifact).err()?;
        self.report_error(&format!("cannot start gen {id}"), &error);
        Some(GenEvent::StartFailed)
    }

    fn try_start(&mut self, id: GenId, artifact: ArtifactId) -> Result<()> {
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
        let (control, terminal) = self.spawn(id, spec, ReadyLines::new(sender))?;
        if let Some(channel) = channel {
            self.intercept(id, channel, control.clone())?;
        }
        let (unready_reason, tree) = (LastUnreadyReason::default(), control.clone());
        let inputs = ReadyInputs {
            sockets: ready::Sockets {
                pids: Box::new(move || tree.pids()),
                state: listen_state,
            },
            adopts: self.adopts,
            notify_state: notify.state.subscribe(),
            lines,
            connect: connect(self.sockets.routes(id)),
            // In the program's environment and directory.
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

    /// Starts the program. With the live user interface it prints on a terminal, so that it keeps its colors.
    fn spawn(
        &self,
        id: GenId,
        spec: Spec,
        lines: ReadyLines,
    ) -> Result<(Control, Option<Terminal>)> {
        let monitor = Monitor {
            id,
            program: spec.argv.first().cloned().unwrap_or_default(),
            inbox: self.inbox.clone(),
            feed: self.feed.clone(),
        };
        let feed = self.feed.clone();
        let output = Output { id, feed, lines };
        let (control, reports, output, terminal) = match self.config.ui.mode {
            Mode::Live => {
                let reads = self.config.cli.stdin == Stdin::Program;
                let process = Spawner::default().spawn_on_pty(spec, self.size, reads)?;
                let pty = Arc::new(process.pty);
                let output = tokio::spawn(output.pass_pty(pty.clone()));
                let terminal = Terminal::new(pty);
                (
                    process.control,
                    process.reports,
                    vec![output],
                    Some(terminal),
                )
            }
            Mode::Plain | Mode::Json | Mode::Off => {
                let process = Spawner::default().spawn(spec)?;
                let stdout = output.clone().pass_pipe(Stream::Stdout, process.stdout);
                let stderr = output.pass_pipe(Stream::Stderr, process.stderr);
                let output = vec![tokio::spawn(stdout), tokio::spawn(stderr)];
                (process.control, process.reports, output, None)
            }
        };
        tokio::spawn(monitor.run(control.clone(), reports, output));
        Ok((control, terminal))
    }

    /// Starts to reply to the program's `bind` and `listen`.
    fn intercept(&self, id: GenId, channel: OwnedFd, control: Control) -> Result<()> {
        let adopter = self.sockets.adopter();
        let inbox = self.inbox.clone();
        let adopter = adopter.context("no sockets are adopted here")?;
        let notify = move |event| inbox.send(Input::Intercepted { id, event });
        let started = intercept::start(channel, id, adopter, move || control.pids(), notify);
        started.context("starting the thread that replies to `bind` and `listen`")
    }

    /// The current sockets of the generation, at each call.
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
        let (spec, inbox, feed) = (
            Arc::clone(&self.config.cli.ready),
            self.inbox.clone(),
            self.feed.clone(),
        );
        async move {
            let adopts = inputs.adopts;
            let how = ready::wait(&spec, inputs).await;
            let text = format!("gen {id} is ready: {how}");
            // A user who sees a generation live and cannot connect needs a hint. Later generations open the same sockets.
            match how == ReadyReason::Running && adopts && id == GenId::FIRST {
                true => feed.message(
                    Level::Info,
                    text + ", but has opened no socket so far",
                    Some("if it opens one later, `--ready listen` waits for it".into()),
                ),
                false => feed.message(Level::Detail, text, None),
            }
            if how.implies_server() {
                inbox.event(id, GenEvent::IsServer);
            }
            inbox.event(id, GenEvent::Ready);
        }
    }
}

/// Connects to one generation only: to its listener with this port, or without a port to its first listener.
fn connect(routes: impl Fn() -> Vec<Route> + Send + 'static) -> Connect {
    Box::new(move |port| {
        let fits = |route: &Route| match &route.address {
            Address::Tcp(address) => port.is_none_or(|port| port == address.port()),
            Address::Unix(_) => port.is_none(),
        };
        let route = routes().into_iter().find(fits);
        Box::pin(async move {
            let route = route.ok_or_else(|| match port {
                Some(port) => io::Error::other(format!("it does not listen on port {port}")),
                None => io::Error::other("it does not listen"),
            })?;
            let stream = route.dial().await?;
            Ok(Box::new(stream) as Box<dyn ready::Stream>)
        })
    })
}
