use unicode_width::UnicodeWidthChar;

/// How a piece of text looks. Never what it says: there is a word or a sign for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    Plain,
    /// Less important.
    Dim,
    /// What one looks for.
    Bold,
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
    /// Something is under way.
    Busy,
    /// It brings its own colours.
    Own,
}

impl Tint {
    /// Only what is readable on light and on dark grounds.
    fn code(self) -> &'static str {
        match self {
            Self::Plain | Self::Own => "",
            Self::Dim => "\x1b[2m",
            Self::Bold => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Busy => "\x1b[36m",
        }
    }
}

/// One row of the footer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row(Vec<(Tint, String)>);

impl Row {
    pub(super) fn with(mut self, tint: Tint, text: impl Into<String>) -> Self {
        self.0.push((tint, text.into()));
        self
    }

    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }

    /// Puts `other` at the right end of a terminal of so many columns, if there is room.
    pub(super) fn with_right(mut self, other: Self, columns: usize) -> Self {
        let used = self.width() + other.width();
        if other.0.is_empty() || used + 2 > columns {
            return self;
        }
        self.0.push((Tint::Plain, " ".repeat(columns - used)));
        self.0.extend(other.0);
        self
    }

    /// As it is written to a terminal: no wider than that, and with no colour left on.
    pub(super) fn render(&self, columns: usize, colour: bool) -> String {
        let mut text = String::new();
        for (tint, piece) in &self.0 {
            let code = if colour { tint.code() } else { "" };
            text.push_str(code);
            match tint {
                Tint::Own if !colour => {
                    let plain = pieces(piece).filter(|(_, is_code)| !is_code);
                    text.extend(plain.map(|(piece, _)| piece));
                }
                Tint::Own => {
                    text.push_str(piece);
                    text.push_str("\x1b[0m");
                }
                Tint::Plain | Tint::Dim | Tint::Bold | Tint::Good | Tint::Bad | Tint::Busy => {
                    text.push_str(piece);
                }
            }
            if !code.is_empty() {
                text.push_str("\x1b[0m");
            }
        }
        cut(text.trim_end(), columns)
    }
}

/// Pieces that are shown one after the other, the less important ones only where there is room.
#[derive(Debug, Default)]
pub(super) struct Parts {
    head: Row,
    gap: &'static str,
    /// How important, and what. 0 is always shown.
    parts: Vec<(u8, Tint, String)>,
}

impl Parts {
    pub(super) fn new(head: Row) -> Self {
        let (gap, parts) = ("   ", Vec::new());
        Self { head, gap, parts }
    }

    /// The head is the first of the pieces.
    pub(super) fn going_on(head: Row) -> Self {
        let (gap, parts) = (" · ", Vec::new());
        Self { head, gap, parts }
    }

    /// Adds a piece; the greater `drop`, the sooner it is left out.
    pub(super) fn add(&mut self, drop: u8, tint: Tint, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.parts.push((drop, tint, text));
        }
    }

    /// As many as fit.
    pub(super) fn fit(mut self, columns: usize) -> Row {
        loop {
            let row = self.joined();
            let least = self.parts.iter().map(|part| part.0).max().unwrap_or(0);
            if row.width() <= columns || least == 0 {
                return row;
            }
            let last = self.parts.iter().rposition(|part| part.0 == least);
            self.parts.remove(last.unwrap_or(0));
        }
    }

    fn joined(&self) -> Row {
        let mut row = self.head.clone();
        for (index, (_, tint, text)) in self.parts.iter().enumerate() {
            let between = if index == 0 { self.gap } else { " · " };
            row = row.with(Tint::Dim, between).with(*tint, text.clone());
        }
        row
    }
}

/// A line that is wider than the terminal, in rows: as the terminal itself would break it. Each has its colours and its
/// link, and ends with none.
pub(super) fn wrap(line: &str, columns: usize) -> Vec<String> {
    let (mut rows, mut row, mut on, mut used) = (Vec::new(), String::new(), On::default(), 0);
    for (piece, is_code) in pieces(line) {
        if is_code {
            row.push_str(piece);
            on.code(piece);
            continue;
        }
        for character in piece.chars() {
            let width = match character {
                // It goes no further than the last column.
                '\t' => (8 - used % 8).min(columns.saturating_sub(used + 1)),
                _ => character.width().unwrap_or(0),
            };
            if used + width > columns && used > 0 {
                rows.push(on.ended(std::mem::replace(&mut row, on.begun())));
                used = 0;
            }
            match character {
                '\t' => row.extend(std::iter::repeat_n(' ', width)),
                _ => row.push(character),
            }
            used += width;
        }
    }
    rows.push(on.ended(row));
    rows
}

/// What is on at some place of a line, as the codes that switched it on.
#[derive(Default)]
struct On<'a> {
    style: String,
    link: Option<&'a str>,
}

impl<'a> On<'a> {
    fn code(&mut self, code: &'a str) {
        match code.strip_prefix("\x1b]8;") {
            Some(rest) => {
                let closes = rest.split_once(';').is_none_or(|(_, to)| to == "\x1b\\");
                self.link = (!closes).then_some(code);
            }
            // No colour, and a link stays.
            None if code == "\x1b[0m" => self.style.clear(),
            None => self.style.push_str(code),
        }
    }

    fn begun(&self) -> String {
        let mut row = self.style.clone();
        row.extend(self.link);
        row
    }

