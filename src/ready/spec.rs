//! The rule of `--ready`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{HttpProbe, Pattern};
use crate::value::{format_duration, parse_duration};

/// The rule that decides when a new generation is ready.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ReadySpec {
    /// `auto`: the program sends `READY=1` and waits for connections. A program that sends no notification is ready
    /// when it waits for connections, or, if it opens no socket, when it has run for 500 ms.
    #[default]
    Auto,
    /// `listen`: it waits for connections on all its sockets.
    Listen,
    /// `notify`: it sends `READY=1` to `NOTIFY_SOCKET`.
    Notify,
    /// `http:/path`: the path responds with a 2xx or 3xx status.
    Http(HttpProbe),
    /// `tcp`: it accepts a connection.
    Tcp,
    /// `log:REGEX`: it prints a matching line.
    Log(Pattern),
    /// `exec:COMMAND`: the shell command succeeds.
    Exec(String),
    /// `delay:DURATION`: this time has passed since the start.
    Delay(Duration),
}

impl ReadySpec {
    /// Whether the rule can be checked only if the program has a socket.
    #[must_use]
    pub fn needs_sockets(&self) -> bool {
        match self {
            Self::Listen | Self::Http(_) | Self::Tcp => true,
            Self::Auto | Self::Notify | Self::Log(_) | Self::Exec(_) | Self::Delay(_) => false,
        }
    }

    /// Whether the rule needs the lines of output.
    #[must_use]
    pub fn reads_output(&self) -> bool {
        match self {
            Self::Log(_) => true,
            Self::Auto | Self::Listen | Self::Notify | Self::Http(_) | Self::Tcp => false,
            Self::Exec(_) | Self::Delay(_) => false,
        }
    }
}

impl fmt::Display for ReadySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Listen => f.write_str("listen"),
            Self::Notify => f.write_str("notify"),
            Self::Http(probe) => write!(f, "http:{probe}"),
            Self::Tcp => f.write_str("tcp"),
            Self::Log(pattern) => write!(f, "log:{pattern}"),
            Self::Exec(command) => write!(f, "exec:{command}"),
            Self::Delay(delay) => write!(f, "delay:{}", format_duration(*delay)),
        }
    }
}

const ALLOWED: &str = "use `auto`, `listen`, `notify`, `http:/path`, `tcp`, `log:REGEX`, `exec:COMMAND` or \
    `delay:DURATION`";

impl FromStr for ReadySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let value = rest.unwrap_or_default();
        match name {
            "auto" => without_value(name, rest, Self::Auto),
            "listen" => without_value(name, rest, Self::Listen),
            "notify" => without_value(name, rest, Self::Notify),
            "tcp" => without_value(name, rest, Self::Tcp),
            "http" => HttpProbe::parse(value).map(Self::Http),
            "log" => Pattern::parse(value).map(Self::Log),
            "exec" => exec(value),
            "delay" => parse_duration(value).map(Self::Delay),
            "https" => Err("the probe uses plain HTTP, as in `http:/path`".into()),
            _ => Err(ALLOWED.into()),
        }
    }
}

fn without_value(name: &str, rest: Option<&str>, spec: ReadySpec) -> Result<ReadySpec, String> {
    match rest {
        None => Ok(spec),
        Some(_) => Err(format!("`{name}` takes no value")),
    }
}

fn exec(command: &str) -> Result<ReadySpec, String> {
    if command.trim().is_empty() {
        return Err("a command is missing, as in `exec:pg_isready -q`".into());
    }
    Ok(ReadySpec::Exec(command.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rule_is_displayed_as_it_is_written() {
        for text in [
            "auto",
            "listen",
            "notify",
            "http:/",
            "http:/health?full=1",
            "http://localhost:3000/health",
            "tcp",
            "http://[::1]:3000/",
            "http://[::1]/x",
            "log:listening on .*:\\d+",
            "exec:curl -f http://localhost",
            "delay:500ms",
            "delay:1m30s",
        ] {
            assert_eq!(text.parse::<ReadySpec>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn an_invalid_rule_gets_a_reason() {
        for (text, reason) in [
            ("htpp:/x", ALLOWED),
            ("Listen", ALLOWED),
            ("notfy", ALLOWED),
            ("whenever", ALLOWED),
            ("tcp:3000", "`tcp` takes no value"),
            ("http", "a path is missing, as in `http:/`"),
            ("http:x", "the path must start with `/`"),
            ("https:/x", "the probe uses plain HTTP, as in `http:/path`"),
            (
                "http://a:0/",
                "the port of `a:0` is not in the range 1 to 65535",
            ),
            ("http:///x", "`` is not a host"),
            (
                "http:/a b",
                "write spaces, `#` and non-ASCII characters as `%20` and so on",
            ),
            ("log:(", "not a regular expression: unclosed group"),
            (
                "log",
                "a regular expression is missing, as in `log:listening on`",
            ),
            ("exec: ", "a command is missing, as in `exec:pg_isready -q`"),
            (
                "delay:5",
                "a duration is a number and a unit, as in `250ms`, `10s` or `1m30s`",
            ),
        ] {
            assert_eq!(text.parse::<ReadySpec>(), Err(reason.into()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_parsed_and_a_displayed_rule_is_valid(text in "(http:|log:|delay:|//|[ -~]){0,12}|\\PC{0,20}") {
            if let Ok(spec) = text.parse::<ReadySpec>() {
                prop_assert_eq!(spec.to_string().parse(), Ok(spec));
            }
        }
    }
}
