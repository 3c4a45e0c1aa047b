use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    /// In the form that `--listen` takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The value of `--listen`: `[NAME=]ADDR`.
///
/// `ADDR` is `3000` or `:3000` (on loopback), `127.0.0.1:3000`, `[::]:3000`, `localhost:3000`, `unix:PATH`, or a form of
/// systemfd: `http::3000`, `https::…`, `tcp::…`, `unix::…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// The name in `LISTEN_FDNAMES`. Without one, it is made from the address.
    pub name: Option<String>,
    /// The address.
    pub address: Address,
}

/// Why a value is not a [`ListenSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseListenError {
    value: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Address,
    Port(String),
    NoPort,
    Brackets,
    Host(String),
    Udp,
    Path,
    Abstract,
    Name(String),
}

const FORMS: &str = "`3000`, `127.0.0.1:3000`, `[::]:3000`, `localhost:3000`, `unix:PATH`, each also as `NAME=ADDRESS`";
/// The longest descriptor name that systemd allows (`sd_listen_fds_with_names(3)`).
const LONGEST_NAME: usize = 255;

impl FromStr for ListenSpec {
    type Err = ParseListenError;

    fn from_str(value: &str) -> Result<Self, ParseListenError> {
        parse(value).map_err(|problem| ParseListenError {
            value: value.to_owned(),
            problem,
        })
    }
}

fn parse(value: &str) -> Result<ListenSpec, Problem> {
    let Some((name, address)) = split_name(value) else {
        return Ok(ListenSpec {
            name: None,
            address: address(value)?,
        });
    };
    if !valid_name(name) {
        return Err(Problem::Name(name.to_owned()));
    }
    Ok(ListenSpec {
        name: Some(name.to_owned()),
        address: self::address(address)?,
    })
}

/// Splits at the first `=`, unless it belongs to a path (`unix:/tmp/a=b`).
fn split_name(value: &str) -> Option<(&str, &str)> {
    let (name, address) = value.split_once('=')?;
    (!name.contains([':', '/'])).then_some((name, address))
}

fn valid_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(|c| c.is_ascii_graphic())
}

fn address(text: &str) -> Result<Address, Problem> {
    if text.starts_with("udp:") {
        return Err(Problem::Udp);
    }
    if let Some(path) = text
        .strip_prefix("unix::")
        .or_else(|| text.strip_prefix("unix:"))
    {
        return unix(path);
    }
    let prefixes = ["http::", "https::", "tcp::"];
    let text = prefixes
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    tcp(text).map(Address::Tcp)
}

fn unix(path: &str) -> Result<Address, Problem> {
    if path.starts_with('@') {
        return Err(Problem::Abstract);
    }
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(Problem::Path);
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

fn tcp(text: &str) -> Result<SocketAddr, Problem> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text
        .strip_prefix("localhost:")
        .or_else(|| text.strip_prefix(':'))
        .unwrap_or(text);
    if !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = bare.parse().map_err(|_| Problem::Port(bare.to_owned()))?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    Err(problem(text))
}

/// The most likely mistake.
fn problem(text: &str) -> Problem {
    let unbracketed = text.trim_start_matches('[').trim_end_matches(']');
    if unbracketed.parse::<IpAddr>().is_ok() {
        let bare = text == unbracketed && text.contains(':');
        return if bare {
            Problem::Brackets
        } else {
            Problem::NoPort
        };
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return if text == "localhost" {
            Problem::NoPort
        } else {
            Problem::Address
        };
    };
    let inside = host.trim_start_matches('[').trim_end_matches(']');
    if port.parse::<u16>().is_err() && (host == "localhost" || inside.parse::<IpAddr>().is_ok()) {
        return Problem::Port(port.to_owned());
    }
    if port.parse::<u16>().is_ok() && !host.is_empty() && !host.contains(':') {
        return Problem::Host(host.to_owned());
    }
    Problem::Address
}

impl fmt::Display for ListenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        write!(f, "{}", self.address)
    }
}

