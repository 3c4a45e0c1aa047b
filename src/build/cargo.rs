use std::ffi::OsString;
use std::fs;

use super::cargo_config::CargoConfig;
use super::command_line::CargoRun;
use super::target::{self, CargoTarget};
use super::{SEPARATE_BUILD, runner};
use crate::error::Failure;

/// How to build and start a `cargo run`.
#[derive(Clone, Debug)]
pub struct CargoPlan {
    pub(super) run: CargoRun,
    pub(super) config: CargoConfig,
    pub(super) target: CargoTarget,
    color: bool,
}

impl CargoPlan {
    /// Reads cargo's configuration, and checks that there is a package with exactly one program to run. `color` tells
    /// whether the build's output may be colored.
    pub(super) fn new(run: CargoRun, color: bool) -> Result<Self, Failure> {
        let config = CargoConfig::read(&run)?;
        if run.config.iter().any(|value| sets_runner(value, &run)) {
            let text = "`--config` sets a runner, but hotrun needs to set its own";
            let hint = format!("set the runner in `.cargo/config.toml`, or {SEPARATE_BUILD}");
            return Err(Failure::environment(text).hint(hint));
        }
        // The command line takes precedence over cargo's configuration.
        let color = match run.color.as_deref() {
            Some("always") => true,
            Some("never") => false,
            Some(_) => color,
            None => config.color.unwrap_or(color),
        };
        Ok(Self {
            target: target::find(&run)?,
            run,
            config,
            color,
        })
    }

    /// The command line of the build.
    pub(super) fn argv(&self) -> Result<Vec<OsString>, Failure> {
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
        argv.extend(self.runner_options()?);
        argv.extend_from_slice(&run.options);
        argv.extend_from_slice(&run.program);
        Ok(argv)
    }

    /// Sets the runner for the exact target triple, which overrides every `cfg(…)` and the environment. In case the
    /// triple is wrong (for example, if the target is a specification file), also sets the runner for a `cfg` that is
    /// always true. Cargo refuses two matching `cfg`s, so the second one is left out if the user has configured a
    /// runner.
    fn runner_options(&self) -> Result<Vec<OsString>, Failure> {
        let is_string = self.config.runner_is_string;
        let path = runner::executable(is_string).map_err(|error| {
            Failure::environment(format!("cannot find hotrun's own executable: {error}"))
                .hint("restart hotrun if its executable was moved or replaced")
        })?;
        let path = path.to_string_lossy();
        let runner = match is_string {
            true => quoted(&format!("{path} {} --", runner::FLAG)),
            false => format!("[{},\"{}\",\"--\"]", quoted(&path), runner::FLAG),
        };
        let any = self.config.runner.is_empty().then_some("cfg(all())");
        let keys = [&*self.config.triple].into_iter().chain(any);
        let values = keys.map(|key| format!("target.{}.runner={runner}", quoted(key)));
        Ok(values
            .flat_map(|value| ["--config".into(), value.into()])
            .collect())
    }
}

/// Whether a `--config` value sets a runner. The value is `KEY=VALUE` or the path of a file.
fn sets_runner(value: &str, run: &CargoRun) -> bool {
    let names_it = |text: &str| text.contains("runner");
    names_it(value) || fs::read_to_string(run.workdir.join(value)).is_ok_and(|text| names_it(&text))
}

/// Formats a basic TOML string as JSON. For the characters in paths and triples, both use the same escapes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
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
            run: run.expect("the line must be a `cargo run`"),
            config: CargoConfig {
                triple: "t-1.0".to_owned(),
                ..CargoConfig::default()
            },
            target: CargoTarget::default(),
            color: false,
        };
        change(&mut plan);
        let exe = std::env::current_exe()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let argv = plan.argv().unwrap();
        argv.iter()
            .map(|argument| argument.to_string_lossy().replace(&exe, "EXE"))
            .collect()
    }

    const EXACT: &str = r#"target."t-1.0".runner=["EXE","--runner","--"]"#;
    const EVERY: &str = r#"target."cfg(all())".runner=["EXE","--runner","--"]"#;

    #[test]
    fn hotruns_options_come_before_the_users() {
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
}
