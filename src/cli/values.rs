//! Values as people write them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::Poll;
use crate::duration;

/// A value that an option does not allow: what it allows, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is allowed, as the rest of a sentence after the value.
    pub allowed: String,
    /// The nearest right spelling.
    pub nearest: Option<String>,
}

impl Wrong {
    pub(super) fn new(allowed: impl Into<String>, nearest: Option<String>) -> Self {
        Self {
            allowed: allowed.into(),
            nearest,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.allowed)
    }
}

impl std::error::Error for Wrong {}

pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    duration::parse(text).map_err(|(allowed, nearest)| Wrong::new(allowed, nearest))
}

/// A pause, or whether at all, as the variables of other switches have it.
pub(super) fn poll(text: &str) -> Result<Poll, Wrong> {
    const SHORTEST: Duration = Duration::from_millis(10);
    match text.to_lowercase().as_str() {
        "on" | "1" | "true" | "t" | "yes" | "y" => return Ok(Poll::Always),
        "off" | "0" | "false" | "f" | "no" | "n" => return Ok(Poll::IfNeeded),
        _ => {}
    }
    match duration(text)? {
        pause if pause < SHORTEST => Err(Wrong::new(
            "a pause is at least `10ms`",
            Some("10ms".to_owned()),
        )),
        pause => Ok(Poll::Every(pause)),
    }
}

/// `TERM`, `SIGTERM`, `15`, in any case.
pub(super) fn signal(text: &str) -> Result<Signal, Wrong> {
    let wrong = |nearest| {
        Wrong::new(
            "a signal is a name or a number, as in `TERM`, `SIGTERM` or `15`",
            nearest,
        )
    };
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).map_err(|_| wrong(None));
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    format!("SIG{name}")
        .parse()
        .map_err(|_| wrong(nearest_signal(name)))
}

fn nearest_signal(name: &str) -> Option<String> {
    Signal::iterator()
        .map(|signal| signal.as_str().trim_start_matches("SIG").to_owned())
        .map(|known| (strsim::osa_distance(name, &known), known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

/// A glob as in a `.gitignore` file; only its syntax is checked here.
pub(super) fn glob(text: &str) -> Result<String, Wrong> {
    match globset::Glob::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Wrong::new(format!("not a glob: {}", error.kind()), None)),
    }
}

/// `rs`; a leading dot is accepted.
pub(super) fn extension(text: &str) -> Result<String, Wrong> {
    let bare = text.trim().trim_start_matches("*.").trim_start_matches('.');
    let clean = !bare.is_empty() && !bare.contains(['/', '*', '?', ' ']);
    if clean && !text.contains('*') {
        return Ok(bare.to_owned());
    }
    let nearest = clean.then(|| bare.to_owned());
    Err(Wrong::new(
        "extensions are written as in `rs,toml`",
        nearest,
    ))
}

/// The lines of a variable that holds several values; empty ones are none.
pub(super) fn lines(text: &OsStr) -> Vec<OsString> {
    text.as_bytes()
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| OsString::from_vec(line.to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number_in_any_case() {
        for text in ["TERM", "SIGTERM", "15", "term", "SigTerm"] {
            assert_eq!(signal(text), Ok(Signal::SIGTERM), "{text}");
        }
    }

    #[test]
    fn a_wrong_signal_gets_the_nearest_right_one() {
        let nearest = |text| signal(text).unwrap_err().nearest;
        assert_eq!(nearest("TREM"), Some("TERM".into()));
        assert_eq!(nearest("SIGTRM"), Some("TERM".into()));
        assert_eq!(nearest("banana"), None);
        assert_eq!(nearest("99"), None);
        assert_eq!(nearest("0"), None);
    }

    #[test]
    fn extensions_with_or_without_a_dot() {
        assert_eq!(extension("rs"), Ok("rs".into()));
        assert_eq!(extension(".rs"), Ok("rs".into()));
        assert_eq!(extension("*.rs").unwrap_err().nearest, Some("rs".into()));
        assert_eq!(extension("a/b").unwrap_err().nearest, None);
        assert!(extension("").is_err());
    }

    #[test]
    fn globs_are_checked_for_their_syntax() {
        assert!(glob("**/*.{log,tmp}").is_ok());
        assert!(glob("a[").unwrap_err().allowed.starts_with("not a glob: "));
    }

    #[test]
    fn a_variable_holds_one_value_a_line() {
        assert_eq!(lines(OsStr::new("A=1\n\nB=2\n")), ["A=1", "B=2"]);
    }
}
