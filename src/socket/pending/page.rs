//! The page for a browser. It has everything in itself, and asks nobody else for anything.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::Reason;

/// The header by which a page knows that it is still hotrun which answers, and with what reason.
pub(super) const MARK: &str = "Hotrun-Reason";

/// A page, and what it may do (`Content-Security-Policy`): to run our own script, and to ask where it came from.
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

/// Asks until somebody else answers, or with another reason. While the next version is on its way the question waits in
/// the queue and is answered by it, so the page is back as soon as the program is. `HEAD` changes nothing there.
const SCRIPT: &str = "
const mark = document.documentElement.dataset.mark;
async function ask() {
  try {
    const answer = await fetch(location.href, { method: 'HEAD', cache: 'no-store', redirect: 'manual' });
    if (answer.headers.get('Hotrun-Reason') !== mark) return location.reload();
  } catch {}
  setTimeout(ask, 1000);
}
setTimeout(ask, 1000);
";

pub(super) fn page(reason: &Reason) -> Page {
    let (what, mark, nonce) = (escape(&reason.what), reason.mark(), nonce());
    let said = reason.said.iter().map(|said| {
        let said = escape(said.trim_end());
        format!("<pre>{said}</pre>\n")
    });
    let said: String = said.collect();
    let html = format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\" data-mark=\"{mark}\">\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>503: {what}</title>\n\
         <style nonce=\"{nonce}\">{STYLE}</style>\n\
         <noscript><meta http-equiv=\"refresh\" content=\"2\"></noscript>\n\
         <h1>Nothing serves here: {what}</h1>\n\
         {said}\
         <footer>hotrun goes on with the next change, and this page loads itself again.</footer>\n\
         <script nonce=\"{nonce}\">{SCRIPT}</script>\n\
         </html>\n"
    );
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'"
    );
    Page { html, policy }
}

/// As text, wherever in a page it stands (HTML, 13.3 "Serializing HTML fragments"). What is no character of a page
/// becomes one that shows it.
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

/// Nobody can guess it: the standard library's keys are random.
fn nonce() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(what: &str, said: &str) -> Reason {
        Reason {
            what: what.into(),
            said: vec![said.into()],
        }
    }

    #[test]
    fn markup_is_shown_and_does_nothing() {
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
    fn lines_stay_lines() {
        let html = page(&reason("it", "one\n\ttwo\n")).html;
        assert!(html.contains("<pre>one\n\ttwo</pre>"), "{html}");
    }

    #[test]
    fn the_page_may_run_its_own_script_and_no_other() {
        let (one, two) = (page(&reason("a", "b")), page(&reason("a", "b")));
        assert_ne!(
            one.policy, two.policy,
            "what is known before allows nothing"
        );
        let nonce = one.policy.split("'nonce-").nth(1).unwrap();
        let nonce = nonce.split('\'').next().unwrap();
        assert_eq!(nonce.len(), 32);
        assert_eq!(one.html.matches(nonce).count(), 2, "style and script");
    }

    #[test]
    fn the_script_looks_for_the_header_that_is_sent() {
        assert!(SCRIPT.contains(MARK));
        let reason = reason("a", "b");
        let mark = format!("data-mark=\"{}\"", reason.mark());
        assert!(page(&reason).html.contains(&mark));
    }
}
