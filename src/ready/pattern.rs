use std::fmt;

use regex::Regex;

/// A regular expression. Two are equal if their text is equal.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Parses the part after `log:`.
    pub(super) fn parse(rest: &str) -> Result<Self, String> {
        if rest.is_empty() {
            return Err("a regular expression is missing, as in `log:listening on`".into());
        }
        let pattern = Regex::new(rest).map(Self);
        pattern.map_err(|error| summary(&error))
    }

    /// Whether a line of output matches, with or without its escape sequences.
    #[must_use]
    pub fn matches(&self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        self.0.is_match(&console::strip_ansi_codes(&text)) || self.0.is_match(&text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The error of `regex` shows the position on several lines and ends with the problem.
fn summary(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned();
    format!("not a regular expression: {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_prevent_a_match() {
        let pattern = Pattern(Regex::new("listening on 127").expect("a pattern"));
        assert!(pattern.matches(b"\x1b[32mINFO\x1b[0m listening on \x1b[1m127.0.0.1\x1b[0m \xff"));
        assert!(!pattern.matches(b"listening"));
    }
}
