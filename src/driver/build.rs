//! Starts builds, and handles their results.

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use crate::build::Plan;
use crate::error::Failure;
use crate::process::{Signal, Spawner, Spec};
use crate::reload::{
    Action, ArtifactId, BuildOutcome, Effect, Event, GenEffect, GenEvent, GenId, Phase,
};
use crate::ui::{Level, Report};
use crate::watch::LockFileWindow;

use super::build_task::{BuildTask, Built};
use super::commands::{CHANGED, changed_files};
use super::setup;
use super::state::{ActiveBuild, Driver, Running};

/// How long a cancelled build may take to remove unfinished files, as `make` does on `SIGTERM`. If it were killed at
/// once, the next build would treat these files as complete.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

impl Driver {
    /// Starts a build, and a task that has [`Driver::built`] called when the build has ended. If the plan is outdated,
    /// renews it first. After a build that may have triggered itself, waits for the end of a pause.
    pub(super) fn build(&mut self, id: GenId) -> Result<()> {
        if !self.builds.is_planning && std::mem::take(&mut self.builds.plan_is_outdated) {
            self.renew_plan();
        }
        if self.builds.is_planning || self.builds.trigger.rests(Instant::now()) {
            self.builds.waiting = Some(id);
            return Ok(());
        }
        self.watch.watch.build_begins();
        let (began, started) = (Instant::now(), SystemTime::now());
        let plan = self.builds.plan.clone();
        let command = plan.build_command().context("there is nothing to build")?;
        let mut env: Vec<_> = env::vars_os().collect();
        // cargo would pass it on to the program, whose environment would then differ each time.
        if matches!(plan, Plan::Command { .. }) {
            env.push((CHANGED.into(), changed_files(&self.builds.changed)));
        }
        let process = Spawner::default().spawn(Spec {
            cleanup: self.cleanup(),
            ..Spec::new(command.argv, env, command.workdir)
        })?;
        let control = process.control.clone();
        // The other instances follow the first one.
        let first = |id: &GenId| self.machine.instance(*id) == Some(0);
        let known = |(id, running): (&GenId, &Running)| {
            Some((*id, running.fingerprint.clone()?)).filter(|(id, _)| first(id))
        };
        let lock_file = LockFileWindow {
            started,
            until: Arc::default(),
        };
        let task = BuildTask {
            id,
            lock_file: lock_file.clone(),
            workdir: self.config.workdir.clone(),
            known: self.generations.iter().filter_map(known).collect(),
            output: plan.output(),
            silent: true,
            changed: self.builds.changed.clone(),
            plan,
            sender: self.sender.clone(),
            feed: self.feed.clone(),
        };
        tokio::spawn(task.run(process));
        self.builds.trigger.started(began);
        self.builds.lock_file = Some(lock_file);
        self.builds.guardian = Some(control.guardian());
        let cancelled = false;
        self.builds.active = Some(ActiveBuild { control, cancelled });
        Ok(())
    }

    /// Cancels the active build without waiting for its end.
    pub(super) fn cancel_build(&mut self) {
        if let Some(id) = self.builds.waiting.take() {
            let cancelled = GenEvent::BuildEnded(BuildOutcome::Cancelled);
            self.sender.event(id, cancelled);
        }
        let Some(build) = &mut self.builds.active else {
            return;
        };
        build.cancelled = true;
        build.control.stop(Signal::SIGTERM);
        let control = build.control.clone();
        tokio::spawn(async move {
            tokio::time::sleep(CANCEL_TIMEOUT).await;
            control.kill();
        });
    }

