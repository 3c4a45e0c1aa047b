use std::ops::Range;

use unicode_width::UnicodeWidthChar;
use vte::{Params, Parser, Perform};

use super::sgr::{self, SgrState};

use super::wrap::{END_LINK, RESET};

/// The longest link to pass through, in bytes. The parser keeps at most 1024 bytes, and a truncated link is useless.
const MAX_LINK: usize = 900;
/// The terminal's assumed width until it is known.
const DEFAULT_COLUMNS: u16 = 200;
/// Aborts an unfinished sequence (`CAN`, ECMA-48, 8.3.6).
const CANCEL: u8 = 0x18;

/// Turns a program's output into lines for a screen that the program does not own.
///
/// Colors, attributes and links are kept. Each line starts with those in effect and ends with all of them off, so that
/// the rest of the screen is not affected. Sequences that move the cursor to another line, clear the screen or change
/// modes are dropped. Sequences that rewrite the last line (`\r`, backspace, erase in line) are emulated.
pub(super) struct OutputFilter {
    parser: Parser,
    line: LastLine,
    /// Whether part of the last line has arrived.
    begun: bool,
}

impl OutputFilter {
    pub(super) fn new() -> Self {
        Self {
            parser: Parser::new(),
            line: LastLine {
                terminal_columns: DEFAULT_COLUMNS,
                ..LastLine::default()
            },
            begun: false,
        }
    }

    /// Sets the width of the terminal.
    pub(super) fn fit(&mut self, columns: u16) {
        self.line.terminal_columns = columns;
    }

    /// Consumes output, and passes each complete line to `each`, without its line ending.
    pub(super) fn feed(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            match self.plain_text(line) {
                Some(text) => each(text),
                None => {
                    self.parser.advance(&mut self.line, line);
                    // An unterminated title or link would swallow all later output.
                    self.parser.advance(&mut self.line, &[CANCEL]);
                    each(&self.line.take());
                }
            }
            self.begun = false;
            bytes = rest;
        }
        self.begun |= !bytes.is_empty();
        self.parser.advance(&mut self.line, bytes);
    }

    /// The line, if it is plain text. Most output is plain text, and parsing a flood character by character is too
    /// slow.
    fn plain_text<'a>(&self, line: &'a [u8]) -> Option<&'a str> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
        if self.begun || self.line.is_styled() || !line.iter().all(plain) {
            return None;
        }
        str::from_utf8(line).ok()
    }

    /// The unfinished last line. Empty if the output so far ends with a complete line.
    pub(super) fn rest(&self) -> String {
        self.line.text()
    }

    /// Ends the output, and returns the last line if it is unfinished.
    pub(super) fn take_rest(&mut self) -> Option<String> {
        let rest = self.rest();
        *self = Self::new();
        (!rest.is_empty()).then_some(rest)
    }

    /// The length of the unfinished last line, in bytes.
    pub(super) fn rest_len(&self) -> usize {
        self.line.text.len() + self.line.pending.len()
    }

    /// Whether the bell rang since the last call.
    pub(super) fn take_bell(&mut self) -> bool {
        std::mem::take(&mut self.line.bell)
    }

    /// Breaks the last line: returns its text so far, and continues with a new line.
    pub(super) fn cut(&mut self) -> String {
        self.line.take()
    }
}

/// A line as it would finally look on a screen, without harmful escape sequences.
pub(super) fn harmless(line: &str) -> String {
    let mut filter = OutputFilter::new();
    filter.feed(line.as_bytes(), &mut |_| {});
    filter.rest()
}

/// The line that is being printed, as the terminal would show it.
#[derive(Default)]
struct LastLine {
    terminal_columns: u16,
    /// The text with its escape sequences.
    text: String,
    /// Where the escape sequences are in `text`.
    sequences: Vec<Range<usize>>,
    /// How many columns the text takes up.
    columns: usize,
    /// How many columns the cursor is to the left of the end. The next text replaces everything to the right of the
    /// cursor; moving the cursor erases nothing.
    left: usize,
    /// Escape sequences that arrived while the cursor was to the left of the end. They apply to the next text.
    pending: String,
    /// Whether the line contains visible text.
    visible: bool,
    style: SgrState,
    /// The open link, as the sequence that opened it.
    link: Option<String>,
    /// Whether the cursor is at the start, so that the next text replaces the line.
    at_start: bool,
    /// Whether the bell rang.
    bell: bool,
}

impl LastLine {
    fn is_styled(&self) -> bool {
        !self.style.is_plain() || self.link.is_some()
    }

    /// Starts an empty line with the style and link in effect.
    fn clear(&mut self) {
        self.text.clear();
        self.sequences.clear();
        self.style.write(&mut self.text);
        self.text.extend(self.link.as_deref());
        self.sequences.push(0..self.text.len());
        self.visible = false;
        self.at_start = false;
        (self.columns, self.left) = (0, 0);
        self.pending.clear();
    }

    /// Moves the cursor left, but not past the start of the line.
    fn move_left(&mut self, columns: usize) {
        self.left = self.left.saturating_add(columns).min(self.columns);
        self.at_start |= self.left == self.columns;
    }

