//! What scrolls out of an emulator, row by row, however much it is.

const END: &[u8] = b"\x1b[?2026l";
/// More than what hotrun writes in one go.
pub(crate) const HISTORY: usize = 50_000;

/// Hears of each row that leaves the screen at its top, once.
pub(crate) struct Scrolled {
    /// What came behind the last drawing that is complete.
    rest: Vec<u8>,
    each: Box<dyn FnMut(&str) + Send>,
}

impl Scrolled {
    pub(crate) fn new(each: impl FnMut(&str) + Send + 'static) -> Self {
        Self {
            rest: Vec::new(),
            each: Box::new(each),
        }
    }

    /// Shows these bytes, up to the end of the last drawing: there no sequence is cut in two.
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

    /// A new emulator that looks the same has nothing in its history.
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
