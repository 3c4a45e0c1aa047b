//! The lines that the live terminal and plain output print, and their style.

use std::path::PathBuf;

use console::Style;

use super::messages::{describe, in_footer};
use super::model::Model;
use super::{Level, Options, OutputStream, Report, Verbosity, text};
use crate::reload::{GenFailure, GenId, GenNotice, Notice};

/// Prints hotrun's lines and the output of programs.
pub(super) trait Printer {
    /// Whether a footer shows the current state.
    const HAS_FOOTER: bool;

    /// Prints hotrun's own lines.
    fn lines(&mut self, lines: &[String]);

    /// Prints a program's output. `label`: whether to label lines with the generation's number, because another program
    /// is running.
    fn output(&mut self, id: GenId, stream: OutputStream, bytes: &[u8], label: bool);

    /// Ends a program's stream, and its last line.
    fn ended(&mut self, id: GenId, stream: OutputStream, label: bool);

    fn clear(&mut self);
}

/// Prints a report. `model` does not reflect it yet.
pub(super) fn print<S: Printer>(screen: &mut S, options: &Options, report: &Report, model: &Model) {
    let verbosity = options.verbosity;
    match report {
        Report::Notice(notice) => {
            if options.clear && starts_reload(*notice, model) {
                screen.clear();
            }
            // With `--quiet`, a build's output is printed only if the build fails.
            if !S::HAS_FOOTER && verbosity == Verbosity::Quiet && is_failed_build(*notice) {
                let log = model.build_log.last_lines(usize::MAX);
                log.for_each(|line| print_build(screen, options, &line));
            }
        }
        Report::Changed(paths) => {
            let level = match options.why {
                true => Level::Info,
                false => Level::Detail,
            };
            for line in options.changed(paths) {
                say(screen, options, level, &line);
            }
        }
        Report::Diagnostic { rendered: text, .. } | Report::BuildLine(_, text) => match verbosity {
            Verbosity::Normal if !S::HAS_FOOTER => print_build(screen, options, text),
            Verbosity::Verbose => print_build(screen, options, text),
            Verbosity::Normal | Verbosity::Quiet => {}
        },
        Report::Output(id, stream, bytes) => {
            screen.output(*id, *stream, bytes, model.overlaps(*id));
        }
        Report::OutputEnded(id, stream) => screen.ended(*id, *stream, model.overlaps(*id)),
        Report::Message { level, text, hint } => {
            screen.lines(&options.message(*level, text, hint.as_deref()));
        }
        Report::Watching(..)
        | Report::Listening { .. }
        | Report::Spawned { .. }
        | Report::Instance(..)
        | Report::EarlierBuild(..)
        | Report::MainProcess(..)
        | Report::Status(..)
        | Report::Source(..)
        | Report::Progress { .. }
        | Report::BuildBlocked
        | Report::ArtifactKept(..)
        | Report::Connections(..) => {}
    }
    if let Some((level, text)) = describe(report, model)
        && (!S::HAS_FOOTER || !in_footer(report) || verbosity == Verbosity::Verbose)
    {
        say(screen, options, level, &text);
    }
}

fn is_failed_build(notice: Notice) -> bool {
    matches!(notice, Notice::Generation(_, GenNotice::Failed { failure, .. }) if failure == GenFailure::Build)
}

fn say(screen: &mut impl Printer, options: &Options, level: Level, text: &str) {
    if options.shows(level) {
        screen.lines(&options.lines(level, text));
    }
}

/// Prints a build's output.
pub(super) fn print_build(screen: &mut impl Printer, options: &Options, text: &str) {
    let text = text::colors(text, options.color);
    let text = text.trim_end_matches('\n');
    if !text.is_empty() {
        let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        screen.lines(&lines);
    }
}

/// Whether a build begins, or a generation starts without a build.
fn starts_reload(notice: Notice, model: &Model) -> bool {
    if let Notice::Generation(id, GenNotice::Starting { .. }) = notice {
        return !model.generations.contains_key(&id);
    }
    matches!(notice, Notice::Generation(_, GenNotice::Building { .. }))
}

/// The maximum number of changed files to list. Switching branches can change thousands.
const MAX_FILES: usize = 20;

/// The style of hotrun's own lines.
impl Options {
    /// Whether lines of this level are printed.
    fn shows(&self, level: Level) -> bool {
        match self.verbosity {
            Verbosity::Quiet => matches!(level, Level::Warning | Level::Error),
            Verbosity::Normal => level != Level::Detail,
            Verbosity::Verbose => true,
        }
    }

    /// Formats a text as lines to print.
    pub(super) fn lines(&self, level: Level, text: &str) -> Vec<String> {
        let style = match level {
            Level::Detail => Style::new().dim(),
            Level::Info => Style::new(),
            Level::Success => Style::new().green(),
            Level::Warning | Level::Error => Style::new().red(),
        };
        let style = style.force_styling(self.color);
        let label = Style::new().dim().force_styling(self.color);
        let label = label.apply_to("hotrun:");
        let line = |line| format!("{label} {}", style.apply_to(line));
        // A command's output may contain empty lines, which are kept.
        let text = text.trim_end_matches('\n');
        text.split('\n').map(line).collect()
    }

    /// Formats a message and its hint as lines to print. Returns no lines if the verbosity hides the message. A hint is
    /// never red.
    fn message(&self, level: Level, text: &str, hint: Option<&str>) -> Vec<String> {
        if !self.shows(level) {
            return Vec::new();
        }
        let (label, hint_level) = match level {
            Level::Detail | Level::Info | Level::Success => ("", level),
            Level::Warning => ("warning: ", Level::Info),
            Level::Error => ("error: ", Level::Info),
        };
        let mut lines = self.lines(level, &format!("{label}{}", text::text(text)));
        if let Some(hint) = hint {
            lines.extend(self.lines(hint_level, &format!("hint: {}", text::text(hint))));
        }
        lines
    }

    /// The lines that name the changed files.
    fn changed(&self, paths: &[PathBuf]) -> Vec<String> {
        let line = |path: &PathBuf| format!("changed: {}", text::path(path, &self.workdir));
        let mut lines: Vec<_> = paths.iter().take(MAX_FILES).map(line).collect();
        if paths.len() > MAX_FILES {
            lines.push(format!("changed: and {} more", paths.len() - MAX_FILES));
        }
        lines
    }
}
