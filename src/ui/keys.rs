//! Turns the bytes that the terminal sends into keys. Does no I/O.

use std::time::Duration;

use vte::{Params, Parser, Perform};

use super::UiCommand;

/// A key, named after its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Build and start now.
    Reload,
    /// Pause reloading, or resume it.
    Pause,
    /// Return to the previous generation.
    Undo,
    /// Take the next step of a share.
    ShareMore,
    /// Return to the previous step of a share.
    ShareLess,
    /// Give the generation that has a share all connections.
    ShareAll,
    /// Kill the generations that are still draining.
    KillDraining,
    /// Quit.
    Quit,
    /// Change only what the terminal shows.
    Ui(UiCommand),
}

/// How long a lone `ESC` may be the start of a sequence. After that, it is the `Esc` key.
const ESCAPE_TIMEOUT: Duration = Duration::from_millis(200);

/// How long to wait for the rest of any other sequence. Alt with a bracket looks like the start of a sequence; without
/// a timeout, it would swallow all later keys.
const SEQUENCE_TIMEOUT: Duration = Duration::from_secs(2);

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
/// Both abort an unfinished sequence (ECMA-48, 8.3.6 and 8.3.148).
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;

/// Finds keys in terminal input, no matter how the input is split into reads.
///
/// Letters in escape sequences (arrows, mouse reports, a terminal's replies to queries) and in pasted text are not
/// keys. Neither are letters that arrive in the same read as characters that are not keys: such letters are the rest of
/// a sequence whose start was lost, or text pasted into a terminal that does not mark it.
#[derive(Default)]
pub struct KeyParser {
    parser: Parser,
    input: KeyCollector,
}

impl KeyParser {
    /// Returns the keys in these bytes.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        for byte in bytes {
            self.parser.advance(&mut self.input, &[*byte]);
            self.input.unfinished = match *byte {
                ESC => Some(0),
                _ => self.input.unfinished.map(|count| count + 1),
            };
        }
        let typed = !std::mem::take(&mut self.input.has_others);
        let keys = std::mem::take(&mut self.input.keys);
        keys.into_iter().filter(|_| typed).collect()
    }

    /// How long to wait for more input before calling [`KeyParser::time_out`], or `None` if no sequence is unfinished.
    pub fn timeout(&self) -> Option<Duration> {
        // Pasted text needs no timeout: the sequence after it starts with `ESC`, which ends any unfinished sequence.
        let count = self.input.unfinished.filter(|_| !self.input.pasting)?;
        Some(match count {
            0 => ESCAPE_TIMEOUT,
            _ => SEQUENCE_TIMEOUT,
        })
    }

    /// Aborts an unfinished sequence, because no input followed in time. A lone `ESC` is then the `Esc` key.
    pub fn time_out(&mut self) -> Option<Key> {
        let lone = self.input.unfinished == Some(0);
        self.parser.advance(&mut self.input, &[CANCEL]);
        lone.then_some(Key::Ui(UiCommand::HideHelp))
    }
}

/// Receives the characters and sequences that the parser recognizes.
#[derive(Default)]
struct KeyCollector {
    keys: Vec<Key>,
    /// Whether the input contains characters that are not keys.
    has_others: bool,
    /// Whether pasted text has started but not ended.
    pasting: bool,
    /// The number of bytes after `ESC` in an unfinished sequence.
    unfinished: Option<usize>,
    /// How many more characters belong to a sequence that the parser considers complete.
    skip: u8,
}

impl KeyCollector {
    fn key(&mut self, character: char) {
        if !self.pasting {
            let key = key(character);
            self.has_others |= key.is_none();
            self.keys.extend(key);
        }
    }

    /// Ends a sequence, except that this many more characters belong to it.
    fn end(&mut self, skip: u8) {
        self.skip = skip;
        self.unfinished.take_if(|_| skip == 0);
    }
}

impl Perform for KeyCollector {
    fn print(&mut self, character: char) {
        match self.skip {
            0 => self.key(character),
            skip => self.end(skip - 1),
        }
    }

    fn execute(&mut self, byte: u8) {
        match (byte, self.unfinished) {
            (CANCEL | SUBSTITUTE, _) => self.end(0),
            // The end of a string whose start was lost.
            (BEL, None) => self.keys.clear(),
            (_, None) => self.key(char::from(byte)),
            (_, Some(_)) if self.skip > 0 => self.end(self.skip - 1),
            (_, Some(_)) => {}
        }
    }

