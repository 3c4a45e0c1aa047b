//! Checks before the first build, and what is watched by default.

use std::ffi::OsString;
use std::fs;

use hotrun::build::{Plan, PlanOptions};
use tempfile::TempDir;

use super::package::Package;

#[test]
fn hc17_several_binaries_are_listed() {
    let package = Package::new();
    package.write("src/bin/other.rs", "fn main() {}\n");
    let error = package.plan("cargo run").expect_err("two");
    assert!(error.message().starts_with("2 binaries"), "{error}");
    let hint = error.first_hint().expect("a hint");
    assert!(
        hint.contains("`other`") && hint.contains("`small`") && hint.contains("--bin"),
        "{hint}"
    );
    package.plan("cargo run --bin other").expect("a choice");
    let error = package.plan("cargo run --bin x").expect_err("unknown");
    assert_eq!(error.message(), "no binary named `x`");
    let manifest = fs::read_to_string(package.path("Cargo.toml")).expect("a file");
    package.write(
        "Cargo.toml",
        &manifest.replace("edition", "default-run = \"other\"\nedition"),
    );
    package.plan("cargo run").expect("a default");
}

#[test]
fn hc17_a_broken_or_missing_manifest_is_an_error_of_its_own() {
    let package = Package::new();
    package.write("Cargo.toml", "[package\n");
    let error = package.plan("cargo run").expect_err("broken");
    let (broken, hint) = (error.message(), error.first_hint().expect("a hint"));
    assert!(
        broken.starts_with("cargo cannot read the package: "),
        "{error}"
    );
    assert!(
        broken.contains("Cargo.toml") && hint.contains("`cargo metadata`"),
        "{error}"
    );
    let empty = TempDir::new().expect("a temporary directory");
    let command = [OsString::from("cargo"), "run".into()];
    let options = PlanOptions {
        command: &command,
        build: None,
        workdir: empty.path(),
        color: false,
    };
    let error = Plan::new(&options).expect_err("missing");
    assert!(
        error.message().contains("could not find `Cargo.toml`"),
        "{error}"
    );
}

#[test]
fn a_package_without_a_binary_names_its_examples() {
    let package = Package::new();
    fs::remove_file(package.path("src/main.rs")).expect("removed");
    package.write("src/lib.rs", "");
    package.write("examples/shown.rs", "fn main() {}\n");
    let error = package.plan("cargo run").expect_err("none");
    assert_eq!(error.message(), "no binary in `small`");
    assert!(
        error
            .first_hint()
            .expect("a hint")
            .contains("--example shown")
    );
}

/// A workspace with a server, the member `used` and `../outside`, which the server depends on, and other members.
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
fn hc09_local_dependencies_are_watched_and_unused_members_are_not() {
    let package = workspace();
    // Cargo can resolve the graph offline unless there is a registry dependency.
    for broken_resolution in [false, true] {
        if broken_resolution {
            let manifest =
                fs::read_to_string(package.path("ws/unused/Cargo.toml")).expect("a file");
            package.write(
                "ws/unused/Cargo.toml",
                &format!("{manifest}\n[dependencies]\nno-such-crate-at-all = \"1\"\n"),
            );
        }
        let plan = package
            .plan("cargo run --manifest-path ws/Cargo.toml -p server")
            .expect("a plan");
        let roots = plan.watch_roots().expect("roots");
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
fn an_unknown_package_gets_the_known_names() {
    let package = workspace();
    let line = "cargo run --manifest-path ws/Cargo.toml -p servre";
    let error = package.plan(line).expect_err("unknown");
    assert_eq!(error.message(), "no package `servre` in the workspace");
    assert!(error.first_hint().expect("a hint").contains("`server`"));
}
