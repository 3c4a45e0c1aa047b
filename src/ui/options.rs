use std::path::PathBuf;

/// How to show what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A footer that is kept up to date, the output above it.
    Live,
    /// One line for each fact, on stderr; the program's output as it came.
    Plain,
    /// One JSON object a line, on stdout.
    Json,
    /// Nothing but the program's output.
    Off,
}

/// How much hotrun itself says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Failures only.
    Quiet,
    /// What a person wants to know.
    Normal,
    /// More.
    Verbose,
}

/// What the user chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which face.
    pub mode: Mode,
    /// Whether hotrun's own lines and the compiler's have colours. The program's are never touched.
    pub colour: bool,
    /// Whether to clear the terminal before a build.
    pub clear: bool,
    /// Whether to name the files that caused a build.
    pub why: bool,
    /// How much to say.
    pub verbosity: Verbosity,
    /// Whether keys are for hotrun: not if what is typed goes to the program, or nobody can type.
    pub keys: bool,
    /// Whether requests are answered with the reason while nothing serves.
    pub error_page: bool,
    /// Files are shown relative to this directory.
    pub workdir: PathBuf,
}

#[cfg(test)]
impl Options {
    /// What the tests show things by.
    pub(crate) fn of(mode: Mode) -> Self {
        Self {
            mode,
            colour: false,
            clear: false,
            why: false,
            verbosity: Verbosity::Normal,
            keys: true,
            error_page: true,
            workdir: "/app".into(),
        }
    }
}
