use std::fmt::Write as _;
use std::ops::Range;

use unicode_width::UnicodeWidthChar;
use vte::{Params, Parser, Perform};

use super::sgr::SgrState;

/// The longest link that is passed on. The parser keeps no more than 1024 bytes, and half a link is none.
const LONGEST_LINK: usize = 900;
/// How wide the terminal is where nobody says.
const WIDE: u16 = 200;
/// Ends whatever sequence is under way (`CAN`, ECMA-48, 8.3.6).
const CANCEL: u8 = 0x18;

/// What a program prints, as lines that can be put on a screen that is not the program's alone.
///
/// Colours, attributes and links stay. Each line carries those that it begins with, and ends with none, so that
/// whatever else is on the screen keeps its own. All that would move the cursor, clear or change modes is left out; what
/// a program does within its last line to write it anew (`\r`, backspace, erase in line) is done here.
pub(super) struct OutputFilter {
    parser: Parser,
    hand: Hand,
    /// Something of the last line has come.
    begun: bool,
}

impl OutputFilter {
    pub(super) fn new() -> Self {
        Self {
            parser: Parser::new(),
            hand: Hand::default(),
            begun: false,
        }
    }

    /// For a terminal of so many columns.
    pub(super) fn fit(&mut self, columns: u16) {
        self.hand.wide = columns;
    }

    /// Takes in more, and gives out each line that is complete, without its end.
    pub(super) fn feed(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            match self.untouched(line) {
                Some(text) => each(text),
                None => {
                    self.parser.advance(&mut self.hand, line);
                    // A title or link that is never ended would swallow all that follows.
                    self.parser.advance(&mut self.hand, &[CANCEL]);
                    each(&self.hand.end_line());
                }
            }
            self.begun = false;
            bytes = rest;
        }
        self.begun |= !bytes.is_empty();
        self.parser.advance(&mut self.hand, bytes);
    }

    /// The line, if there is nothing in it but text. That is most of what is ever printed, and a flood of it must not
    /// be read character by character.
    fn untouched<'a>(&self, line: &'a [u8]) -> Option<&'a str> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
        if self.begun || self.hand.is_styled() || !line.iter().all(plain) {
            return None;
        }
        str::from_utf8(line).ok()
    }

    /// What there is of the last line. Empty if there is none.
    pub(super) fn rest(&self) -> String {
        self.hand.finished()
    }

    /// The last line, which nothing will complete any more.
    pub(super) fn take_rest(&mut self) -> Option<String> {
        let rest = self.rest();
        *self = Self::new();
        (!rest.is_empty()).then_some(rest)
    }

    /// How long what there is of the last line is, in bytes.
    pub(super) fn rest_len(&self) -> usize {
        self.hand.line.len() + self.hand.waiting.len()
    }

    /// Whether the bell was rung since this was last asked.
    pub(super) fn take_bell(&mut self) -> bool {
        std::mem::take(&mut self.hand.bell)
    }

    /// What there is of the last line, which goes on as another one.
    pub(super) fn cut(&mut self) -> String {
        let text = self.hand.finished();
        self.hand.begin();
        text
    }
}

/// A line of what a build printed, as it would look at last on a screen of its own.
pub(super) fn harmless(line: &str) -> String {
    let mut filter = OutputFilter::new();
    filter.feed(line.as_bytes(), &mut |_| {});
    filter.rest()
}

/// Where the parser puts things down.
struct Hand {
    /// How many columns the terminal has.
    wide: u16,
    /// What there is of the last line.
    line: String,
    /// Where the line is no text: codes, from the first on.
    codes: Vec<Range<usize>>,
    /// How many columns it takes.
    columns: usize,
    /// So many columns the cursor was moved to the left: what comes is written over what is there. Moving alone takes
    /// nothing away.
    left: usize,
    /// Codes that came since then: they are for what comes.
    waiting: String,
    /// Whether anything of the line is to be seen.
    text: bool,
    style: SgrState,
    /// The open link, as the sequence that opened it.
    link: Option<String>,
    /// The cursor is at the line's start, and what comes is written over it.
    back: bool,
    bell: bool,
}

impl Default for Hand {
    fn default() -> Self {
        Self {
            wide: WIDE,
            line: String::new(),
            codes: Vec::new(),
            columns: 0,
            left: 0,
            waiting: String::new(),
            text: false,
            style: SgrState::default(),
            link: None,
            back: false,
            bell: false,
        }
    }
}

impl Hand {
    fn is_styled(&self) -> bool {
        !self.style.is_plain() || self.link.is_some()
    }

