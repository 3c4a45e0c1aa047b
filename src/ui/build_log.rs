/// So much of what a build prints is kept at least.
const MOST: usize = 1024 * 1024;

/// What a build printed. Of too much the last part: warnings come first, and what makes it fail comes last.
#[derive(Debug, Default)]
pub(super) struct BuildLog {
    text: String,
    /// How many lines came before it.
    before: usize,
}

impl BuildLog {
    /// Takes in a line, or several.
    pub(super) fn add(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
        // Seldom, for all that stays is moved.
        if self.text.len() > 2 * MOST {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let mut from = self.text.len() - MOST;
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        // Not within a line, unless there is no other one.
        let line = self.text[from..].find('\n').map(|end| from + end + 1);
        let line = line.filter(|line| *line < self.text.len());
        let gone: String = self.text.drain(..line.unwrap_or(from)).collect();
        self.before += gone.matches('\n').count();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// All of it, and how much is missing.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let before = missing(self.before);
        let lines = self.text.lines().map(str::to_owned);
        before.into_iter().chain(lines)
    }
}

/// In place of so many lines that are not shown, if it is any.
pub(super) fn missing(lines: usize) -> Option<String> {
    match lines {
        0 => None,
        1 => Some("… 1 line before these".into()),
        _ => Some(format!("… {lines} lines before these")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_much_the_last_lines_are_kept_and_the_rest_is_counted() {
        let mut log = BuildLog::default();
        let count = 3 * MOST / 10;
        for number in 0..count {
            log.add(&format!("{number:09}"));
        }
        let lines: Vec<String> = log.lines().collect();
        assert_eq!(lines.last(), Some(&format!("{:09}", count - 1)));
        let missing = count - (lines.len() - 1);
        assert_eq!(lines[0], format!("… {missing} lines before these"));
        assert_eq!(lines[1], format!("{missing:09}"), "whole lines");
        assert!((MOST..=2 * MOST).contains(&log.text.len()));
    }

    #[test]
    fn of_a_line_that_is_too_long_the_end_is_kept() {
        let mut log = BuildLog::default();
        log.add(&"\u{e9}".repeat(MOST + 10));
        assert!(log.text.ends_with("\u{e9}\n") && log.text.len() <= MOST);
        log.add("error");
        assert_eq!(log.lines().last().as_deref(), Some("error"));
    }
}
