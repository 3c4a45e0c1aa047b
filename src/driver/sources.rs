//! Runs the sources (`--source`).

use std::env;
use std::io;
use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::process::{FirstExit, Process, ProgramEvents, Spawner, Spec};
use crate::source::etcd::{self, Credentials, EtcdEvent};
use crate::source::{Continuity, Origin};
use crate::ui::{Feed, Report};

use super::commands::show;
use super::requests::sleep_to;
use super::state::{Driver, TaskSender};

/// How many bytes to read at a time.
const CHUNK: usize = 64 * 1024;
/// The pause after each read. It bounds what a source costs that prints without end.
const PAUSE: Duration = Duration::from_millis(10);
/// How long to wait for a command's last output after its exit.
const LAST_OUTPUT: Duration = Duration::from_millis(20);

impl Driver {
    /// Starts the sources. They run until the driver is dropped.
    pub(super) fn start_sources(&mut self) {
        for source in &self.config.cli.source {
            let mut outlet = Outlet {
                name: source.name.clone(),
                sender: self.sender.clone(),
                feed: self.feed.clone(),
                is_down: false,
            };
            match &source.origin {
                Origin::Command(line) => {
                    let task = CommandTask {
                        line: line.clone(),
                        outlet,
                        config: self.config.clone(),
                        continuity: Continuity::default(),
                        began: Instant::now(),
                    };
                    self.sources.spawn(task.run());
                }
                Origin::Etcd(url) => {
                    let user = Credentials::from_environment();
                    let report = move |event| match event {
                        EtcdEvent::Changed => outlet.changed(),
                        EtcdEvent::Up => outlet.is_up(),
                        EtcdEvent::Down(why) => outlet.is_down(why),
                    };
                    let task = etcd::watch(url.clone(), user, url.dialer(), report);
                    self.sources.spawn(task);
                }
            }
        }
    }
}

/// Passes on what happens to one source.
struct Outlet {
    name: String,
    sender: TaskSender,
    feed: Feed,
    /// Whether the source is shown as down.
    is_down: bool,
}

impl Outlet {
    fn changed(&self) {
        let name = self.name.clone();
        self.sender
            .send(move |driver| driver.watch.watch.source_changed(&name));
    }

    fn is_up(&mut self) {
        if std::mem::take(&mut self.is_down) {
            self.feed.report(Report::Source(self.name.clone(), None));
        }
    }

    /// Shows the reason only once, until the source is up again.
    fn is_down(&mut self, why: String) {
        if !std::mem::replace(&mut self.is_down, true) {
            let report = Report::Source(self.name.clone(), Some(why));
            self.feed.report(report);
        }
    }
}

/// Runs the command of one source again and again.
struct CommandTask {
    line: String,
    outlet: Outlet,
    config: Config,
    continuity: Continuity,
    /// When the command was last started.
    began: Instant,
}

impl CommandTask {
    async fn run(mut self) {
        loop {
            self.began = Instant::now();
            let why = match self.start() {
                Ok(process) => self.supervise(process).await,
                Err(error) => format!("{error:#}"),
            };
            let pause = self.continuity.ended(self.began.elapsed());
            self.outlet.is_down(why);
            sleep(pause).await;
        }
    }

    fn start(&self) -> Result<Process> {
        let env = self.config.environment(env::vars_os())?;
        let workdir = self.config.workdir.clone();
        Spawner::default().spawn(Spec::shell(&self.line, env, workdir))
    }

    /// Waits until the command ends, and returns how it ended.
    async fn supervise(&mut self, process: Process) -> String {
        let Process {
            control,
            events,
            stdout,
            stderr,
        } = process;
        let feed = self.outlet.feed.clone();
        let mark = format!("[{}] ", self.outlet.name);
        let ended = async move {
            let how = how_it_ended(events).await;
            sleep(LAST_OUTPUT).await;
            // Otherwise, processes that the command leaves running would keep its output open.
            control.kill();
            how
        };
        tokio::join!(self.read_lines(stdout, ended), show(stderr, &mark, &feed)).0
    }

    /// Reads what the command prints, until it has ended. Only the number of lines matters, so that a long line takes no
    /// memory, and secrets are not shown.
    async fn read_lines(&mut self, pipe: Receiver, ended: impl Future<Output = String>) -> String {
        let mut ended = pin!(ended);
        let mut chunk = vec![0; CHUNK];
        let mut open = true;
        loop {
            let due = self.continuity.due().map(|age| self.began + age);
            tokio::select! {
                biased;
                // First, because a process that the command has left behind may go on printing.
                how = &mut ended => return how,
                readable = pipe.readable(), if open => {
                    match readable.and_then(|()| pipe.try_read(&mut chunk)) {
                        Ok(0) => open = false,
                        Ok(count) => {
                            if chunk[..count].contains(&b'\n') && self.continuity.line(self.began.elapsed()) {
                                self.changed();
                            }
                            sleep(PAUSE).await;
                        }
                        Err(error) => open = error.kind() == io::ErrorKind::WouldBlock,
                    }
                }
                () = sleep_to(due.map(Instant::into_std)) => {
                    self.continuity.passed();
                    self.changed();
                }
            }
        }
    }

    fn changed(&mut self) {
        self.outlet.is_up();
        self.outlet.changed();
    }
}

async fn how_it_ended(mut events: ProgramEvents) -> String {
    match events.first_exit().await {
        Ok(FirstExit::Ended(Some(ended))) => ended.to_string(),
        Ok(FirstExit::Ended(None)) => "its processes vanished".to_owned(),
        Ok(FirstExit::NeedsTerminal(_)) => "it waits for the terminal".to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}
