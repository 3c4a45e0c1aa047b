//! Handles changed files, and updates the set of watched files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::build::{BuildInputs, WatchRoots};
use crate::os;
use crate::reload::{Action, Event};
use crate::ui::{Level, Report};
use crate::watch::{Batch, InputSet, RuleAction, Verdict, WatchMessage, WatchUpdate, action_for};

use super::state::{Driver, WatchSet};
use super::task_message::Inputs;

impl Driver {
    pub(super) fn watched(&mut self, message: WatchMessage) {
        match message {
            WatchMessage::Watching { dirs, .. } => {
                self.feed.report(Report::Watching { directories: dirs });
                // The first build waits for the watch, which would otherwise miss changes during that build.
                if !std::mem::replace(&mut self.watch.begun, true) {
                    self.handle(Event::Begin);
                }
            }
            WatchMessage::Changed { paths, seen } => self.changed(paths, seen),
            WatchMessage::Trouble { text, hint } => {
                self.feed.message(Level::Warning, text, Some(hint.into()));
            }
        }
    }

    fn changed(&mut self, mut paths: Vec<PathBuf>, seen: (Instant, Instant)) {
        paths.retain(|path| !self.wrote_lock_file(path));
        let mut actions: BTreeMap<RuleAction, Vec<PathBuf>> = BTreeMap::new();
        for path in &paths {
            let action = action_for(&self.config.rules, path);
            let action = action.unwrap_or(&RuleAction::Build).clone();
            actions.entry(action).or_default().push(path.clone());
        }
        actions.retain(|action, paths| self.is_wanted(action, paths, seen));
        // A build includes a restart.
        if actions.contains_key(&RuleAction::Build) {
            actions.remove(&RuleAction::Restart);
        }
        if actions.is_empty() {
            return;
        }
        self.builds.plan_is_outdated |= self.builds.plan.is_outdated_by(&paths);
        let built = actions.get(&RuleAction::Build).into_iter().flatten();
        self.builds.changed.extend(built.cloned());
        self.feed.report(Report::Changed { paths });
        // Commands come first, because they may generate sources.
        for action in actions.into_keys().rev() {
            match action {
                RuleAction::Run(line) => self.run_command(&line),
                RuleAction::Signal(signal) => self.handle(Event::ConfigChanged { signal }),
                RuleAction::Restart => self.handle(Event::Changed(Action::Restart)),
                RuleAction::Build => self.handle(Event::Changed(Action::Build)),
                RuleAction::Ignore => {}
            }
        }
    }

    /// Whether this is a `Cargo.lock` that cargo itself wrote because a manifest had changed.
    fn wrote_lock_file(&self, path: &Path) -> bool {
        let window = self.builds.lock_file.as_ref();
        let window = window.filter(|_| path.ends_with("Cargo.lock"));
        window.is_some_and(|window| {
            let written = fs::metadata(path).and_then(|metadata| metadata.modified());
            written.is_ok_and(|written| window.contains(written))
        })
    }

    /// Whether to take the action now. False if the action is `Ignore`, is postponed, or caused these changes itself.
    fn is_wanted(
        &mut self,
        action: &RuleAction,
        paths: &[PathBuf],
        seen: (Instant, Instant),
    ) -> bool {
        let (trigger, writer, option) = match action {
            RuleAction::Ignore => return false,
            RuleAction::Signal(_) | RuleAction::Restart => return true,
            RuleAction::Build => {
                let trigger = &mut self.builds.trigger;
                (trigger, "the build".to_owned(), "`--ignore`")
            }
            RuleAction::Run(line) => match self.commands.get_mut(line) {
                Some(command) => {
                    let trigger = &mut command.trigger;
                    (trigger, format!("`{line}`"), "`--on 'FILE=ignore'`")
                }
                None => return true,
            },
        };
        let batch = Batch {
            paths,
            seen,
            changed: last_change(paths),
        };
        match trigger.judge(&batch, Instant::now()) {
            Verdict::Now => return true,
            Verdict::Later(_) | Verdict::Nothing => {}
            Verdict::SelfTriggered => self.report_self_triggered(paths, &writer, option),
        }
        false
    }

