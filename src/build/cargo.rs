use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use super::{
    BuildCommand, BuildError, BuildOutput, CargoConfig, CargoRun, Launch, RunnerSyntax, Target,
    WatchRoots, cargo_config, roots, runner, target,
};

/// The first version of cargo with a stable `--config`.
const MIN_VERSION: (u32, u32) = (1, 63);

/// How to build and start a `cargo run`.
#[derive(Clone, Debug)]
pub struct CargoPlan {
    pub(super) run: CargoRun,
    pub(super) config: CargoConfig,
    pub(super) workdir: PathBuf,
    pub(super) target: Option<Target>,
    color: bool,
}

impl CargoPlan {
    /// Reads the configuration of cargo. `color`: whether the output of the build may have colors.
    pub(super) fn new(run: CargoRun, workdir: &Path, color: bool) -> Result<Self, BuildError> {
        let config = CargoConfig::read(&run, workdir)?;
        if config.version < MIN_VERSION {
            return Err(BuildError::OldCargo {
                version: config.version,
            });
        }
        let mut values = run.run_options.config.iter();
        if values.any(|value| sets_runner(value, workdir)) {
            return Err(BuildError::RunnerOnCommandLine);
        }
        Ok(Self {
            color: uses_color(&run, &config, color),
            run,
            config,
            workdir: workdir.to_owned(),
            target: None,
        })
    }

    /// Checks before the first build that there is a package with exactly one program to run.
    ///
    /// # Errors
    ///
    /// The command would also fail in cargo.
    pub fn check(&mut self) -> Result<&Target, BuildError> {
        let target = target::find(self)?;
        Ok(self.target.insert(target))
    }

    /// What to watch. Runs `cargo metadata` without using the network.
    ///
    /// # Errors
    ///
    /// Those of [`CargoPlan::check`], which runs first if it has not run yet.
    pub fn watch_roots(&mut self) -> Result<WatchRoots, BuildError> {
        if self.target.is_none() {
            self.check()?;
        }
        roots::of(self)
    }

    /// Whether one of these files sets the configuration of cargo or the toolchain, so that a change requires a new
    /// plan.
    pub fn is_outdated_by(&self, changed: &[PathBuf]) -> bool {
        changed.iter().any(|path| configures_cargo(path))
    }

    /// The working directory of cargo.
    pub(super) fn directory(&self) -> PathBuf {
        cargo_config::directory(self.run.run_options.directory.as_ref(), &self.workdir)
    }

    pub(super) fn build_command(&self) -> Result<BuildCommand, BuildError> {
        let mut argv = vec![self.run.cargo.clone()];
        argv.extend(self.run.toolchain.clone());
        argv.extend_from_slice(&self.run.globals);
        argv.push("run".into());
        // Our options come first because an alias may end in `--`.
        argv.extend(self.format_options());
        argv.extend(self.runner_options()?);
        argv.extend_from_slice(&self.run.options);
        argv.extend_from_slice(&self.run.program);
        Ok(BuildCommand {
            argv,
            workdir: self.workdir.clone(),
        })
    }

    pub(super) fn output(&self) -> BuildOutput {
        BuildOutput::of_cargo(self.config.runner.clone().unwrap_or_default())
    }

    pub(super) fn launch(&self, output: &mut BuildOutput) -> Result<Launch, BuildError> {
        let launch = output.take_launch();
        launch.ok_or_else(|| BuildError::RunnerNotStarted {
            cargo: self.run.cargo.clone(),
        })
    }

    fn format_options(&self) -> Vec<OsString> {
        let format = if self.color {
            "json-diagnostic-rendered-ansi"
        } else {
            "json"
        };
        let mut options = vec![format!("--message-format={format}").into()];
        // Cargo's own lines go through a pipe, where cargo would not color them. This is an option rather than a
        // variable so that the environment of the program does not change.
        if self.color && self.run.run_options.color.is_none() {
            options.push("--color=always".into());
        }
        options
    }

    /// Sets the runner for the exact target triple, which overrides every `cfg(…)` and the environment. In case the
    /// triple is wrong (the target is a specification file, for example) it also sets the runner for a `cfg` that is
    /// always true. Cargo refuses two matching `cfg`s, so this is left out if the user has configured a runner.
    fn runner_options(&self) -> Result<Vec<OsString>, BuildError> {
        let triple = quoted(&self.config.triple);
        let mut options = runner_option(&triple, self.config.runner_syntax)?;
        if self.config.runner.is_none() {
            options.extend(runner_option(&quoted("cfg(all())"), RunnerSyntax::Array)?);
        }
        Ok(options)
    }
}

/// Whether a value of `--config`, which is `KEY=VALUE` or the path of a file, sets a runner.
fn sets_runner(value: &str, workdir: &Path) -> bool {
    value.contains("runner")
        || fs::read_to_string(workdir.join(value)).is_ok_and(|text| text.contains("runner"))
}

