//! The commands of `--hook EVENT=COMMAND`.
//!
//! The hooks of one generation run one after another, in the order of its events. Those of different generations run at
//! the same time. No hook delays a switch: a `before-start` hook delays the start, and a `drain` hook the stop signal.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::HookEvent;
use crate::process::{Signal, Spawner, Spec};
use crate::reload::{ArtifactId, Event, GenEvent, GenFailure, GenId, GenNotice, Notice};
use crate::ui::{Feed, Level};

use super::commands::{CHANGED, changed_files, monitor};
use super::env_from::{EnvRead, read_env};
use super::start::{GENERATION, INSTANCE};
use super::state::{Driver, HookQueue, HookTask, Hooks};

/// How long a hook may run. A `before-start` hook may take as long as the start, a `drain` hook half of the stop timeout.
const LIMIT: Duration = Duration::from_secs(30);
/// How long hotrun waits for the last hooks before it exits.
const LIMIT_AT_EXIT: Duration = Duration::from_secs(5);

/// The commands of one event.
struct HookRun {
    event: HookEvent,
    lines: Vec<String>,
    env: Vec<(OsString, OsString)>,
    workdir: PathBuf,
    limit: Duration,
    feed: Feed,
}

impl HookRun {
    /// Runs the commands one after another, until one fails. Returns whether all have succeeded.
    async fn run(&self) -> bool {
        for line in &self.lines {
            let failure = match timeout(self.limit, self.run_command(line)).await {
                Ok(failure) => failure,
                Err(_) => Some(format!("it took longer than {:?}", self.limit)),
            };
            if let Some(failure) = failure {
                let text = format!("hook `{}`: `{line}` failed: {failure}", self.event);
                self.feed.message(Level::Warning, text, None);
                return false;
            }
        }
        true
    }

    /// Runs a command. If it fails, returns the reason. Dropping the future kills the command.
    async fn run_command(&self, line: &str) -> Option<String> {
        let spec = Spec::shell(line, self.env.clone(), self.workdir.clone());
        match Spawner::default().spawn(spec) {
            Ok(process) => {
                let mark = format!("[{}] ", self.event);
                monitor(line, &mark, process, &self.feed).await
            }
            Err(error) => Some(format!("{error:#}")),
        }
    }
}

async fn run_queue(mut waiting: UnboundedReceiver<HookTask>) {
    while let Some(task) = waiting.recv().await {
        task.await;
    }
}

impl Hooks {
    /// Records files whose change causes a generation.
    pub(super) fn changed(&mut self, paths: &[PathBuf]) {
        self.changed.extend(paths.iter().cloned());
    }

    fn queue(&mut self, id: GenId) -> &mut HookQueue {
        while self.tasks.try_join_next().is_some() {}
        let (tasks, changed) = (&mut self.tasks, &self.changed);
        self.queues.entry(id).or_insert_with(|| {
            let (waiting, next) = mpsc::unbounded_channel();
            HookQueue {
                waiting,
                task: tasks.spawn(run_queue(next)),
                starts: false,
                drain: None,
                pid: None,
                changed: changed.clone(),
            }
        })
    }

    /// Cancels the `before-start` hooks of a generation. Returns whether they were running.
    pub(super) fn cancel_start(&mut self, id: GenId) -> bool {
        let starts = self.queues.get(&id).is_some_and(|queue| queue.starts);
        if starts && let Some(queue) = self.queues.remove(&id) {
            queue.task.abort();
        }
        starts
    }

    /// Waits for the hooks that are still running.
    pub(super) async fn finish(&mut self) {
        self.live.clear();
        self.queues.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(LIMIT_AT_EXIT, all).await;
    }
}

impl Driver {
    /// Starts a generation after its `before-start` hooks. Returns the resulting event if it is known at once.
    pub(super) fn start_after_hooks(
        &mut self,
        id: GenId,
        artifact: ArtifactId,
    ) -> Option<GenEvent> {
        let Some(url) = self.config.cli.env_from.clone() else {
            return self.run_before_start(id, artifact);
        };
        let sender = self.sender.clone();
        let queue = self.hooks.queue(id);
        queue.starts = true;
        let _ = queue.waiting.send(Box::pin(async move {
            let read = read_env(url).await;
            sender.send(move |driver| driver.env_read(id, artifact, read));
        }));
        None
    }