    fn osc_dispatch(&mut self, _: &[&[u8]], _: bool) {
        self.end(0);
    }

    fn csi_dispatch(&mut self, params: &Params, marks: &[u8], _: bool, action: char) {
        let first = params.iter().next().map_or(0, |param| param[0]);
        match (marks, first, action) {
            ([], 200, '~') => self.pasting = true,
            ([], 201, '~') => self.pasting = false,
            _ => {}
        }
        self.end(match (marks, first, action) {
            // A mouse report in the old encoding: button, column and row follow.
            ([], 0, 'M') => 3,
            // A function key of the Linux console.
            ([], 0, '[') => 1,
            _ => 0,
        });
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, byte: u8) {
        // The end of a string. If its start was lost, the characters before it are not keys.
        if byte == b'\\' {
            self.keys.clear();
        }
        // SS3: a function key or a keypad key follows.
        self.end((byte == b'O').into());
    }
}

fn key(character: char) -> Option<Key> {
    Some(match character {
        'r' => Key::Reload,
        'p' => Key::Pause,
        'u' => Key::Undo,
        '+' => Key::ShareMore,
        '-' => Key::ShareLess,
        's' => Key::ShareAll,
        'k' => Key::KillDraining,
        'q' => Key::Quit,
        'e' => Key::Ui(UiCommand::ShowBuildLog),
        'c' => Key::Ui(UiCommand::Clear),
        '?' | 'h' => Key::Ui(UiCommand::ToggleHelp),
        '\n' | '\r' => Key::Ui(UiCommand::Mark),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESCAPE: Key = Key::Ui(UiCommand::HideHelp);

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
        assert_eq!(read(b"rpuq"), keys);
        assert_eq!(read(b"X"), []);
        let [mark, help] = [UiCommand::Mark, UiCommand::ToggleHelp].map(Key::Ui);
        assert_eq!(read(b"\r\n?"), [mark, mark, help]);
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

    /// A slow connection may pause in the middle of a sequence.
    #[test]
    fn letters_in_a_sequence_cut_by_a_pause_are_not_keys() {
        for sequence in SEQUENCES {
            for at in 1..sequence.len() {
                let (start, rest) = sequence.split_at(at);
                let mut keys = KeyParser::default();
                let shown = format!("{}|{}", start.escape_ascii(), rest.escape_ascii());
                assert_eq!(keys.read(start), [], "{shown}");
                if keys.timeout() == Some(ESCAPE_TIMEOUT) && rest.len() > 1 {
                    assert_eq!(keys.time_out(), Some(ESCAPE), "{shown}");
                }
                assert_eq!(keys.read(rest), [], "{shown}");
                assert_eq!(keys.read(b"r"), [Key::Reload], "{shown}");
            }
        }
    }

    #[test]
    fn the_rest_of_a_sequence_whose_start_was_lost_has_no_keys() {
        let rests: [&[u8]; 6] = [
            b"b:1e1e/1e1e/1e1e\x07",
            b"cc\x1b\\",
            b"ce\x07",
            b"[?62;22c",
            b"Oq",
            b"4;80R",
        ];
        for rest in rests {
            let mut keys = KeyParser::default();
            assert_eq!(keys.read(rest), [], "{}", rest.escape_ascii());
            assert_eq!(keys.read(b"r"), [Key::Reload], "{}", rest.escape_ascii());
        }
    }

    #[test]
    fn unmarked_pasted_text_has_no_keys() {
        assert_eq!(KeyParser::default().read(b"cargo run\n"), []);
    }

    #[test]
    fn a_letter_after_the_escape_key_is_a_key() {
        let mut keys = KeyParser::default();
        assert_eq!(keys.read(b"\x1b"), []);
        assert_eq!(keys.timeout(), Some(ESCAPE_TIMEOUT));
        assert_eq!(keys.time_out(), Some(ESCAPE));
        assert_eq!(keys.read(b"r"), [Key::Reload]);
    }

    #[test]
    fn alt_with_a_bracket_does_not_swallow_later_keys() {
        for start in [b"\x1b]", b"\x1b[", b"\x1bP", b"\x1b_", b"\x1bO"] {
            let mut keys = KeyParser::default();
            assert_eq!(keys.read(start), []);
            assert_eq!(keys.timeout(), Some(SEQUENCE_TIMEOUT));
            assert_eq!(keys.time_out(), None);
            assert_eq!(keys.timeout(), None);
            assert_eq!(keys.read(b"r"), [Key::Reload]);
        }
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
