use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{
    BuildCommand, BuildError, BuildInputs, BuildOutput, CargoPlan, CargoRun, Launch, WatchRoots,
    cargo_config, inputs,
};

/// The options that a [`Plan`] depends on.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions<'a> {
    /// COMMAND. Not empty.
    pub command: &'a [OsString],
    /// `--build`
    pub build: Option<&'a str>,
    /// The working directory, absolute.
    pub workdir: &'a Path,
    /// Whether the output of the build may have colors.
    pub color: bool,
}

/// How to build, and what to start afterwards.
#[derive(Clone, Debug)]
pub enum Plan {
    /// A `cargo run`.
    Cargo(Box<CargoPlan>),
    /// Any other command.
    Command {
        /// A shell command to run first: `--build`.
        build: Option<String>,
        /// The command to start.
        command: Vec<OsString>,
        /// The working directory.
        workdir: PathBuf,
    },
}

impl Plan {
    /// Decides how to build and run a command. Runs `cargo -vV` if it is a `cargo run`.
    ///
    /// # Errors
    ///
    /// Cargo or its configuration can't be used.
    pub fn new(options: &PlanOptions<'_>) -> Result<Self, BuildError> {
        let workdir = options.workdir.to_owned();
        let alias = |directory: Option<&PathBuf>, name: &str| {
            cargo_config::alias(&workdir, directory, name)
        };
        let run = match options.build {
            Some(_) => None,
            None => CargoRun::parse(options.command, alias),
        };
        Ok(match run {
            Some(run) => Self::Cargo(Box::new(CargoPlan::new(run, &workdir, options.color)?)),
            None => Self::Command {
                build: options.build.map(str::to_owned),
                command: options.command.to_vec(),
                workdir,
            },
        })
    }

    /// The command that builds. `None` if there is no build.
    ///
    /// # Errors
    ///
    /// hotrun can't find its own executable, which cargo needs as the runner.
    pub fn build_command(&self) -> Result<Option<BuildCommand>, BuildError> {
        match self {
            Self::Cargo(plan) => plan.build_command().map(Some),
            Self::Command { build, workdir, .. } => Ok(build.as_ref().map(|build| BuildCommand {
                argv: vec!["sh".into(), "-c".into(), build.into()],
                workdir: workdir.clone(),
            })),
        }
    }

    /// A reader for the output of one build.
    pub fn output(&self) -> BuildOutput {
        match self {
            Self::Cargo(plan) => plan.output(),
            Self::Command { .. } => BuildOutput::default(),
        }
    }

    /// Whether a build succeeded. `success`: whether its process exited with status 0.
    pub fn succeeded(&self, output: &BuildOutput, success: bool) -> bool {
        match self {
            // Cargo exits with the status of the runner. If the runner could not be started, the build still succeeded.
            Self::Cargo(_) => success || output.compiled() == Some(true),
            Self::Command { .. } => success,
        }
    }

    /// Whether everything is compiled and the launch is known, so that there is no need to wait until the process of
    /// the build exits.
    pub fn is_complete(&self, output: &BuildOutput) -> bool {
        match self {
            Self::Cargo(_) => output.has_launch(),
            Self::Command { .. } => false,
        }
    }

    /// What to start after a build that [`succeeded`](Plan::succeeded), or at once if there is no build.
    ///
    /// # Errors
    ///
    /// Cargo compiled everything but did not start the runner.
    pub fn launch(&self, output: &mut BuildOutput) -> Result<Launch, BuildError> {
        match self {
            Self::Cargo(plan) => plan.launch(output),
            Self::Command {
                command, workdir, ..
            } => Ok(Launch::of_command(command, workdir)),
        }
    }

    /// The files that a successful build depends on. `None` if they are not known. Reads one or two files.
    pub fn inputs(&self, output: &BuildOutput, launch: &Launch) -> Option<BuildInputs> {
        match self {
            Self::Cargo(plan) => inputs::of(plan, output, launch.executable.as_deref()?),
            Self::Command { .. } => None,
        }
    }

    /// Checks a `cargo run`, see [`CargoPlan::check`].
    ///
    /// # Errors
    ///
    /// There is no package, or not exactly one program to run.
    pub fn check(&mut self) -> Result<(), BuildError> {
        match self {
            Self::Cargo(plan) => plan.check().map(drop),
            Self::Command { .. } => Ok(()),
        }
    }

    /// What to watch by default.
    ///
    /// # Errors
    ///
    /// Those of [`Plan::check`].
    pub fn watch_roots(&mut self) -> Result<WatchRoots, BuildError> {
        match self {
            Self::Cargo(plan) => plan.watch_roots(),
            Self::Command { workdir, .. } => Ok(WatchRoots {
                dirs: vec![workdir.clone()],
                ..WatchRoots::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(command: &[&str], build: Option<&str>) -> Result<Plan, BuildError> {
        let command: Vec<_> = command.iter().map(OsString::from).collect();
        Plan::new(&PlanOptions {
            command: &command,
            build,
            workdir: Path::new("/"),
            color: false,
        })
    }

    #[test]
    fn a_build_command_applies_to_any_command() {
        let plan = plan(&["cargo", "run"], Some("make")).unwrap();
        let build = plan.build_command().unwrap().unwrap();
        assert_eq!(build.argv, ["sh", "-c", "make"]);
        let launch = plan.launch(&mut plan.output()).unwrap();
        assert_eq!(launch.argv, ["cargo", "run"]);
        assert_eq!(launch.workdir, Path::new("/"));
    }

    #[test]
    fn other_commands_have_no_build() {
        let plan = plan(&["npm", "start"], None).unwrap();
        assert!(matches!(plan, Plan::Command { .. }));
        assert_eq!(plan.build_command().unwrap(), None);
    }

    #[test]
    fn a_missing_cargo_is_named() {
        let error = plan(&["/nonexistent/cargo", "run"], None).unwrap_err();
        assert!(matches!(error, BuildError::CargoMissing { .. }), "{error}");
        assert_eq!(error.to_string(), "`/nonexistent/cargo` was not found");
    }
}
