//! Handles changed files, and updates the set of watched files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::build::{BuildInputs, WatchRoots};
use crate::os;
use crate::reload::{Action, Event, GenId};
use crate::ui::{Level, Report};
use crate::watch::{
    Batch, InputSet, RuleAction, SelfTrigger, Verdict, WatchMessage, WatchUpdate, WrittenFile,
    action_for,
};

use super::state::{Driver, WatchSet};

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
            WatchMessage::Changed {
                mut paths,
                new,
                seen,
            } => {
                let program = &self.builds.program;
                paths.retain(|path| !program.makes(path, new.contains(path), !path.exists()));
                self.changed(paths, seen);
            }
            WatchMessage::Written { written, seen } => self.written(written, seen),
            WatchMessage::Trouble { text, hint } => {
                self.feed.message(Level::Warning, text, Some(hint.into()));
            }
        }
    }

    fn changed(&mut self, mut paths: Vec<PathBuf>, seen: (Instant, Instant)) {
        paths.retain(|path| !self.wrote_lock_file(path));
        // A symbolic link on the way to a rule's files may lead elsewhere now.
        for rule in &mut self.config.rules {
            *rule = rule.normalised();
        }
        let mut actions: BTreeMap<RuleAction, Vec<PathBuf>> = BTreeMap::new();
        for path in &paths {
            let action = action_for(&self.config.rules, path);
            let action = action.unwrap_or(&RuleAction::Build).clone();
            actions.entry(action).or_default().push(path.clone());
        }
        // Recorded even if the build is postponed.
        self.builds.plan_is_outdated |= self.builds.plan.is_outdated_by(&paths);
        let built = actions.get(&RuleAction::Build).into_iter().flatten();
        self.builds.changed.extend(built.cloned());
        actions.retain(|action, paths| self.is_wanted(action, paths, seen));
        // A build includes a restart.
        if actions.contains_key(&RuleAction::Build) {
            actions.remove(&RuleAction::Restart);
        }
        if actions.is_empty() {
            return;
        }
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

    /// Handles files that were written by processes that hotrun has started. What the program writes does not count.
    /// What a build writes counts the first time, because the build may have read the file before. What a rule's
    /// command writes may be a source.
    fn written(&mut self, written: Vec<WrittenFile>, seen: (Instant, Instant)) {
        let commands = self.commands.values();
        let commands: Vec<_> = commands.filter_map(|command| command.guardian).collect();
        let builds = &mut self.builds;
        let counts = |file: &WrittenFile| {
            let is_built = builds.guardian == Some(file.child);
            commands.contains(&file.child) || is_built && builds.made.insert(file.path.clone())
        };
        let (made, own): (Vec<_>, Vec<_>) = written.into_iter().partition(counts);
        let mut new = Vec::new();
        for WrittenFile {
            path,
            child,
            closed,
        } in own
        {
            let writer = match builds.guardian == Some(child) {
                true => &mut builds.trigger,
                false => &mut builds.program,
            };
            let batch = Batch {
                paths: &[],
                seen,
                changed: None,
            };
            let during = writer.during(&batch);
            writer.caught(&path, during, closed);
            let dir = path.parent().unwrap_or(&path).to_owned();
            let kind = path.extension().unwrap_or_default().to_owned();
            let is_new = self
                .reported
                .written
                .insert((path.clone(), OsString::new()));
            if is_new && self.reported.written.insert((dir, kind)) {
                new.push(path);
            }
        }
        if !made.is_empty() {
            self.changed(made.into_iter().map(|file| file.path).collect(), seen);
        }
        if !new.is_empty() {
            let named = self.named(&new);
            let text = format!("the program or the build writes {named}; such changes are ignored");
            let hint = format!(
                "if you edit such a file yourself, press `r`; {} ignores your edits, too",
                self.ignore_option(&new[0])
            );
            self.feed.message(Level::Info, text, Some(hint));
        }
    }

    /// Whether to take the action now. False if the action is `Ignore`, is postponed, or caused these changes itself.
    fn is_wanted(
        &mut self,
        action: &RuleAction,
        paths: &[PathBuf],
        seen: (Instant, Instant),
    ) -> bool {
        let batch = Batch {
            paths,
            seen,
            changed: last_change(paths),
        };
        match action {
            RuleAction::Ignore => false,
            RuleAction::Signal(_) => true,
            RuleAction::Build => self.needs_start(action, Action::Build, &batch),
            RuleAction::Restart => self.needs_start(action, Action::Restart, &batch),
            RuleAction::Run(line) => {
                let command = self.commands.get_mut(line);
                let verdict = command.map(|command| command.trigger.judge(&batch, Instant::now()));
                self.allows(
                    verdict.unwrap_or(Verdict::Now),
                    action,
                    paths,
                    &format!("`{line}`"),
                )
            }
        }
    }

    /// Whether to build or start because of these changes. A change during a build may be the build's own; any other
    /// change may be the program's.
    fn needs_start(&mut self, rule: &RuleAction, action: Action, batch: &Batch<'_>) -> bool {
        let (builds, now) = (&mut self.builds, Instant::now());
        let is_explained = |path: &PathBuf| {
            let mut writers = [&builds.trigger, &builds.program].into_iter();
            writers.any(|by: &SelfTrigger| by.explains(path, by.during(batch)))
        };
        if batch.paths.iter().all(is_explained) {
            return false;
        }
        if action == Action::Build {
            let during_build = builds.trigger.during(batch).is_some();
            let verdict = builds.trigger.judge(batch, now);
            if during_build {
                return self.allows(verdict, rule, batch.paths, "the build");
            }
        }
        // A program may write a file at the same time after each start, but so may a script that saves as soon as a
        // generation is live. Only what a program was seen writing does not count.
        true
    }

    /// Whether the verdict allows the action now. Reports the files if `writer` writes them.
    fn allows(
        &mut self,
        verdict: Verdict,
        action: &RuleAction,
        paths: &[PathBuf],
        writer: &str,
    ) -> bool {
        let then = match verdict {
            Verdict::Now => return true,
            Verdict::Later(_) | Verdict::Nothing => return false,
            Verdict::LaterAndLater(_) => "such changes are now acted on less and less often",
            Verdict::SelfTriggered => "such changes are now ignored",
        };
        self.report_self_triggered(action, paths, writer, then);
        false
    }

    fn report_self_triggered(
        &mut self,
        action: &RuleAction,
        paths: &[PathBuf],
        writer: &str,
        then: &str,
    ) {
        let name = (paths[0].clone(), OsString::new());
        if !self.reported.written.insert(name) {
            return;
        }
        let named = self.named(paths);
        let text = format!("{writer} rewrites its own input {named} on every run; {then}");
        let option = match action {
            RuleAction::Build => self.ignore_option(&paths[0]),
            RuleAction::Restart
            | RuleAction::Run(_)
            | RuleAction::Signal(_)
            | RuleAction::Ignore => {
                format!("`--on '{}=ignore'`", self.pattern(&paths[0]))
            }
        };
        let hint = format!(
            "make it write the file only if the contents have changed, or exclude the file with {option}"
        );
        self.feed.message(Level::Warning, text, Some(hint));
    }

    /// Names up to three files.
    fn named(&self, paths: &[PathBuf]) -> String {
        let named = paths.iter().take(3).map(|path| {
            let short = path.strip_prefix(&self.config.workdir).unwrap_or(path);
            format!("`{}`", short.display())
        });
        named.collect::<Vec<_>>().join(", ")
    }

    fn ignore_option(&self, path: &Path) -> String {
        format!("`--ignore '{}'`", self.pattern(path))
    }

    /// A glob that matches this file.
    fn pattern(&self, path: &Path) -> String {
        let short = path.strip_prefix(&self.config.workdir).ok();
        let short = short.or(path.file_name().map(Path::new)).unwrap_or(path);
        globset::escape(&short.to_string_lossy())
    }

    /// Requests the postponed build.
    pub(super) fn act_on_postponed(&mut self) {
        self.builds.trigger.cancel();
        self.handle(Event::Changed(Action::Build));
    }

    /// Watches the inputs of a build, unless `--watch` is set.
    ///
    /// `files`: the files to watch; if the build failed or its inputs are unknown, the places in which every file is
    /// watched. `unread`: files that have changed but that the build has not read.
    pub(super) fn watch_inputs(
        &mut self,
        id: GenId,
        began: SystemTime,
        files: Result<BuildInputs, WatchRoots>,
        unread: Vec<PathBuf>,
    ) {
        for path in unread {
            self.watch.watch.unread(path);
        }
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
