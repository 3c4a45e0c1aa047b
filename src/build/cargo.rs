use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use cargo_config2::{Color, Config, ResolveOptions, TargetTripleRef, de};

use super::command_line::CargoRun;
use super::target::{self, CargoTarget};
use super::{SEPARATE_BUILD, runner};
use crate::error::Failure;

/// How to build and start the program of a `cargo run`.
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
    /// always true. Cargo refuses two matching `cfg`s, so the `cfg` is left out if the user has configured a runner.
    fn runner_options(&self) -> Result<Vec<OsString>, Failure> {
        let is_string = self.config.runner_is_string;
        let path = runner::executable(is_string).map_err(|error| {
            Failure::environment(format!("cannot find hotrun's own executable: {error}"))
                .hint("restart hotrun if its executable was moved or replaced")
        })?;
        let path = path.to_string_lossy();
        // A basic TOML string. For the characters in paths and triples, JSON uses the same escapes.
        let toml = |text: &str| serde_json::Value::from(text).to_string();
        let runner = match is_string {
            true => toml(&format!("{path} {} --", runner::FLAG)),
            false => format!("[{},\"{}\",\"--\"]", toml(&path), runner::FLAG),
        };
        let any = self.config.runner.is_empty().then_some("cfg(all())");
        let keys = [&*self.config.triple].into_iter().chain(any);
        let values = keys.map(|key| format!("target.{}.runner={runner}", toml(key)));
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

/// The first cargo version with a stable `--config`, which hotrun needs to set itself as the runner.
const MIN_VERSION: (u32, u32) = (1, 63);

/// The parts of cargo's configuration that affect how hotrun calls cargo.
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
            let hint = format!("update it (`rustup update`), or {SEPARATE_BUILD}");
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
    // `host-tuple` stands for the host (see `cargo help build`).
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
