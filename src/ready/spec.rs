//! `--ready SPEC`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{HttpProbe, Pattern};
use crate::duration;

/// By what it is told that a new generation is ready.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ReadySpec {
    /// `auto`: `READY=1` if the program sends it, and somebody waits on its sockets; else somebody waits on every passed socket; without
    /// sockets, it has lived for 500 ms.
    #[default]
    Auto,
    /// `listen`: somebody waits on every passed socket.
    Listen,
    /// `notify`: `READY=1` on `NOTIFY_SOCKET`.
    Notify,
    /// `http:/path`: any 2xx or 3xx.
    Http(HttpProbe),
    /// `tcp`: a connection is taken.
    Tcp,
    /// `log:REGEX`: a line of output matches.
    Log(Pattern),
    /// `exec:CMD`: a shell line succeeds.
    Exec(String),
    /// `delay:DUR`: so much time has passed since the start.
    Delay(Duration),
}

impl ReadySpec {
    /// Whether it can be told only by the sockets that are passed to the program.
    #[must_use]
    pub fn needs_sockets(&self) -> bool {
        match self {
            Self::Listen | Self::Http(_) | Self::Tcp => true,
            Self::Auto | Self::Notify | Self::Log(_) | Self::Exec(_) | Self::Delay(_) => false,
        }
    }

    /// Whether it wants the lines of output.
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
            Self::Delay(delay) => write!(f, "delay:{}", duration::Typed(*delay)),
        }
    }
}

/// What is wrong with a `--ready`. Shown it names the value, what is allowed and the nearest right spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    value: String,
    problem: String,
    nearest: Option<String>,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.value, self.problem)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SpecError {}

/// A problem, and the nearest right spelling.
pub(super) type Wrong = (String, Option<String>);

const ALLOWED: &str =
    "`auto`, `listen`, `notify`, `http:/path`, `tcp`, `log:REGEX`, `exec:CMD`, `delay:DUR`";
const NAMES: [&str; 8] = [
    "auto", "listen", "notify", "http", "tcp", "log", "exec", "delay",
];

impl FromStr for ReadySpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        parse(name, rest).map_err(|(problem, nearest)| SpecError {
            value: text.to_owned(),
            problem,
            nearest,
        })
    }
}

fn parse(name: &str, rest: Option<&str>) -> Result<ReadySpec, Wrong> {
    match name {
        "auto" => alone(name, rest, ReadySpec::Auto),
        "listen" => alone(name, rest, ReadySpec::Listen),
        "notify" => alone(name, rest, ReadySpec::Notify),
        "tcp" => alone(name, rest, ReadySpec::Tcp),
        "http" => HttpProbe::parse(rest.unwrap_or_default()).map(ReadySpec::Http),
        "log" => Pattern::parse(rest.unwrap_or_default()).map(ReadySpec::Log),
        "exec" => exec(rest.unwrap_or_default()),
        "delay" => delay(rest.unwrap_or_default()).map(ReadySpec::Delay),
        other => Err(unknown(other, rest)),
    }
}

fn alone(name: &str, rest: Option<&str>, spec: ReadySpec) -> Result<ReadySpec, Wrong> {
    match rest {
        None => Ok(spec),
        Some(_) => Err((format!("`{name}` takes no value"), Some(name.to_owned()))),
    }
}

fn unknown(name: &str, rest: Option<&str>) -> Wrong {
    let problem = format!("is none of {ALLOWED}");
    if name == "https" {
        let nearest = rest.map_or_else(|| "http:/".to_owned(), |rest| format!("http:{rest}"));
        return (
            "the probe speaks plain HTTP to the program".to_owned(),
            Some(nearest),
        );
    }
    let near = |known: &str| strsim::osa_distance(&name.to_lowercase(), known);
    let nearest = NAMES
        .into_iter()
        .min_by_key(|known| near(known))
        .filter(|known| near(known) <= 2);
    (
        problem,
        nearest
            .map(|known| rest.map_or_else(|| known.to_owned(), |rest| format!("{known}:{rest}"))),
    )
}

fn exec(rest: &str) -> Result<ReadySpec, Wrong> {
    if rest.trim().is_empty() {
        return Err((
            "a command is missing, such as `exec:pg_isready -q`".to_owned(),
            None,
        ));
    }
    Ok(ReadySpec::Exec(rest.to_owned()))
}

fn delay(rest: &str) -> Result<Duration, Wrong> {
    duration::parse(rest)
        .map_err(|(problem, nearest)| (problem, nearest.map(|nearest| format!("delay:{nearest}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        text.parse::<ReadySpec>().expect_err(text).to_string()
    }

    #[test]
    fn each_is_shown_as_it_is_written() {
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
    fn a_misspelt_name_gets_the_nearest() {
        let expected = format!("`htpp:/x`: is none of {ALLOWED}; did you mean `http:/x`?");
        assert_eq!(error("htpp:/x"), expected);
        assert!(error("Listen").ends_with("did you mean `listen`?"));
        assert!(error("notfy").ends_with("did you mean `notify`?"));
        assert_eq!(
            error("whenever"),
            format!("`whenever`: is none of {ALLOWED}")
        );
    }

    #[test]
    fn a_wrong_value_says_what_is_wrong() {
        assert_eq!(
            error("tcp:3000"),
            "`tcp:3000`: `tcp` takes no value; did you mean `tcp`?"
        );
        assert_eq!(
            error("http"),
            "`http`: a path is missing; did you mean `http:/`?"
        );
        assert_eq!(
            error("http:x"),
            "`http:x`: the path begins with `/`; did you mean `http:/x`?"
        );
        assert!(error("https:/x").ends_with("did you mean `http:/x`?"));
        assert_eq!(
            error("http://a:0/"),
            "`http://a:0/`: `a:0` has no port from 1 to 65535"
        );
        assert_eq!(error("http:///x"), "`http:///x`: `` is no host");
        assert!(error("http:/a b").contains("%20"));
        assert_eq!(
            error("log:("),
            "`log:(`: not a regular expression: unclosed group"
        );
        assert!(error("log").contains("missing") && error("exec: ").contains("missing"));
        assert!(error("delay:5").ends_with("did you mean `delay:5s`?"));
        assert!(!error("delay:soon").contains("did you mean"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_what_is_shown_can_be_read(text in "(http:|log:|delay:|//|[ -~]){0,12}|\\PC{0,20}") {
            if let Ok(spec) = text.parse::<ReadySpec>() {
                prop_assert_eq!(spec.to_string().parse(), Ok(spec));
            }
        }
    }
}
