//! Reads the source files that the rules apply to.

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust source file.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// The path relative to the top directory, for messages.
    pub(crate) fn name(&self) -> String {
        let below = self
            .path
            .strip_prefix(root())
            .expect("the file is in the top directory");
        below.display().to_string()
    }

    /// The top-level module that a file in `src` belongs to, such as `socket`.
    pub(crate) fn module(&self) -> String {
        self.module_path()
            .into_iter()
            .next()
            .unwrap_or_else(|| "lib".into())
    }

    /// The path of the file's module without `crate`; empty for `lib.rs`.
    pub(crate) fn module_path(&self) -> Vec<String> {
        let inner = self
            .path
            .strip_prefix(root().join("src"))
            .expect("the file is in `src`");
        let mut segments: Vec<String> = inner
            .with_extension("")
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        if matches!(segments.last().map(String::as_str), Some("mod" | "lib")) {
            segments.pop();
        }
        segments
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        let path = self.module_path();
        path.iter().any(|part| part == "tests" || part == "fuzz")
    }

    /// The text without comments and without items that are compiled only for tests.
    pub(crate) fn code(&self) -> String {
        without_tests(&without_comments(&self.text))
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a directory, except the programs in `tests/apps`.
pub(crate) fn rust_files(directory: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests/apps") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!found.is_empty());
    found
}

/// Removes the comments, because documentation may link anywhere without importing anything.
pub(crate) fn without_comments(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Removes every item that is marked `#[cfg(test)]`.
pub(crate) fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            skip_item(&mut lines);
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    let (mut depth, mut opened) = (0_usize, false);
    for line in lines {
        depth += line.matches('{').count();
        opened |= depth > 0;
        depth = depth.saturating_sub(line.matches('}').count());
        let ends = line.trim_end().ends_with(';') || line.trim_end().ends_with(',');
        if depth == 0 && (opened || ends) {
            return;
        }
    }
}

#[test]
fn test_items_and_comments_are_not_code() {
    let text = "use a::b;\n#[cfg(test)]\nmod tests;\n// use c;\n#[cfg(test)]\nmod more {\n  fn x() {\n  }\n}\nfn y() {}\n";
    assert_eq!(
        without_tests(&without_comments(text)),
        "use a::b;\nfn y() {}\n"
    );
}
