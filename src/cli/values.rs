//! Parsers for the values of options.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::value::{InvalidValue, parse_duration};
use crate::watch::Poll;

/// Parses an interval, or whether to poll, with the words that clap allows in the variables of other flags.
pub(super) fn poll(text: &str) -> Result<Poll, InvalidValue> {
    const MIN_INTERVAL: Duration = Duration::from_millis(10);
    match text.to_lowercase().as_str() {
        "on" | "1" | "true" | "t" | "yes" | "y" => return Ok(Poll::Always),
        "off" | "0" | "false" | "f" | "no" | "n" => return Ok(Poll::IfNeeded),
        _ => {}
    }
    match parse_duration(text)? {
        interval if interval < MIN_INTERVAL => {
            let error = InvalidValue::new("the interval is at least `10ms`");
            Err(error.suggest("10ms".to_owned()))
        }
        interval => Ok(Poll::Every(interval)),
    }
}

/// Parses `TERM`, `SIGTERM` or `15`, in any case.
pub(super) fn signal(text: &str) -> Result<Signal, InvalidValue> {
    let invalid =
        || InvalidValue::new("a signal is a name or a number, as in `TERM`, `SIGTERM` or `15`");
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).map_err(|_| invalid());
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let signal = format!("SIG{name}").parse();
    signal.map_err(|_| invalid().suggest(nearest_signal(name)))
}

fn nearest_signal(name: &str) -> Option<String> {
    Signal::iterator()
        .map(|signal| signal.as_str().trim_start_matches("SIG").to_owned())
        .map(|known| (strsim::osa_distance(name, &known), known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

/// Checks the syntax of a glob.
pub(super) fn glob(text: &str) -> Result<String, InvalidValue> {
    match globset::Glob::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(InvalidValue::new(format!("not a glob: {}", error.kind()))),
    }
}

/// Parses `rs` or `.rs`.
pub(super) fn extension(text: &str) -> Result<String, InvalidValue> {
    let bare = text.trim().trim_start_matches("*.").trim_start_matches('.');
    let is_extension = !bare.is_empty() && !bare.contains(['/', '*', '?', ' ']);
    if is_extension && !text.contains('*') {
        return Ok(bare.to_owned());
    }
    let suggestion = is_extension.then(|| bare.to_owned());
    Err(InvalidValue::new("write extensions as in `rs,toml`").suggest(suggestion))
}

/// Splits a variable that holds one value per line, and skips empty lines.
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
    fn a_signal_is_a_name_or_a_number_in_any_case() {
        for text in ["TERM", "SIGTERM", "15", "term", "SigTerm"] {
            assert_eq!(signal(text), Ok(Signal::SIGTERM), "{text}");
        }
    }

    #[test]
    fn an_invalid_signal_gets_the_nearest_valid_one() {
        let nearest = |text| signal(text).unwrap_err().suggestion;
        assert_eq!(nearest("TREM"), Some("TERM".into()));
        assert_eq!(nearest("SIGTRM"), Some("TERM".into()));
        for text in ["banana", "99", "0"] {
            assert_eq!(nearest(text), None, "{text}");
        }
    }

    #[test]
    fn an_extension_may_start_with_a_dot() {
        assert_eq!(extension("rs"), Ok("rs".into()));
        assert_eq!(extension(".rs"), Ok("rs".into()));
        let nearest = |text| extension(text).unwrap_err().suggestion;
        assert_eq!(nearest("*.rs"), Some("rs".into()));
        assert_eq!(nearest("a/b"), None);
        assert_eq!(nearest(""), None);
    }

    #[test]
    fn the_syntax_of_globs_is_checked() {
        assert!(glob("**/*.{log,tmp}").is_ok());
        assert!(glob("a[").unwrap_err().reason.starts_with("not a glob: "));
    }

    #[test]
    fn a_variable_holds_one_value_per_line() {
        assert_eq!(lines(OsStr::new("A=1\n\nB=2\n")), ["A=1", "B=2"]);
    }
}
