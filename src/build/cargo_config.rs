use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_config2::{Color, Config, ResolveOptions, TargetTripleRef, de};

use super::{BuildError, CargoRun};

/// How a runner is written in a configuration file of cargo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunnerSyntax {
    /// `["a", "b c"]`
    Array,
    /// `"a b"`, which cargo splits at whitespace.
    String,
}

/// The parts of cargo's version and configuration that affect how hotrun calls it.
#[derive(Clone, Debug)]
pub struct CargoConfig {
    /// The major and minor version.
    pub version: (u32, u32),
    /// The target triple.
    pub triple: String,
    /// The runner that the user has configured, in a file or in the environment.
    pub runner: Option<Vec<OsString>>,
    /// How it is written in the files. Cargo refuses to merge an array with a string.
    pub runner_syntax: RunnerSyntax,
    /// `term.color`, unless it is `auto`.
    pub color: Option<bool>,
}

impl CargoConfig {
    /// Runs `cargo -vV` and reads the configuration for `workdir`.
    pub fn read(run: &CargoRun, workdir: &Path) -> Result<Self, BuildError> {
        let (version, host) = version(run, workdir)?;
        let directory = directory(run.run_options.directory.as_ref(), workdir);
        let options = ResolveOptions::default()
            .cargo(run.cargo.clone())
            .host_triple(host.clone());
        let config = Config::load_with_options(&directory, options).map_err(unreadable)?;
        let triple = triple(run, &config, &host)?;
        Ok(Self {
            version,
            runner: runner(&config, &triple)?,
            runner_syntax: runner_syntax(&directory, &triple)?,
            color: config.term.color.and_then(color),
            triple,
        })
    }
}

/// Expands an alias. If the configuration can't be read there are no aliases, and cargo reports the error.
pub(super) fn alias(workdir: &Path, option: Option<&PathBuf>, name: &str) -> Option<Vec<String>> {
    let config = Config::load_with_cwd(directory(option, workdir)).ok()?;
    config
        .alias
        .get(name)
        .map(|expansion| expansion.list.clone())
}

/// The working directory of cargo, which `-C` changes before cargo reads its configuration.
pub(super) fn directory(option: Option<&PathBuf>, workdir: &Path) -> PathBuf {
    option.map_or_else(|| workdir.to_owned(), |option| workdir.join(option))
}

/// The version and host of the toolchain that `+toolchain` or rustup selects.
fn version(run: &CargoRun, workdir: &Path) -> Result<((u32, u32), String), BuildError> {
    let mut command = Command::new(&run.cargo);
    command.args(&run.toolchain).arg("-vV").current_dir(workdir);
    let output = command.output().map_err(|error| start_error(run, &error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).ok_or_else(|| BuildError::CargoUnusable {
        cargo: run.cargo.clone(),
        reason: match String::from_utf8_lossy(&output.stderr).trim() {
            "" => "it did not print its version".to_owned(),
            message => message.trim_start_matches("error: ").to_owned(),
        },
    })
}

fn start_error(run: &CargoRun, error: &io::Error) -> BuildError {
    let cargo = run.cargo.clone();
    if error.kind() == io::ErrorKind::NotFound {
        BuildError::CargoMissing { cargo }
    } else {
        BuildError::CargoUnusable {
            cargo,
            reason: error.to_string(),
        }
    }
}

fn parse_version(text: &str) -> Option<((u32, u32), String)> {
    let field = |name| text.lines().find_map(|line: &str| line.strip_prefix(name));
    let mut numbers = field("release: ")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some(((major, minor), field("host: ")?.trim().to_owned()))
}

fn triple(run: &CargoRun, config: &Config, host: &str) -> Result<String, BuildError> {
    // `host-tuple` stands for the host, see `cargo help build`.
    let option = run
        .run_options
        .target
        .as_deref()
        .map(|target| if target == "host-tuple" { host } else { target });
    let targets = config.build_target_for_config(option).map_err(unreadable)?;
    Ok(targets
        .first()
        .map_or(host, |target| target.triple())
        .to_owned())
}

fn runner(config: &Config, triple: &str) -> Result<Option<Vec<OsString>>, BuildError> {
    let runner = config
        .runner(TargetTripleRef::from(triple))
        .map_err(unreadable)?;
    Ok(runner.map(|runner| {
        let mut words = vec![runner.path.into_os_string()];
        words.extend(runner.args);
        words
    }))
}

/// Reads only the files, because cargo merges `--config` with files but not with the environment.
fn runner_syntax(directory: &Path, triple: &str) -> Result<RunnerSyntax, BuildError> {
    let files = de::Config::load_with_cwd(directory).map_err(unreadable)?;
    let runner = files
        .target
        .get(triple)
        .and_then(|target| target.runner.as_ref());
    let written = runner.map(serde_json::to_value);
    Ok(match written {
        Some(Ok(serde_json::Value::String(_))) => RunnerSyntax::String,
        Some(_) | None => RunnerSyntax::Array,
    })
}

fn color(color: Color) -> Option<bool> {
    match color {
        Color::Auto => None,
        Color::Always => Some(true),
        Color::Never => Some(false),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function for `map_err`"
)]
fn unreadable(error: cargo_config2::Error) -> BuildError {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    BuildError::Configuration { message }
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
