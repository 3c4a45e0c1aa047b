use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What to run for a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Where to run it.
    pub workdir: PathBuf,
}

/// What to start after a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments. The program may be relative to `workdir`: it is what the program
    /// finds as its own name, and `cargo run` gives it a relative path.
    pub argv: Vec<OsString>,
    /// The complete environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where to start it.
    pub workdir: PathBuf,
    /// The executable that was built, absolute. In command mode, and behind `--build`, nobody says.
    pub executable: Option<PathBuf>,
}

impl Launch {
    /// A command of the user's, in hotrun's own environment.
    pub(super) fn of_command(command: &[OsString], workdir: &Path) -> Self {
        Self {
            argv: command.to_vec(),
            env: std::env::vars_os().collect(),
            workdir: workdir.to_owned(),
            executable: None,
        }
    }
}
