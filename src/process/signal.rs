use std::fmt;
use std::str::FromStr;

use nix::sys::signal::Signal as Known;

/// A signal, written as people write them: `TERM`, `SIGTERM`, `term` or `15`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(Known);

impl Signal {
    /// What asks a program to end.
    pub const TERM: Self = Self(Known::SIGTERM);
    /// What Ctrl-C sends.
    pub const INT: Self = Self(Known::SIGINT);
    /// What a closed terminal sends.
    pub const HUP: Self = Self(Known::SIGHUP);
    /// What nothing can resist.
    pub const KILL: Self = Self(Known::SIGKILL);

    /// Its number on this system.
    pub const fn number(self) -> i32 {
        self.0 as i32
    }

    /// For the calls of `nix`.
    pub(super) const fn known(self) -> Known {
        self.0
    }

    /// All that have a name, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        Known::iterator().map(Self)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// No signal has this name or number here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseSignalError {
    text: String,
}

impl fmt::Display for ParseSignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        write!(
            f,
            "no signal is called `{text}`; names are such as `TERM`, `INT`, `HUP`, `QUIT`, `USR2`"
        )
    }
}

impl std::error::Error for ParseSignalError {}

impl FromStr for Signal {
    type Err = ParseSignalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseSignalError {
            text: text.to_owned(),
        };
        if let Ok(number) = text.parse::<i32>() {
            return Known::try_from(number).map(Self).map_err(|_| error());
        }
        let upper = text.to_ascii_uppercase();
        let short = upper.strip_prefix("SIG").unwrap_or(&upper);
        Self::all()
            .find(|signal| signal.0.as_str().strip_prefix("SIG") == Some(short))
            .ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_people_write_them() {
        for text in ["TERM", "SIGTERM", "term", "SigTerm", "15"] {
            assert_eq!(text.parse(), Ok(Signal::TERM), "{text}");
        }
        assert_eq!("hup".parse::<Signal>().unwrap().to_string(), "SIGHUP");
    }

    #[test]
    fn other_words_are_refused() {
        for text in ["", "SIG", "TERMINATE", "0", "-15", "99", "SIGSIGTERM"] {
            let error = text.parse::<Signal>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
