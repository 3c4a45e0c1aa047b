use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{
    BuildError, CargoPlan, CargoRun, Inputs, Invocation, Launch, Messages, WatchRoots,
    configuration, inputs,
};

/// What the user asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What follows `--`. Empty: the package in `workdir`.
    pub command: &'a [OsString],
    /// `--build`
    pub build: Option<&'a str>,
    /// Where everything is run. Absolute.
    pub workdir: &'a Path,
    /// Whether the build's output is shown where colours are.
    pub color: bool,
}

/// How to build, and how to know what to start.
#[derive(Clone, Debug)]
pub enum Plan {
    /// A `cargo run`.
    Cargo(Box<CargoPlan>),
    /// `--build`, then the command.
    Shell {
        /// A line for `sh -c`.
        build: String,
        /// What to start after it.
        command: Vec<OsString>,
        /// Where.
        workdir: PathBuf,
    },
    /// No build: the command is started as it is.
    Command {
        /// What to start.
        command: Vec<OsString>,
        /// Where.
        workdir: PathBuf,
    },
}

/// Finds out how to build and run what the user asked for. Runs `cargo -vV` if it is a `cargo run`.
///
/// # Errors
///
/// There is nothing to run, or cargo or its configuration can't be used.
pub fn recognise(asked: &Asked<'_>) -> Result<Plan, BuildError> {
    let workdir = asked.workdir.to_owned();
    let command = asked.command.to_vec();
    match asked.build {
        Some(_) if command.is_empty() => Err(BuildError::NoCommandAfterBuild),
        Some(build) => Ok(Plan::Shell {
            build: build.to_owned(),
            command,
            workdir,
        }),
        None => without_build(command, asked),
    }
}

fn without_build(command: Vec<OsString>, asked: &Asked<'_>) -> Result<Plan, BuildError> {
    let workdir = asked.workdir.to_owned();
    let command = match command.is_empty() {
        true if has_manifest(&workdir) => vec!["cargo".into(), "run".into()],
        true => return Err(BuildError::NothingToRun { workdir }),
        false => command,
    };
    match CargoRun::parse(&command, |after, name| {
        configuration::alias(&workdir, after, name)
    }) {
        Some(run) => Ok(Plan::Cargo(Box::new(CargoPlan::new(
            run,
            &workdir,
            asked.color,
        )?))),
        None => Ok(Plan::Command { command, workdir }),
    }
}

/// Whether cargo would find a package here.
pub(super) fn has_manifest(workdir: &Path) -> bool {
    workdir
        .ancestors()
        .any(|directory| directory.join("Cargo.toml").is_file())
}

impl Plan {
    /// What to run for a build; `None` in command mode.
    ///
    /// # Errors
    ///
    /// hotrun's own path, which cargo is given as the runner, can't be found out.
    pub fn invocation(&self) -> Result<Option<Invocation>, BuildError> {
        match self {
            Self::Cargo(plan) => plan.invocation().map(Some),
            Self::Shell { build, workdir, .. } => Ok(Some(Invocation {
                argv: vec!["sh".into(), "-c".into(), build.into()],
                workdir: workdir.clone(),
            })),
            Self::Command { .. } => Ok(None),
        }
    }

    /// A reader for the output of one build.
    pub fn messages(&self) -> Messages {
        match self {
            Self::Cargo(plan) => plan.messages(),
            Self::Shell { .. } | Self::Command { .. } => Messages::of_any_program(),
        }
    }

    /// Whether a build was good. `status` is whether its process ended with status 0.
    pub fn succeeded(&self, messages: &Messages, status: bool) -> bool {
        match self {
            // Cargo ends as the runner does. If the runner could not be started, the build still succeeded.
            Self::Cargo(_) => status || messages.compiled() == Some(true),
            Self::Shell { .. } | Self::Command { .. } => status,
        }
    }

