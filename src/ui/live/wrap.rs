//! Measures and wraps lines that may contain the escape sequences that the output filter passes through: colors
//! (`ESC [ … m`) and links (`ESC ] 8 ; … ESC \`).

use unicode_width::UnicodeWidthChar;

pub(super) const RESET: &str = "\x1b[0m";
pub(super) const END_LINK: &str = "\x1b]8;;\x1b\\";

/// Splits a line into rows as the terminal would wrap it. Each row repeats the colors and the link in effect, and ends
/// with both off.
pub(super) fn wrap(line: &str, columns: usize) -> Vec<String> {
    let (mut rows, mut row, mut state, mut used) =
        (Vec::new(), String::new(), OpenSequences::default(), 0);
    for (piece, is_sequence) in pieces(line) {
        if is_sequence {
            row.push_str(piece);
            state.apply(piece);
            continue;
        }
        for character in piece.chars() {
            let width = match character {
                // A tab does not go past the last column.
                '\t' => (8 - used % 8).min(columns.saturating_sub(used + 1)),
                _ => character.width().unwrap_or(0),
            };
            if used + width > columns && used > 0 {
                rows.push(state.end(std::mem::replace(&mut row, state.begin())));
                used = 0;
            }
            match character {
                '\t' => row.extend(std::iter::repeat_n(' ', width)),
                _ if character.is_control() => {}
                _ => row.push(character),
            }
            used += width;
        }
    }
    rows.push(state.end(row));
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

/// How many columns a text takes up. Escape sequences and tabs count as 0.
pub(super) fn width(text: &str) -> usize {
    let shown = pieces(text).filter(|(_, is_sequence)| !is_sequence);
    let characters = shown.flat_map(|(piece, _)| piece.chars());
    characters.filter_map(UnicodeWidthChar::width).sum()
}

/// The text without its escape sequences.
pub(super) fn plain(text: &str) -> String {
    let shown = pieces(text).filter(|(_, is_sequence)| !is_sequence);
    shown.map(|(piece, _)| piece).collect()
}

/// The sequences in effect at some point in a line.
#[derive(Default)]
struct OpenSequences<'a> {
    style: String,
    link: Option<&'a str>,
}

impl<'a> OpenSequences<'a> {
    fn apply(&mut self, sequence: &'a str) {
        if sequence.starts_with("\x1b]8;") {
            self.link = (sequence != END_LINK).then_some(sequence);
        } else if sequence == RESET {
            self.style.clear();
        } else {
            self.style.push_str(sequence);
        }
    }

    fn begin(&self) -> String {
        let mut row = self.style.clone();
        row.extend(self.link);
        row
    }

    fn end(&self, mut row: String) -> String {
        if self.link.is_some() {
            row.push_str(END_LINK);
        }
        if !self.style.is_empty() {
            row.push_str(RESET);
        }
        row
    }
}

/// Splits a line into text and escape sequences. `console`'s parser does not recognize colors with colons (ITU T.416).
fn pieces(mut rest: &str) -> impl Iterator<Item = (&str, bool)> {
    std::iter::from_fn(move || {
        let is_sequence = rest.starts_with('\x1b');
        let length = match is_sequence {
            true => sequence_length(rest),
            false => rest.find('\x1b').unwrap_or(rest.len()),
        };
        let (piece, after) = rest.split_at(length);
        rest = after;
        (!piece.is_empty()).then_some((piece, is_sequence))
    })
}

/// The length of the escape sequence that the text starts with.
fn sequence_length(text: &str) -> usize {
    let end = match text.as_bytes().get(1) {
        Some(b'[') => text
            .find(|last: char| last.is_ascii_alphabetic())
            .map(|at| at + 1),
        Some(b']') => text[1..].find("\x1b\\").map(|at| at + 3),
        Some(_) | None => None,
    };
    end.unwrap_or(text.len())
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
        let (color, link) = ("\x1b[38:2::1:2:3m", "\x1b]8;;http://a/m\x1b\\");
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
        assert_eq!(plain("\x1b[38:2::1:2:3mab\x1b[0mc"), "abc");
    }
}
