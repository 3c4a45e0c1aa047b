//! Checks of what makes builds with cargo fast. None of it is required, so none of these checks fails.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cargo_config2::Config;

use super::Finding;

/// Linkers that are faster than the default one.
const FAST_LINKERS: &[&str] = &["mold", "wild", "lld"];
/// Since this version, rustc includes lld and uses it on [`WITH_LLD`].
const LLD_SINCE: (u32, u32) = (1, 90);
const WITH_LLD: &str = "x86_64-unknown-linux-gnu";

/// How long a tool may take to print its version.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn check(workdir: &Path) -> Vec<Finding> {
    let Some(rustc) = version("rustc", workdir) else {
        let hint = "install it from https://rustup.rs if your program is written in Rust";
        return vec![Finding::note("cargo", "missing or not usable", hint)];
    };
    let cargo = match version("cargo", workdir) {
        Some(cargo) => Finding::works("cargo", cargo.release),
        None => Finding::note(
            "cargo",
            "not usable",
            "make sure that `cargo --version` works",
        ),
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
    parse_version(&output(command, TIMEOUT)?)
}

/// The output of a command that succeeds within the timeout. Keeps rustup from installing the toolchain that the
/// directory requires.
fn output(mut command: Command, limit: Duration) -> Option<String> {
    command.env("RUSTUP_AUTO_INSTALL", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().ok()?;
    let start = Instant::now();
    // The output fits into the pipe, so the command can exit before it is read.
    let status = loop {
        match child.try_wait() {
            Ok(None) if start.elapsed() < limit => thread::sleep(Duration::from_millis(5)),
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
    if let Some(name) = configured(&rustc.host, workdir) {
        return match FAST_LINKERS.iter().find(|fast| name.contains(**fast)) {
            Some(fast) => {
                Finding::works(NAME, format!("{fast}, set in the configuration of cargo"))
            }
            None => Finding::note(
                NAME,
                format!("`{name}`, set in the configuration of cargo"),
                "`mold` or `lld` links large programs faster",
            ),
        };
    }
    if rustc.host == WITH_LLD && rustc.numbers >= LLD_SINCE {
        return Finding::works(NAME, "lld, included with rustc");
    }
    let hint = match FAST_LINKERS.iter().find(|fast| in_path(fast)) {
        Some(fast) => {
            format!("`.cargo/config.toml`: rustflags = [\"-Clink-arg=-fuse-ld={fast}\"]")
        }
        None => "install `mold` or `lld` to link faster".to_owned(),
    };
    Finding::note(NAME, "the default of the system", hint)
}

/// The linker in the configuration of cargo or in its environment.
fn configured(host: &str, workdir: &Path) -> Option<String> {
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
    const HINT: &str = "`debug = \"line-tables-only\"` in `[profile.dev]` builds faster";
    if env::var("CARGO_INCREMENTAL").is_ok_and(|value| value == "0") {
        let hint = "unset `CARGO_INCREMENTAL` to compile only what changed";
        return Finding::note(SETTINGS, "every change compiles a whole crate", hint);
    }
    let Some(manifest) = manifest(workdir) else {
        return Finding::works(SETTINGS, "no package in this directory");
    };
    let text = fs::read_to_string(manifest).unwrap_or_default();
    match sets_debug(&text) {
        true => Finding::works(SETTINGS, "incremental, with configured debug information"),
        false => Finding::note(SETTINGS, "incremental, with full debug information", HINT),
    }
}

/// The manifest that sets the profiles: that of the workspace.
fn manifest(workdir: &Path) -> Option<PathBuf> {
    let all = workdir.ancestors().map(|dir| dir.join("Cargo.toml"));
    let mut all = all.filter(|path| path.is_file()).peekable();
    let nearest = all.peek().cloned();
    let is_root =
        |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("[workspace"));
    all.find(is_root).or(nearest)
}

/// Whether the development profile sets the amount of debug information.
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
    use crate::doctor::Severity;

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
    fn rustup_installs_nothing() {
        let printed = output(sh("echo $RUSTUP_AUTO_INSTALL"), TIMEOUT);
        assert_eq!(printed.as_deref(), Some("0\n"));
        assert_eq!(output(sh("echo 0; exit 1"), TIMEOUT), None);
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let start = Instant::now();
        assert_eq!(
            output(sh("exec sleep 1000"), Duration::from_millis(20)),
            None
        );
        assert!(start.elapsed() < TIMEOUT);
    }

    #[test]
    fn a_recent_rustc_includes_a_fast_linker() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            linker(&rustc(WITH_LLD, 90), dir.path()).severity,
            Severity::Works
        );
        assert_eq!(
            linker(&rustc(WITH_LLD, 89), dir.path()).severity,
            Severity::Note
        );
        let other = linker(&rustc("aarch64-unknown-linux-gnu", 95), dir.path());
        assert_eq!(other.severity, Severity::Note);
    }

    #[test]
    fn a_configured_linker_takes_precedence() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".cargo")).unwrap();
        let configure = |text: &str| {
            let text = format!("[target.{WITH_LLD}]\n{text}\n");
            fs::write(dir.path().join(".cargo/config.toml"), text).unwrap();
            linker(&rustc(WITH_LLD, 80), dir.path())
        };
        let mold = configure("rustflags = [\"-Clink-arg=-fuse-ld=mold\"]");
        assert_eq!(
            (mold.severity, mold.text.as_str()),
            (Severity::Works, "mold, set in the configuration of cargo")
        );
        assert_eq!(configure("linker = \"/opt/cc\"").severity, Severity::Note);
    }

    #[test]
    fn the_debug_setting_is_found_in_the_profile() {
        assert!(sets_debug("[profile.dev]\nopt-level = 1\ndebug = false\n"));
        assert!(!sets_debug(
            "[profile.release]\ndebug = true\n[profile.dev]\ndebug-assertions = true\n"
        ));
        assert!(!sets_debug("[profile.dev.package.x]\ndebug = true\n"));
    }
}
