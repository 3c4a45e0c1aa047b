use unicode_width::UnicodeWidthChar;
use vte::{Params, Parser, Perform};

use super::sgr::{self, SgrState};

pub(super) const RESET: &str = "\x1b[0m";
const END_LINK: &str = "\x1b]8;;\x1b\\";
/// The longest link to pass through, in bytes. The parser keeps at most 1024 bytes, and a truncated link is useless.
const MAX_LINK: usize = 900;
/// The assumed width of a terminal whose width does not matter.
const DEFAULT_COLUMNS: usize = 200;

/// A line as it would finally look on a screen, without harmful escape sequences.
pub(super) fn harmless(line: &str) -> String {
    Line::of(line).text()
}

/// The text of a line without its escape sequences.
pub(in crate::ui) fn plain(line: &str) -> String {
    let cells = Line::of(line).cells;
    cells.iter().map(|cell| cell.character).collect()
}

/// How many columns a line takes up.
pub(super) fn width(line: &str) -> usize {
    Line::of(line).columns()
}

/// Splits a line into rows as the terminal would wrap it. Each row repeats the colors and the link in effect, and ends
/// with both off.
pub(super) fn wrap(line: &str, columns: usize) -> Vec<String> {
    let (mut rows, mut row, mut parser) = (Vec::new(), Line::default(), Parser::new());
    let line = Line::of(line);
    for cell in &line.cells {
        parser.advance(&mut row, cell.sequences.as_bytes());
        let mut width = row.width(cell.character);
        if cell.character == '\t' {
            // A tab does not go past the last column.
            width = width.min(columns.saturating_sub(row.cursor + 1));
        }
        if row.cursor + width > columns && row.cursor > 0 {
            rows.push(row.take());
        }
        match cell.character {
            '\t' => (0..width).for_each(|_| row.print(' ')),
            character => row.print(character),
        }
    }
    parser.advance(&mut row, line.pending.as_bytes());
    rows.push(row.take());
    rows
}

/// As much of a line as fits in a row, with an ellipsis if something is cut off.
pub(super) fn truncate(line: &str, columns: usize) -> String {
    let mut rows = wrap(line, columns);
    if rows.len() == 1 && width(&rows[0]) <= columns {
        return rows.swap_remove(0);
    }
    let mut row = wrap(line, columns.saturating_sub(1)).swap_remove(0);
    // There may not be room for even one character beside the ellipsis.
    if width(&row) >= columns {
        row.clear();
    }
    row.push('…');
    row
}

/// The line that is being printed, as the terminal would show it.
#[derive(Default)]
pub(super) struct Line {
    pub(super) terminal_columns: usize,
    cells: Vec<Cell>,
    /// The column of the cursor. The next text replaces everything to the right of it; moving the cursor erases nothing.
    cursor: usize,
    /// The escape sequences since the last character. They apply to the next text, no matter where the cursor is.
    pending: String,
    style: SgrState,
    /// The open link, as the sequence that opened it.
    link: Option<String>,
    /// Whether the bell rang.
    pub(super) bell: bool,
}

/// A character of a line.
struct Cell {
    /// The escape sequences before the character.
    sequences: String,
    character: char,
    /// The column after the character.
    end: usize,
}

impl Line {
    fn of(text: &str) -> Self {
        let mut line = Self {
            terminal_columns: DEFAULT_COLUMNS,
            ..Self::default()
        };
        Parser::new().advance(&mut line, text.as_bytes());
        line
    }

    /// The length in bytes.
    pub(super) fn len(&self) -> usize {
        let cells = self.cells.iter();
        let lengths = cells.map(|cell| cell.sequences.len() + cell.character.len_utf8());
        lengths.sum::<usize>() + self.pending.len()
    }

    pub(super) fn is_styled(&self) -> bool {
        !self.style.is_plain() || self.link.is_some()
    }

    /// How many columns the text takes up.
    fn columns(&self) -> usize {
        self.cells.last().map_or(0, |last| last.end)
    }

    fn move_right(&mut self, columns: usize) {
        // The cursor stops in the last column.
        let last = self.terminal_columns.saturating_sub(1).max(self.columns());
        let target = (self.cursor + columns).min(last);
        self.cursor = target.min(self.columns());
        while self.cursor < target {
            self.print(' ');
        }
    }

    /// Erases the text to the right of the cursor, and the escape sequences in it.
    fn erase_right(&mut self) {
        if self.cursor >= self.columns() {
            return;
        }
        let kept = match self.cursor {
            // Nothing is to the left of the first column, not even a character without a width.
            0 => 0,
            column => self.cells.partition_point(|cell| cell.end <= column),
        };
        let erased = self.cells.split_off(kept);
        self.cursor = self.columns();
        if erased.iter().any(|cell| !cell.sequences.is_empty()) {
            self.restore_style();
        }
    }

    /// Makes the style and link in effect apply to the next text, whatever the remaining text has switched on.
    fn restore_style(&mut self) {
        self.pending.clear();
        if !self.cells.is_empty() {
            self.pending.push_str(RESET);
        }
        self.pending += &self.style.sequences();
        let mut cells = self.cells.iter();
        match &self.link {
            Some(link) => self.pending.push_str(link),
            None if cells.any(|cell| cell.sequences.contains("\x1b]")) => {
                self.pending.push_str(END_LINK);
            }
            None => {}
        }
    }