    fn ended(&self, mut row: String) -> String {
        if self.link.is_some() {
            row.push_str("\x1b]8;;\x1b\\");
        }
        if !self.style.is_empty() {
            row.push_str("\x1b[0m");
        }
        row
    }
}

/// How many columns a text takes, codes and tabs aside.
pub(super) fn width(text: &str) -> usize {
    let shown = pieces(text).filter(|(_, is_code)| !is_code);
    let characters = shown.flat_map(|(piece, _)| piece.chars());
    characters.filter_map(UnicodeWidthChar::width).sum()
}

/// As much of a line as there is room for in a row, with a mark where it goes on. As `wrap` counts: a tab takes the room
/// that it takes on a terminal, and nothing that is left moves the cursor but by its width.
fn cut(line: &str, columns: usize) -> String {
    // Up to `fits` there is room for the mark behind it.
    let (mut text, mut used, mut fits) = (String::new(), 0, 0);
    for (piece, is_code) in pieces(line) {
        if is_code {
            text.push_str(piece);
            continue;
        }
        for character in piece.chars() {
            let width = match character {
                '\t' => 8 - used % 8,
                _ => character.width().unwrap_or(0),
            };
            if used + width > columns {
                text.truncate(fits);
                return marked(text);
            }
            match character {
                '\t' => text.extend(std::iter::repeat_n(' ', width)),
                _ if character.is_control() => {}
                _ => text.push(character),
            }
            used += width;
            if used < columns {
                fits = text.len();
            }
        }
    }
    text
}

/// What is left of a row that was cut: what was cut off may have been what switches the colour or the link off.
fn marked(mut text: String) -> String {
    text.push('…');
    if text.contains("\x1b]") {
        text.push_str("\x1b]8;;\x1b\\");
    }
    if text.contains('\x1b') {
        text.push_str("\x1b[0m");
    }
    text
}

/// The text of a line, and apart from it the codes that the filter lets through: `ESC [ … m`, and links as
/// `ESC ] … ESC \`. Colours may have colons in them (ITU T.416), which not every reader of such codes expects, and
/// a code must not be broken in two.
fn pieces(mut rest: &str) -> impl Iterator<Item = (&str, bool)> {
    std::iter::from_fn(move || {
        let is_code = rest.starts_with('\x1b');
        let length = match is_code {
            true => code_length(rest),
            false => rest.find('\x1b').unwrap_or(rest.len()),
        };
        let (piece, after) = rest.split_at(length);
        rest = after;
        (!piece.is_empty()).then_some((piece, is_code))
    })
}

/// How long the code is with which a text begins.
fn code_length(text: &str) -> usize {
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

    fn parts() -> Parts {
        let mut parts = Parts::new(Row::default().with(Tint::Good, " ● gen 7 live"));
        parts.add(0, Tint::Bold, "api");
        parts.add(3, Tint::Plain, "pid 4242");
        parts.add(1, Tint::Plain, "12 conns");
        parts
    }

    #[test]
    fn the_least_important_goes_first() {
        let shown = |columns| parts().fit(columns).render(columns, false);
        assert_eq!(shown(80), " ● gen 7 live   api · pid 4242 · 12 conns");
        assert_eq!(shown(40), " ● gen 7 live   api · 12 conns");
        assert_eq!(shown(20), " ● gen 7 live   api");
        assert_eq!(shown(10), " ● gen 7 …");
    }

    #[test]
    fn no_colour_is_left_on_when_it_is_cut() {
        let row = Row::default()
            .with(Tint::Bad, "something long")
            .with(Tint::Own, "\x1b[1mbold");
        assert!(row.render(5, true).ends_with("\x1b[0m"));
        assert!(row.render(50, true).ends_with("\x1b[0m"));
        assert_eq!(row.render(50, false), "something longbold");
    }

    #[test]
    fn a_wide_line_is_broken_where_the_terminal_breaks_it() {
        assert_eq!(wrap("abcdef", 3), ["abc", "def"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("a漢字", 4), ["a漢", "字"]);
        assert_eq!(wrap("a\tbc", 4), ["a  b", "c"]);
        assert_eq!(wrap("a\tb", 20), ["a       b"]);
        assert_eq!(
            wrap("\x1b[31mabcd\x1b[0me", 3),
            ["\x1b[31mabc\x1b[0m", "\x1b[31md\x1b[0me"]
        );
        let (colour, link) = ("\x1b[38:2::1:2:3m", "\x1b]8;;http://a/m\x1b\\");
        assert_eq!(
            wrap(&format!("{colour}abcd"), 3),
            [format!("{colour}abc\x1b[0m"), format!("{colour}d\x1b[0m")]
        );
        let end = "\x1b]8;;\x1b\\";
        assert_eq!(wrap(&format!("{link}ab"), 3), [format!("{link}ab{end}")]);
        // In each of its rows, beyond a change of colour, and no further than it goes.
        assert_eq!(
            wrap(&format!("{link}ab\x1b[0mcd{end}ef"), 3),
            [format!("{link}ab\x1b[0mc{end}"), format!("{link}d{end}ef"),]
        );
    }

    #[test]
    fn the_right_end_is_used_only_if_there_is_room() {
        let right = || Row::default().with(Tint::Dim, "? help");
        let row = |columns| {
            let left = Row::default().with(Tint::Plain, "left");
            left.with_right(right(), columns).render(columns, false)
        };
        assert_eq!(row(12), "left  ? help");
        assert_eq!(row(11), "left");
    }
}
