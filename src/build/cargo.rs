use std::ffi::OsString;
use std::process::Command;

use super::command_line::CargoRun;
use super::config::CargoConfig;
use super::runner;
use super::target::{self, CargoTarget};
use crate::error::Failure;

/// The settings that make cargo print its progress without a terminal. They are not set through environment variables,
/// because the program inherits cargo's environment.
const PROGRESS: [&str; 2] = ["term.progress.when=\"always\"", "term.progress.width=60"];

/// How to build and start the program of a `cargo run`.
#[derive(Clone, Debug)]
pub struct CargoPlan {
    pub(super) run: CargoRun,
    pub(super) config: CargoConfig,
    pub(super) target: CargoTarget,
    /// Whether cargo could not read the package or its configuration. If so, the next build needs a new plan.
    pub(super) is_provisional: bool,
    color: bool,
    progress: bool,
}

impl CargoPlan {
    /// Reads cargo's configuration, and checks that there is a package with exactly one program to run, unless its
    /// manifest is broken. `color` tells whether the build's output may be colored, and `progress` whether cargo should
    /// print its progress.
    pub(super) fn new(run: CargoRun, color: bool, progress: bool) -> Result<Self, Failure> {
        let host = host(&run)?;
        let config = CargoConfig::read(&run, &host);
        let target = target::find(&run)?;
        let is_provisional = config.is_none() || target.is_guess;
        let config = config.unwrap_or_else(|| CargoConfig {
            triple: host,
            ..CargoConfig::default()
        });
        let color = match run.color.as_deref().or(config.color.as_deref()) {
            Some("always") => true,
            Some("never") => false,
            Some(_) | None => color,
        };
        Ok(Self {
            is_provisional,
            target,
            run,
            config,
            color,
            progress,
        })
    }

    /// The command line of the build.
    pub(super) fn argv(&self) -> Vec<OsString> {
        let run = &self.run;
        let mut argv = vec![run.cargo.clone()];
        argv.extend(run.toolchain.clone());
        argv.extend_from_slice(&run.globals);
        argv.push("run".into());
        // hotrun's options come first, because an alias may end in `--`.
        argv.push(match self.color {
            true => "--message-format=json-diagnostic-rendered-ansi".into(),
            false => "--message-format=json".into(),
        });
        // Cargo does not color its own lines when it writes to a pipe. An option is used rather than a variable, so
        // that the program's environment does not change.
        if self.color && run.color.is_none() {
            argv.push("--color=always".into());
        }
        // Cargo ignores `--config` options before `run` if there is one after it, so all of them go here.
        let given = run.config.iter().map(OsString::from);
        let ours = self.settings();
        argv.extend(
            given
                .chain(ours)
                .flat_map(|value| ["--config".into(), value]),
        );
        argv.extend_from_slice(&run.options);
        argv.extend_from_slice(&run.program);
        argv
    }

    /// Sets the runner for the exact target triple, which overrides every `cfg(…)` and the environment. In case the
    /// triple is wrong (for example, if the target is a specification file), also sets the runner for a `cfg` that is
    /// always true. Cargo refuses two matching `cfg`s, so the `cfg` is left out if the user has configured a runner.
    fn settings(&self) -> Vec<OsString> {
        let is_string = self.config.runner_is_string;
        let path = runner::executable(is_string);
        let path = path.to_string_lossy();
        // A basic TOML string. For the characters in paths and triples, JSON uses the same escapes.
        let toml = |text: &str| serde_json::Value::from(text).to_string();
        let runner = match is_string {
            true => toml(&format!("{path} {} --", runner::FLAG)),
            false => format!("[{},\"{}\",\"--\"]", toml(&path), runner::FLAG),
        };
        let any = self.config.runner.is_empty().then_some("cfg(all())");
        let keys = [&*self.config.triple].into_iter().chain(any);
        let runners = keys.map(|key| format!("target.{}.runner={runner}", toml(key)));
        let progress = PROGRESS.iter().filter(|_| self.progress);
        let progress = progress.map(|&setting| setting.to_owned());
        runners.chain(progress).map(OsString::from).collect()
    }
}

/// The host of the toolchain that `+toolchain` or rustup selects.
fn host(run: &CargoRun) -> Result<String, Failure> {
    let cargo = run.cargo.display();
    let unusable = |reason: &str| Failure::environment(format!("cannot use `{cargo}`: {reason}"));
    let mut command = Command::new(&run.cargo);
    command.args(&run.toolchain).arg("-vV");
    let output = command.current_dir(&run.workdir).output();
    let output = output.map_err(|error| {
        unusable(&error.to_string())
            .hint("install Rust from https://rustup.rs, or give the path of cargo")
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(|host| host.trim().to_owned()).ok_or_else(|| {
        let reason = match String::from_utf8_lossy(&output.stderr).trim() {
            "" => "it did not print its host".to_owned(),
            message => message.trim_start_matches("error: ").to_owned(),
        };
        unusable(&reason).hint(format!("make sure that `{cargo} -vV` works"))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn plan(line: &str, change: impl FnOnce(&mut CargoPlan)) -> Vec<String> {
        let command: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let run = CargoRun::parse(&command, Path::new("/w"), |_, name| {
            (name == "serve").then(|| vec!["run".to_owned(), "-q".to_owned(), "--".to_owned()])
        });
        let mut plan = CargoPlan {
            run: run.expect("the line must be parsed as `cargo run`"),
            config: CargoConfig {
                triple: "t-1.0".to_owned(),
                ..CargoConfig::default()
            },
            target: CargoTarget::default(),
            is_provisional: false,
            color: false,
            progress: false,
        };
        change(&mut plan);
        let exe = std::env::current_exe()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let argv = plan.argv();
        argv.iter()
            .map(|argument| argument.to_string_lossy().replace(&exe, "EXE"))
            .collect()
    }

    const EXACT: &str = r#"target."t-1.0".runner=["EXE","--runner","--"]"#;
    const EVERY: &str = r#"target."cfg(all())".runner=["EXE","--runner","--"]"#;

    #[test]
    fn hotruns_options_come_right_after_the_subcommand() {
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
    fn a_configured_runner_is_overridden_only_for_the_exact_triple() {
        let argv = plan("cargo run", |plan| {
            plan.config.runner = vec!["env".into()];
        });
        assert_eq!(
            argv,
            ["cargo", "run", "--message-format=json", "--config", EXACT]
        );
    }

    #[test]
    fn a_configured_runner_that_is_a_string_is_overridden_by_a_string() {
        let argv = plan("cargo run", |plan| {
            plan.config.runner = vec!["env".into()];
            plan.config.runner_is_string = true;
        });
        assert_eq!(argv[4], r#"target."t-1.0".runner="EXE --runner --""#);
    }

    #[test]
    fn the_users_config_values_come_before_hotruns() {
        let argv = plan("cargo --config a=1 run", |plan| {
            plan.config.runner = vec!["env".into()];
            plan.progress = true;
        });
        let values: Vec<_> = argv[3..].chunks(2).map(|pair| &*pair[1]).collect();
        assert_eq!(values, ["a=1", EXACT, PROGRESS[0], PROGRESS[1]]);
        assert_eq!(argv[..3], ["cargo", "run", "--message-format=json"]);
    }

    #[test]
    fn the_color_option_is_added_unless_it_is_already_given() {
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
}
