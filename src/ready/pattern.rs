use std::fmt;

use regex::Regex;

use super::spec::Wrong;

/// A regular expression; two are equal if they are written the same.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// What comes after `log:`.
    pub(super) fn parse(rest: &str) -> Result<Self, Wrong> {
        if rest.is_empty() {
            return Err((
                "a regular expression is missing, such as `log:listening on`".to_owned(),
                None,
            ));
        }
        Regex::new(rest)
            .map(Self)
            .map_err(|error| (regex_problem(&error), None))
    }

    /// Whether this line of output matches. Colours and other escape sequences do not count.
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

/// The library draws the position over several lines; its last line says what is wrong.
fn regex_problem(error: &regex::Error) -> String {
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
    fn colours_do_not_hide_a_line() {
        let pattern = Pattern(Regex::new("listening on 127").expect("a pattern"));
        assert!(pattern.matches(b"\x1b[32mINFO\x1b[0m listening on \x1b[1m127.0.0.1\x1b[0m \xff"));
        assert!(!pattern.matches(b"listening"));
    }
}
