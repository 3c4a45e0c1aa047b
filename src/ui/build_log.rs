/// How many bytes are kept at least.
const MIN_KEPT: usize = 1024 * 1024;

/// The output of a build. If it is too long, its last part: warnings come first, and the error that makes it fail last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BuildLog {
    text: String,
    /// How many lines were dropped.
    dropped: usize,
}

impl BuildLog {
    /// Appends one or more lines.
    pub(super) fn add(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
        // Not with each line: shortening moves all of the rest.
        if self.text.len() > 2 * MIN_KEPT {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let mut from = self.text.len() - MIN_KEPT;
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        // At the start of a line, unless there is only one.
        let line = self.text[from..].find('\n').map(|end| from + end + 1);
        let line = line.filter(|line| *line < self.text.len());
        let dropped: String = self.text.drain(..line.unwrap_or(from)).collect();
        self.dropped += dropped.matches('\n').count();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// All lines, preceded by a note if some were dropped.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.last_lines(usize::MAX)
    }

    /// The last lines, preceded by a note if there are more.
    pub(super) fn last_lines(&self, count: usize) -> impl Iterator<Item = String> {
        let before = self.text.lines().count().saturating_sub(count);
        let note = match self.dropped + before {
            0 => None,
            1 => Some("… 1 line before these".into()),
            lines => Some(format!("… {lines} lines before these")),
        };
        let lines = self.text.lines().skip(before).map(str::to_owned);
        note.into_iter().chain(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_long_output_are_kept_and_the_rest_is_counted() {
        let mut log = BuildLog::default();
        let count = 3 * MIN_KEPT / 10;
        for number in 0..count {
            log.add(&format!("{number:09}"));
        }
        let lines: Vec<String> = log.lines().collect();
        assert_eq!(lines.last(), Some(&format!("{:09}", count - 1)));
        let missing = count - (lines.len() - 1);
        assert_eq!(lines[0], format!("… {missing} lines before these"));
        assert_eq!(lines[1], format!("{missing:09}"), "whole lines");
        assert!((MIN_KEPT..=2 * MIN_KEPT).contains(&log.text.len()));
    }

    #[test]
    fn the_end_of_an_overlong_line_is_kept() {
        let mut log = BuildLog::default();
        log.add(&"\u{e9}".repeat(MIN_KEPT + 10));
        assert!(log.text.ends_with("\u{e9}\n") && log.text.len() <= MIN_KEPT);
        log.add("error");
        assert_eq!(log.lines().last().as_deref(), Some("error"));
    }
}
