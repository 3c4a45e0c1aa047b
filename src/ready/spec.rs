//! The `--ready` rule.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use regex::Regex;

use super::HttpProbe;
use crate::value::{format_duration, parse_duration};

/// The rule that decides when a new generation is ready.
#[derive(Clone, Debug, Default)]
pub enum ReadySpec {
    /// `auto`: the program sends `READY=1` and waits for connections. A program that sends no notification is ready
    /// when it is waiting for connections, or, if it opens no socket, when it has run for 500 ms.
    #[default]
    Auto,
    /// `listen`: the program is waiting for connections on all its sockets.
    Listen,
    /// `notify`: the program sends `READY=1` to `NOTIFY_SOCKET`.
    Notify,
    /// `http:/path`: the program responds with a 2xx or 3xx status at this path.
    Http(HttpProbe),
    /// `tcp`: the program accepts a connection.
    Tcp,
    /// `log:REGEX`: the program prints a matching line.
    Log(Regex),
    /// `exec:COMMAND`: the shell command succeeds.
    Exec(String),
    /// `delay:DURATION`: this time has passed since the program was started.
    Delay(Duration),
}

impl ReadySpec {
    /// Whether the rule can be checked only if the program has a socket.
    pub fn needs_sockets(&self) -> bool {
        matches!(self, Self::Listen | Self::Http(_) | Self::Tcp)
    }

    /// Whether the rule needs the program's output.
    pub fn reads_output(&self) -> bool {
        matches!(self, Self::Log(_))
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
            "auto" | "listen" | "notify" | "tcp" if rest.is_some() => {
                Err(format!("`{name}` takes no value"))
            }
            "auto" => Ok(Self::Auto),
            "listen" => Ok(Self::Listen),
            "notify" => Ok(Self::Notify),
            "tcp" => Ok(Self::Tcp),
            "http" => HttpProbe::parse(value).map(Self::Http),
            "log" => pattern(value).map(Self::Log),
            "exec" if value.trim().is_empty() => {
                Err("`exec` needs a command, as in `exec:pg_isready -q`".into())
            }
            "exec" => Ok(Self::Exec(value.into())),
            "delay" => parse_duration(value).map(Self::Delay),
            "https" => Err("the probe uses plain HTTP, as in `http:/path`".into()),
            _ => Err(ALLOWED.into()),
        }
    }
}

/// Parses the part after `log:`.
fn pattern(rest: &str) -> Result<Regex, String> {
    if rest.is_empty() {
        return Err("`log` needs a regular expression, as in `log:listening on`".into());
    }
    Regex::new(rest).map_err(|error| {
        let text = error.to_string();
        // The last line names the problem. The lines before it show the position.
        let last = text.lines().last().unwrap_or_default();
        let problem = last.trim_start_matches("error: ");
        format!("not a valid regular expression: {problem}")
    })
}

/// Whether a line of output matches, with or without its escape sequences.
pub(super) fn matches(pattern: &Regex, line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    pattern.is_match(&console::strip_ansi_codes(&text)) || pattern.is_match(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_do_not_prevent_a_match() {
        let pattern = Regex::new("listening on 127").expect("a valid pattern");
        let line = b"\x1b[32mINFO\x1b[0m listening on \x1b[1m127.0.0.1\x1b[0m \xff";
        assert!(matches(&pattern, line));
        assert!(!matches(&pattern, b"listening"));
    }

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
    fn an_invalid_rule_is_rejected_with_a_reason() {
        for (text, reason) in [
            ("htpp:/x", ALLOWED),
            ("Listen", ALLOWED),
            ("notfy", ALLOWED),
            ("whenever", ALLOWED),
            ("tcp:3000", "`tcp` takes no value"),
            ("http", "`http` needs a path, as in `http:/`"),
            ("http:x", "the path must start with `/`"),
            ("https:/x", "the probe uses plain HTTP, as in `http:/path`"),
            (
                "http://a:0/",
                "the port in `a:0` must be in the range 1 to 65535",
            ),
            ("http:///x", "`` is not a valid host"),
            (
                "http:/a b",
                "spaces, `#` and non-ASCII characters must be percent-encoded, as in `%20`",
            ),
            ("log:(", "not a valid regular expression: unclosed group"),
            (
                "log",
                "`log` needs a regular expression, as in `log:listening on`",
            ),
            (
                "exec: ",
                "`exec` needs a command, as in `exec:pg_isready -q`",
            ),
            ("delay:5", "a duration needs a unit, as in `5ms` or `5s`"),
        ] {
            let error = text.parse::<ReadySpec>().expect_err(text);
            assert_eq!(error, reason, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_a_displayed_rule_can_be_parsed(text in "(http:|log:|delay:|//|[ -~]){0,12}|\\PC{0,20}") {
            if let Ok(spec) = text.parse::<ReadySpec>() {
                let again = spec.to_string().parse::<ReadySpec>();
                prop_assert_eq!(format!("{again:?}"), format!("Ok({spec:?})"));
            }
        }
    }
}