impl fmt::Display for ParseListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on `{}`: ", self.value)?;
        match &self.problem {
            Problem::Address => write!(f, "not an address; use {FORMS}"),
            Problem::Port(port) => write!(f, "`{port}` is not a port from 0 to 65535"),
            Problem::NoPort => write!(f, "the port is missing; use {FORMS}"),
            Problem::Brackets => f.write_str("an IPv6 address needs brackets, as in `[::1]:3000`"),
            Problem::Host(host) => {
                write!(
                    f,
                    "`{host}` is not an IP address; use an IP address or `localhost`"
                )
            }
            Problem::Udp => f.write_str("UDP is not supported; use a TCP address or `unix:PATH`"),
            Problem::Path => f.write_str("the file name is missing; use `unix:PATH`"),
            Problem::Abstract => {
                f.write_str("abstract unix sockets are not supported; use `unix:PATH`")
            }
            Problem::Name(name) => write!(
                f,
                "`{name}` is not a name; use 1 to {LONGEST_NAME} printable ASCII characters without `:`"
            ),
        }
    }
}

impl Error for ParseListenError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        match value.parse::<ListenSpec>() {
            Ok(spec) => spec.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn every_documented_form_is_parsed() {
        for (value, expected) in [
            ("3000", "127.0.0.1:3000"),
            (":3000", "127.0.0.1:3000"),
            ("0", "127.0.0.1:0"),
            ("127.0.0.1:3000", "127.0.0.1:3000"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:3000", "[::]:3000"),
            ("[fe80::1%2]:3000", "[fe80::1%2]:3000"),
            ("localhost:3000", "127.0.0.1:3000"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:app.sock", "unix:app.sock"),
            ("unix:/tmp/a=b", "unix:/tmp/a=b"),
            ("web=3000", "web=127.0.0.1:3000"),
            ("web=unix:/tmp/a=b", "web=unix:/tmp/a=b"),
            ("http::3000", "127.0.0.1:3000"),
            ("https::0.0.0.0:8443", "0.0.0.0:8443"),
            ("https:::8443", "127.0.0.1:8443"),
            ("tcp::[::1]:25", "[::1]:25"),
            ("unix::/run/app.sock", "unix:/run/app.sock"),
            ("api=http::3000", "api=127.0.0.1:3000"),
        ] {
            assert_eq!(shown(value), expected, "{value}");
        }
    }

    #[test]
    fn the_displayed_form_is_parsed_again() {
        for value in [
            "127.0.0.1:3000",
            "web=[::]:80",
            "unix:/run/a b.sock",
            "x=unix:s",
        ] {
            assert_eq!(shown(value), value);
        }
    }

    #[test]
    fn an_error_names_the_value_and_the_mistake() {
        for (value, expected) in [
            ("", "not an address"),
            ("three", "not an address"),
            ("70000", "`70000` is not a port from 0 to 65535"),
            ("127.0.0.1", "the port is missing"),
            ("[::1]", "the port is missing"),
            ("localhost", "the port is missing"),
            ("::1", "needs brackets"),
            ("::1:3000", "needs brackets"),
            ("127.0.0.1:web", "`web` is not a port"),
            ("[::1]:99999", "`99999` is not a port"),
            ("localhost:", "`` is not a port"),
            ("example.org:80", "`example.org` is not an IP address"),
            ("udp:53", "UDP is not supported"),
            ("udp::53", "UDP is not supported"),
            ("unix:", "the file name is missing"),
            ("unix:/run/", "the file name is missing"),
            ("unix:@name", "abstract"),
            ("=3000", "`` is not a name"),
            ("a b=3000", "`a b` is not a name"),
            ("grün=3000", "`grün` is not a name"),
        ] {
            let shown = shown(value);
            assert!(
                shown.starts_with(&format!("error: cannot listen on `{value}`: ")),
                "{shown}"
            );
            assert!(shown.contains(expected), "{shown}");
        }
    }
}
