//! Limits the length of functions, files and lines.

use crate::files::{root, rust_files};

const MAX_FUNCTION_LINES: usize = 60;
const MAX_FILE_LINES: usize = 400;
/// Without this limit, long lines could be used to evade the other two limits, because rustfmt does not break strings
/// and comments.
const MAX_COLUMNS: usize = 130;

/// The functions in a source: the line on which each one begins, and how many lines it has. Relies on rustfmt to put
/// the closing brace below the first character of the declaration.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if !begins_function(code) {
            continue;
        }
        let end = lines[at..]
            .iter()
            .position(|line| line.len() - line.trim_start().len() == indent && is_end(line, code));
        if let Some(count) = end {
            found.push((at, count + 1));
        }
    }
    found
}

fn begins_function(code: &str) -> bool {
    let restricted = code.strip_prefix("pub(");
    let code = restricted
        .and_then(|rest| rest.split_once(") "))
        .map_or(code, |(_, rest)| rest);
    let words = code.split('(').next().unwrap_or_default();
    let before_name = words.split_whitespace().rev().nth(1);
    before_name == Some("fn") && !code.starts_with("//")
}

/// Whether this line ends the function that begins with the line `first`.
fn is_end(line: &str, first: &str) -> bool {
    let line = line.trim();
    let one_line = line == first && (line.ends_with('}') || line.ends_with(';'));
    one_line || line == "}" || line == ");" || (line.starts_with(')') && line.ends_with(';'))
}

#[test]
fn no_function_is_too_long() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for source in rust_files("src").iter().filter(|source| !source.is_test()) {
        for (at, lines) in functions(&source.text) {
            count += 1;
            if lines > MAX_FUNCTION_LINES {
                wrong.push(format!("{}:{}: {lines} lines", source.name(), at + 1));
            }
        }
    }
    assert!(count > 1000, "found only {count} functions");
    assert!(
        wrong.is_empty(),
        "functions that are too long:\n{}",
        wrong.join("\n")
    );
}

/// A test file may be longer if it says why.
#[test]
fn no_file_is_too_long() {
    for source in rust_files("src").into_iter().chain(rust_files("tests")) {
        let lines = source.text.lines().count();
        let is_test = source.path.starts_with(root().join("tests")) || source.is_test();
        let has_reason = is_test && source.text.contains("\n//! Long because");
        let name = source.name();
        assert!(
            lines <= MAX_FILE_LINES || has_reason,
            "{name} has {lines} lines"
        );
    }
}

#[test]
fn no_line_is_too_long() {
    for source in rust_files("src").iter().filter(|source| !source.is_test()) {
        for (at, line) in source.text.lines().enumerate() {
            // rustfmt can't break strings, attributes or table rows in documentation.
            let free =
                line.contains("//! |") || line.trim_start().starts_with("#[") || line.contains('"');
            let columns = if free { 0 } else { line.chars().count() };
            assert!(
                columns <= MAX_COLUMNS,
                "{}:{}: {columns} columns",
                source.name(),
                at + 1
            );
        }
    }
}

#[test]
fn the_lengths_of_functions_are_measured() {
    let text = "fn a() {}\nimpl B {\n    pub fn c(\n        d: E,\n    ) -> F {\n        g\n    }\n}\ntrait H {\n    fn i();\n}\n\
                pub(in crate::j) fn k() {\n}\n";
    assert_eq!(functions(text), [(0, 1), (2, 5), (9, 1), (11, 2)]);
}
