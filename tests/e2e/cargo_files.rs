//! The files that cargo reads and writes, and which changes to them trigger a build or a restart.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::harness::project::run_to_success;
use crate::harness::{BUILD_TIMEOUT, Project, Run, Running};

const MANIFEST: &str = "[package]\nname = 'small'\nversion = '0.1.0'\nedition = '2024'\n";

/// A program that prints this word.
fn prints(word: &str) -> String {
    format!("fn main() {{ println!(\"{word}\"); loop {{ std::thread::park() }} }}\n")
}

pub(crate) fn package(files: &[(&str, &str)]) -> Project {
    let project = Project::new();
    write(&project, "Cargo.toml", MANIFEST);
    write(&project, "src/main.rs", &prints("one"));
    for (name, text) in files {
        write(&project, name, text);
    }
    project
}

pub(crate) fn write(project: &Project, name: &str, text: &str) {
    let path = project.work().join(name);
    let parent = path.parent().expect("a file has a parent");
    fs::create_dir_all(parent).expect("can create the parent directory");
    fs::write(path, text).expect("can write the file");
}

pub(crate) fn start(project: &Project, line: &str) -> Running {
    let run = Run::new(project).program(line.split_whitespace());
    run.spawn()
}

/// Waits until a program prints this line.
#[track_caller]
pub(crate) fn assert_prints(run: &mut Running, line: &str) {
    let prints = |event: &crate::harness::Event| event.is("output") && event.text("text") == line;
    run.expect_that(line, BUILD_TIMEOUT, prints);
}

#[track_caller]
fn assert_fails(run: &mut Running) {
    run.expect_that("the build to fail", BUILD_TIMEOUT, |event| {
        event.is("failed")
    });
    // Wait until the files that may fix the build are watched.
    run.wait_until_quiet(Duration::from_millis(500));
}

#[test]
fn a_target_directory_set_on_the_command_line_triggers_no_build() {
    // Cargo runs this script again after any change in the package.
    let script = "fn main() { println!(\"cargo::rustc-env=X=1\"); }\n";
    let project = package(&[("build.rs", script)]);
    let mut run = start(&project, "cargo run --target-dir out");
    assert_prints(&mut run, "one");
    run.wait_until_quiet(Duration::from_secs(2));
    run.assert_count("building", 1);
    write(&project, "src/main.rs", &prints("two"));
    assert_prints(&mut run, "two");
    run.wait_until_quiet(Duration::from_secs(2));
    run.assert_count("building", 2);
    run.quit();
}

#[test]
fn a_restart_starts_hotruns_last_build_even_if_another_build_replaced_the_executable() {
    let main =
        "fn main() { println!(\"{}\", cfg!(feature = \"fa\")); loop { std::thread::park() } }\n";
    let manifest = format!("{MANIFEST}[features]\nfa = []\n");
    let project = package(&[
        ("Cargo.toml", &manifest),
        ("src/main.rs", main),
        (".env", ""),
    ]);
    let mut run = start(&project, "cargo run --features fa");
    assert_prints(&mut run, "true");
    let mut other = Command::new("cargo");
    crate::harness::run::without_cargo(&mut other);
    let built = other
        .args(["build", "--quiet"])
        .current_dir(project.work())
        .status();
    assert!(built.expect("can run cargo").success());
    write(&project, ".env", "X=1\n");
    assert_prints(&mut run, "true");
    run.assert_count("building", 1);
    run.quit();
}

#[test]
fn an_edit_of_cargos_configuration_applies_to_the_build_that_it_triggers() {
    let main =
        "fn main() { println!(\"{:?}\", std::env::var(\"RUN\")); loop { std::thread::park() } }\n";
    let include = "include = ['more.toml']\n";
    let project = package(&[
        ("src/main.rs", main),
        (".cargo/config.toml", include),
        (".cargo/more.toml", ""),
    ]);
    let mut run = start(&project, "cargo run");
    assert_prints(&mut run, "Err(NotPresent)");
    for (value, expected) in [("1", "Ok(\"1\")"), ("2", "Ok(\"2\")")] {
        let runner = format!("[target.'cfg(unix)']\nrunner = 'env RUN={value}'\n");
        write(&project, ".cargo/more.toml", &runner);
        assert_prints(&mut run, expected);
    }
    write(&project, ".cargo/config.toml", "");
    assert_prints(&mut run, "Err(NotPresent)");
    run.assert_count("failed", 0);
    run.quit();
}

