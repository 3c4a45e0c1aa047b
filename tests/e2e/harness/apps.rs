//! The programs in `tests/apps`, built once and kept in `target/apps`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::kept;

/// Two builds of the axum example that differ in their version.
pub(crate) struct Pair {
    pub(crate) v1: PathBuf,
    pub(crate) v2: PathBuf,
}

/// The programs of the std app.
pub(crate) struct Std {
    pub(crate) server: PathBuf,
    pub(crate) faulty: PathBuf,
}

/// Nobody else builds apps while this lives, in this process or another. Two copies of one package
/// in one target directory share their dependencies, and the name of the executable.
pub(crate) struct Lock(#[expect(dead_code, reason = "closing it unlocks")] File);

pub(crate) fn lock() -> Lock {
    fs::create_dir_all(kept()).expect("target can be written");
    let file = File::create(kept().join("lock")).expect("target can be written");
    file.lock().expect("a file can be locked");
    Lock(file)
}

/// Where an app's own sources are.
pub(crate) fn sources(app: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/apps")
        .join(app)
}

/// Where cargo puts what it builds of the apps.
pub(crate) fn target_dir() -> PathBuf {
    kept().join("target")
}

/// `cargo build` in this folder.
pub(crate) fn cargo_build(dir: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--locked"])
        .current_dir(dir);
    cargo.env("CARGO_TARGET_DIR", target_dir());
    let output = cargo.output().expect("cargo can be started");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "building {}:\n{printed}",
        dir.display()
    );
}

/// The axum example in two versions.
pub(crate) fn axum() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| {
        let _lock = lock();
        Pair {
            v1: axum_version(1),
            v2: axum_version(2),
        }
    })
}

fn axum_version(version: u32) -> PathBuf {
    let dir = kept().join(format!("axum-v{version}"));
    copy_sources("axum", &dir);
    set_version(&dir.join("src/main.rs"), version);
    cargo_build(&dir);
    keep(
        &target_dir().join("debug/hotrun-example-axum"),
        &dir.join("server"),
    )
}

/// The server with nothing but the standard library.
pub(crate) fn std() -> &'static Std {
    static STD: OnceLock<Std> = OnceLock::new();
    STD.get_or_init(|| {
        let _lock = lock();
        cargo_build(&sources("std"));
        let built = target_dir().join("debug");
        Std {
            server: built.join("server"),
            faulty: built.join("faulty"),
        }
    })
}

/// Gives the built executable a name of its own, by which the next build's does not replace it. A
/// link, not a copy: an executable that was ever open for writing may be busy for a moment, when
/// another thread has forked meanwhile.
fn keep(built: &Path, name: &Path) -> PathBuf {
    let _ = fs::remove_file(name);
    fs::hard_link(built, name).expect("both lie in the target directory");
    name.to_owned()
}

/// Copies the sources of an app; files that are the same already keep their time, so that cargo
/// finds nothing to do.
pub(crate) fn copy_sources(app: &str, to: &Path) {
    for entry in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        let text = fs::read(sources(app).join(entry)).expect("the apps have these files");
        write_if_other(&to.join(entry), &text);
    }
    let manifest = to.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("was just written");
    if !text.contains("[workspace]") {
        write_if_other(&manifest, format!("{text}\n[workspace]\n").as_bytes());
    }
}

fn write_if_other(path: &Path, text: &[u8]) {
    if fs::read(path).is_ok_and(|there| there == text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("can be created");
    fs::write(path, text).expect("can be written");
}

/// Sets the `VERSION` that the example's greeting shows, as a user would edit it.
pub(crate) fn set_version(main: &Path, version: u32) {
    let text = fs::read_to_string(main).expect("the source can be read");
    let line = text
        .lines()
        .find(|line| line.starts_with("const VERSION: u32 ="))
        .expect("the example has a VERSION");
    let edited = text.replace(line, &format!("const VERSION: u32 = {version};"));
    write_if_other(main, edited.as_bytes());
}
