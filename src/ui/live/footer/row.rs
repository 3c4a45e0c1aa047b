//! The parts of a footer row: styled text, segments, times.

use std::fmt::Display;
use std::time::Duration;

use console::Style;

use crate::os::terminal::Size;
use crate::ui::Options;
use crate::ui::live::line::width;
use crate::ui::model::Model;

/// Everything that the footer depends on.
pub(in crate::ui::live) struct Frame<'a> {
    pub(in crate::ui::live) model: &'a Model,
    pub(in crate::ui::live) options: &'a Options,
    pub(in crate::ui::live) size: Size,
    /// The time on the user interface's clock.
    pub(in crate::ui::live) now: Duration,
    /// Whether the key help is shown.
    pub(in crate::ui::live) help: bool,
}

impl Frame<'_> {
    pub(super) fn columns(&self) -> usize {
        usize::from(self.size.columns)
    }

    /// How much time has passed since `since`.
    pub(super) fn age(&self, since: Duration) -> Duration {
        self.now.saturating_sub(since)
    }

    pub(super) fn paint(&self, tint: Tint, text: impl Display) -> String {
        tint.apply(text, self.options.color)
    }
}

/// How a piece of text looks. Anything that a color shows is also shown by a word or a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    Plain,
    /// Less important.
    Dim,
    /// Important.
    Bold,
    /// Everything is fine.
    Good,
    /// Something is wrong.
    Bad,
    /// Something is in progress.
    Busy,
}

impl Tint {
    /// Uses only colors that are readable on both light and dark backgrounds.
    fn apply(self, text: impl Display, color: bool) -> String {
        let style = match self {
            Self::Plain => Style::new(),
            Self::Dim => Style::new().dim(),
            Self::Bold => Style::new().bold(),
            Self::Good => Style::new().green(),
            Self::Bad => Style::new().red(),
            Self::Busy => Style::new().cyan(),
        };
        style.force_styling(color).apply_to(text).to_string()
    }
}

/// A row of segments. The less important ones are shown only if there is room.
#[derive(Debug, Default)]
pub(super) struct Segments {
    color: bool,
    head: String,
    /// Separates the head from the first segment.
    gap: &'static str,
    /// Each segment has a rank. The highest ranks are dropped first; rank 0 is never dropped.
    segments: Vec<(u8, Tint, String)>,
}

impl Segments {
    /// A row that begins with a symbol and a title.
    pub(super) fn titled(frame: &Frame<'_>, tint: Tint, sign: &str, title: impl Display) -> Self {
        let head = frame.paint(tint, format!(" {sign} ")) + &frame.paint(Tint::Bold, title);
        Self::new(frame, head, "   ")
    }

    /// A row that begins with a symbol and a text. The separator after the text is the same as between segments.
    pub(super) fn list(frame: &Frame<'_>, sign: (Tint, &str), text: (Tint, String)) -> Self {
        let head = frame.paint(sign.0, format!(" {} ", sign.1)) + &frame.paint(text.0, text.1);
        Self::new(frame, head, " · ")
    }

    fn new(frame: &Frame<'_>, head: String, gap: &'static str) -> Self {
        let (color, segments) = (frame.options.color, Vec::new());
        Self {
            color,
            head,
            gap,
            segments,
        }
    }

    /// Appends to the head.
    pub(super) fn extend_head(&mut self, text: &str) {
        self.head.push_str(text);
    }

    pub(super) fn head_width(&self) -> usize {
        width(&self.head)
    }

    /// Adds a segment, unless it is empty.
    pub(super) fn add(&mut self, rank: u8, tint: Tint, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.segments.push((rank, tint, text));
        }
    }

    /// A row with as many segments as fit.
    pub(super) fn fit(mut self, columns: usize) -> String {
        loop {
            let mut row = self.head.clone();
            for (index, (_, tint, text)) in self.segments.iter().enumerate() {
                let between = if index == 0 { self.gap } else { " · " };
                row += &Tint::Dim.apply(between, self.color);
                row += &tint.apply(text, self.color);
            }
            let least = self.segments.iter().map(|segment| segment.0).max();
            if width(&row) <= columns || least.unwrap_or(0) == 0 {
                return row;
            }
            let last = self
                .segments
                .iter()
                .rposition(|segment| Some(segment.0) == least);
            self.segments.remove(last.unwrap_or(0));
        }
    }
}

/// Formats an uptime. Times are coarse, because each visible change costs a write to the terminal.
pub(super) fn up(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    match minutes {
        0 => "<1m".into(),
        1..60 => format!("{minutes}m"),
        60..1440 => format!("{}h{:02}m", minutes / 60, minutes % 60),
        _ => format!("{}d{:02}h", minutes / 1440, minutes / 60 % 24),
    }
}

/// Formats the duration of something in progress. Durations below ten seconds are shown in tenths of a second.
pub(super) fn running(age: Duration) -> String {
    match age.as_secs() {
        0..10 => format!("{}.{}s", age.as_secs(), age.subsec_millis() / 100),
        seconds @ 10..60 => format!("{seconds}s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

/// The time left until a timeout, in whole seconds, rounded up.
pub(super) fn left(age: Duration, timeout: Duration) -> String {
    let left = timeout.saturating_sub(age);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_important_segment_is_dropped_first() {
        let row = |columns| {
            let mut row = Segments {
                head: " ● gen 7 live".into(),
                gap: "   ",
                ..Segments::default()
            };
            row.add(0, Tint::Bold, "api");
            row.add(3, Tint::Plain, "pid 4242");
            row.add(1, Tint::Plain, "12 conns");
            row.fit(columns)
        };
        assert_eq!(row(80), " ● gen 7 live   api · pid 4242 · 12 conns");
        assert_eq!(row(40), " ● gen 7 live   api · 12 conns");
        assert_eq!(row(20), " ● gen 7 live   api");
    }

    #[test]
    fn times_are_coarse() {
        let ms = Duration::from_millis;
        let texts = [0, 59_999, 60_000, 3_599_999, 7_500_000, 90_000_000].map(|time| up(ms(time)));
        assert_eq!(texts, ["<1m", "<1m", "1m", "59m", "2h05m", "1d01h"]);
        let texts = [0, 1_260, 9_999, 10_000, 75_000].map(|time| running(ms(time)));
        assert_eq!(texts, ["0.0s", "1.2s", "9.9s", "10s", "1m15s"]);
        let texts = [0, 1, 9_999, 10_000, 11_000].map(|time| left(ms(time), ms(10_000)));
        assert_eq!(texts, ["10s", "10s", "1s", "0s", "0s"]);
    }
}
