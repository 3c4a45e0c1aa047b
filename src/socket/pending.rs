//! The 503 response to HTTP requests while no server is running: the reason, as text or as a page that reloads itself once
//! the program is back.
//!
//! Connections of other protocols wait. [`Request::parse`] recognizes them.

use std::fmt::Write as _;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use httparse::{Header, Status};

use super::forward::{Respond, Response};

/// Why no server is running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// One line: the generation and its failure.
    pub summary: String,
    /// The output of the compiler or the program: text with line breaks and no other control characters.
    pub details: Vec<String>,
}

impl Reason {
    /// Differs between reasons.
    fn mark(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.summary, &self.details).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// In seconds. The page polls as often.
const RETRY_AFTER: u32 = 1;

/// Responds to HTTP requests while no server is running. The reason is determined for each request, because more output
/// may have arrived.
pub fn responder(reason: impl Fn() -> Reason + Send + Sync + 'static) -> Arc<Respond> {
    Arc::new(
        move |received: &[u8], last| match Request::parse(received, last) {
            Request::Incomplete => Response::NeedMore,
            Request::OtherProtocol => Response::Wait,
            Request::Http { page, body } => Response::Send(response(&reason(), page, body)),
        },
    )
}

/// The response, as HTML if it is a `page`, and without a body for `HEAD`.
fn response(reason: &Reason, page: bool, body: bool) -> Vec<u8> {
    let (kind, policy, text) = match page {
        true => {
            let Page { html, policy } = self::page(reason);
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
        MARK,
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

/// The header by which the page recognizes that hotrun still responds, with the same reason.
const MARK: &str = "Hotrun-Reason";

/// A page and its `Content-Security-Policy`: it may run its own script and send requests to its origin.
struct Page {
    html: String,
    policy: String,
}

const STYLE: &str = "
:root { color-scheme: light dark }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.3rem; border-left: .4rem solid #d33; padding-left: .8rem }
pre { overflow-x: auto; padding: 1rem; border-radius: .4rem; background: #8882; font: .9rem/1.45 ui-monospace, monospace }
footer { opacity: .7 }
";

/// Polls until the program responds, or hotrun with another reason. While the next generation is on its way the poll waits
/// in the queue, so the page reloads as soon as the program is ready. `HEAD` has no side effects there.
const SCRIPT: &str = "
const mark = document.documentElement.dataset.mark;
async function poll() {
  try {
    const response = await fetch(location.href, { method: 'HEAD', cache: 'no-store', redirect: 'manual' });
    if (response.headers.get('Hotrun-Reason') !== mark) return location.reload();
  } catch {}
  setTimeout(poll, 1000);
}
setTimeout(poll, 1000);
";

fn page(reason: &Reason) -> Page {
    let (summary, mark, nonce) = (escape(&reason.summary), reason.mark(), nonce());
    let details = reason.details.iter().map(|text| {
        let text = escape(text.trim_end());
        format!("<pre>{text}</pre>\n")
    });
    let details: String = details.collect();
    let html = format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\" data-mark=\"{mark}\">\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>503: {summary}</title>\n\
         <style nonce=\"{nonce}\">{STYLE}</style>\n\
         <noscript><meta http-equiv=\"refresh\" content=\"2\"></noscript>\n\
         <h1>No server is running: {summary}</h1>\n\
         {details}\
         <footer>Save a change to retry. This page reloads itself.</footer>\n\
         <script nonce=\"{nonce}\">{SCRIPT}</script>\n\
         </html>\n"
    );
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'"
    );
    Page { html, policy }
}

/// Escapes text for any place in a page (HTML, 13.3 "Serializing HTML fragments"). Control characters become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Unpredictable, because the standard library's hash keys are random.
fn nonce() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests;
