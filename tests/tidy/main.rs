//! Rules that the compiler does not check: which module may import which, what the core must not use, how long a file
//! may be, and what the top directory may contain.

mod circles;
mod files;
mod functions;
mod imports;
mod words;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use regex::Regex;

/// The modules that each module may import. All other imports are forbidden.
const ALLOWED_IMPORTS: &[(&str, &[&str])] = &[
    ("lib", &["driver", "config", "doctor", "error", "ui"]),
    ("doctor", &["os"]),
    (
        "driver",
        &[
            "artifact", "build", "config", "error", "os", "process", "ready", "reload", "socket",
            "ui", "watch",
        ],
    ),
    ("artifact", &["build", "reload", "os"]),
    ("ui", &["reload", "os"]),
    ("watch", &["error", "reload", "os"]),
    ("build", &["error", "reload", "os"]),
    ("socket", &["reload", "os"]),
    ("process", &["reload", "os"]),
    ("ready", &["os", "value"]),
    (
        "config",
        &[
            "cli", "error", "build", "socket", "ready", "watch", "process", "reload", "ui",
        ],
    ),
    ("cli", &["error", "guide", "ready", "value", "watch"]),
    ("guide", &[]),
    ("value", &[]),
    ("error", &[]),
    ("reload", &[]),
    ("os", &[]),
];

/// What the core must not use: the clock, the runtime and the system.
const NOT_IN_RELOAD: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "tokio",
    "nix",
    "libc",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::path",
];

/// What the top directory may contain, apart from hidden files.
const TOP: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "completions",
    "src",
    "target",
    "tests",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a directory, except the programs in `tests/apps`.
fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests/apps") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The top-level module that a file in `src` belongs to.
fn module(path: &Path) -> String {
    let inner = path.strip_prefix(root().join("src")).unwrap();
    let first = inner
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The source without comments, because documentation may link anywhere without importing anything.
fn code(source: &str) -> String {
    let lines = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules that a source names with `crate::…`, alone or in a group.
fn imports(source: &str) -> Vec<String> {
    let code = code(source);
    let single = Regex::new(r"\bcrate::([a-z_]+)").unwrap();
    let group = Regex::new(r"\bcrate::\{([^;]*)\};").unwrap();
    let nested = Regex::new(r"\{[^{}]*\}").unwrap();
    let first = Regex::new(r"^[a-z_]+").unwrap();
    let mut found: Vec<_> = single
        .captures_iter(&code)
        .map(|name| name[1].to_owned())
        .collect();
    for names in group.captures_iter(&code) {
        let flat = nested.replace_all(&names[1], "");
        let items = flat.split(',').filter_map(|item| first.find(item.trim()));
        found.extend(items.map(|name| name.as_str().to_owned()));
    }
    found
}

fn forbidden(from: &str, source: &str) -> Vec<String> {
    let known = |name: &str| ALLOWED_IMPORTS.iter().any(|(module, _)| *module == name);
    let (_, allowed) = ALLOWED_IMPORTS
        .iter()
        .find(|(module, _)| *module == from)
        .unwrap_or_else(|| panic!("`{from}` is not in `ALLOWED_IMPORTS`"));
    let mut names = imports(source);
    names.retain(|name| known(name) && name != from && !allowed.contains(&name.as_str()));
    names
}

#[test]
fn modules_import_only_what_they_may() {
    let mut wrong = Vec::new();
    for path in rust_files("src")
        .iter()
        .filter(|path| !path.ends_with("src/main.rs") && !path.ends_with("src/fuzz.rs"))
    {
        let source = fs::read_to_string(path).unwrap();
        let names = forbidden(&module(path), &source);
        wrong.extend(
            names
                .iter()
                .map(|name| format!("{} imports `{name}`", short(path))),
        );
    }
    assert!(wrong.is_empty(), "forbidden imports:\n{}", wrong.join("\n"));
}

#[test]
fn a_forbidden_import_is_found_in_every_form() {
    assert_eq!(forbidden("reload", "use crate::os::x;"), ["os"]);
    assert_eq!(
        forbidden(
            "build",
            "use crate::{\n  reload::{A, B},\n  process::Spec,\n};"
        ),
        ["process"]
    );
    assert_eq!(forbidden("ui", "    crate::driver::run();"), ["driver"]);
    assert_eq!(
        forbidden("ui", "pub(crate) use crate::reload::Notice; // crate::os"),
        [""; 0]
    );
    assert_eq!(
        forbidden("ui", "/// See [`crate::driver`].\nuse crate::ui::Model;"),
        [""; 0]
    );
}

#[test]
fn main_uses_the_library_and_none_of_its_modules() {
    let main = code(&fs::read_to_string(root().join("src/main.rs")).unwrap());
    for (module, _) in ALLOWED_IMPORTS {
        assert!(
            !main.contains(&format!("hotrun::{module}::")),
            "main.rs uses `{module}`"
        );
    }
}

#[test]
fn every_module_has_a_list_of_allowed_imports() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared = Regex::new(r"(?m)^(?:pub(?:\(crate\))? )?mod ([a-z_]+);").unwrap();
    for name in declared
        .captures_iter(&library)
        .map(|found| found[1].to_owned())
        // This module is compiled only for tests.
        .filter(|name| name != "fuzz")
    {
        assert!(
            ALLOWED_IMPORTS.iter().any(|(module, _)| *module == name),
            "`{name}` is not in `ALLOWED_IMPORTS`"
        );
    }
}

/// `.ci/run` also checks that the release binary contains no hooks.
#[test]
fn test_hooks_are_read_in_one_place_behind_their_feature() {
    let place = root().join("src/os/mod.rs");
    for path in rust_files("src").iter().filter(|path| **path != place) {
        let code = code(&fs::read_to_string(path).unwrap());
        let named = code.contains("HOTRUN_TEST") || code.contains("test-hooks");
        assert!(!named, "{} bypasses `os::test_hook`", short(path));
    }
}

#[test]
fn the_core_uses_no_clock_runtime_or_system() {
    let tests = root().join("src/reload/tests");
    for path in rust_files("src/reload")
        .iter()
        .filter(|path| !path.starts_with(&tests))
    {
        let code = code(&fs::read_to_string(path).unwrap());
        for word in NOT_IN_RELOAD {
            let used = Regex::new(&format!(r"\b{}\b", regex::escape(word))).unwrap();
            assert!(!used.is_match(&code), "{} uses `{word}`", short(path));
        }
    }
}

#[test]
fn only_os_has_unsafe_code() {
    let used = Regex::new(r"\bunsafe\b *(\{|fn|impl|extern)").unwrap();
    for path in rust_files("src").iter().filter(|path| module(path) != "os") {
        let code = code(&fs::read_to_string(path).unwrap());
        assert!(!used.is_match(&code), "{} has unsafe code", short(path));
    }
}

/// The `unsafe` blocks, functions and implementations in a source: the line on which each one begins, and how many
/// lines it has.
fn unsafe_parts(source: &str) -> Vec<(usize, usize)> {
    let begins = Regex::new(r"\bunsafe\b *(\{|fn|impl|extern)").unwrap();
    let lines: Vec<&str> = source.lines().collect();
    let part = |(at, line): (usize, &&str)| {
        let code = line.split("//").next().unwrap_or_default();
        let from = begins.find(code)?.start();
        let (mut depth, mut opened) = (0_i32, false);
        for (count, line) in lines[at..].iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let code = if count == 0 { &code[from..] } else { code };
            for one in code.chars() {
                depth += i32::from(one == '{') - i32::from(one == '}');
                opened |= one == '{';
                if opened && depth == 0 || !opened && one == ';' {
                    return Some((at, count + 1));
                }
            }
        }
        None
    };
    lines.iter().enumerate().filter_map(part).collect()
}