    fn run_before_start(&mut self, id: GenId, artifact: ArtifactId) -> Option<GenEvent> {
        let Some(run) = self.hook_run(id, HookEvent::BeforeStart) else {
            return self.start_or_fail(id, artifact);
        };
        let sender = self.sender.clone();
        let queue = self.hooks.queue(id);
        queue.starts = true;
        let _ = queue.waiting.send(Box::pin(async move {
            let succeeded = run.run().await;
            sender.send(move |driver| driver.before_start_ended(id, artifact, succeeded));
        }));
        None
    }

    pub(super) fn env_read(&mut self, id: GenId, artifact: ArtifactId, read: EnvRead) {
        let queue = self.hooks.queues.get_mut(&id);
        // Otherwise, the start was cancelled in the meantime.
        if !queue.is_some_and(|queue| std::mem::take(&mut queue.starts)) {
            return;
        }
        self.use_env(read);
        if let Some(event) = self.run_before_start(id, artifact) {
            self.handle(Event::Generation(id, event));
        }
    }

    fn before_start_ended(&mut self, id: GenId, artifact: ArtifactId, succeeded: bool) {
        let queue = self.hooks.queues.get_mut(&id);
        // Otherwise, the start was cancelled in the meantime.
        let Some(queue) = queue.filter(|queue| queue.starts) else {
            return;
        };
        queue.starts = false;
        let event = match succeeded {
            true => self.start_or_fail(id, artifact),
            false => Some(GenEvent::StartFailed),
        };
        if let Some(event) = event {
            self.handle(Event::Generation(id, event));
        }
    }

    fn start_or_fail(&mut self, id: GenId, artifact: ArtifactId) -> Option<GenEvent> {
        self.check_memory(id);
        let error = self.start(id, artifact).err()?;
        self.report_error(&format!("cannot start gen {id}"), &error);
        Some(GenEvent::StartFailed)
    }

    /// Sends the stop signal after the generation's `drain` hooks.
    pub(super) fn stop_after_hooks(&self, id: GenId, signal: Signal) {
        let Some(running) = self.generations.get(&id) else {
            return;
        };
        let queue = self.hooks.queues.get(&id);
        let Some(mut drain) = queue.and_then(|queue| queue.drain.clone()) else {
            return running.control.stop(signal);
        };
        let control = running.control.clone();
        tokio::spawn(async move {
            while drain.changed().await.is_ok() {}
            control.stop(signal);
        });
    }

    /// Runs the hooks of what has happened.
    pub(super) fn run_hooks(&mut self, notice: Notice) {
        let (id, event) = match notice {
            Notice::Generation(id, notice @ GenNotice::Kept { .. }) => {
                self.hooks.live.remove(&id);
                (id, hook_event(notice))
            }
            Notice::Generation(id, notice) => (id, hook_event(notice)),
            Notice::Quitting { .. } => {
                let live: Vec<_> = self.hooks.live.keys().copied().collect();
                for id in live {
                    self.run_hooks_of(id, HookEvent::Drain);
                }
                return;
            }
            Notice::Paused
            | Notice::Resumed
            | Notice::NothingToUndo
            | Notice::Undone { .. }
            | Notice::NothingShared
            | Notice::NothingToKill
            | Notice::Waiting => return,
        };
        let has_queues = !self.config.cli.hook.is_empty() || self.config.cli.env_from.is_some();
        let Some(event) = event.filter(|_| has_queues) else {
            return;
        };
        self.run_hooks_of(id, event);
        let ended = matches!(
            notice,
            Notice::Generation(
                _,
                GenNotice::Gone { .. }
                    | GenNotice::Failed {
                        failure: GenFailure::Build | GenFailure::Start,
                        ..
                    }
            )
        );
        if ended {
            // The queue's task ends after its last hook.
            self.hooks.queues.remove(&id);
        }
    }

    fn run_hooks_of(&mut self, id: GenId, event: HookEvent) {
        match event {
            HookEvent::Ready => {
                let running = self.generations.get(&id);
                let pids = running.map(|running| running.control.pids());
                self.hooks.queue(id).pid = pids.and_then(|pids| pids.first().copied());
            }
            HookEvent::Live => self.went_live(id),
            HookEvent::Drain | HookEvent::Gone | HookEvent::Failed => {
                self.hooks.live.remove(&id);
            }
            HookEvent::BeforeStart | HookEvent::Every(_) => {}
        }
        self.enqueue(id, event);
    }

    fn enqueue(&mut self, id: GenId, event: HookEvent) {
        let Some(run) = self.hook_run(id, event) else {
            return;
        };
        let (done, is_done) = watch::channel(());
        let queue = self.hooks.queue(id);
        if event == HookEvent::Drain {
            queue.drain = Some(is_done);
        }
        let _ = queue.waiting.send(Box::pin(async move {
            run.run().await;
            drop(done);
        }));
    }

