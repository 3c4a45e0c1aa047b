use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use super::{
    BuildError, CargoRun, Configuration, Invocation, Launch, Messages, Target, WatchRoots, checks,
    configuration, roots, runner,
};

/// The first cargo with a stable `--config`.
const FIRST_WITH_CONFIG: (u32, u32) = (1, 63);

/// How a runner is written in cargo's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunnerForm {
    /// `["a", "b c"]`
    List,
    /// `"a b"`, split at blanks.
    Words,
}

/// A `cargo run`: how it is built, and what its build says to start.
#[derive(Clone, Debug)]
pub struct CargoPlan {
    pub(super) run: CargoRun,
    pub(super) configuration: Configuration,
    pub(super) workdir: PathBuf,
    pub(super) target: Option<Target>,
    color: bool,
}

impl CargoPlan {
    /// Reads what cargo is configured to do. `color` is whether the output goes where colours are shown.
    pub(super) fn new(run: CargoRun, workdir: &Path, color: bool) -> Result<Self, BuildError> {
        let configuration = Configuration::read(&run, workdir)?;
        if configuration.version < FIRST_WITH_CONFIG {
            return Err(BuildError::OldCargo {
                version: configuration.version,
            });
        }
        if run
            .selection
            .config
            .iter()
            .any(|value| sets_runner(value, workdir))
        {
            return Err(BuildError::RunnerOnCommandLine);
        }
        Ok(Self {
            color: shows_color(&run, &configuration, color),
            run,
            configuration,
            workdir: workdir.to_owned(),
            target: None,
        })
    }

    /// Checks that there is a package and exactly one program in it to run.
    ///
    /// # Errors
    ///
    /// What cargo would also refuse, before any time is spent on a build.
    pub fn check(&mut self) -> Result<&Target, BuildError> {
        let target = checks::check(self)?;
        Ok(self.target.insert(target))
    }

    /// What to watch for this package. May run `cargo metadata`, never touches the network.
    ///
    /// # Errors
    ///
    /// Those of [`CargoPlan::check`], which is done first where it has not been.
    pub fn watch_roots(&mut self) -> Result<WatchRoots, BuildError> {
        if self.target.is_none() {
            self.check()?;
        }
        roots::of(self)
    }

    /// Whether a change of one of these files makes this plan outdated: cargo's configuration, or the
    /// toolchain. Then [`recognise`](super::recognise) has to be asked again.
    pub fn is_outdated_by(&self, changed: &[PathBuf]) -> bool {
        changed.iter().any(|path| decides(path))
    }

    /// Where cargo works.
    pub(super) fn directory(&self) -> PathBuf {
        configuration::directory(self.run.selection.directory.as_ref(), &self.workdir)
    }

    pub(super) fn invocation(&self) -> Result<Invocation, BuildError> {
        let mut argv = vec![self.run.cargo.clone()];
        argv.extend(self.run.toolchain.clone());
        argv.extend_from_slice(&self.run.globals);
        argv.push("run".into());
        // Right behind the subcommand: whatever follows, an alias that ends in `--` included, stays last.
        argv.extend(self.rendering());
        argv.extend(self.runner_options()?);
        argv.extend_from_slice(&self.run.options);
        argv.extend_from_slice(&self.run.program);
        Ok(Invocation {
            argv,
            workdir: self.workdir.clone(),
        })
    }

    pub(super) fn messages(&self) -> Messages {
        Messages::new(self.configuration.runner.clone().unwrap_or_default())
    }

    pub(super) fn finish(&self, messages: &mut Messages) -> Result<Launch, BuildError> {
        let launch = messages.take_launch();
        launch.ok_or_else(|| BuildError::RunnerNotStarted {
            cargo: self.run.cargo.clone(),
        })
    }

    fn rendering(&self) -> Vec<OsString> {
        let format = if self.color {
            "json-diagnostic-rendered-ansi"
        } else {
            "json"
        };
        let mut options = vec![format!("--message-format={format}").into()];
        // Cargo's own lines go into a pipe of ours: without this they would lose their colours. An option
        // and not a variable, so that the program's environment stays as it is.
        if self.color && self.run.selection.color.is_none() {
            options.push("--color=always".into());
        }
        options
    }

