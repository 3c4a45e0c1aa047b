//! Reads the rows that scroll off the top of an emulator, however many there are.

const END: &[u8] = b"\x1b[?2026l";
/// More rows than hotrun writes in one frame.
pub(crate) const HISTORY: usize = 50_000;

/// Passes on each row that leaves the screen, once.
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

    /// Processes these bytes up to the end of the last frame, where no escape sequence is split.
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

    /// Passes on the history, and replaces the emulator with one that looks the same and has none.
    fn harvest(&mut self, parser: &mut vt100::Parser) {
        parser.screen_mut().set_scrollback(usize::MAX);
        let mut left = parser.screen().scrollback();
        assert!(left < HISTORY, "nothing was lost by the emulator");
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