#[test]
fn the_hint_for_a_wrapped_cargo_run_leads_to_cargo_mode() {
    let main = prints("{}").replace("\"{}\"", "\"X is {}\", std::env::var(\"X\").unwrap()");
    let project = package(&[("src/main.rs", &main)]);
    let mut run = start(&project, "env X=1 cargo run");
    let hint = run.expect_that("a hint", BUILD_TIMEOUT, |event| {
        event.mentions("-- cargo run")
    });
    assert_prints(&mut run, "X is 1");
    run.quit();
    assert_eq!(hint.text("hint"), "use `X=1 hotrun -- cargo run`");
    let again = Run::new(&project).env("X", "1");
    let mut run = again.program(["cargo", "run"]).spawn();
    assert_prints(&mut run, "X is 1");
    write(&project, "src/main.rs", &main.replace("is", "was"));
    assert_prints(&mut run, "X was 1");
    run.assert_count("built", 2);
    run.quit();
}

#[test]
fn a_manifest_that_is_broken_at_the_start_triggers_a_build_when_it_is_fixed() {
    let project = package(&[("Cargo.toml", "[package\n")]);
    let mut run = start(&project, "cargo run");
    assert_fails(&mut run);
    write(&project, "Cargo.toml", MANIFEST);
    assert_prints(&mut run, "one");
    // The plan is no longer provisional, so changes to other files do not count.
    write(&project, "README.md", "");
    run.wait_until_quiet(Duration::from_millis(500));
    run.assert_count("building", 2);
    run.quit();
}

#[test]
fn a_broken_manifest_of_an_unused_member_triggers_a_build_when_it_is_fixed() {
    let workspace = format!("{MANIFEST}[workspace]\nmembers = ['crates/*']\n");
    let other = MANIFEST.replace("small", "other");
    let project = package(&[
        ("Cargo.toml", &workspace),
        ("crates/other/Cargo.toml", &other),
        ("crates/other/src/lib.rs", ""),
    ]);
    let mut run = start(&project, "cargo run");
    assert_prints(&mut run, "one");
    write(&project, "crates/other/Cargo.toml", "[package\n");
    write(&project, "src/main.rs", &prints("two"));
    assert_fails(&mut run);
    write(&project, "crates/other/Cargo.toml", &other);
    assert_prints(&mut run, "two");
    // A new member without sources breaks the build, too.
    write(
        &project,
        "crates/new/Cargo.toml",
        &MANIFEST.replace("small", "new"),
    );
    write(&project, "src/main.rs", &prints("three"));
    assert_fails(&mut run);
    write(&project, "crates/new/src/lib.rs", "");
    assert_prints(&mut run, "three");
    run.quit();
}

#[test]
fn a_file_outside_the_package_that_only_the_failed_build_names_triggers_a_build() {
    let main = prints("{}").replace("\"{}\"", "\"{}\", include_str!(\"../../dist/text\").trim()");
    let bin = format!("{MANIFEST}[[bin]]\nname = 'small'\npath = '../outside.rs'\n");
    let project = package(&[("Cargo.toml", &bin)]);
    let mut run = start(&project, "cargo run");
    assert_fails(&mut run);
    fs::write(
        project.beside("outside.rs"),
        "#[path = \"other.rs\"] mod other;",
    )
    .expect("can write the file");
    assert_fails(&mut run);
    fs::write(project.beside("other.rs"), "syntax error").expect("can write the file");
    assert_fails(&mut run);
    fs::write(project.beside("other.rs"), "").expect("can write the file");
    assert_fails(&mut run);
    fs::write(project.beside("outside.rs"), prints("outside")).expect("can write the file");
    assert_prints(&mut run, "outside");
    write(&project, "src/main.rs", &main);
    write(&project, "Cargo.toml", MANIFEST);
    assert_fails(&mut run);
    write(&project, "../dist/text", "found\n");
    assert_prints(&mut run, "found");
    run.quit();
}

#[test]
fn a_file_that_cargo_ignores_because_it_is_old_is_named_and_triggers_a_build_when_touched() {
    for options in [&[][..], &["--watch", "src"]] {
        assert_old_file_is_named(options);
    }
}

#[track_caller]
fn assert_old_file_is_named(options: &[&str]) {
    let project = package(&[]);
    let path = project.work().join("src/main.rs");
    let before = File::open(&path).and_then(|file| file.metadata()?.modified());
    let before = before.expect("can read the modification time") - Duration::from_secs(60);
    let run = Run::new(&project).args(options);
    let mut run = run.program(["cargo", "run"]).spawn();
    assert_prints(&mut run, "one");
    let old = project.beside("old.rs");
    fs::write(&old, prints("old")).expect("can write the file");
    let set = |path, time| {
        File::options()
            .append(true)
            .open(path)
            .and_then(|file| file.set_modified(time))
    };
    set(&old, before).expect("can set the modification time");
    fs::rename(&old, &path).expect("can move the file");
    let said = run.expect_that("a warning about the old file", BUILD_TIMEOUT, |event| {
        event.mentions("cargo ignored")
    });
    assert!(
        said.mentions("cargo ignored `src/main.rs`") && said.mentions("`touch src/main.rs`"),
        "{said}"
    );
    run.expect("unchanged");
    run.wait_until_quiet(Duration::from_millis(500));
    set(&path, SystemTime::now()).expect("can touch the file");
    assert_prints(&mut run, "old");
    run.quit();
}