    fn report_self_triggered(&self, paths: &[PathBuf], writer: &str, option: &str) {
        let named = paths.iter().take(3);
        let named: Vec<_> = named.map(|path| format!("`{}`", path.display())).collect();
        let named = named.join(", ");
        let text = format!(
            "{writer} rewrites its own input {named} on every run; such changes are now ignored"
        );
        let hint = format!(
            "make it write the file only if the contents have changed, or exclude the file with {option}"
        );
        self.feed.message(Level::Warning, text, Some(hint));
    }

    /// Watches the inputs of a build, unless `--watch` is set.
    pub(super) fn watch_inputs(&mut self, inputs: Inputs) {
        let Inputs {
            id,
            began,
            files,
            unread,
        } = inputs;
        // Asking cargo takes time, so a newer build may have finished in the meantime.
        if !self.config.cli.watch.is_empty() || self.watch.newest > Some(id) {
            return;
        }
        self.watch.newest = Some(id);
        let (roots, inputs) = match files {
            Ok(inputs) => self.watch.only_inputs(inputs),
            Err(roots) => (self.watch.all_files(roots), None),
        };
        self.watch.watch.update(WatchUpdate {
            roots,
            ignored_dirs: ignored_paths(&self.watch.roots),
            inputs,
            since: began,
            unread,
        });
    }
}

impl WatchSet {
    fn only_inputs(&mut self, inputs: BuildInputs) -> (Vec<PathBuf>, Option<InputSet>) {
        let BuildInputs {
            files,
            cargo_files,
            dirs,
            packages,
        } = inputs;
        self.inputs = files.union(&dirs).cloned().collect();
        // Needed while a manifest is broken, because cargo cannot list the packages then.
        self.roots.dirs = packages.into_iter().collect();
        let inputs = InputSet {
            files,
            any_extension: cargo_files,
            dirs,
        };
        (self.roots.dirs.clone(), Some(inputs))
    }

    fn all_files(&mut self, found: WatchRoots) -> Vec<PathBuf> {
        for dir in found.dirs {
            if !self.roots.dirs.contains(&dir) {
                self.roots.dirs.push(dir);
            }
        }
        if !found.files.is_empty() {
            self.roots.files = found.files;
            self.roots.ignored = found.ignored;
        }
        // An input of the last successful build may be missing now and reappear later.
        let inputs = self.inputs.iter().cloned();
        watched_paths(&self.roots)
            .into_iter()
            .chain(inputs)
            .chain(found.to_mend)
            .collect()
    }
}

/// The paths whose changes are ignored. They include hotrun's own output files: with `hotrun … > log` in a watched
/// directory, each build would otherwise trigger the next one.
pub(super) fn ignored_paths(roots: &WatchRoots) -> Vec<PathBuf> {
    let output = os::output_files();
    roots.ignored.iter().cloned().chain(output).collect()
}

/// The paths to watch if `--watch` is not set.
pub(super) fn watched_paths(roots: &WatchRoots) -> Vec<PathBuf> {
    roots.dirs.iter().chain(&roots.files).cloned().collect()
}

/// When these files last changed; `None` if one of them no longer exists.
fn last_change(paths: &[PathBuf]) -> Option<SystemTime> {
    let changed = paths.iter().map(|path| {
        let metadata = fs::symlink_metadata(path).ok()?;
        let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
        let nanoseconds = u32::try_from(metadata.ctime_nsec()).unwrap_or(0);
        Some(UNIX_EPOCH + Duration::new(seconds, nanoseconds))
    });
    changed.collect::<Option<Vec<_>>>()?.into_iter().max()
}
