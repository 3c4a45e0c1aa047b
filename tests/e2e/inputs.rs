//! Cargo mode: only changes to the inputs of a program cause builds.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::{BUILD_PATIENCE, Project, Run, Running};

/// A workspace: `app` uses `used` and a file beside the workspace, but not `unused`.
struct Workspace {
    project: Project,
    run: Running,
    builds: usize,
}

const MANIFEST: &str =
    "[workspace]\nmembers = ['app', 'used', 'unused', 'later']\nresolver = '3'\n";
const MAIN: &str = "fn main() {
    println!(\"{} {}\", include_str!(\"../../../text\"), used::word());
    loop { std::thread::park() }
}
";

fn package(name: &str, rest: &str) -> String {
    format!("[package]\nname = '{name}'\nversion = '0.1.0'\nedition = '2024'\n{rest}")
}

fn library(word: &str) -> String {
    format!("pub fn word() -> &'static str {{ \"{word}\" }}\n")
}

impl Workspace {
    fn start() -> Self {
        let project = Project::new();
        let write = |name: &str, text: &str| {
            let path = project.work().join(name);
            fs::create_dir_all(path.parent().expect("a file")).expect("a file of this test");
            fs::write(path, text).expect("a file of this test");
        };
        write("Cargo.toml", MANIFEST);
        let used = "[dependencies]\nused = { path = '../used' }\n";
        write("app/Cargo.toml", &package("app", used));
        write("app/src/main.rs", MAIN);
        write("app/README.md", "read me\n");
        write("app/tests/test.rs", "#[test] fn fine() {}\n");
        write(
            "app/build.rs",
            "fn main() { println!(\"cargo::rerun-if-changed=data\"); }\n",
        );
        write("app/data/deep/x", "one\n");
        for name in ["used", "unused", "later"] {
            write(&format!("{name}/Cargo.toml"), &package(name, ""));
            write(&format!("{name}/src/lib.rs"), &library(name));
        }
        fs::write(project.beside("text"), "text").expect("a file of this test");
        let mut run = Run::new(&project)
            .args(["-C", "app"])
            .program(["cargo", "run", "--offline", "--quiet"])
            .spawn();
        run.expect_that("live", BUILD_PATIENCE, |event| event.is("live"));
        Self {
            project,
            run,
            builds: 1,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.project.work().join(name)
    }

    /// Appends to files without changing what is compiled.
    fn append(&self, names: &[&str]) {
        for name in names {
            let path = self.path(name);
            let text = fs::read_to_string(&path).unwrap_or_default();
            fs::create_dir_all(path.parent().expect("a file")).expect("a file of this test");
            fs::write(path, text + "\n").expect("a file of this test");
        }
    }

    /// Exactly one build follows, caused by this file.
    #[track_caller]
    fn builds_for(&mut self, name: &str) {
        let changed = self.run.expect("changed");
        assert!(changed.mentions(name), "{changed} is not about {name}");
        let over = |event: &crate::harness::Event| {
            event.is("built") || event.is("failed") || event.is("unchanged")
        };
        self.run
            .expect_that("the end of the build", BUILD_PATIENCE, over);
        self.builds += 1;
        self.run.wait_until_quiet(Duration::from_millis(300));
        assert_eq!(self.run.count("building"), self.builds, "builds for {name}");
    }

    #[track_caller]
    fn does_not_build(&mut self) {
        self.run.wait_until_quiet(Duration::from_millis(500));
        assert_eq!(self.run.count("building"), self.builds);
    }
}

#[test]
fn hc09_exactly_the_inputs_cause_builds() {
    let mut workspace = Workspace::start();
    workspace.append(&[
        "app/README.md",
        "app/tests/test.rs",
        "app/src/unrelated.rs",
        "unused/src/lib.rs",
        "unused/Cargo.toml",
        "used/README.md",
        "used/examples/new.rs",
    ]);
    workspace.does_not_build();
    for (from, to) in [
        ("app/README.md", "app/READ.md"),
        ("used/README.md", "used/src/README.md"),
    ] {
        fs::rename(workspace.path(from), workspace.path(to)).expect("a file of this test");
    }
    for name in ["app/READ.md", "app/src/unrelated.rs"] {
        fs::remove_file(workspace.path(name)).expect("a file of this test");
    }
    fs::remove_dir_all(workspace.path("app/tests")).expect("a file of this test");
    workspace.does_not_build();
    for name in [
        "app/src/main.rs",
        "app/data/deep/x",
        "app/data/new/y",
        "used/src/lib.rs",
        "../text",
        "app/build.rs",
        "used/Cargo.toml",
        ".cargo/config.toml",
        "Cargo.toml",
    ] {
        workspace.append(&[name]);
        workspace.builds_for(name.trim_start_matches("../"));
    }
    fs::remove_dir_all(workspace.path("app/data")).expect("a file of this test");
    workspace.builds_for("app/data");
    workspace.run.quit();
}

#[test]
fn hc09_a_new_path_dependency_is_watched() {
    let mut workspace = Workspace::start();
    workspace.append(&["later/src/lib.rs"]);
    workspace.does_not_build();
    let both = "[dependencies]\nused = { path = '../used' }\nlater = { path = '../later' }\n";
    fs::write(workspace.path("app/Cargo.toml"), package("app", both)).expect("a file of this test");
    workspace.builds_for("app/Cargo.toml");
    let main = MAIN.replace("used::word()", "later::word()");
    fs::write(workspace.path("app/src/main.rs"), main).expect("a file of this test");
    workspace.builds_for("app/src/main.rs");
    workspace.append(&["later/src/lib.rs"]);
    workspace.builds_for("later/src/lib.rs");
    workspace.run.quit();
}

#[test]
fn hc13_a_missing_input_outside_of_the_package_is_seen_when_it_is_back() {
    let mut workspace = Workspace::start();
    let text = workspace.path("../text");
    let before = fs::read(&text).expect("it is there");
    fs::remove_file(&text).expect("a file of this test");
    workspace.builds_for("text");
    // Not before the watch has learnt from the failed build.
    workspace.does_not_build();
    assert_eq!(workspace.run.count("failed"), 1);
    fs::write(&text, before).expect("a file of this test");
    workspace.builds_for("text");
    workspace.run.quit();
}

#[test]
fn hc13_after_a_broken_build_new_files_cause_builds() {
    let mut workspace = Workspace::start();
    let main = format!("mod new;\n{MAIN}");
    fs::write(workspace.path("app/src/main.rs"), main).expect("a file of this test");
    workspace.builds_for("app/src/main.rs");
    workspace.append(&["app/src/new.rs"]);
    workspace.builds_for("app/src/new.rs");
    assert_eq!(workspace.run.count("failed"), 1);
    workspace.append(&["app/src/new.rs"]);
    workspace.builds_for("app/src/new.rs");
    workspace.append(&["app/README.md"]);
    workspace.does_not_build();
    workspace.run.quit();
}

#[test]
fn hc07_an_unchanged_executable_is_not_restarted() {
    let mut workspace = Workspace::start();
    // A comment at the end moves no line, so the debug information stays the same.
    workspace.append(&["app/src/main.rs"]);
    workspace.builds_for("app/src/main.rs");
    assert_eq!(workspace.run.count("unchanged"), 1);
    assert_eq!(workspace.run.count("starting"), 1);
    workspace.run.signal(nix::sys::signal::Signal::SIGUSR1);
    assert_eq!(workspace.run.live(), 3, "what is asked for is done");
    let other = MAIN.replace("used::word()", "\"other\"");
    fs::write(workspace.path("app/src/main.rs"), other).expect("a file of this test");
    assert_eq!(workspace.run.live(), 4);
    workspace.run.quit();
}
