//! Tests which paths count.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::watch::{ChangeRule, InputSet};

fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn spec(root: &TempDir) -> WatchSpec {
    WatchSpec {
        roots: vec![root.path().to_owned()],
        base: root.path().to_owned(),
        ..WatchSpec::default()
    }
}

#[track_caller]
fn check(root: &TempDir, spec: &WatchSpec, counts: &[&str], ignored: &[&str]) {
    let mut filter = Filter::new(spec).unwrap();
    for name in counts {
        assert!(filter.counts(&root.path().join(name)), "{name} must count");
    }
    for name in ignored {
        let passes = filter.counts(&root.path().join(name));
        assert!(!passes, "{name} must be ignored");
    }
}

#[test]
fn an_ignore_file_applies_to_its_own_directory() {
    let root = tree(&[
        (".gitignore", "*.log\n/out/\n"),
        ("a/.gitignore", "!keep.log\nlocal\n"),
        (".ignore", "secret\n"),
        ("a/b/x", ""),
    ]);
    let counts = [
        "src/main.rs",
        "a/keep.log",
        "b/local",
        ".env",
        "a/b/new/deep",
        "b/out/x",
    ];
    let ignored = [
        "x.log",
        "a/x.log",
        "out/x",
        "out/a/b",
        "a/local",
        "a/b/local",
        "secret",
        "a/secret",
    ];
    check(&root, &spec(&root), &counts, &ignored);
    let all = WatchSpec {
        no_vcs_ignore: true,
        ..spec(&root)
    };
    check(&root, &all, &ignored, &[]);
}

#[test]
fn a_repositorys_ignore_files_apply_in_its_subdirectories() {
    let root = tree(&[
        (".git/info/exclude", "mine\n"),
        (".gitignore", "*.log\n"),
        ("sub/x", ""),
    ]);
    let sub = WatchSpec {
        roots: vec![root.path().join("sub")],
        ..spec(&root)
    };
    check(&root, &sub, &["sub/a"], &["sub/x.log", "other"]);
    check(&root, &spec(&root), &["sub/a"], &["mine"]);
}

#[test]
fn an_ignore_file_above_the_root_does_not_apply_outside_a_repository() {
    let root = tree(&[(".gitignore", "*\n"), ("project/x", "")]);
    let sub = WatchSpec {
        roots: vec![root.path().join("project")],
        ..spec(&root)
    };
    check(&root, &sub, &["project/x"], &[]);
}

#[test]
fn a_repository_that_ignores_everything_does_not_hide_a_root_in_it() {
    for ignored in ["*", "/project", "*\n!*/\n!.bashrc"] {
        let root = tree(&[
            (".gitignore", ignored),
            ("project/app/.gitignore", "*.log\n"),
        ]);
        fs::create_dir(root.path().join(".git")).unwrap();
        let sub = WatchSpec {
            roots: vec![root.path().join("project/app")],
            ..spec(&root)
        };
        check(
            &root,
            &sub,
            &["project/app/x", "project/app/a/x"],
            &["project/app/x.log"],
        );
    }
}

#[test]
fn version_control_and_target_directories_never_count() {
    let root = tree(&[("Cargo.toml", ""), ("plain/target/x", "")]);
    let none = WatchSpec {
        no_vcs_ignore: true,
        ..spec(&root)
    };
    check(
        &root,
        &none,
        &["plain/target/x", ".github/x", "src/target"],
        &[
            "target/x",
            "target",
            "a/__pycache__/x",
            ".git/x",
            "a/.git",
            ".jj/a/b",
        ],
    );
    let mut filter = Filter::new(&none).unwrap();
    assert!(!filter.covers(&root.path().join("target")));
    assert!(!filter.covers(&root.path().join(".git")));
    assert!(filter.covers(&root.path().join("plain/target")));
}

#[test]
fn ignore_patterns_and_extensions_restrict_which_files_count() {
    let root = tree(&[(".gitignore", "!a.gen.rs\n")]);
    let narrow = WatchSpec {
        ignores: vec!["*.gen.rs".to_owned(), "/docs/".to_owned()],
        exts: vec!["rs".to_owned(), ".toml".to_owned()],
        ..spec(&root)
    };
    check(
        &root,
        &narrow,
        &["a.rs", "Cargo.toml", "sub/docs/x.rs"],
        &["a.gen.rs", "docs/x.rs", "x.html", "rs"],
    );
    let bad = WatchSpec {
        ignores: vec!["a{".to_owned()],
        ..spec(&root)
    };
    let error = Filter::new(&bad).unwrap_err();
    assert!(error.message().contains("`a{`"), "{error}");
}

