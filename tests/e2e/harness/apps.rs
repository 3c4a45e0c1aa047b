//! The programs in `tests/apps`, built once and kept in `target/apps`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::app_builds;
use super::run::without_cargo;

/// The package name of the axum example.
const AXUM: &str = "hotrun-example-axum";

/// Two builds of the axum example that differ in their version.
pub(crate) struct AxumPair {
    pub(crate) v1: PathBuf,
    pub(crate) v2: PathBuf,
}

/// The programs of the std app.
pub(crate) struct Std {
    pub(crate) server: PathBuf,
    pub(crate) faulty: PathBuf,
}

/// The source directory of an app.
pub(crate) fn sources(app: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/apps")
        .join(app)
}

/// The target directory that all apps share.
pub(crate) fn target_dir() -> PathBuf {
    app_builds().join("target")
}

/// Runs `cargo build` in this directory.
pub(crate) fn cargo_build(dir: &Path) {
    let mut cargo = Command::new("cargo");
    without_cargo(&mut cargo);
    cargo
        .args(["build", "--quiet", "--locked"])
        .current_dir(dir);
    cargo.env("CARGO_TARGET_DIR", target_dir());
    let output = cargo.output().expect("can start cargo");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "building {}:\n{printed}",
        dir.display()
    );
}

/// Builds the axum example in two versions.
pub(crate) fn axum() -> &'static AxumPair {
    static PAIR: OnceLock<AxumPair> = OnceLock::new();
    PAIR.get_or_init(|| AxumPair {
        v1: axum_version(1),
        v2: axum_version(2),
    })
}

fn axum_version(version: u32) -> PathBuf {
    let dir = app_builds().join(format!("axum-v{version}"));
    let executable = copy_of_axum(&dir, &format!("v{version}"));
    set_version(&dir, version);
    cargo_build(&dir);
    executable
}

/// Builds the server that uses only the standard library.
pub(crate) fn std() -> &'static Std {
    static STD: OnceLock<Std> = OnceLock::new();
    STD.get_or_init(|| {
        cargo_build(&sources("std"));
        let built = target_dir().join("debug");
        Std {
            server: built.join("server"),
            faulty: built.join("faulty"),
        }
    })
}

/// Copies the axum example into a directory, and returns the path that its executable will have.
///
/// The copies share one target directory, and thus the builds of their dependencies. Each needs its own name: cargo
/// hashes a package's path relative to its workspace, so two copies with the same name would be the same package to
/// cargo, and it would never build the one with the older sources.
pub(crate) fn copy_of_axum(to: &Path, name: &str) -> PathBuf {
    let name = format!("{AXUM}-{name}");
    for entry in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        let path = sources("axum").join(entry);
        let text = fs::read_to_string(path).expect("the example has this file");
        let mut text = text.replace(AXUM, &name);
        if entry == "Cargo.toml" {
            text.push_str("\n[workspace]\n");
        }
        write_if_other(&to.join(entry), &text);
    }
    target_dir().join("debug").join(name)
}

/// Writes a file unless it already has this text, so that cargo does not rebuild unchanged sources.
pub(crate) fn write_if_other(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|current| current == text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a file has a parent"))
        .expect("can create the directory");
    fs::write(path, text).expect("can write the file");
}

/// Changes the `VERSION` in the example's greeting, as a user would.
pub(crate) fn set_version(dir: &Path, version: u32) {
    let main = dir.join("src/main.rs");
    let text = fs::read_to_string(&main).expect("can read `main.rs`");
    let line = text
        .lines()
        .find(|line| line.starts_with("const VERSION: u32 ="))
        .expect("the example has a `VERSION`");
    let edited = text.replace(line, &format!("const VERSION: u32 = {version};"));
    write_if_other(&main, &edited);
}
