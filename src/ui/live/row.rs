use console::Style;

use super::wrap::{RESET, plain, truncate, width};

/// How a piece of text looks. Color never carries meaning alone: a word or a sign always says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    Plain,
    /// Less important.
    Dim,
    /// What the eye looks for.
    Bold,
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
    /// Something is in progress.
    Busy,
    /// Text that contains its own escape sequences.
    Ansi,
}

impl Tint {
    /// Only colors that are readable on light and on dark backgrounds.
    fn style(self) -> Style {
        match self {
            Self::Plain | Self::Ansi => Style::new(),
            Self::Dim => Style::new().dim(),
            Self::Bold => Style::new().bold(),
            Self::Good => Style::new().green(),
            Self::Bad => Style::new().red(),
            Self::Busy => Style::new().cyan(),
        }
    }

    fn apply(self, text: &str, color: bool) -> String {
        match (self, color) {
            (Self::Ansi, true) => format!("{text}{RESET}"),
            (Self::Ansi, false) => plain(text),
            (_, _) => self.style().force_styling(color).apply_to(text).to_string(),
        }
    }
}

/// One row of the footer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row(Vec<(Tint, String)>);

impl Row {
    pub(super) fn of(tint: Tint, text: impl Into<String>) -> Self {
        Self::default().with(tint, text)
    }

    /// The sign that a row starts with.
    pub(super) fn sign(tint: Tint, sign: &str) -> Self {
        Self::of(tint, format!(" {sign} "))
    }

    /// The sign and the title that a row starts with.
    pub(super) fn head(tint: Tint, sign: &str, title: impl Into<String>) -> Self {
        Self::sign(tint, sign).with(Tint::Bold, title)
    }

    pub(super) fn with(mut self, tint: Tint, text: impl Into<String>) -> Self {
        self.0.push((tint, text.into()));
        self
    }

    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }

    /// Right-aligns `other` in the same row, if there is room.
    pub(super) fn with_right(mut self, other: Self, columns: usize) -> Self {
        let used = self.width() + other.width();
        if other.0.is_empty() || used + 2 > columns {
            return self;
        }
        self.0.push((Tint::Plain, " ".repeat(columns - used)));
        self.0.extend(other.0);
        self
    }

    /// The row as text, at most `columns` wide, which leaves no color on.
    pub(super) fn render(&self, columns: usize, color: bool) -> String {
        let pieces = self.0.iter();
        let text: String = pieces.map(|(tint, text)| tint.apply(text, color)).collect();
        truncate(text.trim_end(), columns)
    }
}

/// Segments shown side by side; the less important ones only if there is room.
#[derive(Debug, Default)]
pub(super) struct Segments {
    head: Row,
    /// What separates the head from the first segment.
    gap: &'static str,
    /// Each with its rank. The highest ranks are dropped first, 0 never.
    segments: Vec<(u8, Tint, String)>,
}

impl Segments {
    pub(super) fn new(head: Row) -> Self {
        let (gap, segments) = ("   ", Vec::new());
        Self {
            head,
            gap,
            segments,
        }
    }

    /// Separates the head like a segment.
    pub(super) fn list(head: Row) -> Self {
        let (gap, segments) = (" · ", Vec::new());
        Self {
            head,
            gap,
            segments,
        }
    }

    /// Adds a segment, unless it is empty.
    pub(super) fn add(&mut self, rank: u8, tint: Tint, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.segments.push((rank, tint, text));
        }
    }

    /// A row with as many segments as fit.
    pub(super) fn fit(mut self, columns: usize) -> Row {
        loop {
            let row = self.joined();
            let least = self
                .segments
                .iter()
                .map(|segment| segment.0)
                .max()
                .unwrap_or(0);
            if row.width() <= columns || least == 0 {
                return row;
            }
            let last = self.segments.iter().rposition(|segment| segment.0 == least);
            self.segments.remove(last.unwrap_or(0));
        }
    }

    fn joined(&self) -> Row {
        let mut row = self.head.clone();
        for (index, (_, tint, text)) in self.segments.iter().enumerate() {
            let between = if index == 0 { self.gap } else { " · " };
            row = row.with(Tint::Dim, between).with(*tint, text.clone());
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Segments {
        let mut parts = Segments::new(Row::default().with(Tint::Good, " ● gen 7 live"));
        parts.add(0, Tint::Bold, "api");
        parts.add(3, Tint::Plain, "pid 4242");
        parts.add(1, Tint::Plain, "12 conns");
        parts
    }

    #[test]
    fn the_least_important_segment_is_dropped_first() {
        let shown = |columns| parts().fit(columns).render(columns, false);
        assert_eq!(shown(80), " ● gen 7 live   api · pid 4242 · 12 conns");
        assert_eq!(shown(40), " ● gen 7 live   api · 12 conns");
        assert_eq!(shown(20), " ● gen 7 live   api");
        assert_eq!(shown(10), " ● gen 7 …");
    }

    #[test]
    fn a_cut_row_leaves_no_color_on() {
        let row = Row::default()
            .with(Tint::Bad, "something long")
            .with(Tint::Ansi, "\x1b[1mbold");
        assert!(row.render(5, true).ends_with("\x1b[0m…"));
        assert!(row.render(50, true).ends_with("\x1b[0m"));
        assert_eq!(row.render(50, false), "something longbold");
    }

    #[test]
    fn keys_are_right_aligned_if_there_is_room() {
        let right = || Row::default().with(Tint::Dim, "? help");
        let row = |columns| {
            let left = Row::default().with(Tint::Plain, "left");
            left.with_right(right(), columns).render(columns, false)
        };
        assert_eq!(row(12), "left  ? help");
        assert_eq!(row(11), "left");
    }
}