    /// The width of a character at the cursor.
    fn width(&self, character: char) -> usize {
        match character {
            '\t' => 8 - self.cursor % 8,
            _ => character.width().unwrap_or(0),
        }
    }

    /// The line so far, with all styles and links switched off at its end. Empty if it contains no visible text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if self.cells.is_empty() {
            return text;
        }
        for cell in &self.cells {
            text.push_str(&cell.sequences);
            text.push(cell.character);
        }
        text.push_str(&self.pending);
        if self.link.is_some() {
            text.push_str(END_LINK);
        }
        if !self.style.is_plain() {
            text.push_str(RESET);
        }
        text
    }

    /// Takes the text, and starts an empty line with the style and link in effect.
    pub(super) fn take(&mut self) -> String {
        let text = self.text();
        self.cells.clear();
        self.cursor = 0;
        self.restore_style();
        text
    }
}

impl Perform for Line {
    fn print(&mut self, character: char) {
        // The parser treats Delete as text, but a terminal does not show it.
        if character.is_control() && character != '\t' {
            return;
        }
        self.erase_right();
        self.cursor += self.width(character);
        self.cells.push(Cell {
            sequences: std::mem::take(&mut self.pending),
            character,
            end: self.cursor,
        });
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.cursor = 0,
            b'\t' => self.print('\t'),
            8 => self.cursor = self.cursor.saturating_sub(1),
            7 => self.bell = true,
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore || !intermediates.is_empty() {
            return;
        }
        let first = params.iter().next().map(|param| param[0]);
        let count = usize::from(first.unwrap_or(1).max(1));
        match action {
            'm' => {
                self.style.apply(params.iter());
                self.pending.push_str(&sgr::sequence(params.iter()));
            }
            // Erase in line: to the right of the cursor, to the left (emulated only at the end of the line), or all.
            // On an empty line, there is nothing to erase but sequences that have no effect any more.
            'K' if self.cells.is_empty() => self.restore_style(),
            'K' => match first.unwrap_or(0) {
                0 => self.erase_right(),
                1 if self.cursor == self.columns() => {
                    let columns = std::mem::take(&mut self.cursor);
                    self.erase_right();
                    (0..columns).for_each(|_| self.print(' '));
                }
                2 => {
                    self.cursor = 0;
                    self.erase_right();
                }
                _ => {}
            },
            // Delete characters, if that deletes everything to the right of the cursor.
            'P' if self.columns() <= self.cursor + count => self.erase_right(),
            'D' => self.cursor = self.cursor.saturating_sub(count),
            // Move to the first column.
            'G' if matches!(first, None | Some(0 | 1)) => self.cursor = 0,
            'C' => self.move_right(count),
            _ => {}
        }
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        let [b"8", rest @ ..] = params else {
            return;
        };
        let rest = rest.join(&b';');
        let harmless = rest.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let Ok(text) = str::from_utf8(&rest) else {
            return;
        };
        if !harmless || text.len() > MAX_LINK {
            return;
        }
        let address = text.split_once(';').map_or("", |(_, address)| address);
        let sequence = format!("\x1b]8;{text}\x1b\\");
        self.link = (!address.is_empty()).then(|| sequence.clone());
        self.pending.push_str(&sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_line_wraps_where_the_terminal_wraps_it() {
        assert_eq!(wrap("abcdef", 3), ["abc", "def"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("a漢字", 4), ["a漢", "字"]);
        assert_eq!(wrap("a\tbc", 4), ["a  b", "c"]);
        assert_eq!(wrap("a\tb", 20), ["a       b"]);
    }

    #[test]
    fn each_row_repeats_the_colors_and_the_link() {
        assert_eq!(
            wrap("\x1b[31mabcd\x1b[0me", 3),
            ["\x1b[31mabc\x1b[0m", "\x1b[31md\x1b[0me"]
        );
        let (color, link) = ("\x1b[38:2:0:1:2:3m", "\x1b]8;;http://a/m\x1b\\");
        assert_eq!(
            wrap(&format!("{color}abcd"), 3),
            [format!("{color}abc\x1b[0m"), format!("{color}d\x1b[0m")]
        );
        let end = END_LINK;
        assert_eq!(wrap(&format!("{link}ab"), 3), [format!("{link}ab{end}")]);
        // The link survives a color change, and ends where it is closed.
        assert_eq!(
            wrap(&format!("{link}ab\x1b[0mcd{end}ef"), 3),
            [format!("{link}ab\x1b[0mc{end}"), format!("{link}d{end}ef"),]
        );
    }

    #[test]
    fn a_truncated_line_ends_with_all_styles_off() {
        assert_eq!(truncate("abcdef", 6), "abcdef");
        assert_eq!(truncate("abcdef", 5), "abcd…");
        assert_eq!(truncate("a漢字", 4), "a漢…");
        assert_eq!([truncate("ab", 1), truncate("漢", 1)], ["…", "…"]);
        assert_eq!(truncate("\x1b[31mabcd", 3), "\x1b[31mab\x1b[0m…");
        assert_eq!(plain("\x1b[38:2:0:1:2:3mab\x1b[0mc"), "abc");
    }
}
