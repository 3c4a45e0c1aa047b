use std::io;
use std::path::PathBuf;

use super::interleaver::Interleaver;
use super::messages::describe;
use super::notices::{build_fails, starts_reload};
use super::{Level, Model, Options, Report, Verbosity, sanitize};
use crate::reload::Notice;

/// Plain lines: the program's output unchanged, and hotrun's own lines on stderr.
#[derive(Debug)]
pub(super) struct Plain {
    options: Options,
    output: Interleaver,
}

impl Plain {
    pub(super) fn new(options: Options, output: Interleaver) -> Self {
        Self { options, output }
    }

    /// Prints a report. `model` does not contain it yet.
    pub(super) fn show(&mut self, report: &Report, model: &Model) -> io::Result<()> {
        let shown = match report {
            Report::Notice(notice) => self.prepare(*notice, model),
            Report::Changed { paths } => self.changed(paths),
            Report::Diagnostic { rendered: text, .. } | Report::BuildLine { text, .. } => {
                self.build_text(text)
            }
            Report::Output { id, stream, bytes } => {
                let label = model.overlaps(*id);
                self.output.output(*id, *stream, bytes, label)
            }
            Report::OutputEnded { id, stream } => {
                self.output.ended(*id, *stream, model.overlaps(*id))
            }
            Report::Message { level, text, hint } => {
                let lines = self.options.message(*level, text, hint.as_deref());
                self.write_lines(&lines)
            }
            Report::Watching { .. }
            | Report::Listening { .. }
            | Report::Spawned { .. }
            | Report::MainProcess { .. }
            | Report::Status { .. }
            | Report::Progress { .. }
            | Report::BuildBlocked { .. }
            | Report::ArtifactKept { .. }
            | Report::Connections { .. } => Ok(()),
        };
        let message = describe(report, model);
        shown.and(message.map_or(Ok(()), |message| self.say(message.level, &message.text)))
    }

    /// Writes what is held back of a program that now runs alone.
    pub(super) fn release_alone(&mut self, model: &Model) -> io::Result<()> {
        self.output.release_alone(model)
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.output.finish()
    }

    /// What a notice requires before its message.
    fn prepare(&mut self, notice: Notice, model: &Model) -> io::Result<()> {
        let cleared = if self.options.clear && starts_reload(notice, model) {
            self.output.clear()
        } else {
            Ok(())
        };
        if self.options.verbosity != Verbosity::Quiet || !build_fails(notice) {
            return cleared;
        }
        let lines: Vec<String> = model.build_log.lines().collect();
        cleared.and(self.write_build_text(&lines.join("\n")))
    }

    fn changed(&mut self, paths: &[PathBuf]) -> io::Result<()> {
        let level = if self.options.why {
            Level::Info
        } else {
            Level::Detail
        };
        self.options
            .changed(paths)
            .iter()
            .map(|line| self.say(level, line))
            .fold(Ok(()), Result::and)
    }

    /// A quiet build is printed only if it fails.
    fn build_text(&mut self, text: &str) -> io::Result<()> {
        match self.options.verbosity {
            Verbosity::Normal | Verbosity::Verbose => self.write_build_text(text),
            Verbosity::Quiet => Ok(()),
        }
    }

    fn write_build_text(&mut self, text: &str) -> io::Result<()> {
        let text = sanitize::colors(text, self.options.color);
        let text = text.trim_end_matches('\n');
        if text.is_empty() {
            Ok(())
        } else {
            self.output.own(&format!("{text}\n"))
        }
    }

    fn say(&mut self, level: Level, text: &str) -> io::Result<()> {
        if !self.options.shows(level) {
            return Ok(());
        }
        let lines = self.options.lines(level, text);
        self.write_lines(&lines)
    }

    fn write_lines(&mut self, lines: &[String]) -> io::Result<()> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.output.own(&text)
    }
}