#[test]
fn a_link_to_another_release_of_a_dependency_triggers_a_build() {
    let main = "fn main() {\n    println!(\"{}\", dep::N);\n    \
                loop { std::thread::park() }\n}\n";
    let manifest = format!("{MANIFEST}[dependencies]\ndep = {{ path = '../current/dep' }}\n");
    let project = package(&[("Cargo.toml", &manifest), ("src/main.rs", main)]);
    for name in ["rel1", "rel2"] {
        let dep = MANIFEST.replace("small", "dep");
        write(&project, &format!("../{name}/dep/Cargo.toml"), &dep);
        let source = format!("pub const N: &str = \"{name}\";\n");
        write(&project, &format!("../{name}/dep/src/lib.rs"), &source);
    }
    symlink("rel1", project.beside("current")).expect("can create the link");
    let mut run = start(&project, "cargo run");
    assert_prints(&mut run, "rel1");
    symlink("rel2", project.beside("next")).expect("can create the link");
    fs::rename(project.beside("next"), project.beside("current")).expect("can replace the link");
    // Both releases are older than the build, so cargo uses the old one.
    run.expect_that("a warning about the old file", BUILD_TIMEOUT, |event| {
        event.mentions("cargo ignored") && event.mentions("`touch ../current/dep/")
    });
    let touched = File::options()
        .append(true)
        .open(project.beside("current/dep/src/lib.rs"));
    let touched = touched.and_then(|file| file.set_modified(SystemTime::now()));
    touched.expect("can touch the file");
    assert_prints(&mut run, "rel2");
    run.quit();
}

#[test]
fn a_cargo_script_is_built_again_when_it_changes() {
    let project = Project::new();
    write(&project, "script.rs", &prints("one"));
    let line = "cargo -Zscript run --manifest-path script.rs";
    // A stable cargo accepts unstable options if this is set.
    let run = Run::new(&project).env("RUSTC_BOOTSTRAP", "1");
    let mut run = run.program(line.split_whitespace()).spawn();
    assert_prints(&mut run, "one");
    run.live();
    write(&project, "script.rs", &prints("two"));
    assert_prints(&mut run, "two");
    assert_eq!(run.live(), 2);
    run.assert_count("building", 2);
    run.quit();
}

#[test]
fn only_inputs_trigger_builds_even_with_a_base_directory_for_dep_info() {
    let config = "[build]\ndep-info-basedir = 'src'\n";
    let project = package(&[(".cargo/config.toml", config), ("Rocket.toml", "")]);
    let mut run = start(&project, "cargo run");
    assert_prints(&mut run, "one");
    run.live();
    for text in ["a = 1", "a = 2"] {
        write(&project, "Rocket.toml", text);
        run.wait_until_quiet(Duration::from_millis(500));
    }
    run.assert_count("building", 1);
    let says =
        "`Rocket.toml` was saved, but the build does not read it (`--on 'Rocket.toml=restart'`";
    let said = run.so_far().iter().filter(|event| event.mentions(says));
    assert_eq!(said.count(), 1);
    write(&project, "src/main.rs", &prints("two"));
    assert_prints(&mut run, "two");
    run.quit();
    let run = Run::new(&project).args(["--on", "Rocket.toml=restart"]);
    let mut run = run.program(["cargo", "run"]).spawn();
    run.live();
    write(&project, "Rocket.toml", "a = 3");
    assert_eq!(run.live(), 2);
    run.assert_count("building", 1);
    run.quit();
}

/// Compiles the package, and then removes one of its sources, but only the first time.
const WRAPPER: &str = "#!/bin/sh
\"$@\" || exit
case \"$*\" in *'--crate-name small '*) if mkdir ../once; then rm made.txt; fi;; esac
exit 0
";

#[test]
fn every_file_is_watched_if_cargo_names_an_input_that_does_not_exist() {
    let config = "[build]\ndep-info-basedir = '.'\nrustc-wrapper = './wrapper'\n";
    let main = prints("{}").replace("{}\"", "{}\", include_str!(\"../made.txt\")");
    let files = [
        (".cargo/config.toml", config),
        ("src/main.rs", &main),
        ("made.txt", "one"),
    ];
    let project = package(&files);
    // A shell writes the file, because `exec` fails while any process has it open for writing (`ETXTBSY`).
    let script = "printf %s \"$0\" > wrapper && chmod 755 wrapper";
    let mut shell = Command::new("sh");
    run_to_success(
        shell
            .args(["-c", script, WRAPPER])
            .current_dir(project.work()),
    );
    let mut run = start(&project, "cargo run");
    run.expect_that(
        "a warning about the missing input",
        BUILD_TIMEOUT,
        |event| event.mentions("`made.txt`, which does not exist, so every file is watched"),
    );
    write(&project, "made.txt", "two");
    assert_prints(&mut run, "two");
    run.quit();
}
