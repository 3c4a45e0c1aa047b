use httparse::{Header, Status};

/// More headers than any browser sends. A request with more is a request all the same.
const MOST_HEADERS: usize = 128;

/// What the beginning of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// More has to come.
    Unsure,
    /// No HTTP/1.
    Other,
    /// A request of HTTP/1.
    Whole {
        /// Whether it is a browser's, which wants a page.
        page: bool,
        /// Whether the answer has a body: not that to `HEAD`.
        body: bool,
    },
}

impl Request {
    /// Reads what has come so far. `last`: nothing more will come, so that what has a whole first line is taken for a
    /// request.
    #[must_use]
    pub fn read(heard: &[u8], last: bool) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(heard);
        // That of HTTP/2 is an error: its first line is followed by nothing that we could answer.
        let begins = request.version.is_some();
        let body = request.method != Some("HEAD");
        match parsed {
            Ok(Status::Complete(_)) => Self::Whole {
                page: request.headers.iter().any(wants_page),
                body,
            },
            Ok(Status::Partial) if !last => Self::Unsure,
            Ok(Status::Partial) | Err(_) if begins => Self::Whole { page: false, body },
            Ok(Status::Partial) | Err(_) => Self::Other,
        }
    }
}

/// A browser that shows what comes names `text/html`; `curl` and a page's own `fetch` want anything.
fn wants_page(header: &Header<'_>) -> bool {
    let value = String::from_utf8_lossy(header.value).to_ascii_lowercase();
    header.name.eq_ignore_ascii_case("accept") && value.contains("text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Request = Request::Whole {
        page: false,
        body: true,
    };
    const PAGE: Request = Request::Whole {
        page: true,
        body: true,
    };

    fn read(text: &str) -> Request {
        Request::read(text.as_bytes(), false)
    }

    #[test]
    fn a_whole_request_is_answered_as_it_wants() {
        assert_eq!(read("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), TEXT);
        assert_eq!(read("GET / HTTP/1.0\r\n\r\n"), TEXT);
        assert_eq!(read("GET / HTTP/1.1\nAccept: */*\n\n"), TEXT);
        let browser = "POST /a?b HTTP/1.1\r\naCCept: Text/HTML,application/xml;q=0.9\r\n\r\nbody";
        assert_eq!(read(browser), PAGE);
        let head = "HEAD / HTTP/1.1\r\n\r\n";
        assert_eq!(
            read(head),
            Request::Whole {
                page: false,
                body: false
            }
        );
    }

    #[test]
    fn each_beginning_of_a_request_is_unsure_until_it_is_the_last() {
        let whole = "OPTIONS * HTTP/1.1\r\nAccept: text/html\r\n\r\n";
        for end in 0..whole.len() {
            let begin = &whole.as_bytes()[..end];
            assert_eq!(Request::read(begin, false), Request::Unsure, "{end}");
            let known = end >= "OPTIONS * HTTP/1.1".len();
            let expected = if known { TEXT } else { Request::Other };
            assert_eq!(Request::read(begin, true), expected, "{end}");
        }
    }

    #[test]
    fn what_begins_like_a_request_and_goes_on_otherwise_is_one() {
        assert_eq!(read("GET / HTTP/1.1\r\nno header\r\n\r\n"), TEXT);
        let many = "A: b\r\n".repeat(MOST_HEADERS + 1);
        assert_eq!(read(&format!("GET / HTTP/1.1\r\n{many}\r\n")), TEXT);
    }

    #[test]
    fn other_protocols_are_told_by_their_first_bytes() {
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
            assert_eq!(Request::read(other, false), Request::Other, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), last: bool) {
            let read = Request::read(&bytes, last);
            proptest::prop_assert!(!last || read != Request::Unsure);
        }
    }
}
