mod facts;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{Level, Report};
pub(super) use facts::{BuildLog, BuildProgress, LastResult, Problem, ShownGeneration};

use crate::reload::{Cause, GenFailure, GenId, GenNotice, Notice, Phase, Stopped};

/// The state to show. It depends only on the reports and on when they arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    /// The generations that are not gone.
    pub(super) generations: BTreeMap<GenId, ShownGeneration>,
    /// The sockets that hotrun opened: name and address.
    pub(super) listening: Vec<(String, String)>,
    /// The addresses that the live generation's program has opened. If no generation is live: those of the last live
    /// one, or of another that has opened an address since.
    program_addresses: Vec<String>,
    /// The build in progress.
    pub(super) building: Option<BuildProgress>,
    /// Why the newest generation was built or started.
    pub(super) cause: Option<Cause>,
    /// One of the changed files that triggered the newest generation, and their number.
    pub(super) changed: Option<(PathBuf, usize)>,
    /// The same of the last change, as long as the change has not triggered a generation: a rule may run a command
    /// instead, or the change may have to wait for the next build.
    unbuilt: Option<(PathBuf, usize)>,
    /// The result of the newest generation.
    pub(super) last: LastResult,
    /// The last failure other than a failed build, until it no longer matters.
    start_problem: Option<Problem>,
    /// The newest failed build, until a build succeeds. [`Self::last_build_log`] contains its errors.
    pub(super) broken_build: Option<Problem>,
    /// The output of the current build.
    pub(super) build_log: BuildLog,
    /// The output of the last build that ended. Cancelled builds do not count.
    pub(super) last_build_log: BuildLog,
    /// Whether the live generation is the result of a rollback.
    pub(super) rolled_back: bool,
    /// Whether no generation is live and hotrun waits for a change or a request.
    pub(super) waiting: bool,
    /// Whether reloading is paused.
    pub(super) paused: bool,
    /// Whether files have changed during the pause.
    pub(super) changes_pending: bool,
    /// Whether there may be an earlier artifact to roll back to.
    pub(super) undoable: bool,
    /// The newest generation whose artifact is kept.
    artifact: Option<GenId>,
    /// Whether a generation with a kept artifact has been live.
    artifact_was_live: bool,
    /// The sources that are down, each with the time since when.
    pub(super) sources_down: BTreeMap<String, Duration>,
    /// When hotrun began to quit, and the timeout for quitting.
    pub(super) quitting: Option<(Duration, Duration)>,
}

impl Model {
    /// Applies a report. `now` is the time on the user interface's clock.
    pub(super) fn fold(&mut self, report: &Report, now: Duration) {
        match report {
            Report::Notice(Notice::Generation(id, notice)) => {
                self.fold_generation(*id, *notice, now);
            }
            Report::Notice(Notice::Quitting { timeout }) => self.quitting = Some((now, *timeout)),
            Report::Notice(Notice::Waiting) => self.waiting = true,
            Report::Notice(Notice::Undone { .. }) => self.reload_undone(),
            Report::Notice(Notice::Paused) => self.paused = true,
            Report::Notice(Notice::Resumed) => {
                (self.paused, self.changes_pending) = (false, false);
            }
            Report::Listening {
                by, name, address, ..
            } => match by {
                None => self.listening.push((name.clone(), address.clone())),
                Some(id) => self.program_listens(*id, address),
            },
            Report::Spawned { id, pid, program } => self.update(*id, |generation| {
                generation.pid = Some(*pid);
                generation.program.clone_from(program);
            }),
            Report::Instance(id, number) => self.is_instance(*id, *number),
            Report::EarlierBuild(id, build) => {
                self.update(*id, |generation| generation.build = Some(*build));
            }
            Report::MainProcess(id, pid) => {
                self.update(*id, |generation| generation.pid = Some(*pid));
            }
            Report::Status(id, text) => {
                self.update(*id, |generation| generation.status.clone_from(text));
            }
            Report::Connections(id, count) => {
                self.update(*id, |generation| generation.connections = Some(*count));
            }
            Report::Changed(paths) => {
                self.changes_pending |= self.paused;
                self.unbuilt = paths.first().map(|first| (first.clone(), paths.len()));
            }
            Report::Source(name, down) => self.source(name, down.is_some(), now),
            Report::Diagnostic {
                level, rendered, ..
            } => self.diagnostic(*level, rendered),
            Report::Progress { done, all, .. } => {
                if let Some(building) = &mut self.building {
                    (building.progress, building.blocked) = (Some((*done, *all)), false);
                }
            }
            Report::BuildBlocked => self.build_blocked(),
            Report::ArtifactKept(id) => self.artifact = Some(*id),
            Report::BuildLine(_, text) => self.build_log.add(text),
            Report::Notice(
                Notice::NothingToUndo | Notice::NothingShared | Notice::NothingToKill,
            )
            | Report::Watching(..)
            | Report::Output(..)
            | Report::OutputEnded(..)
            | Report::Message { .. } => {}
        }
    }

