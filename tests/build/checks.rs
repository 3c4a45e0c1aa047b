//! Checks before the first build, and what is watched by default.

use std::ffi::OsString;
use std::fs;

use hotrun::build::{BuildError, Plan, PlanOptions};
use tempfile::TempDir;

use super::package::Package;

#[test]
fn hc17_several_binaries_are_listed() {
    let package = Package::new();
    package.write("src/bin/other.rs", "fn main() {}\n");
    let error = package
        .plan("cargo run")
        .expect("a plan")
        .check()
        .expect_err("two");
    assert!(
        matches!(error, BuildError::SeveralBinaries { .. }),
        "{error}"
    );
    let hint = error.hint().expect("a hint");
    assert!(
        hint.contains("`other`") && hint.contains("`small`") && hint.contains("--bin"),
        "{hint}"
    );
    package
        .plan("cargo run --bin other")
        .expect("a plan")
        .check()
        .expect("a choice");
    let error = package
        .plan("cargo run --bin x")
        .expect("a plan")
        .check()
        .expect_err("unknown");
    assert!(matches!(error, BuildError::UnknownTarget { .. }), "{error}");
    let manifest = fs::read_to_string(package.path("Cargo.toml")).expect("a file");
    package.write(
        "Cargo.toml",
        &manifest.replace("edition", "default-run = \"other\"\nedition"),
    );
    package
        .plan("cargo run")
        .expect("a plan")
        .check()
        .expect("a default");
}

#[test]
fn hc17_a_broken_or_missing_manifest_is_an_error_of_its_own() {
    let package = Package::new();
    package.write("Cargo.toml", "[package\n");
    let error = package
        .plan("cargo run")
        .expect("a plan")
        .check()
        .expect_err("broken");
    assert!(
        matches!(error, BuildError::BrokenManifest { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("Cargo.toml"), "{error}");
    let empty = TempDir::new().expect("a temporary directory");
    let command = [OsString::from("cargo"), "run".into()];
    let options = PlanOptions {
        command: &command,
        build: None,
        workdir: empty.path(),
        color: false,
    };
    let error = Plan::new(&options)
        .expect("a plan")
        .check()
        .expect_err("missing");
    assert!(matches!(error, BuildError::NoManifest { .. }), "{error}");
}

#[test]
fn a_package_without_a_binary_names_its_examples() {
    let package = Package::new();
    fs::remove_file(package.path("src/main.rs")).expect("removed");
    package.write("src/lib.rs", "");
    package.write("examples/shown.rs", "fn main() {}\n");
    let error = package
        .plan("cargo run")
        .expect("a plan")
        .check()
        .expect_err("none");
    assert!(matches!(error, BuildError::NoBinary { .. }), "{error}");
    assert!(error.hint().expect("a hint").contains("--example shown"));
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
        let mut plan = package
            .plan("cargo run --manifest-path ws/Cargo.toml -p server")
            .expect("a plan");
        let roots = plan.watch_roots().expect("roots");
        let mut dirs = roots.dirs.clone();
        dirs.sort();
        let expected =
            ["outside", "outside/deep", "ws/server", "ws/used"].map(|name| package.path(name));
        assert_eq!(dirs, expected, "broken resolution: {broken_resolution}");
        for name in ["ws/target", "ws/unused", "ws/tests-only"] {
            assert!(
                roots.ignored.contains(&package.path(name)),
                "{name}: {roots:?}"
            );
        }
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
    let error = package
        .plan(line)
        .expect("a plan")
        .check()
        .expect_err("unknown");
    assert!(
        matches!(error, BuildError::UnknownPackage { .. }),
        "{error}"
    );
    assert!(error.hint().expect("a hint").contains("`server`"));
}