    /// Handles the end of a build, and reports the result to the machine.
    pub(super) fn built(&mut self, id: GenId, built: Result<Built, Option<Failure>>) {
        self.builds.trigger.ended(Instant::now());
        if let Some(window) = &self.builds.lock_file {
            window.until.get_or_init(SystemTime::now);
        }
        let build = self.builds.active.take();
        let cancelled = build.is_some_and(|build| build.cancelled);
        if built.is_ok() && !cancelled {
            self.builds.changed.clear();
        }
        let outcome = match built {
            // The machine no longer needs the result, even if the build ended before it was killed.
            Ok(_) | Err(_) if cancelled => BuildOutcome::Cancelled,
            Ok(built) => self.build_succeeded(id, built),
            Err(failure) => {
                if let Some(failure) = failure {
                    self.feed.error(failure.message(), failure.first_hint());
                }
                BuildOutcome::Failed
            }
        };
        self.handle(Event::Generation(id, GenEvent::BuildEnded(outcome)));
        // The program is restarted from the last good build, because its writes would cause one failure after the other.
        if outcome == BuildOutcome::Failed && self.start_shows_writer(&[]) {
            self.handle(Event::Changed(Action::Restart));
        }
    }

    /// Keeps the artifact of a build, unless it is the same as that of a running generation.
    fn build_succeeded(&mut self, id: GenId, built: Built) -> BuildOutcome {
        let Built {
            launch,
            fingerprint,
            like,
            unread,
        } = built;
        for path in unread {
            self.watch.watch.unread(path);
        }
        let machine = &self.machine;
        // The matching generation may have begun to drain in the meantime.
        let stays = |like: &GenId| {
            matches!(
                machine.phase(*like),
                Phase::Starting | Phase::Ready | Phase::Sharing | Phase::Live
            )
        };
        let like = like.filter(stays);
        if let Some((like, artifact)) = like.and_then(|like| Some((like, machine.artifact(like)?)))
        {
            self.artifacts.set_newest(artifact, launch, fingerprint);
            return BuildOutcome::Unchanged { like };
        }
        let needed = |artifact| machine.needed().any(|needed| needed == artifact);
        let own = ArtifactId(id.0);
        let kept = self.artifacts.keep(&launch, own, needed);
        if let Err(error) = &kept {
            // The artifact can still be started, but hotrun cannot roll back to it.
            let text = format!("cannot keep gen {id}'s executable: {error}");
            self.feed.message(Level::Detail, text, None);
        }
        let kept = kept.ok().flatten();
        if kept == Some(own) {
            self.feed.report(Report::ArtifactKept(id));
        }
        let artifact = kept.unwrap_or(own);
        self.artifacts.set_newest(artifact, launch, fingerprint);
        let kept = kept.is_some();
        BuildOutcome::Built { artifact, kept }
    }

    /// Reads cargo's configuration and determines the toolchain again, in a blocking thread, because rustup may take
    /// minutes to install a toolchain.
    fn renew_plan(&mut self) {
        let (config, sender) = (self.config.clone(), self.sender.clone());
        self.builds.is_planning = true;
        tokio::task::spawn_blocking(move || {
            let planned = Plan::new(&setup::plan_options(&config));
            sender.send(move |driver| driver.planned(planned));
        });
    }

    /// Uses the new plan for the build that waits for it, unless the plan is outdated again.
    pub(super) fn planned(&mut self, planned: Result<Plan, Failure>) {
        self.builds.is_planning = false;
        let is_provisional = match planned {
            Ok(plan) => {
                self.builds.plan = plan;
                self.builds.plan.is_provisional()
            }
            // The build will fail with cargo's own message.
            Err(error) => {
                let text = error.message();
                self.feed.message(Level::Warning, text, error.first_hint());
                true
            }
        };
        self.build_waiting();
        // The next build renews a provisional plan.
        self.builds.plan_is_outdated |= is_provisional;
    }

    /// Starts the build that waits. Returns whether there is one.
    pub(super) fn build_waiting(&mut self) -> bool {
        let Some(id) = self.builds.waiting.take() else {
            return false;
        };
        if let Some(failed) = self.perform(Effect::Generation(id, GenEffect::Build)) {
            self.handle(failed);
        }
        true
    }
}
