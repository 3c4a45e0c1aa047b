//! The answer, as bytes.

use std::fmt::Write as _;

use super::Reason;
use super::page::{self, Page};

/// In seconds: a page asks again that often, and so may whoever obeys `Retry-After`.
const RETRY_AFTER: u32 = 1;

/// `page`: as HTML. `body`: not for `HEAD`.
pub(super) fn response(reason: &Reason, page: bool, body: bool) -> Vec<u8> {
    let (kind, policy, text) = match page {
        true => {
            let Page { html, policy } = page::page(reason);
            ("text/html", Some(policy), html)
        }
        false => ("text/plain", None, plain(reason)),
    };
    let mut answer = format!(
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
        let _ = write!(answer, "Content-Security-Policy: {policy}\r\n");
    }
    answer.push_str("\r\n");
    if body {
        answer.push_str(&text);
    }
    answer.into_bytes()
}

fn plain(reason: &Reason) -> String {
    let mut text = format!("503: nothing serves here: {}\n", reason.what);
    for said in &reason.said {
        let _ = write!(text, "\n{}\n", said.trim_end());
    }
    text.push_str("\nhotrun goes on with the next change\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason() -> Reason {
        Reason {
            what: "gen 2: the build failed".into(),
            said: vec!["error: ä <b>\n".into(), "error: two".into()],
        }
    }

    fn parts(answer: &[u8]) -> (&str, &str) {
        let text = std::str::from_utf8(answer).unwrap();
        text.split_once("\r\n\r\n").unwrap()
    }

    fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
        let prefix = format!("{name}: ");
        head.lines().find_map(|line| line.strip_prefix(&*prefix))
    }

    #[test]
    fn the_answer_is_one_that_a_client_can_read() {
        for (page, kind) in [(false, "text/plain"), (true, "text/html")] {
            let whole = response(&reason(), page, true);
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
            let head_only = response(&reason(), page, false);
            let (head, nothing) = parts(&head_only);
            assert_eq!(nothing, "");
            assert!(header(head, "Content-Length").is_some());
        }
    }

    #[test]
    fn plain_text_is_as_it_was_said() {
        let answer = response(&reason(), false, true);
        let expected = "503: nothing serves here: gen 2: the build failed\n\nerror: ä <b>\n\nerror: two\n\n\
                        hotrun goes on with the next change\n";
        assert_eq!(parts(&answer).1, expected);
    }

    #[test]
    fn another_reason_has_another_mark() {
        let mark = |reason: &Reason| {
            let answer = response(reason, true, false);
            header(parts(&answer).0, page::MARK).unwrap().to_owned()
        };
        let mut other = reason();
        assert_eq!(mark(&other), mark(&reason()));
        other.said.pop();
        assert_ne!(mark(&other), mark(&reason()));
    }
}
