//! Rules that the compiler does not check: which module may import which, what the core must not use, how long a file
//! may be, and what the top directory may contain.

mod circles;
mod files;
mod functions;
mod imports;
mod words;

use std::fs;
use std::io::Write as _;
use std::sync::LazyLock;

use regex::Regex;

use files::{root, rust_files, without_comments};
use imports::{paths, uses};

/// The modules that each module may import. All other imports are forbidden.
const ALLOWED_IMPORTS: &[(&str, &[&str])] = &[
    ("lib", &["driver", "config", "doctor", "error", "os", "ui"]),
    ("doctor", &["os"]),
    (
        "driver",
        &[
            "artifact",
            "build",
            "config",
            "drain",
            "error",
            "intercept",
            "os",
            "process",
            "ready",
            "reload",
            "socket",
            "source",
            "ui",
            "unclaimed",
            "watch",
        ],
    ),
    ("artifact", &["build", "reload", "os"]),
    ("ui", &["reload", "os"]),
    ("watch", &["error", "reload", "os"]),
    ("build", &["error", "reload", "os"]),
    ("drain", &["socket", "reload", "os"]),
    ("intercept", &["socket", "reload", "os"]),
    ("socket", &["unclaimed", "reload", "os"]),
    ("source", &[]),
    ("unclaimed", &[]),
    ("process", &["reload", "os"]),
    ("ready", &["os", "socket", "value"]),
    (
        "config",
        &[
            "cli", "error", "build", "socket", "source", "ready", "watch", "process", "reload",
            "ui",
        ],
    ),
    (
        "cli",
        &[
            "error", "guide", "ready", "reload", "source", "value", "watch",
        ],
    ),
    ("guide", &[]),
    ("value", &[]),
    ("error", &[]),
    ("reload", &[]),
    ("os", &[]),
];

/// What the core (`reload`) must not use: the clock, the runtime and the system.
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

/// Where an `unsafe` block, function, implementation or extern block begins.
static UNSAFE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bunsafe\b *(\{|fn|impl|extern)").unwrap());

/// The modules that a source names with `crate::…`.
fn imports(source: &str) -> Vec<String> {
    let code = without_comments(source);
    let declared = [uses(&code, false), uses(&code, true)].concat();
    let all = declared.into_iter().map(|(_, path)| path);
    let inside = all
        .chain(paths(&code))
        .filter(|path| path[0] == "crate" && path.len() > 1);
    inside.map(|mut path| path.swap_remove(1)).collect()
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
    for source in rust_files("src") {
        let module = source.module();
        if module == "main" || module == "fuzz" {
            continue;
        }
        let names = forbidden(&module, &source.text).into_iter();
        wrong.extend(names.map(|name| format!("{} imports `{name}`", source.name())));
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
fn main_uses_none_of_the_librarys_modules() {
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    let main = without_comments(&main);
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
fn only_os_reads_the_test_hooks() {
    for source in rust_files("src") {
        let (name, code) = (source.name(), without_comments(&source.text));
        let reads = code.contains("HOTRUN_TEST") || code.contains("test-hooks");
        assert!(
            !reads || name == "src/os/mod.rs",
            "{name} bypasses `os::test_hook`"
        );
    }
}

#[test]
fn the_core_uses_no_clock_runtime_or_system() {
    for source in rust_files("src/reload") {
        if source.is_test() {
            continue;
        }
        let code = without_comments(&source.text);
        for word in NOT_IN_RELOAD {
            let used = Regex::new(&format!(r"\b{}\b", regex::escape(word))).unwrap();
            assert!(!used.is_match(&code), "{} uses `{word}`", source.name());
        }
    }
}

#[test]
fn only_os_has_unsafe_code() {
    for source in rust_files("src") {
        let found = UNSAFE.is_match(&without_comments(&source.text));
        assert!(
            !found || source.module() == "os",
            "{} has unsafe code",
            source.name()
        );
    }
}

/// The `unsafe` blocks, functions, implementations and extern blocks in a source: the line on which each one begins,
/// and how many lines it has.
fn unsafe_parts(source: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = source.lines().collect();
    let part = |(at, line): (usize, &&str)| {
        let code = line.split("//").next().unwrap_or_default();
        let from = UNSAFE.find(code)?.start();
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
    for source in rust_files("src/os") {
        for (at, lines) in unsafe_parts(&source.text) {
            let place = format!("{}:{}", source.name(), at + 1);
            assert!(lines <= MAX_LINES, "{place}: {lines} lines of unsafe code");
            assert!(
                is_explained(&source.text, at),
                "{place}: no `SAFETY:` comment"
            );
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
