use std::fmt::Write as _;

use console::{Style, truncate_str};

use super::{Finding, Severity, failures};

/// The width of the report, in columns.
const WIDTH: usize = 80;

/// Renders the findings, with at most two lines each.
pub fn report(findings: &[Finding], colour: bool) -> String {
    let mut text = format!("hotrun {}\n", env!("CARGO_PKG_VERSION"));
    for finding in findings {
        let severity = style(finding.severity, colour).apply_to(label(finding.severity));
        let name = finding.name;
        line(
            &mut text,
            24,
            &format!("{severity} {name:<13} "),
            &finding.text,
        );
        if let Some(hint) = &finding.hint {
            line(&mut text, 10, "       -> ", hint);
        }
    }
    text.push_str(match failures(findings) {
        0 => "everything that hotrun needs works\n",
        1.. => "with these failures, reloads may lose connections or not work at all\n",
    });
    text
}

/// Appends a line whose prefix takes `prefix_width` columns.
fn line(text: &mut String, prefix_width: usize, prefix: &str, body: &str) {
    let body = truncate_str(body, WIDTH - prefix_width, "…");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{prefix}{body}");
}

fn label(severity: Severity) -> &'static str {
    match severity {
        Severity::Works => "  works ",
        Severity::Note => "  note  ",
        Severity::Fails => "  fails ",
    }
}

fn style(severity: Severity, colour: bool) -> Style {
    let style = match severity {
        Severity::Works => Style::new().green(),
        Severity::Note => Style::new().yellow(),
        Severity::Fails => Style::new().red().bold(),
    };
    style.force_styling(colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest report: three checks have no hint, because an old kernel explains two failures and without cargo there
    /// is no linker to check.
    fn longest() -> Vec<Finding> {
        let failure = |_| Finding::fails("thirteen char", "x".repeat(90), "y".repeat(90));
        let mut all: Vec<_> = (0..MOST - 3).map(failure).collect();
        all.extend((0..3).map(|_| Finding::works("thirteen char", "x".repeat(90))));
        all
    }

    const MOST: usize = 12;

    #[test]
    fn the_report_fits_on_a_screen_even_if_every_check_fails() {
        for colour in [false, true] {
            let text = report(&longest(), colour);
            let plain = console::strip_ansi_codes(&text).into_owned();
            let rows = plain.lines().count();
            assert!(rows <= 23, "the error takes one more line: {plain}");
            for line in plain.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
            assert_eq!(text.contains('\u{1b}'), colour);
        }
        let all = super::super::check(std::path::Path::new("/"));
        assert!(all.len() <= MOST);
        for finding in all {
            assert!(finding.name.len() <= Finding::NAME, "{finding:?}");
        }
    }

    #[test]
    fn a_check_that_works_has_one_line() {
        let text = report(&[Finding::works("sockets", "managed")], false);
        assert!(text.contains("works  sockets       managed\n"), "{text}");
        assert!(text.ends_with("everything that hotrun needs works\n"));
    }
}
