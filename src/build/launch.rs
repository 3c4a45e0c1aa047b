use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The command of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildCommand {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The working directory.
    pub workdir: PathBuf,
}

/// What to start after a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments. The program may be relative to `workdir`, as with `cargo run`, because the
    /// program sees this as its own name.
    pub argv: Vec<OsString>,
    /// The complete environment.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub workdir: PathBuf,
    /// The absolute path of the executable that cargo built. `None` without cargo.
    pub executable: Option<PathBuf>,
}

impl Launch {
    /// Starts a command of the user in hotrun's own environment.
    pub(super) fn of_command(command: &[OsString], workdir: &Path) -> Self {
        Self {
            argv: command.to_vec(),
            env: std::env::vars_os().collect(),
            workdir: workdir.to_owned(),
            executable: None,
        }
    }
}
