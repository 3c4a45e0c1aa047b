use crossterm::Command;
use crossterm::cursor::{MoveDown, MoveUp};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap,
    EndSynchronizedUpdate,
};

use super::line::width;

/// The rows at the bottom of the output, which are redrawn in place.
///
/// Between two frames, the cursor stays in the first column of the first row: everything after the cursor belongs to
/// the viewport, and nothing before the cursor does. This survives a resize, because a terminal that rewraps its lines
/// moves the cursor along with its line. A scroll region would save redrawing the rows after each printed line, but
/// some terminals drop lines that scroll out of it (GNU screen, older Windows consoles), and terminals disagree about
/// it after a resize.
#[derive(Debug, Default)]
pub(super) struct Viewport {
    drawn: Vec<String>,
    /// Whether the terminal may have moved or rewrapped the rows.
    disturbed: bool,
}

impl Viewport {
    /// Stops treating any row on the screen as part of the viewport: the rows were erased, or another program may write
    /// there.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Forces a full redraw: the rows may no longer be where they were drawn.
    pub(super) fn disturb(&mut self) {
        self.disturbed = true;
    }

    /// Returns what to write so that the terminal shows the lines `above` (each with its line ending), then `rows` at
    /// the bottom. Empty if nothing changed.
    pub(super) fn draw(&mut self, above: &str, rows: Vec<String>) -> String {
        let same_height = rows.len() == self.drawn.len() && !self.disturbed;
        if above.is_empty() && same_height {
            return self.draw_changed(rows);
        }
        let mut text = String::with_capacity(above.len() + 1024);
        add(&mut text, BeginSynchronizedUpdate);
        self.erase_into(&mut text);
        // Printed lines wrap as usual. The viewport's rows must not wrap: if a row turns out wider than the terminal
        // (which shrank, or counts an emoji as wider), everything below it would be one line lower than expected.
        text.push_str(above);
        add(&mut text, DisableLineWrap);
        text.push_str(&rows.join("\r\n"));
        add(&mut text, EnableLineWrap);
        text.push('\r');
        go(&mut text, MoveUp, rows.len().saturating_sub(1));
        add(&mut text, EndSynchronizedUpdate);
        self.drawn = rows;
        self.disturbed = false;
        text
    }

    /// Writes only the rows that changed.
    fn draw_changed(&mut self, rows: Vec<String>) -> String {
        let mut text = String::new();
        for (index, (new, old)) in rows.iter().zip(&self.drawn).enumerate() {
            if new == old {
                continue;
            }
            go(&mut text, MoveDown, index);
            text.push_str(new);
            // Erase only if the old row was wider. After a row that fills the width, the cursor stays on the last
            // character, and xterm and others would erase that character (deferred wrap, DEC STD 070).
            if width(new) < width(old) {
                add(&mut text, Clear(ClearType::UntilNewLine));
            }
            text.push('\r');
            go(&mut text, MoveUp, index);
        }
        self.drawn = rows;
        if text.is_empty() {
            return text;
        }
        let mut frame = String::new();
        add(&mut frame, BeginSynchronizedUpdate);
        add(&mut frame, DisableLineWrap);
        frame.push_str(&text);
        add(&mut frame, EnableLineWrap);
        add(&mut frame, EndSynchronizedUpdate);
        frame
    }

    /// Returns what to write to remove the rows from the screen.
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
        // Do not erase from the first column: with the cursor at the very top, tmux would treat that as clearing the
        // screen, and move the screen's content into its history.
        text.push_str("\r ");
        add(text, Clear(ClearType::FromCursorDown));
        text.push('\r');
        add(text, Clear(ClearType::UntilNewLine));
    }
}

/// Appends a command's escape sequence. Writing to a string cannot fail.
fn add(text: &mut String, command: impl Command) {
    let _ = command.write_ansi(text);
}

/// Appends a vertical move, unless it is by no rows: terminals take 0 as 1.
fn go<C: Command>(text: &mut String, direction: fn(u16) -> C, rows: usize) {
    if let Ok(rows @ 1..) = u16::try_from(rows) {
        add(text, direction(rows));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    const BEGIN: &str = "\x1b[?2026h\x1b[?7l";
    const END: &str = "\x1b[?7h\x1b[?2026l";

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
    fn lines_scroll_above_and_rows_stay_at_the_bottom() {
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
    fn unchanged_rows_are_not_written() {
        let mut viewport = Viewport::default();
        let _ = viewport.draw("", rows(&["a", "b"]));
        assert_eq!(viewport.draw("", rows(&["a", "b"])), "");
        let text = viewport.draw("", rows(&["a", "c"]));
        assert_eq!(text, format!("{BEGIN}\x1b[1Bc\r\x1b[1A{END}"));
    }

    /// After a row as wide as the terminal, erasing to the right removes the row's last character on some terminals.
    #[test]
    fn nothing_is_erased_after_a_row_that_fills_the_width() {
        let mut viewport = Viewport::default();
        let _ = viewport.draw("", rows(&["1s ? help", "\x1b[38:2::1:2:3mbold"]));
        let text = viewport.draw("", rows(&["2s ? help", "x"]));
        assert_eq!(
            text,
            format!("{BEGIN}2s ? help\r\x1b[1Bx\x1b[K\r\x1b[1A{END}")
        );
    }

    /// The terminal wraps printed lines, but not the viewport's rows.
    #[test]
    fn line_wrap_is_off_only_for_the_viewports_rows() {
        let mut viewport = Viewport::default();
        let text = viewport.draw("line\r\n", rows(&["a", "b"]));
        let expected = "\x1b[?2026hline\r\n\x1b[?7la\r\nb\x1b[?7h\r\x1b[1A\x1b[?2026l";
        assert_eq!(text, expected);
    }

    #[test]
    fn drawing_fewer_rows_erases_the_others() {
        let mut parser = parser(6, 20);
        let mut viewport = Viewport::default();
        parser.process(viewport.draw("x\r\n", rows(&["a", "b", "c"])).as_bytes());
        parser.process(viewport.draw("", rows(&["d"])).as_bytes());
        assert_eq!(screen(&parser), "x\nd");
        parser.process(viewport.erase().as_bytes());
        assert_eq!(screen(&parser), "x");
        assert_eq!(viewport.drawn.len(), 0);
    }

    #[test]
    fn after_a_resize_everything_is_redrawn() {
        let mut parser = parser(6, 20);
        let mut viewport = Viewport::default();
        parser.process(viewport.draw("x\r\n", rows(&["a", "b"])).as_bytes());
        parser.screen_mut().set_size(size(3), size(10));
        viewport.disturb();
        parser.process(viewport.draw("", rows(&["a", "b"])).as_bytes());
        assert_eq!(screen(&parser), "x\na\nb");
    }
}