    /// Begins a line: with the style that is on.
    fn begin(&mut self) {
        self.line.clear();
        self.codes.clear();
        self.style.write(&mut self.line);
        self.line.extend(self.link.as_deref());
        self.codes.push(0..self.line.len());
        self.text = false;
        self.back = false;
        (self.columns, self.left) = (0, 0);
        self.waiting.clear();
    }

    /// The cursor goes to the left, and no further than to the line's start.
    fn move_left(&mut self, columns: usize) {
        self.left = self.left.saturating_add(columns).min(self.columns);
        self.back |= self.left == self.columns;
    }

    fn move_right(&mut self, columns: u16) {
        // At the line's start it is written anew.
        let left = if self.back { 0 } else { self.left };
        let over = left.min(columns.into());
        self.left -= over;
        let at = if self.back { 0 } else { self.columns };
        // It stops in the last column.
        let room = usize::from(self.wide).saturating_sub(at + 1);
        for _ in 0..room.min(usize::from(columns) - over) {
            self.print(' ');
        }
    }

    /// Takes away what is to the right of the cursor, and the codes in it.
    fn take_back(&mut self) {
        let mut codes = false;
        while self.left > 0 || codes {
            let code = self.codes.pop_if(|code| code.end == self.line.len());
            if let Some(code) = code {
                self.line.truncate(code.start);
                codes = true;
                continue;
            }
            if self.left == 0 || self.line.is_empty() {
                break;
            }
            let width = self.line.pop().map_or(0, |last| self.width(last));
            self.left = self.left.saturating_sub(width);
            self.columns = self.columns.saturating_sub(width);
        }
        self.left = 0;
        if codes {
            self.switch_on();
        }
    }

    /// Whatever is on where the line ends: from here on it is what the codes say that were taken away, or wait.
    fn switch_on(&mut self) {
        let mut code = String::from("\x1b[0m");
        self.style.write(&mut code);
        match &self.link {
            Some(link) => code.push_str(link),
            None if self.line.contains("\x1b]") => code.push_str("\x1b]8;;\x1b\\"),
            None => {}
        }
        self.waiting.clear();
        self.code(&code);
    }

    fn width(&self, character: char) -> usize {
        match character {
            '\t' => 8 - self.columns % 8,
            _ => character.width().unwrap_or(0),
        }
    }

    /// The line as it stands, with everything switched off again.
    fn finished(&self) -> String {
        if !self.text {
            return String::new();
        }
        let mut line = self.line.clone() + &self.waiting;
        if self.link.is_some() {
            line.push_str("\x1b]8;;\x1b\\");
        }
        if !self.style.is_plain() {
            line.push_str("\x1b[0m");
        }
        line
    }

    fn end_line(&mut self) -> String {
        let line = self.finished();
        self.begin();
        line
    }

    fn code(&mut self, code: &str) {
        if self.left > 0 {
            self.waiting.push_str(code);
            return;
        }
        let start = self.line.len();
        self.line.push_str(&std::mem::take(&mut self.waiting));
        self.line.push_str(code);
        self.codes.push(start..self.line.len());
    }
}

impl Perform for Hand {
    fn print(&mut self, character: char) {
        // Delete is one, for the parser: a terminal shows nothing of it, and it has no width.
        if character.is_control() && character != '\t' {
            return;
        }
        if self.back {
            self.begin();
        }
        self.take_back();
        if !self.waiting.is_empty() {
            self.code("");
        }
        self.columns += self.width(character);
        self.line.push(character);
        self.text = true;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.back = true,
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
        let first = params
            .iter()
            .next()
            .and_then(|param| param.first().copied());
        let count = usize::from(first.unwrap_or(1).max(1));
        match action {
            // At the line's start it takes nothing away: only what is printed there does.
            'm' => {
                self.style.apply(params.iter());
                let mut code = String::from("\x1b[");
                for (index, param) in params.iter().enumerate() {
                    let parts: Vec<String> = param.iter().map(u16::to_string).collect();
                    let _ = write!(
                        code,
                        "{}{}",
                        if index > 0 { ";" } else { "" },
                        parts.join(":")
                    );
                }
                code.push('m');
                self.code(&code);
            }
            // Erase in line: from a cursor at its start on, or all of it.
            'K' if self.back || first == Some(2) => self.begin(),
            'K' if matches!(first, None | Some(0)) => self.take_back(),
            // Delete characters: all to the right of the cursor.
            'P' if self.left <= count => self.take_back(),
            'D' => self.move_left(count),
            // To the first column.
            'G' if matches!(first, None | Some(0 | 1)) => self.back = true,
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
        if text.len() > LONGEST_LINK {
            return;
        }
        let code = format!("\x1b]8;{text}\x1b\\");
        self.link = opens.then(|| code.clone());
        self.code(&code);
    }
}

#[cfg(test)]
mod tests;
