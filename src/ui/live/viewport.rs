use std::fmt::Write as _;

use super::row::width;

/// Holds the screen still while it changes (DEC private mode 2026). A terminal that does not know it ignores it.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
/// A row that turns out wider than the terminal (it may be smaller by now, or take an emoji for wider) is cut there and
/// not broken: then what is below would be a row further down than we know (DEC private mode 7).
const CUT: &str = "\x1b[?7l";
/// What is printed above is broken as ever.
const BREAK: &str = "\x1b[?7h";

/// The rows at the bottom of what has been written, which are ours to write anew.
///
/// Between two drawings the cursor stays at the first column of the first of them, so that everything from the
/// cursor on is ours, and nothing before it. That holds whatever the terminal does when it is resized: one that
/// breaks lines anew moves the cursor with the line that it is in. A scroll region would not need to be
/// drawn again below each line that is printed; but not every terminal keeps what is scrolled out of one
/// (GNU screen, older ones of Windows), and each has its own idea of it after a resize.
#[derive(Debug, Default)]
pub(super) struct Viewport {
    drawn: Vec<String>,
    /// The terminal may have moved or broken what was drawn.
    disturbed: bool,
}

impl Viewport {
    /// From now on nothing on the screen is ours: it was erased, or somebody else may write there.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What was drawn may not be there any more as it was.
    pub(super) fn disturb(&mut self) {
        self.disturbed = true;
    }

    pub(super) fn height(&self) -> usize {
        self.drawn.len()
    }

    /// What to write to the terminal so that these lines, each with its end, stand above, and these rows are at the
    /// bottom. Nothing if that is so.
    pub(super) fn draw(&mut self, above: &str, rows: Vec<String>) -> String {
        let same = rows.len() == self.drawn.len() && !self.disturbed;
        if above.is_empty() && same {
            return self.touch_up(rows);
        }
        let mut text = String::with_capacity(above.len() + 1024);
        text.push_str(BEGIN);
        self.erase_into(&mut text);
        text.push_str(above);
        text.push_str(CUT);
        text.push_str(&rows.join("\r\n"));
        text.push_str(BREAK);
        text.push('\r');
        if rows.len() > 1 {
            let _ = write!(text, "\x1b[{}A", rows.len() - 1);
        }
        text.push_str(END);
        self.drawn = rows;
        self.disturbed = false;
        text
    }

    /// Writes only those rows that are others now.
    fn touch_up(&mut self, rows: Vec<String>) -> String {
        let mut text = String::new();
        for (index, (new, old)) in rows.iter().zip(&self.drawn).enumerate() {
            if new == old {
                continue;
            }
            let (down, up) = (moved(index, 'B'), moved(index, 'A'));
            // Only where something is left over, and so not behind a row that fills the width: there the cursor stays on
            // the last character, which xterm and others erase then (deferred wrap, DEC STD 070).
            let shorter = width(new) < width(old);
            let rest = if shorter { "\x1b[K" } else { "" };
            let _ = write!(text, "{down}{new}{rest}\r{up}");
        }
        self.drawn = rows;
        if text.is_empty() {
            return text;
        }
        format!("{BEGIN}{CUT}{text}{BREAK}{END}")
    }

    /// What to write so that nothing of ours is on the screen.
    pub(super) fn erase(&mut self) -> String {
        let mut text = String::new();
        self.erase_into(&mut text);
        self.forget();
        text
    }

    fn erase_into(&self, text: &mut String) {
        if self.drawn.is_empty() && !self.disturbed {
            return;
        }
        // Not from the first column on: if the cursor is at the very top, tmux takes that for a clear screen and
        // puts what was on it into its history.
        text.push_str("\r \x1b[J\r\x1b[K");
    }
}

fn moved(rows: usize, direction: char) -> String {
    match rows {
        0 => String::new(),
        rows => format!("\x1b[{rows}{direction}"),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    fn rows(rows: &[&str]) -> Vec<String> {
        rows.iter().map(|row| (*row).to_owned()).collect()
    }

    fn size(number: u16) -> NonZero<u16> {
        NonZero::new(number).unwrap()
    }

    fn parser(rows: u16, columns: u16) -> vt100::Parser {
        vt100::Parser::new(size(rows), size(columns), 100)
    }

    fn screen(parser: &vt100::Parser) -> String {
        let text = parser.screen().contents();
        text.trim_end().to_owned()
    }

    #[test]
    fn lines_go_above_and_rows_stay_below() {
        let mut parser = parser(4, 20);
        let mut viewport = Viewport::default();
        parser.process(viewport.draw("one\r\n", rows(&["f1", "f2"])).as_bytes());
        assert_eq!(screen(&parser), "one\nf1\nf2");
        parser.process(
            viewport
                .draw("two\r\nthree\r\n", rows(&["f1", "f3"]))
                .as_bytes(),
        );
        assert_eq!(screen(&parser), "two\nthree\nf1\nf3");
        parser.screen_mut().set_scrollback(1);
        assert_eq!(screen(&parser), "one\ntwo\nthree\nf1");
    }

    #[test]
    fn what_has_not_changed_is_not_written() {
        let mut viewport = Viewport::default();
        let _ = viewport.draw("", rows(&["a", "b"]));
        assert_eq!(viewport.draw("", rows(&["a", "b"])), "");
        let text = viewport.draw("", rows(&["a", "c"]));
        assert_eq!(text, format!("{BEGIN}{CUT}\x1b[1Bc\r\x1b[1A{BREAK}{END}"));
    }

    /// Behind a row that is as wide as the terminal, erasing takes away its last character on some terminals.
    #[test]
    fn nothing_is_erased_behind_a_row_that_fills_the_width() {
        let mut viewport = Viewport::default();
        let _ = viewport.draw("", rows(&["1s ? help", "\x1b[38:2::1:2:3mbold"]));
        let text = viewport.draw("", rows(&["2s ? help", "x"]));
        assert_eq!(
            text,
            format!("{BEGIN}{CUT}2s ? help\r\x1b[1Bx\x1b[K\r\x1b[1A{BREAK}{END}")
        );
    }

    /// What is printed is broken by the terminal, and what is ours never is.
    #[test]
    fn only_rows_of_ours_are_cut_by_the_terminal() {
        let mut viewport = Viewport::default();
        let text = viewport.draw("line\r\n", rows(&["a", "b"]));
        let expected = format!("{BEGIN}line\r\n{CUT}a\r\nb{BREAK}\r\x1b[1A{END}");
        assert_eq!(text, expected);
    }

    #[test]
    fn fewer_rows_leave_nothing_behind() {
        let mut parser = parser(6, 20);
        let mut viewport = Viewport::default();
        parser.process(viewport.draw("x\r\n", rows(&["a", "b", "c"])).as_bytes());
        parser.process(viewport.draw("", rows(&["d"])).as_bytes());
        assert_eq!(screen(&parser), "x\nd");
        parser.process(viewport.erase().as_bytes());
        assert_eq!(screen(&parser), "x");
        assert_eq!(viewport.height(), 0);
    }

    #[test]
    fn after_a_resize_everything_is_drawn_anew() {
        let mut parser = parser(6, 20);
        let mut viewport = Viewport::default();
        parser.process(viewport.draw("x\r\n", rows(&["a", "b"])).as_bytes());
        parser.screen_mut().set_size(size(3), size(10));
        viewport.disturb();
        parser.process(viewport.draw("", rows(&["a", "b"])).as_bytes());
        assert_eq!(screen(&parser), "x\na\nb");
    }
}