fn runner_option(key: &str, syntax: RunnerSyntax) -> Result<Vec<OsString>, BuildError> {
    let no_whitespace = syntax == RunnerSyntax::String;
    let path = runner::executable(no_whitespace).map_err(BuildError::OwnExecutable)?;
    let words = [
        path.to_string_lossy().into_owned(),
        runner::FLAG.to_owned(),
        "--".to_owned(),
    ];
    let value = match syntax {
        RunnerSyntax::Array => format!("[{}]", words.map(|word| quoted(&word)).join(",")),
        RunnerSyntax::String => quoted(&words.join(" ")),
    };
    Ok(vec![
        "--config".into(),
        format!("target.{key}.runner={value}").into(),
    ])
}

/// A basic string of TOML, written as JSON. Both use the same escapes for the characters of paths and triples.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The command line takes precedence over the configuration of cargo, which takes precedence over `default`.
fn uses_color(run: &CargoRun, config: &CargoConfig, default: bool) -> bool {
    match run.run_options.color.as_deref() {
        Some("always") => true,
        Some("never") => false,
        Some(_) => default,
        None => config.color.unwrap_or(default),
    }
}

/// Whether this file sets the configuration of cargo or the toolchain.
fn configures_cargo(path: &Path) -> bool {
    let name = path.file_name();
    let within_cargo = path.parent().and_then(Path::file_name) == Some(OsStr::new(".cargo"));
    let is = |expected: &str| name == Some(OsStr::new(expected));
    is("rust-toolchain")
        || is("rust-toolchain.toml")
        || within_cargo && (is("config") || is("config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str, change: impl FnOnce(&mut CargoPlan)) -> Vec<String> {
        let command: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let run = CargoRun::parse(&command, |_, name| {
            (name == "serve").then(|| vec!["run".to_owned(), "-q".to_owned(), "--".to_owned()])
        });
        let mut plan = CargoPlan {
            run: run.expect("a cargo run"),
            config: CargoConfig {
                version: (1, 95),
                triple: "t-1.0".to_owned(),
                runner: None,
                runner_syntax: RunnerSyntax::Array,
                color: None,
            },
            workdir: "/w".into(),
            target: None,
            color: false,
        };
        change(&mut plan);
        let exe = std::env::current_exe()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let argv = plan.build_command().unwrap().argv;
        argv.iter()
            .map(|argument| argument.to_string_lossy().replace(&exe, "EXE"))
            .collect()
    }

    const EXACT: &str = r#"target."t-1.0".runner=["EXE","--runner","--"]"#;
    const EVERY: &str = r#"target."cfg(all())".runner=["EXE","--runner","--"]"#;

    #[test]
    fn our_options_come_before_those_of_the_user() {
        assert_eq!(
            plan("cargo +nightly -v run --bin a -- --bin b", |_| {}),
            [
                "cargo",
                "+nightly",
                "-v",
                "run",
                "--message-format=json",
                "--config",
                EXACT,
                "--config",
                EVERY,
                "--bin",
                "a",
                "--",
                "--bin",
                "b"
            ]
        );
        assert_eq!(
            plan("cargo serve -p 1", |_| {}),
            [
                "cargo",
                "run",
                "--message-format=json",
                "--config",
                EXACT,
                "--config",
                EVERY,
                "-q",
                "--",
                "-p",
                "1"
            ]
        );
    }

    #[test]
    fn a_configured_runner_is_overridden_for_the_exact_triple_only() {
        let argv = plan("cargo run", |plan| {
            plan.config.runner = Some(vec!["env".into()]);
        });
        assert_eq!(
            argv,
            ["cargo", "run", "--message-format=json", "--config", EXACT]
        );
    }

    #[test]
    fn a_configured_runner_that_is_a_string_is_overridden_by_a_string() {
        let argv = plan("cargo run", |plan| {
            plan.config.runner = Some(vec!["env".into()]);
            plan.config.runner_syntax = RunnerSyntax::String;
        });
        assert_eq!(argv[4], r#"target."t-1.0".runner="EXE --runner --""#);
    }

    #[test]
    fn the_color_option_is_added_once() {
        let argv = plan("cargo run", |plan| plan.color = true);
        assert_eq!(
            argv[2..4],
            [
                "--message-format=json-diagnostic-rendered-ansi",
                "--color=always"
            ]
        );
        let argv = plan("cargo run --color always", |plan| plan.color = true);
        assert_eq!(
            argv.iter()
                .filter(|argument| argument.starts_with("--color"))
                .count(),
            1
        );
    }

    #[test]
    fn files_that_configure_cargo() {
        for (path, expected) in [
            ("/w/.cargo/config.toml", true),
            ("/w/.cargo/config", true),
            ("/w/rust-toolchain", true),
            ("/w/rust-toolchain.toml", true),
            ("/w/config.toml", false),
            ("/w/src/main.rs", false),
            ("/", false),
        ] {
            assert_eq!(configures_cargo(Path::new(path)), expected, "{path}");
        }
    }
}
