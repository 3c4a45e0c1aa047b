use clap::ValueEnum;

/// The values of `--adopt`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// If the system allows it
    Auto,
    /// Never
    Never,
}

/// The values of `--when-busy`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBusy {
    /// Cancel the build and build the new sources
    Cancel,
    /// Let the build finish, then build again
    Queue,
}

/// The values of `--listen-pid`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenPid {
    /// Unless COMMAND is a known wrapper
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The values of `--stdin`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// To hotrun, as keys; the program has no input
    Hotrun,
    /// To the newest generation; hotrun handles Ctrl-C and Ctrl-Z
    Program,
}

/// The values of `--ui`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UiKind {
    /// `live` on a terminal, `plain` otherwise
    Auto,
    /// A status footer below the program's output, and keys
    Live,
    /// One line per event
    Plain,
    /// One JSON object per line
    Json,
    /// Only the program's output
    Off,
}

/// The values of `--color`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorWhen {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}
