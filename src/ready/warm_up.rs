//! The `--warm-up` option.

use std::fmt;
use std::str::FromStr;

use super::{HttpProbe, ReadySpec};

/// What prepares a new generation for its clients once it is ready.
#[derive(Clone, Debug)]
pub enum WarmUp {
    /// `http:/path`: a request, which must get a 2xx or 3xx status.
    Http(HttpProbe),
    /// `exec:COMMAND`: a shell command, which must succeed.
    Exec(String),
}

impl fmt::Display for WarmUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(probe) => write!(f, "http:{probe}"),
            Self::Exec(command) => write!(f, "exec:{command}"),
        }
    }
}

impl FromStr for WarmUp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.split(':').next().unwrap_or_default();
        match text.parse() {
            Ok(ReadySpec::Http(probe)) => Ok(Self::Http(probe)),
            Ok(ReadySpec::Exec(command)) => Ok(Self::Exec(command)),
            Err(reason) if ["http", "https", "exec"].contains(&name) => Err(reason),
            Ok(
                ReadySpec::Auto
                | ReadySpec::Listen
                | ReadySpec::Notify
                | ReadySpec::Tcp
                | ReadySpec::Log(_)
                | ReadySpec::Delay(_),
            )
            | Err(_) => Err("use `http:/path` or `exec:COMMAND`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_and_commands_warm_up() {
        for text in ["http:/warm", "http://localhost:3000/warm", "exec:./warm.sh"] {
            assert_eq!(text.parse::<WarmUp>().expect(text).to_string(), text);
        }
        for (text, reason) in [
            ("auto", "use `http:/path` or `exec:COMMAND`"),
            ("delay:5s", "use `http:/path` or `exec:COMMAND`"),
            ("/warm", "use `http:/path` or `exec:COMMAND`"),
            ("http:warm", "the path must start with `/`"),
            (
                "https:/warm",
                "the probe uses plain HTTP, as in `http:/path`",
            ),
            (
                "exec:",
                "`exec` needs a command, as in `exec:pg_isready -q`",
            ),
        ] {
            assert_eq!(text.parse::<WarmUp>().expect_err(text), reason, "{text}");
        }
    }
}
