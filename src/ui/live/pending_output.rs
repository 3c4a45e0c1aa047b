use std::collections::BTreeMap;

use console::Style;

use super::line::wrap;
use super::output_filter::OutputFilter;

use crate::reload::GenId;
use crate::ui::model::Model;

/// The maximum number of bytes of an unfinished line to hold back.
const MAX_UNFINISHED: usize = 64 * 1024;
/// The maximum number of rows to show of each unfinished line.
const MAX_ROWS: usize = 3;

/// Output that is not on the screen yet, and unfinished lines.
pub(super) struct PendingOutput {
    color: bool,
    /// Complete lines, with their line endings.
    text: String,
    programs: BTreeMap<GenId, OutputFilter>,
}

impl PendingOutput {
    pub(super) fn new(color: bool) -> Self {
        Self {
            color,
            text: String::new(),
            programs: BTreeMap::new(),
        }
    }

    /// Adds a program's output. `label`: whether to label its lines with the generation's number.
    pub(super) fn output(&mut self, id: GenId, bytes: &[u8], label: bool, columns: u16) {
        let label = self.label(id, label);
        let filter = self.programs.entry(id).or_default();
        filter.line.terminal_columns = columns.into();
        let text = &mut self.text;
        let mut line = |line: &str| {
            text.push_str(&label);
            text.push_str(line);
            text.push_str("\r\n");
        };
        filter.feed(bytes, &mut line);
        if filter.line.len() > MAX_UNFINISHED {
            // Break the line where the terminal would wrap it.
            for row in wrap(&filter.line.take(), usize::from(columns)) {
                line(&row);
            }
        }
        if std::mem::take(&mut filter.line.bell) {
            self.text.push('\x07');
        }
    }

    /// A generation's label. Its colors are readable on both light and dark backgrounds, and have no other meaning.
    fn label(&self, id: GenId, wanted: bool) -> String {
        if !wanted {
            return String::new();
        }
        let style = match id.0 % 3 {
            0 => Style::new().cyan(),
            1 => Style::new().magenta(),
            _ => Style::new().blue(),
        };
        let label = style.force_styling(self.color).apply_to(format!("[{id}]"));
        format!("{label} ")
    }

    /// Ends a program's output, and prints its unfinished line.
    pub(super) fn ended(&mut self, id: GenId, label: bool) {
        let label = self.label(id, label);
        let filter = self.programs.remove(&id);
        let rest = filter.map_or_else(String::new, |filter| filter.line.text());
        if !rest.is_empty() {
            self.line(&format!("{label}{rest}"));
        }
    }

    /// Adds a line that is safe to print.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str("\r\n");
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Takes the lines to print now.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// The ends of the unfinished lines, in at most `max_rows` rows.
    pub(super) fn unfinished(&self, model: &Model, columns: usize, max_rows: usize) -> Vec<String> {
        let mut rows = Vec::new();
        for (id, filter) in &self.programs {
            let rest = filter.line.text();
            if rest.is_empty() {
                continue;
            }
            let label = self.label(*id, model.overlaps(*id));
            let mut all = wrap(&format!("{label}{rest}"), columns);
            rows.extend(all.drain(all.len().saturating_sub(MAX_ROWS)..));
        }
        rows.drain(..rows.len().saturating_sub(max_rows));
        rows
    }

    /// Prints all unfinished lines.
    pub(super) fn finish(&mut self) {
        let programs: Vec<GenId> = self.programs.keys().copied().collect();
        let several = programs.len() > 1;
        for id in programs {
            self.ended(id, several);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output moves the cursor only to the next line, and the memory for unfinished lines is bounded.
    #[test]
    fn fuzz_output() {
        let examples: [&[u8]; 4] = [
            b"plain\r\nlines\n",
            b"\x1b[1;31mred\x1b[0m \x1b[38;5;200mx\x1b[48:2::1:2:3my\n50%\r60%\x1b[K",
            b"\x1b]8;id=1;http://a/b\x1b\\link\x1b]8;;\x07\x1b[10C\x1b[3D\x08\x07\tx",
            "\u{65e5}\u{672c}\u{8a9e} e\u{301} \u{1f600}\n".as_bytes(),
        ];
        let words = [
            "\x1b[",
            "m",
            "\x1b]8;;",
            "\x07",
            "\x1b\\",
            "\r",
            "\x1bP",
            "\x1b[9999C",
            "\x1b[99999999D",
            "\x1b[K",
            "\x08",
            "\x1b[?1049h",
            "\x1b[2J",
            "\x1bc",
            ";",
            "\n",
        ];
        let mut printed = PendingOutput::new(true);
        let id = GenId::FIRST;
        crate::fuzz::fuzz("output", &examples, &words, |input| {
            printed.output(id, input, input.len() % 2 == 0, 80);
            assert_harmless(&printed.take());
            let held = printed
                .programs
                .get(&id)
                .map_or(0, |filter| filter.line.len());
            assert!(
                held <= MAX_UNFINISHED + input.len() * 256,
                "{held} bytes held back"
            );
            if input.len() % 7 == 0 {
                printed.ended(id, false);
                assert_harmless(&printed.take());
            }
        });
    }

    /// Asserts that the text contains no escape sequences except colors and links.
    #[track_caller]
    fn assert_harmless(text: &str) {
        for piece in text.split('\x1b').skip(1) {
            let sequence = piece.strip_prefix('[').map(|rest| {
                let end = rest.find(|one: char| !"0123456789;:".contains(one));
                end.and_then(|end| rest[end..].chars().next())
            });
            let fine = match sequence {
                Some(last) => last == Some('m'),
                None => piece.starts_with("]8;") || piece.starts_with('\\'),
            };
            assert!(fine, "{piece:?}");
        }
        let control = |one: char| one.is_control() && !"\x1b\r\n\x07\t".contains(one);
        assert!(!text.contains(control), "{text:?}");
    }
}
