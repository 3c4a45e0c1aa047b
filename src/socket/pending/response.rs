use std::fmt::{self, Write as _};

use super::page::{self, Page};
use super::reason::Reason;
use super::request::Request;
use crate::socket::unclaimed::{Respond, Response};

/// In seconds. The page polls as often.
const RETRY_AFTER: u32 = 1;

/// Responds to HTTP requests while no server is running. The reason is determined for each request, because more output
/// may have arrived.
pub struct Responder(Box<dyn Fn() -> Reason + Send + Sync>);

impl Responder {
    /// Responds with the current result of `reason`.
    pub fn new(reason: impl Fn() -> Reason + Send + Sync + 'static) -> Self {
        Self(Box::new(reason))
    }
}

impl Respond for Responder {
    fn respond(&self, received: &[u8], last: bool) -> Response {
        match Request::parse(received, last) {
            Request::Incomplete => Response::NeedMore,
            Request::OtherProtocol => Response::Wait,
            Request::Http { page, body } => Response::Send(response(&(self.0)(), page, body)),
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").finish_non_exhaustive()
    }
}

/// The response, as HTML if it is a `page`, and without a body for `HEAD`.
fn response(reason: &Reason, page: bool, body: bool) -> Vec<u8> {
    let (kind, policy, text) = match page {
        true => {
            let Page { html, policy } = page::page(reason);
            ("text/html", Some(policy), html)
        }
        false => ("text/plain", None, plain(reason)),
    };
    let mut response = format!(
        "HTTP/1.1 503 Service Unavailable\r\n\
         Retry-After: {RETRY_AFTER}\r\n\
         {}: {}\r\n\
         Content-Type: {kind}; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Cache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Connection: close\r\n",
        page::MARK,
        reason.mark(),
        text.len()
    );
    if let Some(policy) = policy {
        let _ = write!(response, "Content-Security-Policy: {policy}\r\n");
    }
    response.push_str("\r\n");
    if body {
        response.push_str(&text);
    }
    response.into_bytes()
}

fn plain(reason: &Reason) -> String {
    let mut text = format!("503: no server is running: {}\n", reason.summary);
    for detail in &reason.details {
        let _ = write!(text, "\n{}\n", detail.trim_end());
    }
    text.push_str("\nSave a change to retry.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason() -> Reason {
        Reason {
            summary: "gen 2 failed to build".into(),
            details: vec!["error: ä <b>\n".into(), "error: two".into()],
        }
    }

    fn parts(response: &[u8]) -> (&str, &str) {
        let text = std::str::from_utf8(response).unwrap();
        text.split_once("\r\n\r\n").unwrap()
    }

    fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
        let prefix = format!("{name}: ");
        head.lines().find_map(|line| line.strip_prefix(&*prefix))
    }

    #[test]
    fn the_response_is_valid_http() {
        for (page, kind) in [(false, "text/plain"), (true, "text/html")] {
            let whole = super::response(&reason(), page, true);
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut parsed = httparse::Response::new(&mut headers);
            assert!(parsed.parse(&whole).unwrap().is_complete());
            assert_eq!(parsed.code, Some(503));
            let (head, body) = parts(&whole);
            assert_eq!(header(head, "Retry-After"), Some("1"));
            assert_eq!(header(head, "Connection"), Some("close"));
            let expected = format!("{kind}; charset=utf-8");
            assert_eq!(header(head, "Content-Type"), Some(&*expected));
            let length = body.len().to_string();
            assert_eq!(header(head, "Content-Length"), Some(&*length));
            let head_only = super::response(&reason(), page, false);
            let (head, nothing) = parts(&head_only);
            assert_eq!(nothing, "");
            assert!(header(head, "Content-Length").is_some());
        }
    }

    #[test]
    fn plain_text_contains_the_details() {
        let response = super::response(&reason(), false, true);
        let expected = "503: no server is running: gen 2 failed to build\n\nerror: ä <b>\n\nerror: two\n\n\
                        Save a change to retry.\n";
        assert_eq!(parts(&response).1, expected);
    }

    #[test]
    fn another_reason_has_another_mark() {
        let mark = |reason: &Reason| {
            let response = super::response(reason, true, false);
            header(parts(&response).0, page::MARK).unwrap().to_owned()
        };
        let mut other = reason();
        assert_eq!(mark(&other), mark(&reason()));
        other.details.pop();
        assert_ne!(mark(&other), mark(&reason()));
    }
}
