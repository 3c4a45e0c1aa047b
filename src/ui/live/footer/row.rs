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

    /// Applies a style, unless the text is empty.
    pub(super) fn paint(&self, style: &Style, text: impl Display) -> String {
        let text = text.to_string();
        match text.is_empty() {
            true => text,
            false => style
                .clone()
                .force_styling(self.options.color)
                .apply_to(text)
                .to_string(),
        }
    }
}

// Anything that a color shows is also shown by a word or a symbol. All colors are readable on both light and dark
// backgrounds.

/// Less important.
pub(super) const DIM: Style = Style::new().dim();
/// Important.
pub(super) const BOLD: Style = Style::new().bold();
/// Everything is fine.
pub(super) const GOOD: Style = Style::new().green();
/// Something is wrong.
pub(super) const BAD: Style = Style::new().red();
/// Something is in progress.
pub(super) const BUSY: Style = Style::new().cyan();

/// A row of segments. The less important ones are shown only if there is room.
#[derive(Default)]
pub(super) struct Segments {
    pub(super) head: String,
    /// Separates the head from the first segment.
    gap: &'static str,
    separator: String,
    /// Each segment has a rank. The highest ranks are dropped first; rank 0 is never dropped.
    segments: Vec<(u8, String)>,
}

impl Segments {
    pub(super) fn new(head: String, gap: &'static str, separator: String) -> Self {
        let segments = Vec::new();
        Self {
            head,
            gap,
            separator,
            segments,
        }
    }

    /// A row that begins with a symbol and a title.
    pub(super) fn titled(frame: &Frame<'_>, style: &Style, sign: &str, title: &str) -> Self {
        let head = frame.paint(style, format!(" {sign} ")) + &frame.paint(&BOLD, title);
        Self::new(head, "   ", frame.paint(&DIM, " · "))
    }

    /// A row that begins with a symbol and the first segment.
    pub(super) fn list(frame: &Frame<'_>, style: &Style, sign: &str) -> Self {
        let head = frame.paint(style, format!(" {sign} "));
        Self::new(head, "", frame.paint(&DIM, " · "))
    }

    /// Adds a segment, unless it is empty.
    pub(super) fn add(&mut self, rank: u8, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.segments.push((rank, text));
        }
    }

    /// A row with as many segments as fit.
    pub(super) fn fit(mut self, columns: usize) -> String {
        loop {
            let texts: Vec<&str> = self
                .segments
                .iter()
                .map(|(_, text)| text.as_str())
                .collect();
            let gap = if texts.is_empty() { "" } else { self.gap };
            let row = format!("{}{gap}{}", self.head, texts.join(&self.separator));
            let ranks = self.segments.iter().map(|(rank, _)| *rank).enumerate();
            let least = ranks
                .filter(|(_, rank)| *rank > 0)
                .max_by_key(|(_, rank)| *rank);
            match least {
                Some((index, _)) if width(&row) > columns => drop(self.segments.remove(index)),
                Some(_) | None => return row,
            }
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
            let mut row = Segments::new(" ● gen 7 live".into(), "   ", " · ".into());
            row.add(0, "api");
            row.add(3, "pid 4242");
            row.add(1, "12 conns");
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
