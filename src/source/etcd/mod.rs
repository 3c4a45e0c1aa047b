//! A client of etcd 3.4 or newer, through its JSON gateway: <https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/>.

mod client;
mod keys;
mod watch;

use std::env;
use std::fmt;

pub use client::{Connection, Dial, Dialing, read};
pub use watch::{EtcdEvent, watch};

/// The port of etcd's clients.
const PORT: u16 = 2379;

/// The keys that begin with a prefix, and where they are: `etcd://HOST[:PORT]/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdUrl {
    /// A name or an address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Begins with a `/`.
    pub prefix: String,
}

impl EtcdUrl {
    /// Parses the URL. Returns `None` if the text is not a URL.
    ///
    /// # Errors
    ///
    /// The scheme is not `etcd`, or the URL contains no host or no valid port.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once("://")?;
        if !scheme.chars().all(|c| c.is_ascii_alphanumeric()) {
            return None;
        }
        if scheme != "etcd" {
            let problem = "hotrun can read only `etcd://HOST:PORT/PREFIX`, without TLS";
            return Some(Err(problem.into()));
        }
        let problem = "etcd needs a host and a prefix, as in `etcd://127.0.0.1:2379/app/`";
        Some(Self::parse_rest(rest).ok_or_else(|| problem.into()))
    }

    fn parse_rest(rest: &str) -> Option<Self> {
        let (authority, prefix) = rest.split_at(rest.find('/')?);
        // The colons within `[::1]` are not separators.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            Some(_) | None => (authority, PORT),
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        let valid = !host.is_empty() && host.chars().all(is_allowed) && port != 0;
        valid.then(|| Self {
            host: host.to_owned(),
            port,
            prefix: prefix.to_owned(),
        })
    }
}

impl fmt::Display for EtcdUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, prefix } = self;
        match host.contains(':') {
            true => write!(f, "etcd://[{host}]:{port}{prefix}"),
            false => write!(f, "etcd://{host}:{port}{prefix}"),
        }
    }
}

/// A user and a password.
#[derive(Clone)]
pub struct Credentials {
    name: String,
    password: String,
}

impl Credentials {
    /// Reads the variables that `etcdctl` uses: `ETCDCTL_USER` (`NAME` or `NAME:PASSWORD`) and `ETCDCTL_PASSWORD`.
    pub fn from_environment() -> Option<Self> {
        let read = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Self::new(&read("ETCDCTL_USER")?, read("ETCDCTL_PASSWORD"))
    }

    fn new(user: &str, password: Option<String>) -> Option<Self> {
        let (name, password) = match password {
            Some(password) => (user, password),
            None => user
                .split_once(':')
                .map(|(name, rest)| (name, rest.to_owned()))?,
        };
        let name = name.to_owned();
        Some(Self { name, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_a_port_and_a_prefix() {
        for (text, host, port, prefix) in [
            ("etcd://127.0.0.1:2380/app/", "127.0.0.1", 2380, "/app/"),
            ("etcd://etcd-0.local/", "etcd-0.local", 2379, "/"),
            ("etcd://[::1]:1/a b", "::1", 1, "/a b"),
            ("etcd://[::1]/a", "::1", 2379, "/a"),
        ] {
            let url = EtcdUrl::parse(text).unwrap().unwrap();
            assert_eq!(
                (url.host.as_str(), url.port, url.prefix.as_str()),
                (host, port, prefix)
            );
            assert_eq!(EtcdUrl::parse(&url.to_string()), Some(Ok(url)));
        }
        for text in [
            "etcd://",
            "etcd:///app",
            "etcd://host:2379",
            "etcd://host:x/",
            "etcd://host:0/",
            "etcd://user@host/",
            "etcds://host/",
            "https://host/",
        ] {
            EtcdUrl::parse(text).expect(text).expect_err(text);
        }
        assert_eq!(EtcdUrl::parse("etcdctl watch etcd://x/"), None);
    }

    #[test]
    fn the_password_may_be_a_part_of_the_user() {
        let read = |user, password: Option<&str>| {
            let found = Credentials::new(user, password.map(str::to_owned))?;
            Some((found.name, found.password))
        };
        let expected = Some(("a".to_owned(), "b:c".to_owned()));
        assert_eq!(read("a:b:c", None), expected);
        assert_eq!(read("a", Some("b:c")), expected);
        assert_eq!(read("a", None), None);
    }
}
