use console::Style;

use super::messages::Importance;
use super::{Level, Options, Verbosity, sanitize};

/// hotrun's own lines, as they are written.
impl Options {
    /// Whether something of this importance is said at all.
    pub(super) fn says(&self, importance: Importance) -> bool {
        match self.verbosity {
            Verbosity::Quiet => importance == Importance::Failure,
            Verbosity::Normal => importance != Importance::Detail,
            Verbosity::Verbose => true,
        }
    }

    /// The lines that say it.
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
        // An empty one, too, of what a command printed.
        let text = text.trim_end_matches('\n');
        text.split('\n').map(line).collect()
    }

    /// A message and its hint. The hint is shown whenever its message is, and is not red.
    pub(super) fn message(&self, level: Level, text: &str, hint: Option<&str>) -> Vec<String> {
        let (importance, label) = match level {
            Level::Detail => (Importance::Detail, ""),
            Level::Info => (Importance::Normal, ""),
            Level::Warning => (Importance::Failure, "warning: "),
            Level::Error => (Importance::Failure, "error: "),
        };
        if !self.says(importance) {
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
}