    fn source(&mut self, name: &str, is_down: bool, now: Duration) {
        if is_down {
            self.sources_down.entry(name.to_owned()).or_insert(now);
        } else {
            self.sources_down.remove(name);
        }
    }

    fn build_blocked(&mut self) {
        if let Some(building) = &mut self.building {
            building.blocked = true;
        }
    }

    fn reload_undone(&mut self) {
        self.begin(Cause::Undo);
        self.last = LastResult {
            undone: true,
            ..LastResult::default()
        };
    }

    fn update(&mut self, id: GenId, change: impl FnOnce(&mut ShownGeneration)) {
        if let Some(generation) = self.generations.get_mut(&id) {
            change(generation);
        }
    }

    fn is_instance(&mut self, id: GenId, number: usize) {
        self.update(id, |generation| generation.instance = Some(number));
    }

    /// Records that a program has opened a socket.
    fn program_listens(&mut self, id: GenId, address: &str) {
        if let Some(generation) = self.generations.get_mut(&id)
            && !generation.addresses.iter().any(|known| known == address)
        {
            generation.addresses.push(address.to_owned());
            if self.live().is_none_or(|live| live == id) {
                self.use_addresses(id);
            }
        }
    }

    /// Shows this generation's addresses from now on.
    fn use_addresses(&mut self, id: GenId) {
        if let Some(generation) = self.generations.get(&id) {
            self.program_addresses.clone_from(&generation.addresses);
        }
    }

    /// An address where connections wait while no generation is live.
    pub(super) fn waits_at(&self) -> Option<&str> {
        let listening = self.listening.iter().map(|(_, address)| address);
        let mut all = listening.chain(&self.program_addresses);
        all.next().map(String::as_str)
    }

    fn diagnostic(&mut self, level: Level, rendered: &str) {
        self.build_log.diagnostic(level, rendered);
        self.last.warnings += usize::from(level == Level::Warning);
    }

    fn fold_generation(&mut self, id: GenId, notice: GenNotice, now: Duration) {
        match notice {
            GenNotice::Building { cause } => self.building(id, cause, now),
            GenNotice::Built { took } => {
                self.build_ended();
                self.last.built = Some(took);
                self.broken_build = None;
            }
            GenNotice::Unchanged { like } => self.unchanged(id, like),
            GenNotice::BuildCancelled | GenNotice::Outdated => {
                self.building = None;
                self.generations.remove(&id);
            }
            GenNotice::Starting { cause } => self.starting(id, cause, now),
            GenNotice::Ready { took } => {
                self.enter(id, Phase::Ready, now).ready = Some(took);
                self.last.ready = Some(took);
            }
            GenNotice::Sharing { percent } => {
                if self
                    .generations
                    .get(&id)
                    .is_none_or(|known| known.share.is_none())
                {
                    self.enter(id, Phase::Sharing, now);
                }
                self.update(id, |generation| generation.share = Some(percent));
            }
            GenNotice::Live { .. } => self.went_live(id, now),
            GenNotice::Restored { cause } => self.restored(id, cause, now),
            GenNotice::Kept { time } => {
                let generation = self.enter(id, Phase::Kept, now);
                generation.drain = Some(time);
            }
            GenNotice::KeptEnded { .. } => self.enter(id, Phase::Draining, now).failed = true,
            GenNotice::Draining { timeout } => {
                self.enter(id, Phase::Draining, now).drain = Some(timeout);
            }
            GenNotice::TimeoutExtended { left } => self.update(id, |generation| {
                let age = now.saturating_sub(generation.since);
                generation.drain = generation.drain.map(|drain| drain.max(age + left));
            }),
            GenNotice::Killing { why, .. } => self.update(id, |generation| {
                generation.killed = why != Stopped::Drained;
            }),
            GenNotice::Superseded => self.enter(id, Phase::Draining, now).failed = true,
            GenNotice::Failed { failure, .. } => self.failed(id, failure, now),
            GenNotice::Gone { .. } => drop(self.generations.remove(&id)),
            GenNotice::ReloadSignalSent { .. }
            | GenNotice::ReloadSignalUnhandled { .. }
            | GenNotice::StoredFds
            | GenNotice::NotReplaced
            | GenNotice::MakesRoom { .. }
            | GenNotice::RestartScheduled { .. }
            | GenNotice::Aborting { .. } => {}
        }
    }

    fn building(&mut self, id: GenId, cause: Cause, now: Duration) {
        self.begin(cause);
        self.take_changes(cause);
        self.enter(id, Phase::Building, now);
        self.build_log = BuildLog::default();
        self.last = LastResult::default();
        self.building = Some(BuildProgress {
            id,
            since: now,
            progress: None,
            blocked: false,
        });
    }

