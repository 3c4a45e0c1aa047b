//! Changed files, as events.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::reload::{Action, Event};
use crate::ui::{Level, Report};
use crate::watch::{self, Batch, Message, RuleAction, Verdict};

use super::state::Driver;

/// What a changed file causes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Run(String),
    Signal(i32),
    Make(Action),
}

impl Driver {
    pub(super) fn watched(&mut self, message: Option<Message>) {
        match message {
            Some(Message::Watching { dirs, .. }) => {
                self.feed.report(Report::Watching { directories: dirs });
                // Not earlier: a change after the first build read the file would be missed.
                if !std::mem::replace(&mut self.watch.begun, true) {
                    self.handle(Event::Begin);
                }
            }
            Some(Message::Changed { paths, seen }) => self.changed(paths, seen),
            Some(Message::Trouble(trouble)) => {
                let hint = trouble.hint().map(str::to_owned);
                self.feed.message(Level::Warning, trouble.to_string(), hint);
            }
            None => {
                self.watch.ended = true;
                let hint = "`kill -USR1` reloads; restart hotrun to watch for changes again";
                let text = "the watch has ended; changes are no longer seen";
                self.feed.error(text, Some(hint.into()));
            }
        }
    }

    fn changed(&mut self, mut paths: Vec<PathBuf>, seen: (Instant, Instant)) {
        paths.retain(|path| !self.builds.wrote_lock_file(path));
        let mut effects = self.effects_of(&paths);
        effects.retain(|effect, paths| self.is_wanted(effect, paths, seen));
        // A build includes a restart.
        if effects.contains_key(&Effect::Make(Action::Build)) {
            effects.remove(&Effect::Make(Action::Restart));
        }
        if effects.is_empty() {
            return;
        }
        if self.builds.plan.is_outdated_by(&paths) {
            self.renew_plan();
        }
        self.feed.report(Report::Changed { paths });
        for effect in effects.into_keys() {
            match effect {
                Effect::Signal(signal) => self.handle(Event::ConfigChanged { signal }),
                Effect::Run(line) => self.run_command(&line),
                Effect::Make(action) => self.handle(Event::Changed(action)),
            }
        }
    }

    fn effects_of(&self, paths: &[PathBuf]) -> BTreeMap<Effect, Vec<PathBuf>> {
        let mut effects: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for path in paths {
            if let Some(effect) = self.effect_of(path) {
                effects.entry(effect).or_default().push(path.clone());
            }
        }
        effects
    }

    fn effect_of(&self, path: &Path) -> Option<Effect> {
        match watch::action_for(&self.config.rules, path) {
            None | Some(RuleAction::Build) => Some(Effect::Make(Action::Build)),
            Some(RuleAction::Restart) => Some(Effect::Make(Action::Restart)),
            Some(RuleAction::Signal(signal)) => Some(Effect::Signal(*signal)),
            Some(RuleAction::Run(line)) => Some(Effect::Run(line.clone())),
            Some(RuleAction::Ignore) => None,
        }
    }

    /// Whether these changes cause the effect now: not if the effect itself causes them.
    fn is_wanted(&mut self, effect: &Effect, paths: &[PathBuf], seen: (Instant, Instant)) -> bool {
        let batch = Batch {
            paths,
            seen,
            changed: last_change(paths),
        };
        let (verdict, writer, option) = match effect {
            Effect::Signal(_) | Effect::Make(Action::Restart) => return true,
            Effect::Make(Action::Build) => {
                let verdict = self.builds.trigger.judge(&batch, Instant::now());
                (verdict, "the build".to_owned(), "`--ignore`")
            }
            Effect::Run(line) => {
                let verdict = self.commands.judge(line, &batch);
                (verdict, format!("`{line}`"), "`--on 'FILE=ignore'`")
            }
        };
        match verdict {
            Verdict::Now => return true,
            Verdict::Later | Verdict::Nothing => {}
            Verdict::SelfTriggered(paths) => self.report_self_triggered(&paths, &writer, option),
        }
        false
    }

    fn report_self_triggered(&self, paths: &[PathBuf], writer: &str, option: &str) {
        let named = paths
            .iter()
            .take(3)
            .map(|path| format!("`{}`", path.display()));
        let named = named.collect::<Vec<_>>().join(", ");
        let text = format!(
            "{writer} rewrites its own input {named} on every run; changes to it are now ignored"
        );
        let hint = format!(
            "let it write the file only if the content differs, or exclude the file with {option}"
        );
        self.feed.message(Level::Warning, text, Some(hint));
    }
}

/// When the last of these files changed; `None` if one is gone.
fn last_change(paths: &[PathBuf]) -> Option<SystemTime> {
    let changed = paths.iter().map(|path| change_time(path).ok());
    changed.collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn change_time(path: &Path) -> io::Result<SystemTime> {
    let metadata = fs::symlink_metadata(path)?;
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    let nanoseconds = u32::try_from(metadata.ctime_nsec()).unwrap_or(0);
    Ok(UNIX_EPOCH + Duration::new(seconds, nanoseconds))
}
