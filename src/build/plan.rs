use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::cargo::CargoPlan;
use super::command_line::CargoRun;
use super::config;
use super::inputs::{self, BuildInputs};
use super::output::{BuildOutput, Launch};
use super::target::{self, WatchRoots};
use crate::error::Failure;

/// The options that a [`Plan`] depends on.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions<'a> {
    /// `COMMAND`, which is never empty.
    pub command: &'a [OsString],
    /// `--build`
    pub build: Option<&'a str>,
    /// The absolute path of the working directory.
    pub workdir: &'a Path,
    /// Whether the build's output may be colored.
    pub color: bool,
    /// Whether cargo should print its progress even though it has no terminal.
    pub progress: bool,
}

/// How to build, and what to start afterwards.
#[derive(Clone, Debug)]
pub enum Plan {
    /// A `cargo run` without `--build`.
    Cargo(Box<CargoPlan>),
    /// Any other command.
    Command {
        /// A shell command to run first: `--build`.
        build: Option<String>,
        /// The command to start.
        command: Vec<OsString>,
        /// The working directory.
        workdir: PathBuf,
        /// Whether a cargo that the build calls should print its progress.
        progress: bool,
    },
}

/// A command that makes cargo print its progress.
const PROGRESS: [&str; 3] = [
    "env",
    "CARGO_TERM_PROGRESS_WHEN=always",
    "CARGO_TERM_PROGRESS_WIDTH=60",
];

/// The command that builds the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildCommand {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The working directory.
    pub workdir: PathBuf,
}

impl Plan {
    /// Decides how to build and run a command. For a `cargo run`, runs `cargo -vV` and `cargo metadata`.
    ///
    /// # Errors
    ///
    /// Cargo or its configuration can't be used, or there is not exactly one program to run.
    pub fn new(options: &PlanOptions<'_>) -> Result<Self, Failure> {
        let run = match options.build {
            Some(_) => None,
            None => CargoRun::parse(options.command, options.workdir, config::alias),
        };
        Ok(match run {
            Some(run) => Self::Cargo(Box::new(CargoPlan::new(
                run,
                options.color,
                options.progress,
            )?)),
            None => Self::Command {
                build: options.build.map(str::to_owned),
                command: options.command.to_vec(),
                workdir: options.workdir.to_owned(),
                progress: options.progress,
            },
        })
    }

    /// The build command. `None` if there is nothing to build.
    pub fn build_command(&self) -> Option<BuildCommand> {
        match self {
            Self::Cargo(plan) => Some(BuildCommand {
                argv: plan.argv(),
                workdir: plan.run.workdir.clone(),
            }),
            Self::Command {
                build,
                workdir,
                progress,
                ..
            } => {
                let progress = PROGRESS.iter().filter(|_| *progress);
                let argv = progress.copied().chain(["sh", "-c", build.as_ref()?]);
                Some(BuildCommand {
                    argv: argv.map(OsString::from).collect(),
                    workdir: workdir.clone(),
                })
            }
        }
    }

    /// A new parser for the output of one build.
    pub fn output(&self) -> BuildOutput {
        match self {
            Self::Cargo(plan) => BuildOutput::of_cargo(plan.config.runner.clone()),
            Self::Command { .. } => BuildOutput::default(),
        }
    }

    /// What to start after a build that [`succeeded`](BuildOutput::succeeded), or immediately if there is nothing to
    /// build.
    ///
    /// # Errors
    ///
    /// Cargo compiled everything, but the runner's message did not arrive.
    pub fn launch(&self, output: &mut BuildOutput) -> Result<Launch, Failure> {
        match self {
            Self::Cargo(plan) => output.launch.take().ok_or_else(|| {
                Failure::environment(format!(
                    "the build succeeded, but `{} run` did not report what it would start",
                    plan.run.cargo.display()
                ))
                .hint(
                    "if it is a wrapper, use a separate build: \
                     `hotrun -e rs,toml -b 'cargo build' -- target/debug/NAME`",
                )
            }),
            Self::Command {
                command, workdir, ..
            } => Ok(Launch {
                argv: command.clone(),
                env: env::vars_os().collect(),
                workdir: workdir.clone(),
                executable: None,
            }),
        }
    }

    /// The files that a successful build depends on. Reads the dep-info file and the build scripts' output.
    ///
    /// # Errors
    ///
    /// The files are not known. If cargo reports an input that does not exist, the error is its path.
    pub fn inputs(
        &self,
        output: &BuildOutput,
        launch: &Launch,
    ) -> Result<BuildInputs, Option<PathBuf>> {
        match (self, &launch.executable) {
            (Self::Cargo(plan), Some(executable)) => inputs::of(plan, output, executable),
            (Self::Cargo(_) | Self::Command { .. }, _) => Err(None),
        }
    }

    /// What to watch by default. For a `cargo run`, runs `cargo metadata` without network access.
    ///
    /// # Errors
    ///
    /// Cargo can't read the package.
    pub fn watch_roots(&self) -> Result<WatchRoots, Failure> {
        match self {
            Self::Cargo(plan) => target::watch_roots(&plan.run, &plan.config, &plan.target),
            Self::Command { workdir, .. } => Ok(WatchRoots {
                dirs: vec![workdir.clone()],
                ..WatchRoots::default()
            }),
        }
    }

    /// What to watch in addition after a failed build.
    pub fn to_mend(&self, output: &BuildOutput) -> Vec<PathBuf> {
        match self {
            Self::Cargo(plan) => target::to_mend(&plan.run, &plan.target, &output.named),
            Self::Command { .. } => Vec::new(),
        }
    }

    /// Whether one of these files configures cargo or selects the toolchain, so that a change to it requires a new
    /// plan.
    pub fn is_outdated_by(&self, changed: &[PathBuf]) -> bool {
        match self {
            Self::Cargo(plan) => changed
                .iter()
                .any(|path| target::configures_cargo(path) || plan.config.files.contains(path)),
            Self::Command { .. } => false,
        }
    }

    /// Whether cargo could not read the package or its configuration. If so, the next build needs a new plan.
    pub const fn is_provisional(&self) -> bool {
        match self {
            Self::Cargo(plan) => plan.is_provisional,
            Self::Command { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(command: &[&str], build: Option<&str>) -> Result<Plan, Failure> {
        let command: Vec<_> = command.iter().map(OsString::from).collect();
        Plan::new(&PlanOptions {
            command: &command,
            build,
            workdir: Path::new("/"),
            color: false,
            progress: false,
        })
    }

    #[test]
    fn the_build_option_can_be_combined_with_any_command() {
        let plan = plan(&["cargo", "run"], Some("make")).unwrap();
        let build = plan.build_command().unwrap();
        assert_eq!(build.argv, ["sh", "-c", "make"]);
        let launch = plan.launch(&mut plan.output()).unwrap();
        assert_eq!(launch.argv, ["cargo", "run"]);
        assert_eq!(launch.workdir, Path::new("/"));
    }

    #[test]
    fn a_command_other_than_cargo_run_has_no_build() {
        let plan = plan(&["npm", "start"], None).unwrap();
        assert!(matches!(plan, Plan::Command { .. }));
        assert_eq!(plan.build_command(), None);
    }

    #[test]
    fn the_error_for_a_missing_cargo_names_its_path() {
        let error = plan(&["/nonexistent/cargo", "run"], None).unwrap_err();
        let expected = "cannot use `/nonexistent/cargo`: No such file";
        assert!(error.message().starts_with(expected), "{error}");
        assert!(error.first_hint().unwrap().contains("rustup"), "{error}");
    }
}
