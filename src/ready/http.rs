//! The part of HTTP/1 that a probe needs: its request and the status of the response.

use std::fmt;

use httparse::Status;

/// What a probe is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// `--ready`
    Readiness,
    /// `--alive`
    Liveness,
    WarmUp,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
            Self::WarmUp => "warm-up",
        })
    }
}

/// The request that an HTTP probe sends.
///
/// A probe of `/path` connects to the sockets of the new generation in turn. With `//host[:port]/path`, as in
/// `http://localhost:3000/health`, the host is sent in the `Host` header and the port selects the socket. The host name
/// is not resolved, because a probe connects only to the new generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// The value of the `Host` header, unless it is `localhost`.
    authority: Option<String>,
    /// The port of the socket to connect to, or `None` to try the sockets in turn.
    pub(super) port: Option<u16>,
    path: String,
}

impl HttpProbe {
    /// The text of the request. Its user agent identifies it in access logs.
    pub(super) fn request(&self, purpose: Purpose) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: hotrun/{} ({purpose})\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.path,
            self.authority.as_deref().unwrap_or("localhost"),
            env!("CARGO_PKG_VERSION"),
        )
    }

    /// Parses the part after `http:`.
    pub(super) fn parse(rest: &str) -> Result<Self, String> {
        if rest.is_empty() {
            return Err("`http` needs a path, as in `http:/`".into());
        }
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !rest.bytes().all(is_allowed) {
            return Err(
                "spaces, `#` and non-ASCII characters must be percent-encoded, as in `%20`".into(),
            );
        }
        if let Some(rest) = rest.strip_prefix("//") {
            return with_host(rest);
        }
        if !rest.starts_with('/') {
            return Err("the path must start with `/`".into());
        }
        Ok(Self {
            authority: None,
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
            "the port in `{authority}` must be in the range 1 to 65535"
        )),
        _ if host.is_empty() || host.contains(['@', '?']) => {
            Err(format!("`{authority}` is not a valid host"))
        }
        port => Ok(HttpProbe {
            authority: Some(authority.to_owned()),
            port: port.flatten(),
            path: path.to_owned(),
        }),
    }
}

impl fmt::Display for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(authority) = &self.authority {
            write!(f, "//{authority}")?;
        }
        f.write_str(&self.path)
    }
}

/// Finds the status of the final response, after any `1xx` responses such as early hints. Only the digits of its status
/// line must be complete.
pub(super) fn status(mut bytes: &[u8]) -> httparse::Result<u16> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(bytes);
        match response.code {
            Some(100..200) => match parsed? {
                Status::Complete(length) => bytes = &bytes[length..],
                Status::Partial => return Ok(Status::Partial),
            },
            Some(code) => return Ok(Status::Complete(code)),
            None => return parsed.map(|_| Status::Partial),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_url_is_split_into_host_port_and_path() {
        let probe = |text| match HttpProbe::parse(text) {
            Ok(probe) => (probe.authority, probe.port, probe.path),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(probe("/x"), (None, None, "/x".into()));
        assert_eq!(
            probe("//a.test:81/x?y"),
            (Some("a.test:81".into()), Some(81), "/x?y".into())
        );
        assert_eq!(probe("//a.test"), (Some("a.test".into()), None, "/".into()));
        assert_eq!(
            probe("//[::1]:81"),
            (Some("[::1]:81".into()), Some(81), "/".into())
        );
    }

    #[test]
    fn the_status_is_found_as_soon_as_it_is_complete() {
        assert_eq!(
            status(b"HTTP/1.1 204 No Content\r\n"),
            Ok(Status::Complete(204))
        );
        assert_eq!(status(b"HTTP/1.0 500"), Ok(Status::Complete(500)));
        for part in ["", "H", "HTTP/1.", "HTTP/1.1 20"] {
            assert_eq!(status(part.as_bytes()), Ok(Status::Partial), "{part}");
        }
    }

    #[test]
    fn interim_responses_are_skipped() {
        assert_eq!(
            status(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200"),
            Ok(Status::Complete(200))
        );
        assert_eq!(
            status(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n"),
            Ok(Status::Partial)
        );
    }

    #[test]
    fn a_response_that_is_not_http_1_is_recognized() {
        for text in [
            "SSH-2.0-OpenSSH",
            "HTTP/2 200",
            "HTTP/1.1 2x0",
            "HTTP/1.1x200",
            "\0\0\x06\x04",
            "HTTP/1.1 +20",
        ] {
            assert!(status(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_request_is_http_1_1() {
        let probe = HttpProbe::parse("//a.test:81/x?y").unwrap();
        let text = probe.request(Purpose::Readiness);
        assert!(
            text.starts_with("GET /x?y HTTP/1.1\r\nHost: a.test:81\r\n"),
            "{text}"
        );
        assert!(
            text.contains("\r\nConnection: close\r\n") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes: Vec<u8>, tail in "(HTTP/1.1 1|HTTP/1.1 |\r\n|[0-9 ]){0,20}") {
            let _ = (status(&bytes), status(tail.as_bytes()));
        }
    }

    #[test]
    fn fuzz_responses() {
        let examples: [&[u8]; 2] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 302 Found\r\n\r\n",
        ];
        let words = ["HTTP/1.1 ", "\r\n\r\n", "101", "99999", " "];
        crate::fuzz::fuzz("responses", &examples, &words, |input| {
            let _ = status(input);
        });
    }
}
