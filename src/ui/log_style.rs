use std::path::PathBuf;

use console::Style;

use super::{Level, Options, Verbosity, sanitize};

/// How many changed files `--why` prints; switching a branch can change thousands.
const MAX_FILES: usize = 20;

/// How hotrun's own lines look.
impl Options {
    /// Whether lines of this level are printed.
    pub(super) fn shows(&self, level: Level) -> bool {
        match self.verbosity {
            Verbosity::Quiet => matches!(level, Level::Warning | Level::Error),
            Verbosity::Normal => level != Level::Detail,
            Verbosity::Verbose => true,
        }
    }

    /// The text as lines to print.
    pub(super) fn lines(&self, level: Level, text: &str) -> Vec<String> {
        let style = match level {
            Level::Detail => Style::new().dim(),
            Level::Info => Style::new(),
            Level::Success => Style::new().green(),
            Level::Warning | Level::Error => Style::new().red(),
        };
        let (label, style) = (Style::new().dim(), style.force_styling(self.color));
        let label = label
            .force_styling(self.color)
            .apply_to("hotrun:")
            .to_string();
        let line = |line| format!("{label} {}", style.apply_to(line));
        // The output of a command may be empty lines.
        let text = text.trim_end_matches('\n');
        text.split('\n').map(line).collect()
    }

    /// A message and its hint as lines to print; none if the verbosity hides it. A hint is never red.
    pub(super) fn message(&self, level: Level, text: &str, hint: Option<&str>) -> Vec<String> {
        if !self.shows(level) {
            return Vec::new();
        }
        let (label, hint_level) = match level {
            Level::Detail | Level::Info | Level::Success => ("", level),
            Level::Warning => ("warning: ", Level::Info),
            Level::Error => ("error: ", Level::Info),
        };
        let mut lines = self.lines(level, &format!("{label}{}", sanitize::text(text)));
        if let Some(hint) = hint {
            lines.extend(self.lines(hint_level, &format!("hint: {}", sanitize::text(hint))));
        }
        lines
    }

    /// The lines that name the changed files.
    pub(super) fn changed(&self, paths: &[PathBuf]) -> Vec<String> {
        let line = |path: &PathBuf| format!("changed: {}", sanitize::path(path, &self.workdir));
        let mut lines: Vec<_> = paths.iter().take(MAX_FILES).map(line).collect();
        if paths.len() > MAX_FILES {
            lines.push(format!("changed: and {} more", paths.len() - MAX_FILES));
        }
        lines
    }
}
