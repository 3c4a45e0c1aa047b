use std::path::PathBuf;

use console::Style;

use super::messages::Importance;
use super::{Level, Options, Verbosity, sanitize};

/// How many changed files `--why` prints; switching a branch can change thousands.
const MAX_FILES: usize = 20;

/// How hotrun's own lines look.
impl Options {
    /// Whether lines of this importance are printed.
    pub(super) fn shows(&self, importance: Importance) -> bool {
        match self.verbosity {
            Verbosity::Quiet => importance == Importance::Failure,
            Verbosity::Normal => importance != Importance::Detail,
            Verbosity::Verbose => true,
        }
    }

    /// The text as lines to print.
    pub(super) fn lines(&self, importance: Importance, text: &str) -> Vec<String> {
        let style = match importance {
            Importance::Detail => Style::new().dim(),
            Importance::Normal => Style::new(),
            Importance::Success => Style::new().green(),
            Importance::Failure => Style::new().red(),
        };
        let (label, style) = (Style::new().dim(), style.force_styling(self.colour));
        let label = label
            .force_styling(self.colour)
            .apply_to("hotrun:")
            .to_string();
        let line = |line| format!("{label} {}", style.apply_to(line));
        // The output of a command may be empty lines.
        let text = text.trim_end_matches('\n');
        text.split('\n').map(line).collect()
    }

    /// A message and its hint as lines to print; none if the verbosity hides it. A hint is never red.
    pub(super) fn message(&self, level: Level, text: &str, hint: Option<&str>) -> Vec<String> {
        let (importance, label) = match level {
            Level::Detail => (Importance::Detail, ""),
            Level::Info => (Importance::Normal, ""),
            Level::Warning => (Importance::Failure, "warning: "),
            Level::Error => (Importance::Failure, "error: "),
        };
        if !self.shows(importance) {
            return Vec::new();
        }
        let mut lines = self.lines(importance, &format!("{label}{}", sanitize::text(text)));
        if let Some(hint) = hint {
            let importance = match importance {
                Importance::Failure => Importance::Normal,
                Importance::Detail | Importance::Normal | Importance::Success => importance,
            };
            lines.extend(self.lines(importance, &format!("hint: {}", sanitize::text(hint))));
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
