//! In cargo mode, only changes to the program's inputs trigger builds.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::{BUILD_TIMEOUT, Project, Run, Running};

/// A workspace in which `app` uses `used` and a file next to the workspace, but not `unused`.
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
            fs::create_dir_all(path.parent().expect("a file has a parent"))
                .expect("can create the parent directory");
            fs::write(path, text).expect("can write the file");
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
        fs::write(project.beside("text"), "text").expect("can write the file");
        let mut run = Run::new(&project)
            .args(["-C", "app"])
            .program(["cargo", "run", "--offline", "--quiet"])
            .spawn();
        run.expect_that("a generation to go live", BUILD_TIMEOUT, |event| {
            event.is("live")
        });
        Self {
            project,
            run,
            builds: 1,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.project.work().join(name)
    }

    /// Appends a blank line to each of these files, which does not change what is compiled. Creates missing files.
    fn append(&self, names: &[&str]) {
        for name in names {
            let path = self.path(name);
            let text = fs::read_to_string(&path).unwrap_or_default();
            fs::create_dir_all(path.parent().expect("a file has a parent"))
                .expect("can create the parent directory");
            fs::write(path, text + "\n").expect("can write the file");
        }
    }

    /// Checks that exactly one build follows, triggered by this file.
    #[track_caller]
    fn assert_builds_for(&mut self, name: &str) {
        let changed = self.run.expect("changed");
        assert!(changed.mentions(name), "{changed} does not mention {name}");
        let over = |event: &crate::harness::Event| {
            event.is("built") || event.is("failed") || event.is("unchanged")
        };
        self.run
            .expect_that("the build to end", BUILD_TIMEOUT, over);
        self.builds += 1;
        self.run.wait_until_quiet(Duration::from_millis(300));
        assert_eq!(self.run.count("building"), self.builds, "builds for {name}");
    }

    #[track_caller]
    fn assert_no_build(&mut self) {
        self.run.wait_until_quiet(Duration::from_millis(500));
        assert_eq!(self.run.count("building"), self.builds);
    }
}

#[test]
fn hc09_only_the_inputs_trigger_builds() {
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
    workspace.assert_no_build();
    for (from, to) in [
        ("app/README.md", "app/READ.md"),
        ("used/README.md", "used/src/README.md"),
    ] {
        fs::rename(workspace.path(from), workspace.path(to)).expect("can rename the file");
    }
    for name in ["app/READ.md", "app/src/unrelated.rs"] {
        fs::remove_file(workspace.path(name)).expect("can remove the file");
    }
    fs::remove_dir_all(workspace.path("app/tests")).expect("can remove the directory");
    workspace.assert_no_build();
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
        workspace.assert_builds_for(name.trim_start_matches("../"));
    }
    // Removing the files one by one could take longer than the pause after which a build starts.
    fs::rename(workspace.path("app/data"), workspace.path("../data"))
        .expect("can move the directory");
    workspace.assert_builds_for("app/data");
    workspace.run.quit();
}

#[test]
fn hc09_a_new_path_dependency_is_watched() {
    let mut workspace = Workspace::start();
    workspace.append(&["later/src/lib.rs"]);
    workspace.assert_no_build();
    let both = "[dependencies]\nused = { path = '../used' }\nlater = { path = '../later' }\n";
    fs::write(workspace.path("app/Cargo.toml"), package("app", both)).expect("can write the file");
    workspace.assert_builds_for("app/Cargo.toml");
    let main = MAIN.replace("used::word()", "later::word()");
    fs::write(workspace.path("app/src/main.rs"), main).expect("can write the file");
    workspace.assert_builds_for("app/src/main.rs");
    workspace.append(&["later/src/lib.rs"]);
    workspace.assert_builds_for("later/src/lib.rs");
    workspace.run.quit();
}

#[test]
fn hc13_a_missing_input_outside_the_package_triggers_a_build_when_it_reappears() {
    let mut workspace = Workspace::start();
    let text = workspace.path("../text");
    let before = fs::read(&text).expect("can read `text`");
    fs::remove_file(&text).expect("can remove the file");
    workspace.assert_builds_for("text");
    // Wait until the failed build's inputs are watched.
    workspace.assert_no_build();
    assert_eq!(workspace.run.count("failed"), 1);
    fs::write(&text, before).expect("can write the file");
    workspace.assert_builds_for("text");
    workspace.run.quit();
}

#[test]
fn hc13_new_files_trigger_builds_after_a_failed_build() {
    let mut workspace = Workspace::start();
    let main = format!("mod new;\n{MAIN}");
    fs::write(workspace.path("app/src/main.rs"), main).expect("can write the file");
    workspace.assert_builds_for("app/src/main.rs");
    workspace.append(&["app/src/new.rs"]);
    workspace.assert_builds_for("app/src/new.rs");
    assert_eq!(workspace.run.count("failed"), 1);
    workspace.append(&["app/src/new.rs"]);
    workspace.assert_builds_for("app/src/new.rs");
    workspace.append(&["app/README.md"]);
    workspace.assert_no_build();
    workspace.run.quit();
}

#[test]
fn hc07_an_unchanged_executable_is_not_restarted() {
    let mut workspace = Workspace::start();
    // A line added at the end moves no other line, so the debug information stays the same.
    workspace.append(&["app/src/main.rs"]);
    workspace.assert_builds_for("app/src/main.rs");
    assert_eq!(workspace.run.count("unchanged"), 1);
    assert_eq!(workspace.run.count("starting"), 1);
    workspace.run.signal(nix::sys::signal::Signal::SIGUSR1);
    assert_eq!(
        workspace.run.live(),
        3,
        "a requested reload restarts the program"
    );
    let other = MAIN.replace("used::word()", "\"other\"");
    fs::write(workspace.path("app/src/main.rs"), other).expect("can write the file");
    assert_eq!(workspace.run.live(), 4);
    workspace.run.quit();
}
