//! Turns the bytes that the terminal sends into keys. Does no I/O.

use std::time::Duration;

use vte::{Params, Parser, Perform};

/// A key, named after its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Build and start now.
    Reload,
    /// Pause reloading, or resume it.
    Pause,
    /// Return to the previous generation.
    Undo,
    /// Print the whole output of the last build.
    Errors,
    /// Kill the generations that are still draining.
    KillDraining,
    /// Clear the screen.
    Clear,
    /// Show or hide the key help.
    Help,
    /// Hide the key help.
    Escape,
    /// Print a mark, to find this place in the output again.
    Mark,
    /// Quit.
    Quit,
}

/// How long to wait for the rest of an escape sequence. After that, a lone `ESC` is the `Esc` key. Alt with a bracket
/// looks like the start of a sequence; without a timeout, it would swallow later keys.
const TIMEOUT: Duration = Duration::from_millis(200);

const ESC: u8 = 0x1b;
/// Aborts an unfinished sequence (`CAN`, ECMA-48, 8.3.6).
const CANCEL: u8 = 0x18;

/// Finds keys in terminal input, no matter how the input is split into reads.
///
/// Letters in escape sequences (arrows, mouse reports, a terminal's replies to queries) and in pasted text are not
/// keys.
#[derive(Default)]
pub struct KeyParser {
    parser: Parser,
    input: KeyCollector,
    /// Whether an escape sequence may be unfinished.
    unfinished: bool,
    /// Whether the last byte was `ESC`.
    escape: bool,
}

impl KeyParser {
    /// Returns the keys in these bytes.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.parser.advance(&mut self.input, bytes);
        self.unfinished |= bytes.contains(&ESC);
        self.escape = bytes.ends_with(&[ESC]);
        std::mem::take(&mut self.input.keys)
    }

    /// How long to wait for more input before calling [`KeyParser::time_out`], or `None` if no sequence is unfinished.
    pub fn timeout(&self) -> Option<Duration> {
        // Pasted text needs no timeout: the sequence after it starts with `ESC`, which ends any unfinished sequence.
        (self.unfinished && !self.input.pasting).then_some(TIMEOUT)
    }

    /// Aborts an unfinished sequence, because no input followed in time. A lone `ESC` is then the `Esc` key.
    pub fn time_out(&mut self) -> Option<Key> {
        self.parser.advance(&mut self.input, &[CANCEL]);
        self.input.skip = 0;
        self.unfinished = false;
        std::mem::take(&mut self.escape).then_some(Key::Escape)
    }
}

/// Receives the characters and sequences that the parser recognizes.
#[derive(Default)]
struct KeyCollector {
    keys: Vec<Key>,
    /// Whether pasted text has started but not ended.
    pasting: bool,
    /// How many more characters belong to a sequence that the parser considers complete.
    skip: u8,
}

impl Perform for KeyCollector {
    fn print(&mut self, character: char) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if !self.pasting {
            self.keys.extend(key(character));
        }
    }

    fn execute(&mut self, byte: u8) {
        self.print(char::from(byte));
    }

    fn csi_dispatch(&mut self, params: &Params, marks: &[u8], _: bool, action: char) {
        let first = params.iter().next().map_or(0, |param| param[0]);
        match (marks, first, action) {
            ([], 200, '~') => self.pasting = true,
            ([], 201, '~') => self.pasting = false,
            // A mouse report in the old encoding: button, column and row follow.
            ([], 0, 'M') => self.skip = 3,
            // A function key of the Linux console.
            ([], 0, '[') => self.skip = 1,
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, byte: u8) {
        // SS3: a function key or a keypad key follows.
        if byte == b'O' {
            self.skip = 1;
        }
    }
}

fn key(character: char) -> Option<Key> {
    Some(match character {
        'r' => Key::Reload,
        'p' => Key::Pause,
        'u' => Key::Undo,
        'e' => Key::Errors,
        'k' => Key::KillDraining,
        'c' => Key::Clear,
        '?' | 'h' => Key::Help,
        '\n' | '\r' => Key::Mark,
        'q' => Key::Quit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(bytes: &[u8]) -> Vec<Key> {
        let whole = KeyParser::default().read(bytes);
        let mut keys = KeyParser::default();
        let cut: Vec<Key> = bytes.iter().flat_map(|byte| keys.read(&[*byte])).collect();
        assert_eq!(whole, cut, "reading one byte at a time finds the same keys");
        whole
    }

    #[test]
    fn letters_are_keys() {
        let keys = [Key::Reload, Key::Pause, Key::Undo, Key::Quit];
        assert_eq!(read(b"rpuqXx1"), keys);
        assert_eq!(read(b"\r\n?"), [Key::Mark, Key::Mark, Key::Help]);
    }

    /// Sequences that a terminal sends for keys and mouse events, or in reply to a program's query. Many contain
    /// characters that would be keys on their own.
    const SEQUENCES: &[&[u8]] = &[
        b"\x1b[A",
        b"\x1b[1;5A",
        b"\x1b[5;5~",
        b"\x1b[[A",
        b"\x1bOP",
        b"\x1bOq",
        b"\x1bq",
        b"\x1b[<0;33;7M",
        b"\x1b[Mqqq",
        b"\x1b[I",
        b"\x1b[24;80R",
        b"\x1b[?62;22c",
        b"\x1b[?2026;2$y",
        b"\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\",
        b"\x1b]11;rgb:1e1e/1e1e/1e1e\x07",
        b"\x1bP1$r2 q\x1b\\",
        b"\x1bP1+r544e=787465726d\x1b\\",
        b"\x1b_Gi=31;error\x1b\\",
    ];

    #[test]
    fn letters_in_escape_sequences_are_not_keys() {
        for sequence in SEQUENCES {
            let keys = read(&[sequence, b"r".as_slice()].concat());
            assert_eq!(keys, [Key::Reload], "{}", sequence.escape_ascii());
        }
        assert_eq!(read(b"\x1b\x1b[Ar"), [Key::Reload]);
    }

    #[test]
    fn a_letter_after_the_escape_key_is_a_key() {
        let mut keys = KeyParser::default();
        assert_eq!(keys.read(b"\x1b"), []);
        assert_eq!(keys.time_out(), Some(Key::Escape));
        assert_eq!(keys.read(b"r"), [Key::Reload]);
    }

    #[test]
    fn alt_with_a_bracket_does_not_swallow_later_keys() {
        let mut keys = KeyParser::default();
        assert_eq!(keys.read(b"\x1b]"), []);
        assert_eq!(keys.timeout(), Some(TIMEOUT));
        assert_eq!(keys.time_out(), None);
        assert_eq!(keys.timeout(), None);
        assert_eq!(keys.read(b"r"), [Key::Reload]);
    }

    #[test]
    fn letters_in_pasted_text_are_not_keys() {
        let pasted = b"\x1b[200~cargo run\nq \x1b[31m\x1b]x\x1b[20~\x1b\x1b[201~r";
        assert_eq!(read(pasted), [Key::Reload]);
        let mut keys = KeyParser::default();
        assert_eq!(keys.read(b"\x1b[200~q\x1b"), []);
        assert_eq!(keys.timeout(), None);
        assert_eq!(keys.read(b"q\x1b"), []);
        assert_eq!(keys.read(b"[201~r"), [Key::Reload]);
    }
}
