//! What the programs need from outside this repository: runtimes, which must be installed, and packages, which are
//! downloaded once and kept in `target/apps`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::harness::apps::{cargo_build, sources, target_dir, write_if_other};
use crate::harness::{PYTHON, app_builds, skip};

/// Serializes downloads, because the tests share the download directories.
static DOWNLOAD: Mutex<()> = Mutex::new(());

/// Returns whether the program is installed; if not, reports the test as skipped.
pub(super) fn installed_or_skip(program: &str, version: &str, packages: &str) -> bool {
    let output = Command::new(program).arg(version).output();
    let found = output.is_ok_and(|output| output.status.success());
    if !found {
        skip(&format!(
            "`{program} {version}` fails (`apt install {packages}`)"
        ));
    }
    found
}

/// Installs `express` with its dependencies, and returns the directory that contains `node_modules`.
pub(super) fn npm() -> Option<PathBuf> {
    let mut install = Command::new("npm");
    install.args(["ci", "--no-audit", "--no-fund"]);
    let files = ["package.json", "package-lock.json"];
    install_once("express", "hello-express", &files, "npm", install)
}

/// Installs the Python packages, and returns the directory that contains them.
pub(super) fn pip() -> Option<PathBuf> {
    let mut install = Command::new(PYTHON);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        ".",
    ]);
    install.args(["--requirement", "requirements.txt"]);
    let packages = "python3-pip";
    install_once(
        "python",
        "hello-python",
        &["requirements.txt"],
        packages,
        install,
    )
}

/// Copies these files from the app into a directory and runs `install` there, unless that has already been done with
/// the same files.
fn install_once(
    directory: &str,
    app: &str,
    files: &[&str],
    packages: &str,
    mut install: Command,
) -> Option<PathBuf> {
    let _lock = DOWNLOAD.lock();
    let (directory, done) = (
        app_builds().join(directory),
        app_builds().join(format!("{directory}.done")),
    );
    let texts = files.iter().map(|file| read(&sources(app).join(file)));
    let wanted: Vec<String> = texts.collect();
    if fs::read_to_string(&done).is_ok_and(|current| current == wanted.concat()) {
        return Some(directory);
    }
    let _ = fs::remove_dir_all(&directory);
    for (file, text) in files.iter().zip(&wanted) {
        write_if_other(&directory.join(file), text);
    }
    let output = install.current_dir(&directory).output();
    let why = match output {
        Ok(output) if output.status.success() => {
            write_if_other(&done, &wanted.concat());
            return Some(directory);
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    skip(&format!(
        "{install:?} fails (`apt install {packages}`): {why}"
    ));
    None
}

/// Builds a Rust app with a changed source, and returns the executable. The executable needs a name of its own, for
/// the reason given at [`copy_of_axum`](crate::harness::apps::copy_of_axum).
pub(super) fn cargo(
    app: &str,
    package: &str,
    name: &str,
    change: impl Fn(&str) -> String,
) -> PathBuf {
    let directory = app_builds().join(name);
    for entry in ["Cargo.toml", "Cargo.lock"] {
        let text = read(&sources(app).join(entry));
        let named = format!("name = \"{package}\"");
        let mut text = text.replace(&named, &format!("name = \"{name}\""));
        if entry == "Cargo.toml" {
            text.push_str("\n[workspace]\n");
        }
        write_if_other(&directory.join(entry), &text);
    }
    let script = sources(app).join("build.rs");
    if script.exists() {
        write_if_other(&directory.join("build.rs"), &read(&script));
    }
    let main = read(&sources(app).join("src/main.rs"));
    write_if_other(&directory.join("src/main.rs"), &change(&main));
    cargo_build(&directory);
    target_dir().join("debug").join(name)
}

/// Builds a static executable from a Go app with a changed source.
pub(super) fn go(app: &str, name: &str, change: impl Fn(&str) -> String) -> PathBuf {
    let directory = app_builds().join(name);
    write_if_other(
        &directory.join("go.mod"),
        &read(&sources(app).join("go.mod")),
    );
    let main = read(&sources(app).join("main.go"));
    write_if_other(&directory.join("main.go"), &change(&main));
    let mut build = Command::new("go");
    build
        .args(["build", "-o", name, "."])
        .current_dir(&directory);
    build.env("CGO_ENABLED", "0").env("GOCACHE", go_cache());
    let output = build.output().expect("can start `go`");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "building {name}:\n{printed}");
    directory.join(name)
}

pub(super) fn go_cache() -> PathBuf {
    app_builds().join("go")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
