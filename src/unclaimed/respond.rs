//! The 503 response to HTTP requests while no server is running. It gives the reason as text, or as a page that reloads
//! itself once the program is back.
//!
//! Connections that use other protocols wait: `HttpRequest::parse` recognizes them.

use std::fmt::Write as _;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use httparse::{Header, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The reason why no server is running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// One line that names the generation and its failure.
    pub summary: String,
    /// The output of the compiler or the program. The only control characters are line breaks.
    pub details: Vec<String>,
}

/// Returns the current reason. It is called for each request, because more output may have arrived.
pub type GetReason = dyn Fn() -> Reason + Send + Sync;

impl Reason {
    /// The reason for clients on other machines and for pages of other sites. It omits the program's output, which may
    /// contain secrets.
    pub(super) fn hidden() -> Self {
        Self {
            summary: "see hotrun's output, or ask for localhost on the same machine".to_owned(),
            details: Vec::new(),
        }
    }

    /// Returns a mark that tells this reason apart from all others.
    fn mark(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.summary, &self.details).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// How long a client may take to read its response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// After the response, the rest of the request is read, for at most this long and up to this many bytes. Closing the
/// connection with unread bytes would reset it, and the client could lose the response (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(1);
const MOST_DISCARDED: u64 = 16 << 20;
/// The value of `Retry-After`, in seconds. The page polls at the same interval.
const RETRY_AFTER: u32 = 1;

/// Sends the response and closes the connection.
pub(super) async fn send(mut client: TcpStream, response: &[u8]) -> io::Result<()> {
    timeout(WRITE_TIMEOUT, async {
        client.write_all(response).await?;
        client.shutdown().await
    })
    .await??;
    let mut rest = client.take(MOST_DISCARDED);
    let mut nowhere = tokio::io::sink();
    let discarded = tokio::io::copy(&mut rest, &mut nowhere);
    timeout(LINGER, discarded).await?.map(drop)
}

/// Builds the response, as an HTML `page` or as text, and with a `body` unless the method is `HEAD`.
pub(super) fn response(reason: &Reason, page: bool, body: bool) -> Vec<u8> {
    let (kind, policy, text) = match page {
        true => {
            let (html, policy) = self::page(reason);
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

/// The maximum number of headers that are parsed. No browser sends more, and a request with more still counts as HTTP.
const MOST_HEADERS: usize = 128;

/// The kind of request that a connection starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpRequest {
    /// Too few bytes have arrived to tell.
    Incomplete,
    /// The protocol is not HTTP/1.
    OtherProtocol,
    /// An HTTP/1 request.
    Http {
        /// Whether the client is a browser that will show a page.
        page: bool,
        /// Whether the response has a body: the response to `HEAD` has none.
        body: bool,
        /// Whether the request names this machine as its host, and no proxy has passed it on. If a page of another site
        /// has its own name resolved to this machine (DNS rebinding), the browser still sends that name.
        local: bool,
    },
}

impl HttpRequest {
    /// Parses the bytes received so far. `last` means that no more will be received; a complete request line is then
    /// enough.
    pub(super) fn parse(received: &[u8], last: bool) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(received);
        // The version is `None` for the HTTP/2 preface, which the parser rejects.
        let has_request_line = request.version.is_some();
        let body = request.method != Some("HEAD");
        match parsed {
            Ok(Status::Complete(_)) => Self::Http {
                page: request.headers.iter().any(accepts_html),
                body,
                local: is_local(&request),
            },
            Ok(Status::Partial) if !last => Self::Incomplete,
            Ok(Status::Partial) | Err(_) if has_request_line => Self::Http {
                page: false,
                body,
                local: false,
            },
            Ok(Status::Partial) | Err(_) => Self::OtherProtocol,
        }
    }
}

/// Whether the client asks for HTML. A browser that navigates to a page lists `text/html`; `curl` and a page's `fetch`
/// accept anything.
fn accepts_html(header: &Header<'_>) -> bool {
    let value = String::from_utf8_lossy(header.value).to_ascii_lowercase();
    header.name.eq_ignore_ascii_case("accept") && value.contains("text/html")
}

/// Whether the client may see the reason: it is connected through a loopback address, and its request is `local`.
pub(super) fn may_see_reason(peer: io::Result<SocketAddr>, local: bool) -> bool {
    local && peer.is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// Whether the one `Host` header and the target, if it is in absolute form (RFC 9112, 3.2.2), name this machine, and no
/// header is one that proxies add.
fn is_local(request: &httparse::Request<'_, '_>) -> bool {
    let headers = request.headers.iter();
    let headers = headers.map(|header| (header.name.to_ascii_lowercase(), header.value));
    let (hosts, others): (Vec<_>, Vec<_>) = headers.partition(|(name, _)| name == "host");
    let is_proxy_header = |name: &str| {
        ["via", "forwarded", "x-real-ip"].contains(&name) || name.starts_with("x-forwarded-")
    };
    let target = request.path.unwrap_or_default();
    let authority = target.split_once("://").map(|(_, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        rest[..end].to_ascii_lowercase()
    });
    let target_is_local = match authority {
        _ if target.starts_with('/') || target == "*" => true,
        Some(authority) => is_this_machine(&authority),
        None => false,
    };
    let [(_, host)] = hosts[..] else {
        return false;
    };
    target_is_local
        && is_this_machine(&String::from_utf8_lossy(host).to_ascii_lowercase())
        && !others.iter().any(|(name, _)| is_proxy_header(name))
}

/// Whether this is `localhost` or a name below it (RFC 6761, 6.3), a loopback address, or an unspecified one, which
/// leads to a loopback address. A port may follow.
fn is_this_machine(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let split = host.rsplit_once(':').filter(|(_, port)| is_port(port));
    let name = split.map_or(host, |(name, _)| name);
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = host.parse().or_else(|_| bare.unwrap_or(name).parse());
    if let Ok(ip) = address.map(|ip: IpAddr| ip.to_canonical()) {
        return ip.is_loopback() || ip.is_unspecified();
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// The header with the reason's mark. The page compares it to detect that hotrun now gives a different reason.
const MARK: &str = "Hotrun-Reason";

const STYLE: &str = "
:root { color-scheme: light dark }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.3rem; border-left: .4rem solid #d33; padding-left: .8rem }
pre { overflow-x: auto; padding: 1rem; border-radius: .4rem; background: #8882; font: .9rem/1.45 ui-monospace, monospace }
footer { opacity: .7 }
";

/// Polls until the program responds, or until hotrun gives a different reason. While the next generation is being
/// started, the poll waits in the queue, so the page reloads as soon as the program is ready. `HEAD` requests have no
/// side effects in the program.
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

/// Builds the page and its `Content-Security-Policy`, which allows the page only to use its own style and script and to
/// send requests to its origin.
fn page(reason: &Reason) -> (String, String) {
    let (summary, mark, nonce) = (escape(&reason.summary), reason.mark(), nonce());
    let details = reason.details.iter().map(|text| escape(text.trim_end()));
    let details: String = details.map(|text| format!("<pre>{text}</pre>\n")).collect();
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
    (html, policy)
}

/// Escapes text for use anywhere in a page (HTML, 13.3 "Serializing HTML fragments"). Replaces control characters,
/// except line breaks and tabs, with U+FFFD.
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

/// Returns a nonce. It is unpredictable, because the standard library's hash keys are random.
fn nonce() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests;
