//! Tests the checks before the first build, and the default set of watched files.

use std::ffi::OsString;
use std::fs;

use hotrun::build::{Plan, PlanOptions};
use tempfile::TempDir;

use super::package::{Package, build};

const CAN_READ: &str = "can read the manifest";

#[test]
fn hc17_several_binaries_are_listed() {
    let package = Package::new();
    package.write("src/bin/other.rs", "fn main() {}\n");
    let error = package.plan("cargo run");
    let error = error.expect_err("two binaries must be refused");
    assert!(error.message().starts_with("2 binaries"), "{error}");
    let hint = error.first_hint().expect("the error must have a hint");
    assert!(
        hint.contains("`other`") && hint.contains("`small`") && hint.contains("--bin"),
        "{hint}"
    );
    let plan = package.plan("cargo run --bin other");
    plan.expect("`--bin` must select the binary");
    let error = package.plan("cargo run --bin x");
    let error = error.expect_err("an unknown binary must be refused");
    assert_eq!(error.message(), "no binary named `x`");
    let manifest = fs::read_to_string(package.path("Cargo.toml")).expect(CAN_READ);
    package.write(
        "Cargo.toml",
        &manifest.replace("edition", "default-run = \"other\"\nedition"),
    );
    let plan = package.plan("cargo run");
    plan.expect("`default-run` must select the binary");
}

#[test]
fn a_broken_manifest_or_configuration_makes_the_plan_provisional() {
    for (name, broken) in [
        ("Cargo.toml", "[package\n"),
        (".cargo/config.toml", "include = [\"gone.toml\"]\n"),
        (".cargo/config.toml", "x =\n"),
    ] {
        let package = Package::new();
        package.write(name, broken);
        let plan = package.plan("cargo run").expect("can plan the build");
        assert!(plan.is_provisional(), "{broken}");
        let roots = plan.watch_roots().expect("can find the watch roots");
        let root = package.path("");
        assert_eq!(roots.dirs, [root.components().as_path()], "{broken}");
        let ran = build(&plan);
        assert!(!ran.success && ran.stderr.contains(name), "{}", ran.stderr);
    }
}

#[test]
fn hc17_the_error_explains_a_missing_manifest() {
    let empty = TempDir::new().expect("can create a temporary directory");
    let command = [OsString::from("cargo"), "run".into()];
    let options = PlanOptions {
        command: &command,
        build: None,
        workdir: empty.path(),
        color: false,
        progress: false,
    };
    let error = Plan::new(&options);
    let error = error.expect_err("a missing manifest must be refused");
    assert!(
        error.message().contains("could not find `Cargo.toml`"),
        "{error}"
    );
}

#[test]
fn a_package_without_a_binary_is_refused() {
    let package = Package::new();
    fs::remove_file(package.path("src/main.rs")).expect("can remove `src/main.rs`");
    package.write("src/lib.rs", "");
    let error = package.plan("cargo run");
    let error = error.expect_err("a package without a binary must be refused");
    assert_eq!(error.message(), "no binary in `small`");
    let hint = error.first_hint().expect("the error must have a hint");
    assert!(
        hint.contains("`src/main.rs`") && hint.contains("`--example`"),
        "{hint}"
    );
    package.write("examples/shown.rs", "fn main() {}\n");
    let plan = package.plan("cargo run --example shown");
    plan.expect("`--example` must select the example");
    package.write("src/main.rs", "fn main() {}\n");
    let plan = package.plan("cargo run");
    plan.expect("the package has a binary again");
}

/// Creates a workspace with a server that depends on the member `used` and on the package `../outside`, and with
/// further members.
fn workspace() -> Package {
    let package = Package::new();
    let member = |name: &str, rest: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{rest}")
    };
    package.write("ws/Cargo.toml", "[workspace]\nmembers = [\"server\", \"used\", \"unused\", \"tests-only\"]\nresolver = \"2\"\n");
    let dependencies = "[dependencies]\nused = { path = \"../used\" }\noutside = { path = \"../../outside\" }\n[dev-dependencies]\ntests-only = { path = \"../tests-only\" }\n";
    package.write("ws/server/Cargo.toml", &member("server", dependencies));
    package.write("ws/server/src/main.rs", "fn main() {}\n");
    for name in ["used", "unused", "tests-only"] {
        package.write(&format!("ws/{name}/Cargo.toml"), &member(name, ""));
        package.write(&format!("ws/{name}/src/lib.rs"), "");
    }
    package.write(
        "outside/Cargo.toml",
        &member(
            "outside",
            "[dependencies]\ndeep = { path = \"deep\" }\n[workspace]\n",
        ),
    );
    package.write("outside/src/lib.rs", "");
    package.write("outside/deep/Cargo.toml", &member("deep", ""));
    package.write("outside/deep/src/lib.rs", "");
    package
}

#[test]
fn hc09_unused_members_are_watched_only_if_the_graph_cannot_be_resolved() {
    let package = workspace();
    // Cargo can resolve the graph offline unless there is a registry dependency.
    for broken_resolution in [false, true] {
        if broken_resolution {
            let manifest =
                fs::read_to_string(package.path("ws/unused/Cargo.toml")).expect(CAN_READ);
            package.write(
                "ws/unused/Cargo.toml",
                &format!("{manifest}\n[dependencies]\nno-such-crate-at-all = \"1\"\n"),
            );
        }
        let plan = package
            .plan("cargo run --manifest-path ws/Cargo.toml -p server")
            .expect("can plan the build");
        let roots = plan.watch_roots().expect("can find the watch roots");
        let mut dirs = roots.dirs.clone();
        dirs.sort();
        let (used, unused) = match broken_resolution {
            false => (
                vec!["outside", "outside/deep", "ws/server", "ws/used"],
                vec!["ws/target", "ws/tests-only", "ws/unused"],
            ),
            true => (
                vec![
                    "outside",
                    "ws/server",
                    "ws/tests-only",
                    "ws/unused",
                    "ws/used",
                ],
                vec!["ws/target"],
            ),
        };
        let paths = |names: Vec<&str>| {
            names
                .into_iter()
                .map(|name| package.path(name))
                .collect::<Vec<_>>()
        };
        assert_eq!(dirs, paths(used), "broken resolution: {broken_resolution}");
        assert_eq!(
            roots.ignored,
            paths(unused),
            "broken resolution: {broken_resolution}"
        );
        for name in [
            "ws/Cargo.toml",
            "ws/Cargo.lock",
            ".cargo/config.toml",
            "rust-toolchain.toml",
        ] {
            assert!(
                roots.files.contains(&package.path(name)),
                "{name}: {roots:?}"
            );
        }
    }
}

#[test]
fn a_target_directory_set_on_the_command_line_is_not_watched() {
    let package = Package::new();
    let ignored = |line: &str| {
        let plan = package.plan(line).expect("can plan the build");
        plan.watch_roots()
            .expect("can find the watch roots")
            .ignored
    };
    for line in [
        "cargo run --target-dir out",
        "cargo run --config build.target-dir='other' --target-dir=out",
        "cargo run --config build.target-dir='out'",
    ] {
        assert_eq!(ignored(line), [package.path("out")], "{line}");
    }
}

#[test]
fn the_error_for_an_unknown_package_lists_the_known_ones() {
    let package = workspace();
    let line = "cargo run --manifest-path ws/Cargo.toml -p servre";
    let error = package.plan(line);
    let error = error.expect_err("an unknown package must be refused");
    assert_eq!(error.message(), "no package `servre` in the workspace");
    let hint = error.first_hint().expect("the error must have a hint");
    assert!(hint.contains("`server`"), "{hint}");
}
