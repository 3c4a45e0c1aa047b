//! The tools themselves, where they are installed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::watched::{Watched, age, tree, watch, watch_as};

/// The debounce as users have it.
const DEFAULT: Duration = Duration::from_millis(20);

/// In CI it is a failure if it is not.
fn installed(tool: &str) -> bool {
    let found = Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let ci = std::env::var_os("CI").is_some();
    assert!(found.is_ok() || !ci, "`{tool}` is missing in CI");
    found.is_ok()
}

#[track_caller]
fn run(dir: &Path, argv: &[&str]) {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).current_dir(dir);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for name in ["GIT_AUTHOR", "GIT_COMMITTER"] {
        command.env(format!("{name}_NAME"), "a");
        command.env(format!("{name}_EMAIL"), "a@example.org");
    }
    let status = command.status().expect("it is installed");
    assert!(status.success(), "{argv:?}: {status}");
}

fn in_root(watched: &Watched, argv: &[&str]) {
    run(watched.root.path(), argv);
}

#[test]
fn hc02_the_real_vim() {
    if !installed("vim") {
        return;
    }
    let mut watched = watch(&[("main.rs", "one\n")]);
    for (option, text) in [
        ("set backupcopy=auto", "two"),
        ("set backupcopy=no backup", "three"),
        ("set backupcopy=yes", "four"),
        ("set nowritebackup", "five"),
    ] {
        let edit = format!("call setline(1, '{text}')");
        let arguments = ["vim", "-u", "NONE", "-i", "NONE", "-es", "-N"];
        let ending = ["-c", option, "-c", &edit, "-c", "wq", "main.rs"];
        in_root(&watched, &[&arguments[..], &ending[..]].concat());
        watched.one(&["main.rs"]);
    }
}

#[test]
fn hc02_the_real_sed() {
    let mut watched = watch(&[("main.rs", "one\n")]);
    in_root(&watched, &["sed", "-i", "s/one/two/", "main.rs"]);
    watched.one(&["main.rs"]);
    in_root(&watched, &["sed", "-i", "s/nothing/two/", "main.rs"]);
    watched.none();
}

#[test]
fn hc03_a_branch_switch_of_five_thousand_files() {
    if !installed("git") {
        return;
    }
    const FILES: usize = 5000;
    let root = tree(&[]);
    let write = |text: &str| {
        for number in 0..FILES {
            let name = format!("src/m{}/f{number}.rs", number % 100);
            super::watched::write(&root.path().join(name), text);
        }
    };
    let git = |argv: &[&str]| run(root.path(), &[&["git"], argv].concat());
    git(&["init", "-q", "-b", "main"]);
    for (branch, text) in [("one", "one"), ("two", "another")] {
        git(&["checkout", "-q", "-b", branch]);
        write(text);
        git(&["add", "."]);
        git(&["commit", "-q", "-m", branch]);
    }
    age(root.path());
    let mut watched = watch_as(root, |spec| spec.debounce = DEFAULT);
    in_root(&watched, &["git", "checkout", "-q", "one"]);
    assert_eq!(watched.changed().len(), FILES, "one batch of all");
    watched.none();
    in_root(&watched, &["git", "status"]);
    in_root(
        &watched,
        &["git", "commit", "-q", "--allow-empty", "-m", "x"],
    );
    watched.none();
}

#[test]
fn a_large_file_counts_when_its_writer_is_done() {
    use std::io::Write;
    let mut watched = watch_as(tree(&[("data", "old")]), |spec| spec.debounce = DEFAULT);
    let mut file = std::fs::File::create(watched.path("data")).expect("ours");
    file.write_all(b"half of ").expect("written");
    // What else changes is told meanwhile, and this is not among it.
    watched.none();
    file.write_all(b"it").expect("written");
    watched.none();
    drop(file);
    watched.one(&["data"]);
}
