use console::Style;

use super::wording::Weight;
use super::{Level, Options, Verbosity, clean};

/// hotrun's own lines, as they are written.
impl Options {
    /// Whether something of this weight is said at all.
    pub(super) fn says(&self, weight: Weight) -> bool {
        match self.verbosity {
            Verbosity::Quiet => weight == Weight::Failure,
            Verbosity::Normal => weight != Weight::Detail,
            Verbosity::Verbose => true,
        }
    }

    /// The lines that say it.
    pub(super) fn lines(&self, weight: Weight, text: &str) -> Vec<String> {
        let style = match weight {
            Weight::Detail => Style::new().dim(),
            Weight::Fact => Style::new(),
            Weight::Success => Style::new().green(),
            Weight::Failure => Style::new().red(),
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
        let (weight, label) = match level {
            Level::Detail => (Weight::Detail, ""),
            Level::Info => (Weight::Fact, ""),
            Level::Warning => (Weight::Failure, "warning: "),
            Level::Error => (Weight::Failure, "error: "),
        };
        if !self.says(weight) {
            return Vec::new();
        }
        let mut lines = self.lines(weight, &format!("{label}{}", clean::text(text)));
        if let Some(hint) = hint {
            let weight = match weight {
                Weight::Failure => Weight::Fact,
                Weight::Detail | Weight::Fact | Weight::Success => weight,
            };
            lines.extend(self.lines(weight, &format!("hint: {}", clean::text(hint))));
        }
        lines
    }
}
