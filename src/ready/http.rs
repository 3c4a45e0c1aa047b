use std::fmt;

use super::spec::Wrong;

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

    /// What comes after `http:`.
    pub(super) fn parse(rest: &str) -> Result<Self, Wrong> {
        let wrong = |problem: &str, nearest: &str| {
            Err((problem.to_owned(), Some(format!("http:{nearest}"))))
        };
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
            return with_host(rest);
        }
        if !rest.starts_with('/') {
            return wrong("the path begins with `/`", &format!("/{rest}"));
        }
        Ok(Self {
            host: None,
            port: None,
            path: rest.to_owned(),
        })
    }
}

fn with_host(rest: &str) -> Result<HttpProbe, Wrong> {
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

impl fmt::Display for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.is_some() {
            write!(f, "//{}", self.host())?;
        }
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let probe = |text| match HttpProbe::parse(text) {
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
}