/// Whether a comment before this line says why its unsafe code is sound.
fn is_explained(source: &str, at: usize) -> bool {
    let lines: Vec<&str> = source.lines().take(at).collect();
    let comment = |line: &&&str| {
        let line = line.trim_start();
        line.starts_with("//") || line.starts_with("#[") || line.ends_with('=')
    };
    let before = lines.iter().rev().take_while(comment);
    before
        .into_iter()
        .any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
}

/// Every unsafe block must be short, and a comment must say why it is sound. The count is printed for the CI log.
#[test]
fn unsafe_code_is_short_and_explained() {
    const MAX_LINES: usize = 14;
    let (mut count, mut longest) = (0, 0);
    for path in rust_files("src/os") {
        let source = fs::read_to_string(&path).unwrap();
        for (at, lines) in unsafe_parts(&source) {
            let place = format!("{}:{}", short(&path), at + 1);
            assert!(lines <= MAX_LINES, "{place}: {lines} lines of unsafe code");
            assert!(is_explained(&source, at), "{place}: no `SAFETY:` comment");
            count += 1;
            longest = longest.max(lines);
        }
    }
    assert!(count > 0);
    let _ = writeln!(
        std::io::stderr(),
        "{count} unsafe blocks, the longest with {longest} lines"
    );
}

#[test]
fn the_lengths_of_unsafe_blocks_are_measured() {
    let source = "fn a() {\n    // SAFETY: fine\n    let b = unsafe { c() };\n}\nunsafe { d() }\n";
    assert_eq!(unsafe_parts(source), [(2, 1), (4, 1)]);
    assert!(is_explained(source, 2) && !is_explained(source, 4));
    let long = format!("unsafe {{\n{}}}", "x();\n".repeat(20));
    assert_eq!(unsafe_parts(&long), [(0, 22)]);
    let declared = "unsafe extern {}\n/// # Safety\npub unsafe fn a(\n) {\n}";
    assert_eq!(unsafe_parts(declared), [(0, 1), (2, 3)]);
}

#[test]
fn the_top_directory_contains_only_known_names() {
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name.starts_with('.') || TOP.contains(&name.as_str()),
            "`{name}` does not belong in the top directory"
        );
    }
}