#[test]
fn a_root_counts_even_if_an_ignore_file_names_it() {
    let root = tree(&[
        (".gitignore", "build\n.env\n"),
        ("build/x", ""),
        (".env", ""),
    ]);
    let named = WatchSpec {
        roots: vec![root.path().join("build"), root.path().join(".env")],
        exts: vec!["rs".to_owned()],
        ..spec(&root)
    };
    check(
        &root,
        &named,
        &["build/x.rs", ".env"],
        &["main.rs", "build/x"],
    );
    let inside = WatchSpec {
        ignored_dirs: vec![root.path().join("build")],
        ..named
    };
    check(&root, &inside, &["build/x.rs"], &[]);
}

#[test]
fn everything_in_an_ignored_directory_is_ignored() {
    let root = tree(&[]);
    let narrow = WatchSpec {
        ignored_dirs: vec![root.path().join("out")],
        ..spec(&root)
    };
    check(&root, &narrow, &["outer/x"], &["out", "out/x", "out/a/b"]);
}

#[test]
fn an_input_with_any_extension_can_still_be_ignored() {
    let root = tree(&[]);
    let paths = |names: &[&str]| names.iter().map(|name| root.path().join(name)).collect();
    let inputs = InputSet {
        files: paths(&["main.rs", "page.html", "Cargo.toml", "Cargo.lock"]),
        any_extension: paths(&["Cargo.toml", "Cargo.lock"]),
        ..InputSet::default()
    };
    let narrow = WatchSpec {
        exts: vec!["rs".to_owned()],
        ignores: vec!["Cargo.lock".to_owned()],
        inputs: Some(inputs),
        ..spec(&root)
    };
    let ignored = ["page.html", "Cargo.lock", "other.rs"];
    check(&root, &narrow, &["main.rs", "Cargo.toml"], &ignored);
}

#[test]
fn an_ignored_directory_is_watched_only_for_a_rule_that_names_it() {
    let root = tree(&[
        (".gitignore", "node_modules\ndata\n"),
        ("node_modules/a/x.css", ""),
        ("data/deep/x.css", ""),
        ("src/x.css", ""),
    ]);
    let rule = |glob| ChangeRule::new(root.path(), glob, RuleAction::Restart).unwrap();
    let ruled = |rules| WatchSpec {
        rules,
        ..spec(&root)
    };
    let dir = |spec: &WatchSpec, name| Filter::new(spec).unwrap().covers(&root.path().join(name));
    let named = ruled(vec![rule("data/**/*.css")]);
    assert!(dir(&named, "data/deep") && !dir(&named, "node_modules/a"));
    for glob in ["**/*.css", "./**/*.css", "*/*.css"] {
        let anywhere = ruled(vec![rule(glob)]);
        check(&root, &anywhere, &["src/x.css"], &[]);
        assert!(!dir(&anywhere, "node_modules"), "{glob}");
    }
}

#[test]
fn ignore_files_above_a_root_are_watched_up_to_the_repositorys_root() {
    let root = tree(&[("repo/.git/HEAD", ""), ("repo/a/b/x", "")]);
    let sub = WatchSpec {
        roots: vec![root.path().join("repo/a/b")],
        ..spec(&root)
    };
    let all = |spec: &WatchSpec| {
        let filter = Filter::new(spec).unwrap();
        filter.files().cloned().collect::<Vec<_>>()
    };
    let names = ["a/.gitignore", "a/.ignore", ".gitignore", ".ignore"];
    let mut expected = names.map(|name| root.path().join("repo").join(name));
    expected.sort();
    assert_eq!(all(&sub), expected);
    let whole = WatchSpec {
        roots: vec![root.path().join("repo")],
        ..spec(&root)
    };
    assert!(all(&whole).is_empty());
    let not = WatchSpec {
        no_vcs_ignore: true,
        ..sub
    };
    assert!(all(&not).is_empty());
}

#[test]
fn temporary_files_are_recognized_by_name() {
    for name in [
        "4913",
        "5036",
        ".main.rs.swp",
        ".main.rs.swo",
        ".main.rs.svz",
        ".main.rs.swpx",
        "main.rs~",
        ".#main.rs",
        "#main.rs#",
        "main.rs___jb_tmp___",
        "main.rs___jb_old___",
        ".goutputstream-AB12",
        ".main.rs.kate-swp",
        "hs_err_pid4711.log",
        "replay_pid4711.log",
        "npm-debug.log",
        "npm-debug.log.1234",
        "rustc-ice-2026-11-29T18_00_00-4711.txt",
        "tsconfig.tsbuildinfo",
        "core",
        "core.4711",
    ] {
        assert!(is_temporary(&Path::new("/w").join(name)), "{name}");
    }
    for name in [
        "main.rs",
        "4914",
        "main.swp",
        ".env",
        "#",
        "#x",
        "x#",
        ".gitignore",
        ".rs",
        "logo.svg",
        ".a.rs",
        "~x",
        "core.rs",
        "cores",
    ] {
        assert!(!is_temporary(Path::new(name)), "{name}");
    }
    let odd: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff~");
    assert!(is_temporary(Path::new(odd)));
}
