//! What makes cargo's builds quicker. Nothing here is needed, so nothing here fails.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cargo_config2::Config;

use super::Finding;

/// Linkers that are quicker than the usual one.
const QUICK: &[&str] = &["mold", "wild", "lld"];
/// From this version on rustc brings a quick one along and uses it on [`WITH_LLD`].
const LLD_SINCE: (u32, u32) = (1, 90);
const WITH_LLD: &str = "x86_64-unknown-linux-gnu";

/// How long a tool may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn examine(workdir: &Path) -> Vec<Finding> {
    let Some(rustc) = version("rustc", workdir) else {
        let remedy = "for Rust programs: https://rustup.rs; others need none of it";
        return vec![Finding::could("cargo", "not there, or not usable", remedy)];
    };
    let cargo = match version("cargo", workdir) {
        Some(cargo) => Finding::works("cargo", cargo.release),
        None => Finding::could("cargo", "not usable", "`cargo --version` has to work"),
    };
    vec![cargo, linker(&rustc, workdir), debug_info(workdir)]
}

struct Version {
    release: String,
    numbers: (u32, u32),
    host: String,
}

fn version(program: &str, workdir: &Path) -> Option<Version> {
    let mut command = Command::new(program);
    command.arg("-vV").current_dir(workdir);
    parse_version(&ask(command, PATIENCE)?)
}

/// What it prints, if it ends well and in time. Nothing is installed for that: rustup would download the toolchain that the
/// folder names.
fn ask(mut command: Command, patience: Duration) -> Option<String> {
    command.env("RUSTUP_AUTO_INSTALL", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().ok()?;
    let begun = Instant::now();
    // It prints no more than a pipe holds.
    let status = loop {
        match child.try_wait() {
            Ok(None) if begun.elapsed() < patience => thread::sleep(Duration::from_millis(5)),
            Ok(status) => break status,
            Err(_) => break None,
        }
    };
    let Some(status) = status else {
        let _ = child.kill();
        let _ = child.wait();
        return None;
    };
    let mut text = String::new();
    child.stdout?.read_to_string(&mut text).ok()?;
    status.success().then_some(text)
}

fn parse_version(text: &str) -> Option<Version> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let release = field("release: ")?.trim();
    let mut numbers = release.split('.').map(str::parse);
    let mut number = || numbers.next()?.ok();
    Some(Version {
        numbers: (number()?, number()?),
        release: release.to_owned(),
        host: field("host: ")?.trim().to_owned(),
    })
}

fn linker(rustc: &Version, workdir: &Path) -> Finding {
    const NAME: &str = "linker";
    if let Some(name) = chosen(&rustc.host, workdir) {
        return match QUICK.iter().find(|quick| name.contains(**quick)) {
            Some(quick) => Finding::works(NAME, format!("{quick}, by cargo's configuration")),
            None => Finding::could(
                NAME,
                format!("`{name}`, by cargo's configuration"),
                "a quicker one links large programs in less time: `mold`, `lld`",
            ),
        };
    }
    if rustc.host == WITH_LLD && rustc.numbers >= LLD_SINCE {
        return Finding::works(NAME, "lld, which rustc brings along");
    }
    let remedy = match QUICK.iter().find(|quick| in_path(quick)) {
        Some(quick) => {
            format!("`.cargo/config.toml`: rustflags = [\"-Clink-arg=-fuse-ld={quick}\"]")
        }
        None => "install `mold` or `lld`: an edit is then linked in less time".to_owned(),
    };
    Finding::could(NAME, "the system's own", remedy)
}

/// What cargo's configuration and environment say of it, in their words.
fn chosen(host: &str, workdir: &Path) -> Option<String> {
    let config = Config::load_with_cwd(workdir).ok()?;
    let flags = config.rustflags(host).ok().flatten();
    let flags = flags.map(|flags| flags.flags).unwrap_or_default();
    let flag = flags.into_iter().find(|flag| flag.contains("-fuse-ld="));
    let linker = || config.linker(host).ok().flatten();
    flag.or_else(|| linker().map(|path| path.display().to_string()))
}

