//! As much of HTTP as a probe needs: what is asked, and the status of the answer. Pure.

use super::HttpProbe;

/// What the beginning of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Not enough was read.
    More,
    /// The final status; `1xx` ones (such as early hints) are passed over.
    Is(u16),
    /// It does not speak HTTP/1.
    Foreign,
}

/// The request: nothing is kept open, and whoever reads the access log sees who asked.
pub(super) fn request(probe: &HttpProbe) -> String {
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: hotrun/{} (readiness)\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        probe.path(),
        probe.host(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Reads as far as the status of the final answer.
pub(super) fn read(mut bytes: &[u8]) -> Status {
    loop {
        match first(bytes) {
            Status::Is(100..200) => match after_headers(bytes) {
                Some(rest) => bytes = rest,
                None => return Status::More,
            },
            status @ (Status::More | Status::Is(_) | Status::Foreign) => return status,
        }
    }
}

/// `HTTP/1.1 200 OK`; what follows the three digits may be missing.
fn first(bytes: &[u8]) -> Status {
    const VERSION: &[u8] = b"HTTP/1.";
    let known = bytes.len().min(VERSION.len());
    if bytes[..known] != VERSION[..known] {
        return Status::Foreign;
    }
    let Some(code) = bytes.get(VERSION.len() + 2..VERSION.len() + 5) else {
        return Status::More;
    };
    let number = std::str::from_utf8(code)
        .ok()
        .and_then(|code| code.parse().ok());
    let digits = code.iter().all(u8::is_ascii_digit) && bytes[VERSION.len() + 1] == b' ';
    number
        .filter(|_| digits)
        .map_or(Status::Foreign, Status::Is)
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
    fn the_status_is_read_as_soon_as_it_is_there() {
        assert_eq!(read(b"HTTP/1.1 204 No Content\r\n"), Status::Is(204));
        assert_eq!(read(b"HTTP/1.0 500"), Status::Is(500));
        for part in ["", "H", "HTTP/1.", "HTTP/1.1 20"] {
            assert_eq!(read(part.as_bytes()), Status::More, "{part}");
        }
    }

    #[test]
    fn an_interim_answer_is_passed_over() {
        assert_eq!(
            read(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200"),
            Status::Is(200)
        );
        assert_eq!(
            read(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n"),
            Status::More
        );
    }

    #[test]
    fn another_protocol_is_told_apart() {
        for text in [
            "SSH-2.0-OpenSSH",
            "HTTP/2 200",
            "HTTP/1.1 2x0",
            "HTTP/1.1x200",
            "\0\0\x06\x04",
            "HTTP/1.1 +20",
        ] {
            assert_eq!(read(text.as_bytes()), Status::Foreign, "{text}");
        }
    }

    #[test]
    fn the_request_is_one_of_http_1_1() {
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
        fn any_answer_is_survived(bytes: Vec<u8>, tail in "(HTTP/1.1 1|HTTP/1.1 |\r\n|[0-9 ]){0,20}") {
            let _ = (read(&bytes), read(tail.as_bytes()));
        }
    }

    #[test]
    fn fuzz_answers() {
        let examples: [&[u8]; 2] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 302 Found\r\n\r\n",
        ];
        let words = ["HTTP/1.1 ", "\r\n\r\n", "101", "99999", " "];
        crate::fuzz::fuzz("answers", &examples, &words, |input| {
            let _ = read(input);
        });
    }
}
