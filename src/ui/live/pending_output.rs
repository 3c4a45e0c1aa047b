use std::collections::BTreeMap;
use std::fmt;

use super::output_filter::{self, OutputFilter};
use super::row::wrap;
use crate::reload::GenId;
use crate::ui::Model;

/// A line without an end is held back no longer than this.
const LONGEST: usize = 64 * 1024;
/// So many rows of each line without an end are shown.
const MOST_ROWS: usize = 3;
/// Readable on light and on dark grounds, and none of them means anything else.
const COLOURS: [&str; 3] = ["\x1b[36m", "\x1b[35m", "\x1b[34m"];

/// What was printed and is not on the screen yet, and the lines that have no end yet.
pub(super) struct PendingOutput {
    colour: bool,
    /// Whole lines, each with its end.
    text: String,
    programs: BTreeMap<GenId, OutputFilter>,
}

impl PendingOutput {
    pub(super) fn new(colour: bool) -> Self {
        Self {
            colour,
            text: String::new(),
            programs: BTreeMap::new(),
        }
    }

    /// Takes in what a program printed. `beside`: whether another one runs, so that each line needs its mark.
    pub(super) fn output(&mut self, id: GenId, bytes: &[u8], beside: bool, columns: u16) {
        let mark = if beside { self.mark(id) } else { String::new() };
        let filter = self.programs.entry(id).or_insert_with(OutputFilter::new);
        filter.fit(columns);
        let text = &mut self.text;
        let mut line = |line: &str| {
            text.push_str(&mark);
            text.push_str(line);
            text.push_str("\r\n");
        };
        filter.feed(bytes, &mut line);
        if filter.rest_len() > LONGEST {
            // Broken as the screen would break it.
            for row in wrap(&filter.cut(), usize::from(columns)) {
                line(&row);
            }
        }
        if filter.take_bell() {
            self.text.push('\x07');
        }
    }

    fn mark(&self, id: GenId) -> String {
        let colour = COLOURS[id.get() as usize % COLOURS.len()];
        match self.colour {
            true => format!("{colour}[{id}]\x1b[0m "),
            false => format!("[{id}] "),
        }
    }

    /// The program prints nothing more.
    pub(super) fn ended(&mut self, id: GenId, beside: bool) {
        let mark = if beside { self.mark(id) } else { String::new() };
        let filter = self.programs.remove(&id);
        if let Some(rest) = filter.and_then(|mut filter| filter.take_rest()) {
            self.own(&format!("{mark}{rest}"));
        }
    }

    /// A line of hotrun's own.
    pub(super) fn own(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str("\r\n");
    }

    /// A line of a build's.
    pub(super) fn foreign(&mut self, line: &str) {
        self.own(&output_filter::harmless(line));
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// What is to be written now.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// The lines that have no end yet, in at most so many rows: of each the last ones.
    pub(super) fn unfinished(&self, model: &Model, columns: usize, most: usize) -> Vec<String> {
        let mut rows = Vec::new();
        for (id, filter) in &self.programs {
            let rest = filter.rest();
            if rest.is_empty() {
                continue;
            }
            let mark = match model.overlaps(*id) {
                true => self.mark(*id),
                false => String::new(),
            };
            let mut all = wrap(&format!("{mark}{rest}"), columns);
            rows.extend(all.drain(all.len().saturating_sub(MOST_ROWS)..));
        }
        rows.drain(..rows.len().saturating_sub(most));
        rows
    }

    /// What has no end will get none.
    pub(super) fn finish(&mut self) {
        let programs: Vec<GenId> = self.programs.keys().copied().collect();
        let several = programs.len() > 1;
        for id in programs {
            self.ended(id, several);
        }
    }
}

impl fmt::Debug for PendingOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.text.len();
        f.debug_struct("PendingOutput")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out moves no cursor but to the next line, and what is held back stays bounded.
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
            harmless(&printed.take());
            let held = printed.programs.get(&id).map_or(0, OutputFilter::rest_len);
            assert!(
                held <= LONGEST + input.len() * 256,
                "{held} bytes held back"
            );
            if input.len() % 7 == 0 {
                printed.ended(id, false);
                harmless(&printed.take());
            }
        });
    }

    /// Colours and links are all that begins with an escape.
    #[track_caller]
    fn harmless(text: &str) {
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
