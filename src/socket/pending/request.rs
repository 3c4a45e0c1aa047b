use httparse::{Header, Status};

/// The most headers that are parsed. No browser sends more, and a request with more still counts as one.
const MOST_HEADERS: usize = 128;

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Too little to tell.
    Incomplete,
    /// Not HTTP/1.
    OtherProtocol,
    /// An HTTP/1 request.
    Http {
        /// Whether the client is a browser that shows a page.
        page: bool,
        /// Whether the response has a body, unlike that to `HEAD`.
        body: bool,
    },
}

impl Request {
    /// Parses what was received so far. `last` means that nothing more will be received: a complete request line is then
    /// enough.
    #[must_use]
    pub fn parse(received: &[u8], last: bool) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(received);
        // `None` for the preface of HTTP/2, which the parser rejects.
        let has_request_line = request.version.is_some();
        let body = request.method != Some("HEAD");
        match parsed {
            Ok(Status::Complete(_)) => Self::Http {
                page: request.headers.iter().any(accepts_html),
                body,
            },
            Ok(Status::Partial) if !last => Self::Incomplete,
            Ok(Status::Partial) | Err(_) if has_request_line => Self::Http { page: false, body },
            Ok(Status::Partial) | Err(_) => Self::OtherProtocol,
        }
    }
}

/// A browser that navigates names `text/html`. `curl` and the `fetch` of a page accept anything.
fn accepts_html(header: &Header<'_>) -> bool {
    let value = String::from_utf8_lossy(header.value).to_ascii_lowercase();
    header.name.eq_ignore_ascii_case("accept") && value.contains("text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Request = Request::Http {
        page: false,
        body: true,
    };
    const PAGE: Request = Request::Http {
        page: true,
        body: true,
    };

    fn parse(text: &str) -> Request {
        Request::parse(text.as_bytes(), false)
    }

    #[test]
    fn the_accept_header_decides_about_the_page() {
        assert_eq!(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), TEXT);
        assert_eq!(parse("GET / HTTP/1.0\r\n\r\n"), TEXT);
        assert_eq!(parse("GET / HTTP/1.1\nAccept: */*\n\n"), TEXT);
        let browser = "POST /a?b HTTP/1.1\r\naCCept: Text/HTML,application/xml;q=0.9\r\n\r\nbody";
        assert_eq!(parse(browser), PAGE);
        let head = "HEAD / HTTP/1.1\r\n\r\n";
        assert_eq!(
            parse(head),
            Request::Http {
                page: false,
                body: false
            }
        );
    }

    #[test]
    fn a_part_of_a_request_is_incomplete_until_it_is_the_last() {
        let whole = "OPTIONS * HTTP/1.1\r\nAccept: text/html\r\n\r\n";
        for end in 0..whole.len() {
            let part = &whole.as_bytes()[..end];
            assert_eq!(Request::parse(part, false), Request::Incomplete, "{end}");
            let has_line = end >= "OPTIONS * HTTP/1.1".len();
            let expected = if has_line {
                TEXT
            } else {
                Request::OtherProtocol
            };
            assert_eq!(Request::parse(part, true), expected, "{end}");
        }
    }

    #[test]
    fn a_request_line_makes_a_request_whatever_follows() {
        assert_eq!(parse("GET / HTTP/1.1\r\nno header\r\n\r\n"), TEXT);
        let many = "A: b\r\n".repeat(MOST_HEADERS + 1);
        assert_eq!(parse(&format!("GET / HTTP/1.1\r\n{many}\r\n")), TEXT);
    }

    #[test]
    fn other_protocols_are_recognized_by_their_first_bytes() {
        let others: [&[u8]; 11] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"PING\r\n",
            b"EHLO localhost\r\n",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"\x10\x0c\x00\x04MQTT",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            b"GET /\r\n",
            b"\xff\xfe\xfd",
        ];
        for other in others {
            let text = String::from_utf8_lossy(other);
            assert_eq!(
                Request::parse(other, false),
                Request::OtherProtocol,
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_can_be_parsed(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), last: bool) {
            let parsed = Request::parse(&bytes, last);
            proptest::prop_assert!(!last || parsed != Request::Incomplete);
        }
    }
}
