//! The part of HTTP/1 that a probe needs: its request and the status of the response.

use super::HttpProbe;

/// The status in the first bytes of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// More bytes are needed.
    Incomplete,
    /// The final status, after any `1xx` responses such as early hints.
    Final(u16),
    /// The response is not HTTP/1.
    NotHttp,
}

/// The request of a probe. Its user agent identifies it in access logs.
pub(super) fn request(probe: &HttpProbe) -> String {
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: hotrun/{} (readiness)\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        probe.path(),
        probe.host(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Finds the status of the final response.
pub(super) fn read(mut bytes: &[u8]) -> Status {
    loop {
        match first_status(bytes) {
            Status::Final(100..200) => match after_headers(bytes) {
                Some(rest) => bytes = rest,
                None => return Status::Incomplete,
            },
            status @ (Status::Incomplete | Status::Final(_) | Status::NotHttp) => return status,
        }
    }
}

/// Parses `HTTP/1.1 200 OK`. The part after the three digits may be missing.
fn first_status(bytes: &[u8]) -> Status {
    const VERSION: &[u8] = b"HTTP/1.";
    let known = bytes.len().min(VERSION.len());
    if bytes[..known] != VERSION[..known] {
        return Status::NotHttp;
    }
    let Some(code) = bytes.get(VERSION.len() + 2..VERSION.len() + 5) else {
        return Status::Incomplete;
    };
    let number = std::str::from_utf8(code)
        .ok()
        .and_then(|code| code.parse().ok());
    let digits = code.iter().all(u8::is_ascii_digit) && bytes[VERSION.len() + 1] == b' ';
    number
        .filter(|_| digits)
        .map_or(Status::NotHttp, Status::Final)
}

fn after_headers(bytes: &[u8]) -> Option<&[u8]> {
    const END: &[u8] = b"\r\n\r\n";
    let at = bytes.windows(END.len()).position(|window| window == END)?;
    Some(&bytes[at + END.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::ReadySpec;
    use proptest::prelude::*;

    #[test]
    fn the_status_is_found_as_soon_as_it_is_complete() {
        assert_eq!(read(b"HTTP/1.1 204 No Content\r\n"), Status::Final(204));
        assert_eq!(read(b"HTTP/1.0 500"), Status::Final(500));
        for part in ["", "H", "HTTP/1.", "HTTP/1.1 20"] {
            assert_eq!(read(part.as_bytes()), Status::Incomplete, "{part}");
        }
    }

    #[test]
    fn interim_responses_are_skipped() {
        assert_eq!(
            read(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200"),
            Status::Final(200)
        );
        assert_eq!(
            read(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n"),
            Status::Incomplete
        );
    }

    #[test]
    fn another_protocol_is_not_http() {
        for text in [
            "SSH-2.0-OpenSSH",
            "HTTP/2 200",
            "HTTP/1.1 2x0",
            "HTTP/1.1x200",
            "\0\0\x06\x04",
            "HTTP/1.1 +20",
        ] {
            assert_eq!(read(text.as_bytes()), Status::NotHttp, "{text}");
        }
    }

    #[test]
    fn the_request_is_http_1_1() {
        let Ok(ReadySpec::Http(probe)) = "http://a.test:81/x?y".parse() else {
            panic!("a probe")
        };
        let text = request(&probe);
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
        fn any_response_can_be_read(bytes: Vec<u8>, tail in "(HTTP/1.1 1|HTTP/1.1 |\r\n|[0-9 ]){0,20}") {
            let _ = (read(&bytes), read(tail.as_bytes()));
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
            let _ = read(input);
        });
    }
}