    /// Starts the `every` hooks of a generation.
    fn went_live(&mut self, id: GenId) {
        let changed = self.hooks.queue(id).changed.clone();
        self.hooks.changed.retain(|path| !changed.contains(path));
        let events = self.config.cli.hook.iter().map(|hook| hook.event);
        let periods: BTreeSet<_> = events.filter_map(HookEvent::period).collect();
        let mut tasks = JoinSet::new();
        for period in periods {
            let run = self.hook_run(id, HookEvent::Every(period));
            tasks.spawn(async move {
                while let Some(run) = &run {
                    run.run().await;
                    sleep(period).await;
                }
            });
        }
        self.hooks.live.insert(id, tasks);
    }

    /// The commands of an event, unless there are none or their environment cannot be read.
    fn hook_run(&mut self, id: GenId, event: HookEvent) -> Option<HookRun> {
        let hooks = self.config.cli.hook.iter();
        let lines = hooks.filter(|hook| hook.event == event);
        let lines: Vec<_> = lines.map(|hook| hook.command.clone()).collect();
        if lines.is_empty() {
            return None;
        }
        let env = self.hook_environment(id, event);
        let what = format!("cannot run the hook `{event}`");
        let env = env.map_err(|error| self.report_error(&what, &error));
        Some(HookRun {
            event,
            lines,
            env: env.ok()?,
            workdir: self.config.workdir.clone(),
            limit: match event {
                HookEvent::BeforeStart => self.config.cli.ready_timeout,
                HookEvent::Drain => self.config.cli.stop_timeout / 2,
                HookEvent::Ready
                | HookEvent::Live
                | HookEvent::Gone
                | HookEvent::Failed
                | HookEvent::Every(_) => LIMIT,
            },
            feed: self.feed.clone(),
        })
    }

    fn hook_environment(
        &mut self,
        id: GenId,
        event: HookEvent,
    ) -> Result<Vec<(OsString, OsString)>> {
        let mut env = self.config.environment(env::vars_os())?;
        let adopter = self.sockets.adopter();
        let opened = adopter.map_or_else(Vec::new, |adopter| adopter.opened(id).addresses);
        let listed = self.sockets.listening().into_iter();
        let mut addresses = listed
            .map(|listening| listening.address.to_string())
            .chain(opened.iter().map(ToString::to_string));
        let instance = self.instance(id);
        let queue = self.hooks.queue(id);
        let pid = queue.pid.map(|pid| pid.to_string());
        let variables = [
            ("HOTRUN_EVENT", Some(event.to_string().into())),
            (GENERATION, Some(id.to_string().into())),
            (
                INSTANCE,
                instance.map(|instance| instance.to_string().into()),
            ),
            ("HOTRUN_PID", pid.map(OsString::from)),
            ("HOTRUN_ADDRESS", addresses.next().map(OsString::from)),
            (CHANGED, Some(changed_files(&queue.changed))),
        ];
        for (name, value) in variables {
            env.retain(|(known, _)| known != name);
            env.extend(value.map(|value| (name.into(), value)));
        }
        Ok(env)
    }
}

fn hook_event(notice: GenNotice) -> Option<HookEvent> {
    match notice {
        GenNotice::Ready { .. } => Some(HookEvent::Ready),
        GenNotice::Live { .. } | GenNotice::Restored { .. } => Some(HookEvent::Live),
        GenNotice::Draining { .. } => Some(HookEvent::Drain),
        GenNotice::Gone { .. } => Some(HookEvent::Gone),
        GenNotice::Failed { .. } => Some(HookEvent::Failed),
        GenNotice::Building { .. }
        | GenNotice::BuildCancelled
        | GenNotice::Built { .. }
        | GenNotice::Unchanged { .. }
        | GenNotice::Outdated
        | GenNotice::Kept { .. }
        | GenNotice::MakesRoom { .. }
        | GenNotice::KeptEnded { .. }
        | GenNotice::ReloadSignalSent { .. }
        | GenNotice::ReloadSignalUnhandled { .. }
        | GenNotice::Starting { .. }
        | GenNotice::Sharing { .. }
        | GenNotice::Killing { .. }
        | GenNotice::Superseded
        | GenNotice::TimeoutExtended { .. }
        | GenNotice::StoredFds
        | GenNotice::Aborting { .. }
        | GenNotice::NotReplaced
        | GenNotice::RestartScheduled { .. } => None,
    }
}