fn in_path(linker: &str) -> bool {
    let names = [linker.to_owned(), format!("ld.{linker}")];
    names.iter().any(|name| which::which(name).is_ok())
}

fn debug_info(workdir: &Path) -> Finding {
    const SETTINGS: &str = "settings";
    const REMEDY: &str = "`debug = \"line-tables-only\"` under `[profile.dev]`: less to write";
    if env::var("CARGO_INCREMENTAL").is_ok_and(|value| value == "0") {
        let remedy = "unset `CARGO_INCREMENTAL`: an edit then compiles what it concerns";
        return Finding::could(SETTINGS, "every edit compiles its whole crate", remedy);
    }
    let Some(manifest) = manifest(workdir) else {
        return Finding::works(SETTINGS, "there is no package here");
    };
    let text = fs::read_to_string(manifest).unwrap_or_default();
    match sets_debug(&text) {
        true => Finding::works(SETTINGS, "incremental, debug information as you want it"),
        false => Finding::could(SETTINGS, "incremental, with all debug information", REMEDY),
    }
}

/// The manifest with the profiles: the workspace's.
fn manifest(workdir: &Path) -> Option<PathBuf> {
    let all = workdir.ancestors().map(|dir| dir.join("Cargo.toml"));
    let mut all = all.filter(|path| path.is_file()).peekable();
    let nearest = all.peek().cloned();
    let is_root =
        |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("[workspace"));
    all.find(is_root).or(nearest)
}

/// Whether the development profile says how much debug information there is to be.
fn sets_debug(manifest: &str) -> bool {
    let mut inside = false;
    manifest.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            inside = line == "[profile.dev]";
        }
        inside
            && line
                .split('=')
                .next()
                .is_some_and(|key| key.trim() == "debug")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Sign;

    fn rustc(host: &str, minor: u32) -> Version {
        let text = format!("rustc 1.{minor}.0\nrelease: 1.{minor}.0-nightly\nhost: {host}\n");
        parse_version(&text).unwrap()
    }

    fn sh(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    #[test]
    fn a_tool_is_asked_without_letting_it_install_anything() {
        let told = ask(sh("echo $RUSTUP_AUTO_INSTALL"), PATIENCE);
        assert_eq!(told.as_deref(), Some("0\n"));
        assert_eq!(ask(sh("echo 0; exit 1"), PATIENCE), None);
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let begun = Instant::now();
        assert_eq!(ask(sh("exec sleep 1000"), Duration::from_millis(20)), None);
        assert!(begun.elapsed() < PATIENCE);
    }

    #[test]
    fn the_linker_that_rustc_brings_along_is_known() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(linker(&rustc(WITH_LLD, 90), dir.path()).sign, Sign::Works);
        assert_eq!(linker(&rustc(WITH_LLD, 89), dir.path()).sign, Sign::Could);
        let other = linker(&rustc("aarch64-unknown-linux-gnu", 95), dir.path());
        assert_eq!(other.sign, Sign::Could);
    }

    #[test]
    fn the_linker_that_is_configured_is_the_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".cargo")).unwrap();
        let configure = |text: &str| {
            let text = format!("[target.{WITH_LLD}]\n{text}\n");
            fs::write(dir.path().join(".cargo/config.toml"), text).unwrap();
            linker(&rustc(WITH_LLD, 80), dir.path())
        };
        let mold = configure("rustflags = [\"-Clink-arg=-fuse-ld=mold\"]");
        assert_eq!(
            (mold.sign, mold.text.as_str()),
            (Sign::Works, "mold, by cargo's configuration")
        );
        assert_eq!(configure("linker = \"/opt/cc\"").sign, Sign::Could);
    }

    #[test]
    fn the_profile_is_found_in_the_manifest() {
        assert!(sets_debug("[profile.dev]\nopt-level = 1\ndebug = false\n"));
        assert!(!sets_debug(
            "[profile.release]\ndebug = true\n[profile.dev]\ndebug-assertions = true\n"
        ));
        assert!(!sets_debug("[profile.dev.package.x]\ndebug = true\n"));
    }
}