    /// The runner for the exact triple wins over every `cfg(…)`, and over the environment. A target that
    /// we have got wrong (a specification file, say) is caught by a `cfg` that is always true; cargo
    /// refuses two that match, so that is left out where the user has a runner.
    fn runner_options(&self) -> Result<Vec<OsString>, BuildError> {
        let triple = quoted(&self.configuration.triple);
        let mut options = runner_option(&triple, self.configuration.form)?;
        if self.configuration.runner.is_none() {
            options.extend(runner_option(&quoted("cfg(all())"), RunnerForm::List)?);
        }
        Ok(options)
    }
}

/// Whether a value of `--config`, which is `KEY=VALUE` or the path of a file, sets a runner.
fn sets_runner(value: &str, workdir: &Path) -> bool {
    value.contains("runner")
        || fs::read_to_string(workdir.join(value)).is_ok_and(|text| text.contains("runner"))
}

fn runner_option(key: &str, form: RunnerForm) -> Result<Vec<OsString>, BuildError> {
    let plain = form == RunnerForm::Words;
    let path = runner::executable(plain).map_err(BuildError::Ourselves)?;
    let words = [
        path.to_string_lossy().into_owned(),
        runner::FLAG.to_owned(),
        "--".to_owned(),
    ];
    let value = match form {
        RunnerForm::List => words.map(|word| quoted(&word)).join(","),
        RunnerForm::Words => words.join(" "),
    };
    let value = match form {
        RunnerForm::List => format!("[{value}]"),
        RunnerForm::Words => quoted(&value),
    };
    Ok(vec![
        "--config".into(),
        format!("target.{key}.runner={value}").into(),
    ])
}

/// A basic string of TOML. Its escapes are JSON's, as far as they occur in a path or a triple.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What the user said counts first: on the command line, then in cargo's configuration.
fn shows_color(run: &CargoRun, configuration: &Configuration, ours: bool) -> bool {
    match run.selection.color.as_deref() {
        Some("always") => true,
        Some("never") => false,
        Some(_) => ours,
        None => configuration.color.unwrap_or(ours),
    }
}

/// Whether the content of this file decides how cargo is called.
fn decides(path: &Path) -> bool {
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
            configuration: Configuration {
                version: (1, 95),
                triple: "t-1.0".to_owned(),
                runner: None,
                form: RunnerForm::List,
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
        let argv = plan.invocation().unwrap().argv;
        argv.iter()
            .map(|argument| argument.to_string_lossy().replace(&exe, "EXE"))
            .collect()
    }

    const EXACT: &str = r#"target."t-1.0".runner=["EXE","--runner","--"]"#;
    const EVERY: &str = r#"target."cfg(all())".runner=["EXE","--runner","--"]"#;

    #[test]
    fn ours_stands_before_the_users_own() {
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
    fn a_runner_of_the_users_leaves_only_the_exact_triple() {
        let argv = plan("cargo run", |plan| {
            plan.configuration.runner = Some(vec!["env".into()]);
        });
        assert_eq!(
            argv,
            ["cargo", "run", "--message-format=json", "--config", EXACT]
        );
    }

    #[test]
    fn a_string_in_the_users_file_is_met_by_a_string() {
        let argv = plan("cargo run", |plan| {
            plan.configuration.runner = Some(vec!["env".into()]);
            plan.configuration.form = RunnerForm::Words;
        });
        assert_eq!(argv[4], r#"target."t-1.0".runner="EXE --runner --""#);
    }

    #[test]
    fn colours_are_asked_for_once() {
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
    fn files_that_decide_how_cargo_is_called() {
        for (path, expected) in [
            ("/w/.cargo/config.toml", true),
            ("/w/.cargo/config", true),
            ("/w/rust-toolchain", true),
            ("/w/rust-toolchain.toml", true),
            ("/w/config.toml", false),
            ("/w/src/main.rs", false),
            ("/", false),
        ] {
            assert_eq!(decides(Path::new(path)), expected, "{path}");
        }
    }
}
