use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use cargo_config2::{Color, Config, ResolveOptions, TargetTripleRef, de};

use super::command_line::CargoRun;
use crate::error::Failure;

/// The first cargo version with a stable `--config`, which hotrun needs to set itself as the runner.
const MIN_VERSION: (u32, u32) = (1, 63);

/// The parts of cargo's configuration that affect how hotrun calls it.
#[derive(Clone, Debug, Default)]
pub(super) struct CargoConfig {
    /// The target triple.
    pub(super) triple: String,
    /// The runner that the user has configured, in a file or in the environment. Empty if there is none.
    pub(super) runner: Vec<OsString>,
    /// Whether the config files set the runner for exactly this triple as a string. Cargo refuses to merge a string
    /// with an array.
    pub(super) runner_is_string: bool,
    /// `term.color`, unless it is `auto`.
    pub(super) color: Option<bool>,
}

impl CargoConfig {
    /// Runs `cargo -vV`, and reads the configuration that applies in cargo's working directory.
    pub(super) fn read(run: &CargoRun) -> Result<Self, Failure> {
        let (version @ (major, minor), host) = version(run)?;
        if version < MIN_VERSION {
            let text = format!("cargo {major}.{minor} is too old: hotrun needs 1.63 or later");
            let hint = format!("update it (`rustup update`), or {}", super::SEPARATE_BUILD);
            return Err(Failure::environment(text).hint(hint));
        }
        read(run, &host).map_err(|error| {
            let error = anyhow::Error::from(error);
            let text = format!("cannot read cargo's configuration: {error:#}");
            Failure::environment(text).hint(
                "check `.cargo/config.toml` in this directory, in its parents, and in `CARGO_HOME`",
            )
        })
    }
}

fn read(run: &CargoRun, host: &str) -> Result<CargoConfig, cargo_config2::Error> {
    let directory = run.directory();
    let options = ResolveOptions::default()
        .cargo(run.cargo.clone())
        .host_triple(host.to_owned());
    let config = Config::load_with_options(&directory, options)?;
    // `host-tuple` stands for the host, see `cargo help build`.
    let target = run.target.as_deref();
    let target = target.map(|target| if target == "host-tuple" { host } else { target });
    let targets = config.build_target_for_config(target)?;
    let triple = targets.first().map_or(host, |target| target.triple());
    let runner = config.runner(TargetTripleRef::from(triple))?;
    // Only the files matter, because cargo merges `--config` with files but not with the environment.
    let files = de::Config::load_with_cwd(&directory)?;
    let in_files = files.target.get(triple);
    let in_files = in_files.and_then(|target| serde_json::to_value(target.runner.as_ref()?).ok());
    Ok(CargoConfig {
        runner: runner.map_or_else(Vec::new, |runner| {
            let path = runner.path.into_os_string();
            [path].into_iter().chain(runner.args).collect()
        }),
        runner_is_string: in_files.is_some_and(|runner| runner.is_string()),
        color: match config.term.color {
            Some(Color::Always) => Some(true),
            Some(Color::Never) => Some(false),
            Some(Color::Auto) | None => None,
        },
        triple: triple.to_owned(),
    })
}

/// Expands an alias. If the configuration can't be read, there are no aliases, and cargo will report the error.
pub(super) fn alias(directory: &Path, name: &str) -> Option<Vec<String>> {
    let config = Config::load_with_cwd(directory).ok()?;
    config.alias.get(name).map(|alias| alias.list.clone())
}

/// The version and the host of the toolchain that `+toolchain` or rustup selects.
fn version(run: &CargoRun) -> Result<((u32, u32), String), Failure> {
    let cargo = run.cargo.display();
    let unusable = |reason: &str| Failure::environment(format!("cannot use `{cargo}`: {reason}"));
    let mut command = Command::new(&run.cargo);
    command.args(&run.toolchain).arg("-vV");
    let output = command.current_dir(&run.workdir).output();
    let output = output.map_err(|error| {
        unusable(&error.to_string())
            .hint("install Rust from https://rustup.rs, or give the path of cargo")
    })?;
    parse_version(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        let reason = match String::from_utf8_lossy(&output.stderr).trim() {
            "" => "it did not print its version".to_owned(),
            message => message.trim_start_matches("error: ").to_owned(),
        };
        unusable(&reason).hint(format!("make sure that `{cargo} --version` works"))
    })
}

fn parse_version(text: &str) -> Option<((u32, u32), String)> {
    let field = |name| text.lines().find_map(|line: &str| line.strip_prefix(name));
    let mut numbers = field("release: ")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some(((major, minor), field("host: ")?.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_and_the_host_are_parsed() {
        let text = "cargo 1.95.0-nightly (f2d3 2026-03-21)\nrelease: 1.95.0-nightly\nhost: x86_64-unknown-linux-gnu\nos: x\n";
        assert_eq!(
            parse_version(text),
            Some(((1, 95), "x86_64-unknown-linux-gnu".to_owned()))
        );
        for broken in [
            "",
            "cargo 1.95.0",
            "release: x\nhost: y",
            "release: 1\nhost: y",
            "release: 1.2.3\n",
        ] {
            assert_eq!(parse_version(broken), None, "{broken}");
        }
    }
}
