//! KeyParser: what a terminal sends, as what it means. Pure.

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Build and start now.
    Reload,
    /// Let changes wait, or no longer.
    Pause,
    /// Back to the previous generation.
    Undo,
    /// All that the last build printed.
    Errors,
    /// Kill what still drains.
    KillDraining,
    /// Clear the screen.
    Clear,
    /// Explain the keys.
    Help,
    /// A mark, to find this place again.
    Mark,
    /// End.
    Quit,
}

/// Where in a sequence the last byte was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// After `ESC`.
    Escape,
    /// In a sequence that a letter or `~` ends, with the number that it began with.
    Sequence(u16),
    /// One more byte.
    Single,
    /// In what is pasted.
    Pasted,
    /// In it, after so many bytes of the sequence that ends it.
    PasteEnding(u8),
}

/// What ends what is pasted, behind its `ESC`.
const PASTE_END: &[u8] = b"[201~";

/// Reads what the terminal sends, however it is cut into pieces.
///
/// Sequences (arrows, function keys, a mouse) mean nothing, and nothing in them is taken for a key. Nor is what is
/// pasted: nobody means to press each of its letters.
#[derive(Debug, Default)]
pub struct KeyParser(State);

impl KeyParser {
    /// The keys in these bytes.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        let keys = bytes.iter().filter_map(|byte| self.take(*byte));
        keys.collect()
    }

    fn take(&mut self, byte: u8) -> Option<Key> {
        let (state, key) = match (self.0, byte) {
            (State::Ground, 0x1b) => (State::Escape, None),
            (State::Ground, byte) => (State::Ground, key(byte)),
            (State::Escape, b'[') => (State::Sequence(0), None),
            (State::Escape, b'O') => (State::Single, None),
            (State::Escape, 0x1b) => (State::Escape, None),
            // With Alt.
            (State::Escape, _) => (State::Ground, None),
            (State::Sequence(number), b'0'..=b'9') => {
                let number = number
                    .saturating_mul(10)
                    .saturating_add(u16::from(byte - b'0'));
                (State::Sequence(number), None)
            }
            (State::Sequence(200), b'~') => (State::Pasted, None),
            (State::Sequence(_), 0x40..=0x7e) => (State::Ground, None),
            (State::Sequence(number), _) => (State::Sequence(number), None),
            (State::Single, _) => (State::Ground, None),
            (State::Pasted | State::PasteEnding(_), 0x1b) => (State::PasteEnding(0), None),
            (State::Pasted, _) => (State::Pasted, None),
            (State::PasteEnding(at), byte) => (pasted(at, byte), None),
        };
        self.0 = state;
        key
    }

    /// Whether what came last may be the key `Esc`: if nothing follows soon, nothing belongs to it.
    pub fn may_be_escape(&self) -> bool {
        self.0 == State::Escape
    }

    /// It was.
    pub fn was_escape(&mut self) {
        self.0 = State::Ground;
    }
}

fn pasted(at: u8, byte: u8) -> State {
    match PASTE_END.get(usize::from(at)) {
        Some(expected) if *expected == byte && usize::from(at) + 1 == PASTE_END.len() => {
            State::Ground
        }
        Some(expected) if *expected == byte => State::PasteEnding(at + 1),
        Some(_) | None => State::Pasted,
    }
}

fn key(byte: u8) -> Option<Key> {
    Some(match byte {
        b'r' => Key::Reload,
        b'p' => Key::Pause,
        b'u' => Key::Undo,
        b'e' => Key::Errors,
        b'k' => Key::KillDraining,
        b'c' => Key::Clear,
        b'?' | b'h' => Key::Help,
        b'\n' | b'\r' => Key::Mark,
        b'q' => Key::Quit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Key> {
        let whole = KeyParser::default().read(bytes);
        let mut keys = KeyParser::default();
        let cut: Vec<Key> = bytes.iter().flat_map(|byte| keys.read(&[*byte])).collect();
        assert_eq!(whole, cut, "cut into pieces");
        whole
    }

    #[test]
    fn letters_are_keys() {
        let keys = [Key::Reload, Key::Pause, Key::Undo, Key::Quit];
        assert_eq!(read(b"rpuqXx1"), keys);
        assert_eq!(read(b"\r\n?"), [Key::Mark, Key::Mark, Key::Help]);
    }

    #[test]
    fn nothing_in_a_sequence_is_a_key() {
        // Up, F1, page up with Ctrl, a mouse, Alt-q.
        assert_eq!(read(b"\x1b[A\x1bOP\x1b[5;5~\x1b[<0;33;7M\x1bq"), []);
        assert_eq!(read(b"\x1b[Ar"), [Key::Reload]);
        assert_eq!(read(b"\x1b\x1b[Ar"), [Key::Reload]);
    }

    #[test]
    fn a_key_after_esc_is_a_key() {
        let mut keys = KeyParser::default();
        assert_eq!(keys.read(b"\x1b"), []);
        assert!(keys.may_be_escape());
        keys.was_escape();
        assert_eq!(keys.read(b"r"), [Key::Reload]);
        assert!(!keys.may_be_escape());
    }

    #[test]
    fn nothing_that_is_pasted_is_a_key() {
        assert_eq!(
            read(b"\x1b[200~cargo run\nq \x1b[31m\x1b[20~\x1b\x1b[201~r"),
            [Key::Reload]
        );
    }
}
