use std::fmt::Write as _;

use console::{Style, truncate_str};

use super::{Finding, Sign, failures};

/// As wide as a terminal is where nobody has made it wider, in columns.
const WIDTH: usize = 80;

/// The findings as lines for a person, at most two for each.
pub fn sheet(findings: &[Finding], colour: bool) -> String {
    let mut text = format!("hotrun {}\n", env!("CARGO_PKG_VERSION"));
    for finding in findings {
        let sign = style(finding.sign, colour).apply_to(word(finding.sign));
        let name = finding.name;
        line(&mut text, 24, &format!("{sign} {name:<13} "), &finding.text);
        if let Some(remedy) = &finding.remedy {
            line(&mut text, 10, "       -> ", remedy);
        }
    }
    text.push_str(match failures(findings) {
        0 => "everything that hotrun needs works here\n",
        1.. => "what is marked with `fails` costs connections, or does not work at all\n",
    });
    text
}

/// Behind a head that takes this many columns.
fn line(text: &mut String, head_width: usize, head: &str, body: &str) {
    let body = truncate_str(body, WIDTH - head_width, "…");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{head}{body}");
}

fn word(sign: Sign) -> &'static str {
    match sign {
        Sign::Works => "  works ",
        Sign::Could => "  note  ",
        Sign::Fails => "  fails ",
    }
}

fn style(sign: Sign, colour: bool) -> Style {
    let style = match sign {
        Sign::Works => Style::new().green(),
        Sign::Could => Style::new().yellow(),
        Sign::Fails => Style::new().red().bold(),
    };
    style.force_styling(colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as there are at most: an old kernel has the remedy for two others, and without cargo there is nothing to
    /// be said of its linker.
    fn worst() -> Vec<Finding> {
        let bad = |_| Finding::fails("thirteen char", "x".repeat(90), "y".repeat(90));
        let mut all: Vec<_> = (0..MOST - 3).map(bad).collect();
        all.extend((0..3).map(|_| Finding::works("thirteen char", "x".repeat(90))));
        all
    }

    const MOST: usize = 12;

    #[test]
    fn it_fits_on_a_screen_even_if_nothing_works() {
        for colour in [false, true] {
            let text = sheet(&worst(), colour);
            let plain = console::strip_ansi_codes(&text).into_owned();
            let rows = plain.lines().count();
            assert!(rows <= 23, "and a line for the error: {plain}");
            for line in plain.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
            assert_eq!(text.contains('\u{1b}'), colour);
        }
        let all = super::super::examine(std::path::Path::new("/"));
        assert!(all.len() <= MOST);
        for finding in all {
            assert!(finding.name.len() <= Finding::NAME, "{finding:?}");
        }
    }

    #[test]
    fn what_works_says_so() {
        let text = sheet(&[Finding::works("sockets", "taken over")], false);
        assert!(text.contains("works  sockets       taken over\n"), "{text}");
        assert!(text.ends_with("everything that hotrun needs works here\n"));
    }
}
