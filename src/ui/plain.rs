use std::io;
use std::path::PathBuf;

use super::build_log::BuildLog;
use super::interleaver::Interleaver;
use super::messages::{Importance, sentence};
use super::{Level, Model, Options, Report, Verbosity, sanitize};
use crate::reload::{Failure, GenNotice, Notice};

/// So many changed files are named by `--why`; a branch switch has thousands.
const MOST_NAMED: usize = 20;

/// One line for each fact, on stderr; the program's output as it came.
#[derive(Debug)]
pub(super) struct Plain {
    options: Options,
    screen: Interleaver,
    /// What a quiet build printed: shown only if it fails.
    build_log: BuildLog,
}

impl Plain {
    pub(super) fn new(options: Options, screen: Interleaver) -> Self {
        Self {
            options,
            screen,
            build_log: BuildLog::default(),
        }
    }

    /// Shows a report. `model` is what was known before it.
    pub(super) fn show(&mut self, report: &Report, model: &Model) -> io::Result<()> {
        match report {
            Report::Notice(notice) => self.notice(notice, model),
            Report::Watching { directories: 1 } => {
                self.say(Importance::Normal, "watching 1 directory")
            }
            Report::Watching { directories } => self.say(
                Importance::Normal,
                &format!("watching {directories} directories"),
            ),
            Report::Listening { first: false, .. } => Ok(()),
            Report::Listening { name, address, .. } => {
                self.say(Importance::Normal, &listening(name, address))
            }
            Report::Changed { paths } => self.changed(paths),
            Report::Diagnostic { rendered, .. } => self.build_text(rendered),
            Report::BuildLine { text, .. } => self.build_text(text),
            Report::Spawned { id, pid, .. } => {
                self.say(Importance::Detail, &format!("gen {id} has pid {pid}"))
            }
            Report::MainProcess { id, pid } => {
                self.say(Importance::Detail, &format!("gen {id} has main pid {pid}"))
            }
            Report::Status { id, text } if text.is_empty() => {
                self.say(Importance::Detail, &format!("gen {id} says no more"))
            }
            Report::Status { id, text } => {
                self.say(Importance::Normal, &format!("gen {id} says: {text}"))
            }
            Report::Progress { .. }
            | Report::BuildBlocked { .. }
            | Report::ArtifactKept { .. }
            | Report::Connections { .. } => Ok(()),
            Report::Output { id, stream, bytes } => {
                self.screen.output(*id, *stream, bytes, model.overlaps(*id))
            }
            Report::OutputEnded { id, stream } => {
                self.screen.ended(*id, *stream, model.overlaps(*id))
            }
            Report::Message { level, text, hint } => self.message(*level, text, hint.as_deref()),
        }
    }

    pub(super) fn settle(&mut self, model: &Model) -> io::Result<()> {
        self.screen.settle(model)
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.screen.finish()
    }

    fn notice(&mut self, notice: &Notice, model: &Model) -> io::Result<()> {
        let cleared = if self.options.clear && begins_anew(notice, model) {
            self.screen.clear()
        } else {
            Ok(())
        };
        let kept = if let Notice::Generation(
            _,
            GenNotice::Failed {
                failure: Failure::Build,
                ..
            },
        ) = notice
        {
            let kept: Vec<String> = std::mem::take(&mut self.build_log).lines().collect();
            self.write_build_text(&kept.join("\n"))
        } else {
            Ok(())
        };
        if let Notice::Generation(
            _,
            GenNotice::Building { .. } | GenNotice::Built { .. } | GenNotice::Unchanged { .. },
        ) = notice
        {
            self.build_log = BuildLog::default();
        }
        let (importance, text) = sentence(notice, model);
        cleared.and(kept).and(self.say(importance, &text))
    }

    fn changed(&mut self, paths: &[PathBuf]) -> io::Result<()> {
        let importance = if self.options.why {
            Importance::Normal
        } else {
            Importance::Detail
        };
        named(paths, &self.options)
            .iter()
            .map(|line| self.say(importance, line))
            .fold(Ok(()), Result::and)
    }

    fn message(&mut self, level: Level, text: &str, hint: Option<&str>) -> io::Result<()> {
        let lines = self.options.message(level, text, hint);
        self.write_lines(&lines)
    }

    fn build_text(&mut self, text: &str) -> io::Result<()> {
        match self.options.verbosity {
            Verbosity::Normal | Verbosity::Verbose => self.write_build_text(text),
            Verbosity::Quiet => {
                self.build_log.add(text);
                Ok(())
            }
        }
    }

    fn write_build_text(&mut self, text: &str) -> io::Result<()> {
        let text = sanitize::colours(text, self.options.colour);
        let text = text.trim_end_matches('\n');
        if text.is_empty() {
            Ok(())
        } else {
            self.screen.own(&format!("{text}\n"))
        }
    }

    fn say(&mut self, importance: Importance, text: &str) -> io::Result<()> {
        if !self.options.says(importance) {
            return Ok(());
        }
        let lines = self.options.lines(importance, text);
        self.write_lines(&lines)
    }

    fn write_lines(&mut self, lines: &[String]) -> io::Result<()> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.screen.own(&text)
    }
}

/// The lines that name what changed.
pub(super) fn named(paths: &[PathBuf], options: &Options) -> Vec<String> {
    let first = paths.iter().take(MOST_NAMED);
    let mut lines: Vec<_> = first
        .map(|path| sanitize::path(path, &options.workdir))
        .collect();
    if paths.len() > MOST_NAMED {
        lines.push(format!("and {} more", paths.len() - MOST_NAMED));
    }
    lines
        .iter()
        .map(|line| format!("changed: {line}"))
        .collect()
}

/// A build, or a start without one.
pub(super) fn begins_anew(notice: &Notice, model: &Model) -> bool {
    if let Notice::Generation(id, GenNotice::Starting { .. }) = notice {
        return !model.generations.contains_key(id);
    }
    matches!(notice, Notice::Generation(_, GenNotice::Building { .. }))
}

fn listening(name: &str, address: &str) -> String {
    if name.is_empty() {
        format!("listening on {address}")
    } else {
        format!("listening on {address} ({name})")
    }
}