    fn move_right(&mut self, columns: u16) {
        // If the cursor is at the start, the line is about to be replaced.
        let left = if self.at_start { 0 } else { self.left };
        let over = left.min(columns.into());
        self.left -= over;
        let at = if self.at_start { 0 } else { self.columns };
        // The cursor stops in the last column.
        let room = usize::from(self.terminal_columns).saturating_sub(at + 1);
        for _ in 0..room.min(usize::from(columns) - over) {
            self.print(' ');
        }
    }

    /// Erases the text to the right of the cursor, and the escape sequences in it.
    fn erase_right(&mut self) {
        let mut erased_sequence = false;
        while self.left > 0 || erased_sequence {
            let last = self.sequences.pop_if(|one| one.end == self.text.len());
            if let Some(last) = last {
                self.text.truncate(last.start);
                erased_sequence = true;
                continue;
            }
            if self.left == 0 || self.text.is_empty() {
                break;
            }
            let width = self.text.pop().map_or(0, |last| self.width(last));
            self.left = self.left.saturating_sub(width);
            self.columns = self.columns.saturating_sub(width);
        }
        self.left = 0;
        if erased_sequence {
            self.restore_style();
        }
    }

    /// Replaces the text with as many spaces.
    fn erase_left(&mut self) {
        let columns = self.columns;
        self.clear();
        (0..columns).for_each(|_| self.print(' '));
    }

    /// Restores the style and link in effect, whatever the remaining text has switched on.
    fn restore_style(&mut self) {
        let mut sequence = String::from(RESET);
        self.style.write(&mut sequence);
        match &self.link {
            Some(link) => sequence.push_str(link),
            None if self.text.contains("\x1b]") => sequence.push_str(END_LINK),
            None => {}
        }
        self.pending.clear();
        self.push_sequence(&sequence);
    }

    fn width(&self, character: char) -> usize {
        match character {
            '\t' => 8 - self.columns % 8,
            _ => character.width().unwrap_or(0),
        }
    }

    /// The line so far, with all styles and links switched off at its end.
    fn text(&self) -> String {
        if !self.visible {
            return String::new();
        }
        let mut text = self.text.clone() + &self.pending;
        if self.link.is_some() {
            text.push_str(END_LINK);
        }
        if !self.style.is_plain() {
            text.push_str(RESET);
        }
        text
    }

    fn take(&mut self) -> String {
        let text = self.text();
        self.clear();
        text
    }

    fn push_sequence(&mut self, sequence: &str) {
        if self.left > 0 {
            self.pending.push_str(sequence);
            return;
        }
        let start = self.text.len();
        self.text.push_str(&std::mem::take(&mut self.pending));
        self.text.push_str(sequence);
        self.sequences.push(start..self.text.len());
    }
}

impl Perform for LastLine {
    fn print(&mut self, character: char) {
        // The parser treats Delete as text, but a terminal does not show it.
        if character.is_control() && character != '\t' {
            return;
        }
        if self.at_start {
            self.clear();
        }
        self.erase_right();
        if !self.pending.is_empty() {
            self.push_sequence("");
        }
        self.columns += self.width(character);
        self.text.push(character);
        self.visible = true;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.at_start = true,
            b'\t' => self.print('\t'),
            8 => self.move_left(1),
            7 => self.bell = true,
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore || !intermediates.is_empty() {
            return;
        }
        let first = params.iter().next().map(|param| param[0]);
        let count = usize::from(first.unwrap_or(1).max(1));
        match action {
            // Even at the start of the line, a style erases nothing; only new text does.
            'm' => {
                self.style.apply(params.iter());
                self.push_sequence(&sgr::sequence(params.iter()));
            }
            // Erase in line: to the right of the cursor, to the left (emulated only at the end of the line), or all.
            'K' => match first.unwrap_or(0) {
                0 if !self.at_start => self.erase_right(),
                1 if !self.at_start && self.left == 0 => self.erase_left(),
                0 | 2 => self.clear(),
                _ => {}
            },
            // Delete characters, if that deletes everything to the right of the cursor.
            'P' if self.left <= count => self.erase_right(),
            'D' => self.move_left(count),
            // Move to the first column.
            'G' if matches!(first, None | Some(0 | 1)) => self.at_start = true,
            'C' => self.move_right(first.unwrap_or(1).max(1)),
            _ => {}
        }
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        let [b"8", rest @ ..] = params else {
            return;
        };
        let rest = rest.join(&b';');
        let harmless = rest.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let Some(text) = str::from_utf8(&rest).ok().filter(|_| harmless) else {
            return;
        };
        let opens = text
            .split_once(';')
            .is_some_and(|(_, address)| !address.is_empty());
        if text.len() > MAX_LINK {
            return;
        }
        let sequence = format!("\x1b]8;{text}\x1b\\");
        self.link = opens.then(|| sequence.clone());
        self.push_sequence(&sequence);
    }
}

#[cfg(test)]
mod tests;