    fn build_ended(&mut self) {
        self.building = None;
        self.last_build_log = std::mem::take(&mut self.build_log);
    }

    fn unchanged(&mut self, id: GenId, like: GenId) {
        self.build_ended();
        self.generations.remove(&id);
        self.last.unchanged = true;
        self.broken_build = None;
        // The sources match the live generation again, so earlier failures no longer matter.
        let is_live = self.live() == Some(like);
        self.start_problem.take_if(|_| is_live);
    }

    fn starting(&mut self, id: GenId, cause: Cause, now: Duration) {
        if cause == Cause::Follow {
            // The result of the first instance stays.
            self.enter(id, Phase::Starting, now);
            return;
        }
        self.begin(cause);
        if !self.generations.contains_key(&id) {
            // This generation was not built, so the result of the last build does not apply to it.
            self.take_changes(cause);
            self.last = LastResult::default();
        }
        self.enter(id, Phase::Starting, now);
    }

    fn went_live(&mut self, id: GenId, now: Duration) {
        self.enter(id, Phase::Live, now).live_since = Some(now);
        self.use_addresses(id);
        self.undoable |=
            self.artifact == Some(id) && std::mem::replace(&mut self.artifact_was_live, true);
        // After a rollback, the newest sources are still broken, even if the earlier artifact is restarted.
        let restarted = self.cause != Some(Cause::Undo) && self.earlier_build(id).is_some();
        self.rolled_back &= restarted || self.cause == Some(Cause::Crash);
        self.rolled_back |= self.cause == Some(Cause::RollBack);
        self.undoable &= !self.rolled_back;
        self.start_problem.take_if(|_| !self.rolled_back);
    }

    fn restored(&mut self, id: GenId, cause: Cause, now: Duration) {
        let generation = self.enter(id, Phase::Live, now);
        // The program has been running the whole time.
        generation.since = generation.live_since.unwrap_or(now);
        generation.drain = None;
        self.use_addresses(id);
        if cause == Cause::Undo {
            self.begin(cause);
            self.last = LastResult {
                restored: true,
                ..LastResult::default()
            };
            (self.start_problem, self.rolled_back) = (None, false);
        } else {
            self.undoable = false;
        }
    }

    /// Whether undoing would do something, as far as that is known.
    pub(super) fn may_undo(&self) -> bool {
        self.undoable || self.has_kept()
    }

    /// Whether a generation is kept.
    pub(super) fn has_kept(&self) -> bool {
        let mut all = self.generations.values();
        all.any(|generation| generation.phase == Phase::Kept)
    }

    /// Records that a build or a start begins.
    fn begin(&mut self, cause: Cause) {
        self.waiting = false;
        if cause == Cause::Request {
            self.changes_pending = false;
        }
        self.cause = Some(cause);
        self.changed.take_if(|_| cause != Cause::Change);
    }

    /// Records that the last change triggered the new generation.
    fn take_changes(&mut self, cause: Cause) {
        let unbuilt = self.unbuilt.take();
        if cause == Cause::Change && unbuilt.is_some() {
            self.changed = unbuilt;
        }
    }

    fn failed(&mut self, id: GenId, failure: GenFailure, now: Duration) {
        if matches!(failure, GenFailure::Build | GenFailure::Start) {
            self.generations.remove(&id);
        } else {
            self.enter(id, Phase::Draining, now).failed = true;
        }
        let problem = Some(Problem { id, failure });
        if failure == GenFailure::Build {
            self.build_ended();
            // The new problem replaces all earlier ones.
            (self.broken_build, self.start_problem) = (problem, None);
        } else {
            self.start_problem = problem;
        }
    }

    /// The problem to show.
    pub(super) fn problem(&self) -> Option<Problem> {
        self.start_problem.or(self.broken_build)
    }

    fn enter(&mut self, id: GenId, phase: Phase, now: Duration) -> &mut ShownGeneration {
        let generation = self.generations.entry(id).or_default();
        generation.phase = phase;
        generation.since = now;
        generation
    }

    /// The earlier generation whose build this one runs; `None` if it runs its own.
    pub(super) fn earlier_build(&self, id: GenId) -> Option<GenId> {
        self.generations.get(&id)?.build
    }

    /// The generation that gets new connections.
    pub(super) fn live(&self) -> Option<GenId> {
        let mut all = self.generations.iter();
        let live = all.find(|(_, generation)| generation.phase == Phase::Live);
        live.map(|(id, _)| *id)
    }

    /// Whether another generation's program is running, so that output needs labels.
    pub(super) fn overlaps(&self, id: GenId) -> bool {
        let mut others = self.generations.iter().filter(|(other, _)| **other != id);
        others.any(|(_, other)| !matches!(other.phase, Phase::Building | Phase::Gone))
    }
}

#[cfg(test)]
mod tests;
