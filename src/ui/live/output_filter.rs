use vte::Parser;

use super::line::Line;

/// Aborts an unfinished sequence (`CAN`, ECMA-48, 8.3.6).
const CANCEL: u8 = 0x18;

/// Turns a program's output into lines for a screen that the program does not own.
///
/// Colors, attributes and links are kept. Each line starts with those in effect and ends with all of them off, so that
/// the rest of the screen is not affected. Sequences that move the cursor to another line, clear the screen or change
/// modes are dropped. Sequences that rewrite the last line (`\r`, backspace, erase in line) are emulated.
#[derive(Default)]
pub(super) struct OutputFilter {
    parser: Parser,
    /// The last line, if it is unfinished.
    pub(super) line: Line,
    /// Whether part of the last line has arrived.
    begun: bool,
}

impl OutputFilter {
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
}

#[cfg(test)]
mod tests;
