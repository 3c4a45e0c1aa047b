//! The page for a browser. It is self-contained and loads nothing else.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::reason::Reason;

/// The header by which the page recognizes that hotrun still responds, with the same reason.
pub(super) const MARK: &str = "Hotrun-Reason";

/// A page and its `Content-Security-Policy`: it may run its own script and send requests to its origin.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) policy: String,
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

pub(super) fn page(reason: &Reason) -> Page {
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
mod tests {
    use super::*;

    fn reason(summary: &str, details: &str) -> Reason {
        Reason {
            summary: summary.into(),
            details: vec![details.into()],
        }
    }

    #[test]
    fn markup_is_shown_and_has_no_effect() {
        let evil = "</pre><script>alert(1)</script>\" onload='x' &amp; \u{1b}[31m\r\0";
        let html = page(&reason(evil, evil)).html;
        let shown =
            "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; &amp;amp; ";
        assert_eq!(
            html.matches(shown).count(),
            3,
            "title, heading and text: {html}"
        );
        assert_eq!(html.matches("<script").count(), 1, "ours");
        assert_eq!(html.matches("</pre>").count(), 1, "ours");
        let controls = html.chars().filter(|c| c.is_control() && *c != '\n');
        assert_eq!(controls.count(), 0);
    }

    #[test]
    fn line_breaks_are_kept() {
        let html = page(&reason("it", "one\n\ttwo\n")).html;
        assert!(html.contains("<pre>one\n\ttwo</pre>"), "{html}");
    }

    #[test]
    fn the_page_can_run_only_its_own_script() {
        let (one, two) = (page(&reason("a", "b")), page(&reason("a", "b")));
        assert_ne!(one.policy, two.policy, "a nonce is used once");
        let nonce = one.policy.split("'nonce-").nth(1).unwrap();
        let nonce = nonce.split('\'').next().unwrap();
        assert_eq!(nonce.len(), 32);
        assert_eq!(one.html.matches(nonce).count(), 2, "style and script");
    }

    #[test]
    fn the_script_checks_the_header_that_is_sent() {
        assert!(SCRIPT.contains(MARK));
        let reason = reason("a", "b");
        let mark = format!("data-mark=\"{}\"", reason.mark());
        assert!(page(&reason).html.contains(&mark));
    }
}
