use super::*;

const MOST: usize = 10;

fn finding(severity: Severity, hint: &'static str) -> Check {
    ("thirteen char", found(severity, "x".repeat(90), hint))
}

#[test]
fn the_report_fits_on_a_screen_even_if_every_check_fails() {
    let hint = "y".repeat(90).leak();
    let longest = vec![finding(Severity::Fails, hint); MOST];
    for color in [false, true] {
        let text = report(&longest, color);
        let plain = console::strip_ansi_codes(&text).into_owned();
        let rows = plain.lines().count();
        assert!(rows <= 23, "one row is left for the final error: {plain}");
        for line in plain.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert_eq!(text.contains('\u{1b}'), color);
    }
    let all = check(Path::new("/"));
    assert!(all.len() <= MOST);
    for (name, finding) in all {
        assert!(
            name.len() <= 13 && finding.hint.len() <= WIDTH - 10,
            "{name}: {finding:?}"
        );
    }
}

#[test]
fn a_successful_check_takes_one_line() {
    let text = report(&[finding(Severity::Works, "")], false);
    assert!(text.contains("\n  works  thirteen char xxx"), "{text}");
    assert!(text.ends_with("…\neverything that hotrun needs works\n"));
}
