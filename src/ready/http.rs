use std::fmt;

/// The request of an HTTP probe.
///
/// `/path` goes to the first socket of the new generation. With `//host[:port]/path`, as in
/// `http://localhost:3000/health`, the host is sent in the `Host` header and the port selects the socket. Names are
/// not looked up, because a probe reaches only the new generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    host: Option<String>,
    port: Option<u16>,
    path: String,
}

impl HttpProbe {
    /// The value of the `Host` header.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.host.as_deref().unwrap_or("localhost");
        self.port
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The port of the socket to connect to. `None`: the first socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The path and query, starting with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Parses the part after `http:`.
    pub(super) fn parse(rest: &str) -> Result<Self, String> {
        if rest.is_empty() {
            return Err("a path is missing, as in `http:/`".into());
        }
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !rest.bytes().all(is_allowed) {
            return Err("write spaces, `#` and non-ASCII characters as `%20` and so on".into());
        }
        if let Some(rest) = rest.strip_prefix("//") {
            return with_host(rest);
        }
        if !rest.starts_with('/') {
            return Err("the path must start with `/`".into());
        }
        Ok(Self {
            host: None,
            port: None,
            path: rest.to_owned(),
        })
    }
}

fn with_host(rest: &str) -> Result<HttpProbe, String> {
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    // The colons within `[::1]` are not separators.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let nonzero = |port: &str| port.parse().ok().filter(|&port| port != 0);
    match port.map(nonzero) {
        Some(None) => Err(format!(
            "the port of `{authority}` is not in the range 1 to 65535"
        )),
        _ if host.is_empty() || host.contains(['@', '?']) => {
            Err(format!("`{authority}` is not a host"))
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
    fn a_url_has_a_host_a_port_and_a_path() {
        let probe = |text| match HttpProbe::parse(text) {
            Ok(probe) => (probe.host(), probe.port(), probe.path().to_owned()),
            Err(error) => panic!("{error}"),
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
