//! Handles changed files, and updates the set of watched files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use crate::build::{BuildInputs, WatchRoots};
use crate::os::{self, KERNEL_TICK};
use crate::reload::{Action, Event, GenId};
use crate::ui::{self, Level, Report};
use crate::watch::{
    Change, InputSet, RuleAction, SelfTrigger, Verdict, WatchMessage, WatchUpdate, action_for,
    is_source,
};

use super::state::{Driver, WatchSet};

impl Driver {
    pub(super) fn watched(&mut self, message: WatchMessage) {
        match message {
            WatchMessage::Watching { dirs } => {
                self.feed.report(Report::Watching(dirs));
                // The first build waits for the watch, which would otherwise miss changes during that build.
                if !std::mem::replace(&mut self.watch.begun, true) {
                    self.handle(Event::Begin);
                }
            }
            WatchMessage::Touched => self.handle(Event::ChangeSeen),
            WatchMessage::Settled => self.handle(Event::ChangesSettled),
            WatchMessage::Changed { changes, seen } => self.changed(changes, seen),
            WatchMessage::NoEffect {
                path,
                is_input,
                seen,
            } => self.saved_without_effect(&path, is_input, seen),
            WatchMessage::Trouble { text, hint } => {
                self.feed.message(Level::Warning, text, Some(hint.into()));
            }
        }
    }

    fn changed(&mut self, mut changes: Vec<Change>, seen: Instant) {
        changes.retain(|change| !self.wrote_lock_file(&change.path));
        let own = changes.extract_if(.., |change| self.is_own(change));
        let own: Vec<_> = own.map(|change| change.path).collect();
        self.name_written(own);
        // A symbolic link on the way to a rule's files may lead elsewhere now.
        for rule in &mut self.config.rules {
            *rule = rule.normalised();
        }
        let any_is_new = changes.iter().any(|change| change.is_new);
        let mut paths: Vec<_> = changes.into_iter().map(|change| change.path).collect();
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
        if actions.is_empty() {
            return;
        }
        // The terminal names the first file. If there is a build, that is one of its sources.
        let built = actions.get(&RuleAction::Build);
        paths.sort_by_key(|path| built.is_none_or(|built| !built.contains(path)));
        self.feed.report(Report::Changed(paths));
        let restarts = actions.remove(&RuleAction::Restart);
        let builds = actions.get(&RuleAction::Build);
        let acted_on = restarts.iter().chain(builds).flatten().cloned();
        let mut acted_on = Vec::from_iter(acted_on);
        let (mut restarts, builds) = (restarts.is_some(), builds.is_some());
        self.hooks.changed(&acted_on);
        // The program writes files, not sources.
        acted_on.retain(|path| !is_source(path));
        if !acted_on.is_empty() {
            let suspicion = &mut self.builds.suspicion;
            let often = suspicion.changed(seen, &acted_on, any_is_new);
            restarts |= self.find_writer(&often);
        }
        // Commands come first, because they may generate sources.
        for (action, paths) in actions.into_iter().rev() {
            match action {
                RuleAction::Run(line) => self.run_command(&line, paths),
                RuleAction::Signal(signal) => self.handle(Event::ConfigChanged { signal }),
                RuleAction::Build => self.handle(Event::Changed(Action::Build)),
                RuleAction::Restart | RuleAction::Ignore => {}
            }
        }
        // Comes last, because it waits for the build, which may turn out to change nothing. Without a build command,
        // the program has already been restarted.
        if restarts && !(builds && self.builds.plan.build_command().is_none()) {
            self.handle(Event::Changed(Action::Restart));
        }
    }

