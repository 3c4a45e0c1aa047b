//! `--ready SPEC`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use regex::Regex;

use super::duration;

/// By what it is told that a new generation is ready.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ReadySpec {
    /// `auto`: `READY=1` if the program sends it; else somebody waits on every passed socket; without
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

/// What is asked for over HTTP.
///
/// Written as `/path` it goes to the first passed socket; as `//host[:port]/path` (so that the whole looks like
/// the URL that it is: `http://localhost:3000/health`) the host is sent as `Host`, and a port chooses
/// among the passed sockets. No name is looked up: a probe reaches the new generation alone, and only through what
/// was passed to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    host: Option<String>,
    port: Option<u16>,
    path: String,
}

impl HttpProbe {
    /// What `Host` has to say.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.host.as_deref().unwrap_or("localhost");
        self.port
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The port of the passed socket to use. `None`: the first one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The path with its query, beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// A regular expression; two are equal if they are written the same.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
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

impl fmt::Display for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.is_some() {
            write!(f, "//{}", self.host())?;
        }
        f.write_str(&self.path)
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
            Self::Log(pattern) => write!(f, "log:{}", pattern.0),
            Self::Exec(command) => write!(f, "exec:{command}"),
            Self::Delay(delay) => write!(f, "delay:{}", duration::Shown(*delay)),
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
type Wrong = (String, Option<String>);

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
        "http" => http(rest.unwrap_or_default()).map(ReadySpec::Http),
        "log" => log(rest.unwrap_or_default()).map(ReadySpec::Log),
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
    let near = |known: &str| strsim::damerau_levenshtein(&name.to_lowercase(), known);
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

fn http(rest: &str) -> Result<HttpProbe, Wrong> {
    let wrong =
        |problem: &str, nearest: &str| Err((problem.to_owned(), Some(format!("http:{nearest}"))));
    if rest.is_empty() {
        return wrong("a path is missing", "/");
    }
    let sendable = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if !rest.bytes().all(sendable) {
        return Err((
            "spaces, `#` and what is not ASCII are written as `%20` and so on".to_owned(),
            None,
        ));
    }
    if let Some(rest) = rest.strip_prefix("//") {
        return http_with_host(rest);
    }
    if !rest.starts_with('/') {
        return wrong("the path begins with `/`", &format!("/{rest}"));
    }
    Ok(HttpProbe {
        host: None,
        port: None,
        path: rest.to_owned(),
    })
}

fn http_with_host(rest: &str) -> Result<HttpProbe, Wrong> {
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    // The colons within `[::1]` are no separators.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let nonzero = |port: &str| port.parse().ok().filter(|&port| port != 0);
    match port.map(nonzero) {
        Some(None) => Err((format!("`{authority}` has no port from 1 to 65535"), None)),
        _ if host.is_empty() || host.contains(['@', '?']) => {
            Err((format!("`{authority}` is no host"), None))
        }
        port => Ok(HttpProbe {
            host: Some(host.to_owned()),
            port: port.flatten(),
            path: path.to_owned(),
        }),
    }
}

fn log(rest: &str) -> Result<Pattern, Wrong> {
    if rest.is_empty() {
        return Err((
            "a regular expression is missing, such as `log:listening on`".to_owned(),
            None,
        ));
    }
    Regex::new(rest)
        .map(Pattern)
        .map_err(|error| (regex_problem(&error), None))
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
    let with_unit = || format!("{rest}s");
    let nearest = || duration::parse(&with_unit()).map(|_| format!("delay:{}", with_unit()));
    duration::parse(rest).ok_or_else(|| {
        (
            "not a duration such as `500ms`, `2s` or `1m`".to_owned(),
            nearest(),
        )
    })
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
        ] {
            assert_eq!(text.parse::<ReadySpec>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let probe = |text| match http(text) {
            Ok(probe) => (probe.host(), probe.port(), probe.path().to_owned()),
            Err(wrong) => panic!("{wrong:?}"),
        };
        assert_eq!(probe("/x"), ("localhost".into(), None, "/x".into()));
        assert_eq!(
            probe("//a.test:81/x?y"),
            ("a.test:81".into(), Some(81), "/x?y".into())
        );
        assert_eq!(probe("//a.test"), ("a.test".into(), None, "/".into()));
        assert_eq!(
            probe("//[::1]:81"),
            ("[::1]:81".into(), Some(81), "/".into())
        );
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

    #[test]
    fn colours_do_not_hide_a_line() {
        let pattern = Pattern(Regex::new("listening on 127").expect("a pattern"));
        assert!(pattern.matches(b"\x1b[32mINFO\x1b[0m listening on \x1b[1m127.0.0.1\x1b[0m \xff"));
        assert!(!pattern.matches(b"listening"));
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
