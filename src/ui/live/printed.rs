use std::collections::BTreeMap;
use std::fmt;

use super::filter::Filter;
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
pub(super) struct Printed {
    colour: bool,
    /// Whole lines, each with its end.
    text: String,
    programs: BTreeMap<GenId, Filter>,
}

impl Printed {
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
        let filter = self.programs.entry(id).or_insert_with(Filter::new);
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
        let mut filter = Filter::new();
        filter.feed(line.as_bytes(), &mut |_| {});
        self.own(&filter.rest());
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

impl fmt::Debug for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.text.len();
        f.debug_struct("Printed")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}