    /// Says once for each of the two reasons why a saved file has no effect, unless a run may have written it.
    fn saved_without_effect(&mut self, path: &Path, is_input: bool, seen: Instant) {
        let stated = last_change(&[path.to_owned()]).unwrap_or(seen);
        let is_during = |run: &SelfTrigger| run.explains(&[], run.time_of(stated, seen));
        let is_by_run = self.triggers().any(is_during);
        let path = ui::path(path, &self.config.workdir);
        let (topic, text) = match is_input {
            true => (
                "unchanged file",
                format!("`{path}` was saved, but is unchanged (press `r` to reload anyway)"),
            ),
            false => (
                "unread file",
                format!(
                    "`{path}` was saved, but the build does not read it (`--on '{}=restart'` restarts the program)",
                    globset::escape(&path)
                ),
            ),
        };
        let excused = is_by_run || self.machine.is_busy();
        if !excused && self.reported.once.insert(topic) {
            self.feed.message(Level::Info, text, None);
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

    /// Whether a process that hotrun has started made this change, so that it does not count. What the program writes
    /// does not count. What a build writes counts the first time. What a rule's command writes may be a source.
    fn is_own(&mut self, change: &Change) -> bool {
        let builds = &mut self.builds;
        let Some(child) = change.writer else {
            return false;
        };
        let mut commands = self.commands.values();
        if commands.any(|command| command.guardian == Some(child)) {
            return false;
        }
        if builds.guardian == Some(child) {
            return builds.trigger.caught(&change.path);
        }
        builds.suspicion.confirmed();
        true
    }

    /// Names files that the program or the build writes, but only two with each extension in a directory. With the second
    /// one, the hint shows a glob for both.
    fn name_written(&mut self, mut paths: Vec<PathBuf>) {
        paths.retain(|path| self.is_unnamed(path));
        let mut all = BTreeSet::new();
        paths.retain(|path| {
            let dir = path.parent().unwrap_or(path).to_owned();
            let kind = path.extension().unwrap_or_default().to_owned();
            let named = self.reported.kinds.entry((dir, kind)).or_default();
            let names = named.len() < 2;
            if names {
                named.push(path.clone());
                all.extend(named.iter().cloned());
            }
            names
        });
        let all: Vec<PathBuf> = all.into_iter().collect();
        if !paths.is_empty() {
            let named = self.named(&paths);
            let text = format!("the program or the build writes {named}; such changes are ignored");
            let hint = format!(
                "if an edit of yours is missed, press `r`; `{}` ignores all edits",
                self.options(&all, |pattern| format!("--ignore '{pattern}'"))
            );
            self.feed.message(Level::Info, text, Some(hint));
        }
    }

    /// Names files that have changed often without a start. Returns whether to restart the program to find out whether
    /// it writes them.
    fn find_writer(&mut self, often: &[PathBuf]) -> bool {
        if often.is_empty() {
            return false;
        }
        let text = format!("{} changed again and again", self.named(often));
        let restarts = self.start_shows_writer(often);
        if restarts {
            let text = text + "; restarting once to find out whether the program does that";
            self.feed.message(Level::Info, text, None);
        } else if self.reported.once.insert("repeated changes") {
            let option = self.options(often, |pattern| format!("--ignore '{pattern}'"));
            let hint = format!("if a program does that, use `{option}`");
            self.feed.message(Level::Info, text, Some(hint));
        }
        restarts
    }

    /// Whether another start shows if the running program writes these files.
    pub(super) fn start_shows_writer(&self, paths: &[PathBuf]) -> bool {
        let running = self.adopts && !self.generations.is_empty();
        running && self.builds.suspicion.needs_start(paths)
    }

    /// Whether this file has not been named as written by the program or a run. It counts as named from now on.
    fn is_unnamed(&mut self, path: &Path) -> bool {
        self.reported.written.insert(path.to_owned())
    }

    /// Whether to take the action now. False if the action is `Ignore`, is postponed, or caused these changes itself.
    fn is_wanted(&mut self, action: &RuleAction, paths: &[PathBuf], seen: Instant) -> bool {
        let stated = last_change(paths).unwrap_or(seen);
        let shows_writer = self.start_shows_writer(paths);
        let trigger = &mut self.builds.trigger;
        let changed = trigger.time_of(stated, seen);
        let (verdict, writer) = match action {
            RuleAction::Ignore => return false,
            RuleAction::Signal(_) => return true,
            RuleAction::Restart if paths.iter().all(|path| is_source(path)) => {
                let verdict = self.builds.restarts.judge(paths, seen);
                (verdict, "the program".to_owned())
            }
            RuleAction::Restart => return !trigger.explains(paths, changed),
            // The build that comes before the start must not be cancelled again and again.
            RuleAction::Build if shows_writer => {
                trigger.postpone();
                return false;
            }
            RuleAction::Build => (trigger.judge(paths, changed), "the build".to_owned()),
            RuleAction::Run(line) => {
                let trigger = &mut self.commands.entry(line.clone()).or_default().trigger;
                let verdict = trigger.judge(paths, trigger.time_of(stated, seen));
                (verdict, format!("`{line}`"))
            }
        };
        if verdict == Verdict::SelfTriggered {
            self.report_self_triggered(action, paths, &writer);
        }
        // A command is never cancelled.
        let cancels = verdict == Verdict::AfterPause && *action == RuleAction::Build;
        verdict == Verdict::Now || cancels
    }

    fn report_self_triggered(&mut self, action: &RuleAction, paths: &[PathBuf], writer: &str) {
        let mut paths = paths.to_vec();
        paths.retain(|path| self.is_unnamed(path));
        if paths.is_empty() {
            return;
        }
        let named = self.named(&paths);
        let text = format!(
            "{writer} rewrites its own input {named} on every run; such changes are now ignored"
        );
        // `--ignore` does not apply to files that match a rule.
        let option = match *action == RuleAction::Build {
            true => self.options(&paths, |pattern| format!("--ignore '{pattern}'")),
            false => self.options(&paths, |pattern| format!("--on '{pattern}=ignore'")),
        };
        let hint =
            format!("make it write only what has changed, or exclude the input with `{option}`");
        self.feed.message(Level::Warning, text, Some(hint));
    }

    /// Names up to three files.
    fn named(&self, paths: &[PathBuf]) -> String {
        let named = paths.iter().take(3);
        let named = named.map(|path| format!("`{}`", ui::path(path, &self.config.workdir)));
        named.collect::<Vec<_>>().join(", ")
    }

    /// The options for globs that match these files. Several files with the same extension in a directory share one.
    fn options(&self, paths: &[PathBuf], option: impl Fn(String) -> String) -> String {
        let mut globs: BTreeMap<_, Vec<&PathBuf>> = BTreeMap::new();
        for path in paths {
            let kind = path.extension().map(|kind| (path.parent(), kind));
            let alone = kind.is_none().then_some(path);
            globs.entry((kind, alone)).or_default().push(path);
        }
        let globs = globs.into_iter().take(3);
        let options = globs.map(|((kind, _), like)| {
            let glob = self.pattern(like[0]);
            option(match (kind, &like[..]) {
                (Some((_, kind)), [_, _, ..]) => {
                    let dir = glob.rfind('/').map_or("", |end| &glob[..=end]);
                    format!("{dir}*.{}", globset::escape(&kind.to_string_lossy()))
                }
                (Some(_) | None, _) => glob,
            })
        });
        options.collect::<Vec<_>>().join(" ")
    }

    /// A glob that matches this file.
    fn pattern(&self, path: &Path) -> String {
        let short = path.strip_prefix(&self.config.workdir).ok();
        let short = short.or(path.file_name().map(Path::new)).unwrap_or(path);
        globset::escape(&short.to_string_lossy())
    }

    /// Watches the inputs of a build, unless `--watch` is set.
    ///
    /// `files`: the files to watch; if the build failed or its inputs are unknown, the places in which every file is
    /// watched.
    pub(super) fn watch_inputs(
        &mut self,
        id: GenId,
        began: SystemTime,
        files: Result<BuildInputs, WatchRoots>,
    ) {
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
            ..
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

/// When these files last changed, according to the file system. `None` if one of them is gone or is a source.
fn last_change(paths: &[PathBuf]) -> Option<Instant> {
    let age = |path: &PathBuf| {
        let file = (!is_source(path)).then_some(path)?;
        let metadata = fs::symlink_metadata(file).ok()?;
        os::change_time(&metadata).elapsed().ok()
    };
    let youngest = paths.iter().map(age).min().flatten();
    (Instant::now() + KERNEL_TICK).checked_sub(youngest?)
}
