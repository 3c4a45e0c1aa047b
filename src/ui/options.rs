use std::path::PathBuf;

/// The kind of user interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UiMode {
    /// The program's output above a footer that shows the current state.
    Live,
    /// The program's output unchanged, and hotrun's own lines on stderr.
    Plain,
    /// JSON objects on stdout, one per line.
    Json,
    /// Only the program's output.
    Off,
}

/// How much hotrun prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Only failures.
    Quiet,
    /// The default.
    Normal,
    /// More detail.
    Verbose,
}

/// The user interface's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The kind of user interface.
    pub mode: UiMode,
    /// Whether hotrun's own lines and the compiler's lines have colors. The program's colors do not depend on this.
    pub color: bool,
    /// Whether to clear the terminal before each build.
    pub clear: bool,
    /// Whether to print the files that triggered a build.
    pub why: bool,
    /// How much to print.
    pub verbosity: Verbosity,
    /// Whether hotrun reads keys. It does not if the program reads the terminal, or if stdin is not a terminal.
    pub keys: bool,
    /// Whether HTTP requests get a 503 response with the error while no generation is live.
    pub error_page: bool,
    /// Paths are shown relative to this directory.
    pub workdir: PathBuf,
}

#[cfg(test)]
impl Options {
    /// Options for tests.
    pub(crate) fn of(mode: UiMode) -> Self {
        Self {
            mode,
            color: false,
            clear: false,
            why: false,
            verbosity: Verbosity::Normal,
            keys: true,
            error_page: true,
            workdir: "/app".into(),
        }
    }
}
