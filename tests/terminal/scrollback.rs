//! Reads the rows that scroll off the top of a terminal emulator, without a limit.

const END: &[u8] = b"\x1b[?2026l";
/// The emulator's history, in rows. hotrun writes fewer rows than this in one frame.
pub(crate) const HISTORY: usize = 50_000;

/// Passes each row that scrolls off the screen to a function, exactly once.
pub(crate) struct Scrollback {
    /// The bytes after the last complete frame.
    rest: Vec<u8>,
    each: Box<dyn FnMut(&str) + Send>,
}

impl Scrollback {
    pub(crate) fn new(each: impl FnMut(&str) + Send + 'static) -> Self {
        Self {
            rest: Vec::new(),
            each: Box::new(each),
        }
    }

    /// Processes the bytes up to the end of the last complete frame, so that no escape sequence is split.
    pub(crate) fn process(&mut self, parser: &mut vt100::Parser, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let found = self.rest.windows(END.len()).rposition(|part| part == END);
        let Some(end) = found.map(|at| at + END.len()) else {
            return;
        };
        parser.process(&self.rest[..end]);
        self.rest.drain(..end);
        self.harvest(parser);
    }

    /// Passes the rows in the history to the function, and replaces the emulator with one that has the same screen but
    /// an empty history.
    fn harvest(&mut self, parser: &mut vt100::Parser) {
        parser.screen_mut().set_scrollback(usize::MAX);
        let mut left = parser.screen().scrollback();
        assert!(left < HISTORY, "the emulator's history overflowed");
        if left == 0 {
            return;
        }
        let (rows, columns) = parser.screen().size();
        while left > 0 {
            parser.screen_mut().set_scrollback(left);
            let page = left.min(usize::from(rows.get()));
            for row in parser.screen().rows(0, columns.get()).take(page) {
                (self.each)(row.trim_end());
            }
            left -= page;
        }
        parser.screen_mut().set_scrollback(0);
        let same = parser.screen().state_formatted();
        *parser = vt100::Parser::new(rows, columns, HISTORY);
        parser.process(same.as_bytes());
    }
}
