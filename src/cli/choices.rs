use clap::ValueEnum;

/// Whether to take over what the program opens by itself, as typed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// Where the system allows it
    Auto,
    /// Not at all
    Never,
}

/// What a change does that arrives while a build runs, as typed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBusy {
    /// Give it up and build the newer sources at once
    Cancel,
    /// Let it run to its end, and build again after it
    Queue,
}

/// Whether the program gets `LISTEN_PID`, as typed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenPid {
    /// Unless COMMAND is a wrapper that is known to start the program as its child
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Who gets what is typed, as typed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// hotrun, as keys; the program has nothing to read
    Hotrun,
    /// The newest generation; Ctrl-C and Ctrl-Z stay hotrun's
    Program,
}

/// How to show what happens, as typed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UiKind {
    /// Live on a terminal, else plain
    Auto,
    /// A footer that is kept up to date, the output above it, and keys
    Live,
    /// One line for each fact
    Plain,
    /// One JSON object a line
    Json,
    /// Nothing but the program's output
    Off,
}

/// When to use colours, as typed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorWhen {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// `--poll`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Only where nobody tells of changes.
    IfNeeded,
    /// Everywhere.
    Always,
    /// Everywhere, with this pause.
    Every(std::time::Duration),
}
