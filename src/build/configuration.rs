use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_config2::{Color, Config, ResolveOptions, TargetTripleRef, de};

use super::{BuildError, CargoRun, RunnerForm};

/// What of cargo's version and configuration decides how it is called. A snapshot.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Major and minor.
    pub version: (u32, u32),
    /// The triple that is built for.
    pub triple: String,
    /// The runner that the user has configured, in a file or by the environment.
    pub runner: Option<Vec<OsString>>,
    /// How it is written in the files: cargo refuses to merge a list into a string.
    pub form: RunnerForm,
    /// What `term.color` says, if anything.
    pub color: Option<bool>,
}

impl Configuration {
    /// Asks cargo for its version, and reads the configuration that is valid in `workdir`.
    pub fn read(run: &CargoRun, workdir: &Path) -> Result<Self, BuildError> {
        let (version, host) = version(run, workdir)?;
        let directory = directory(run.selection.directory.as_ref(), workdir);
        let options = ResolveOptions::default()
            .cargo(run.cargo.clone())
            .host_triple(host.clone());
        let config = Config::load_with_options(&directory, options).map_err(unreadable)?;
        let triple = triple(run, &config, &host)?;
        Ok(Self {
            version,
            runner: runner(&config, &triple)?,
            form: form(&directory, &triple)?,
            color: config.term.color.and_then(color),
            triple,
        })
    }
}

/// The expansion of an alias in the configuration that is valid in `workdir`. A configuration that can't
/// be read has none: cargo will say what is wrong with it.
pub(super) fn alias(workdir: &Path, after: Option<&PathBuf>, name: &str) -> Option<Vec<String>> {
    let config = Config::load_with_cwd(directory(after, workdir)).ok()?;
    config
        .alias
        .get(name)
        .map(|expansion| expansion.list.clone())
}

/// Where cargo works: `-C` moves it before it reads anything.
pub(super) fn directory(option: Option<&PathBuf>, workdir: &Path) -> PathBuf {
    option.map_or_else(|| workdir.to_owned(), |option| workdir.join(option))
}

/// Version and host, by `cargo -vV`: it answers for the toolchain that `+toolchain` or rustup chooses.
fn version(run: &CargoRun, workdir: &Path) -> Result<((u32, u32), String), BuildError> {
    let mut command = Command::new(&run.cargo);
    command.args(&run.toolchain).arg("-vV").current_dir(workdir);
    let output = command.output().map_err(|error| not_started(run, &error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).ok_or_else(|| BuildError::CargoUnusable {
        cargo: run.cargo.clone(),
        reason: match String::from_utf8_lossy(&output.stderr).trim() {
            "" => "it does not say its version".to_owned(),
            said => said.trim_start_matches("error: ").to_owned(),
        },
    })
}

fn not_started(run: &CargoRun, error: &io::Error) -> BuildError {
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
    let asked = run
        .selection
        .target
        .as_deref()
        .map(|target| if target == "host-tuple" { host } else { target });
    let targets = config.build_target_for_config(asked).map_err(unreadable)?;
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

/// The files alone: the environment is not merged, it is replaced.
fn form(directory: &Path, triple: &str) -> Result<RunnerForm, BuildError> {
    let files = de::Config::load_with_cwd(directory).map_err(unreadable)?;
    let runner = files
        .target
        .get(triple)
        .and_then(|target| target.runner.as_ref());
    let written = runner.map(serde_json::to_value);
    Ok(match written {
        Some(Ok(serde_json::Value::String(_))) => RunnerForm::Words,
        Some(_) | None => RunnerForm::List,
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
    fn the_version_is_read_whatever_surrounds_it() {
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