    /// Whether everything was compiled and what to start is known. Then the build has succeeded, and that its
    /// process still has to end need not be waited for.
    pub fn is_told(&self, messages: &Messages) -> bool {
        match self {
            Self::Cargo(_) => messages.has_launch(),
            Self::Shell { .. } | Self::Command { .. } => false,
        }
    }

    /// What to start, after a build that [`succeeded`](Plan::succeeded) (in command mode: at once).
    ///
    /// # Errors
    ///
    /// Cargo compiled everything and did not start the runner.
    pub fn finish(&self, messages: &mut Messages) -> Result<Launch, BuildError> {
        match self {
            Self::Cargo(plan) => plan.finish(messages),
            Self::Shell {
                command, workdir, ..
            }
            | Self::Command { command, workdir } => Ok(Launch::of_command(command, workdir)),
        }
    }

    /// What a good build was made from, exactly; `None` where nobody can say. Reads a file or two.
    pub fn inputs(&self, messages: &Messages, launch: &Launch) -> Option<Inputs> {
        match self {
            Self::Cargo(plan) => inputs::of(plan, messages, launch.executable.as_deref()?),
            Self::Shell { .. } | Self::Command { .. } => None,
        }
    }

    /// Start-up checks; see [`CargoPlan::check`]. Nothing is checked of other commands.
    ///
    /// # Errors
    ///
    /// There is no package, or no single program in it to run.
    pub fn check(&mut self) -> Result<(), BuildError> {
        match self {
            Self::Cargo(plan) => plan.check().map(drop),
            Self::Shell { .. } | Self::Command { .. } => Ok(()),
        }
    }

    /// What to watch where the user does not say.
    ///
    /// # Errors
    ///
    /// Those of [`Plan::check`].
    pub fn watch_roots(&mut self) -> Result<WatchRoots, BuildError> {
        match self {
            Self::Cargo(plan) => plan.watch_roots(),
            Self::Shell { workdir, .. } | Self::Command { workdir, .. } => Ok(WatchRoots {
                dirs: vec![workdir.clone()],
                ..WatchRoots::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(command: &'a [OsString], build: Option<&'a str>, workdir: &'a Path) -> Asked<'a> {
        Asked {
            command,
            build,
            workdir,
            color: false,
        }
    }

    #[test]
    fn a_build_line_goes_before_any_command() {
        let command = ["cargo".into(), "run".into()];
        let plan = recognise(&asked(&command, Some("make"), Path::new("/"))).unwrap();
        assert_eq!(
            plan.invocation().unwrap().unwrap().argv,
            ["sh", "-c", "make"]
        );
        let mut messages = plan.messages();
        let launch = plan.finish(&mut messages).unwrap();
        assert_eq!(launch.argv, command);
        assert_eq!(launch.workdir, Path::new("/"));
    }

    #[test]
    fn nothing_to_run_is_an_error_that_says_what_to_type() {
        let empty = tempfile::tempdir().unwrap();
        let error = recognise(&asked(&[], None, empty.path())).unwrap_err();
        assert!(matches!(error, BuildError::NothingToRun { .. }), "{error}");
        assert!(error.hint().unwrap().contains("hotrun -- "));
        let error = recognise(&asked(&[], Some("make"), empty.path())).unwrap_err();
        assert!(matches!(error, BuildError::NoCommandAfterBuild), "{error}");
    }

    #[test]
    fn other_commands_are_started_as_they_are() {
        let command = ["npm".into(), "start".into()];
        let plan = recognise(&asked(&command, None, Path::new("/"))).unwrap();
        assert!(matches!(plan, Plan::Command { .. }));
        assert_eq!(plan.invocation().unwrap(), None);
    }

    #[test]
    fn a_cargo_that_is_not_there_is_named() {
        let command = ["/nonexistent/cargo".into(), "run".into()];
        let error = recognise(&asked(&command, None, Path::new("/"))).unwrap_err();
        assert!(matches!(error, BuildError::CargoMissing { .. }), "{error}");
        assert_eq!(error.to_string(), "`/nonexistent/cargo` was not found");
    }
}
