use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::os::terminal::Size;
use crate::reload::{GenId, Notice};

/// One of the two output streams of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// How much a message matters: at which verbosity and in which color it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Shown with `-v`.
    Detail,
    /// Information.
    Info,
    /// What the user waits for.
    Success,
    /// Something is wrong, but hotrun continues.
    Warning,
    /// Something failed.
    Error,
}

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A notice of the state machine.
    Notice(Notice),
    /// hotrun watches files from now on.
    Watching {
        /// How many directories.
        directories: usize,
    },
    /// A socket is open.
    Listening {
        /// Its name, as in `LISTEN_FDNAMES`; empty if no name is shown.
        name: String,
        /// Its actual address, as a user would type it.
        address: String,
        /// The generation whose program opened it; `None`: hotrun opened it, for all of them.
        by: Option<GenId>,
        /// Whether this address is new.
        first: bool,
    },
    /// These files changed, and hotrun acts on it. Precedes the notice of the action.
    Changed {
        /// Absolute paths.
        paths: Vec<PathBuf>,
    },
    /// A diagnostic of the compiler.
    Diagnostic {
        /// The generation that is being built.
        id: GenId,
        /// Its level.
        level: Level,
        /// As rendered by the compiler, with colors.
        rendered: String,
    },
    /// The build printed a line.
    BuildLine {
        /// The generation that is being built.
        id: GenId,
        /// Without the line end.
        text: String,
    },
    /// A process was started.
    Spawned {
        /// The generation.
        id: GenId,
        /// The program's own pid.
        pid: i32,
        /// The program's name.
        program: String,
    },
    /// A program named another of its processes as its main process (`MAINPID`).
    MainProcess {
        /// The generation.
        id: GenId,
        /// The main process.
        pid: i32,
    },
    /// A program reported its status (`STATUS`), which replaces the previous one.
    Status {
        /// The generation.
        id: GenId,
        /// Without control characters; empty: the program cleared its status.
        text: String,
    },
    /// How many crates are compiled.
    Progress {
        /// The generation that is being built.
        id: GenId,
        /// This many.
        done: usize,
        /// Out of this many.
        all: usize,
    },
    /// The build waits for another cargo that locks the same directory. The build also prints a line about this.
    BuildBlocked {
        /// The generation that is being built.
        id: GenId,
    },
    /// An artifact was stored, so that hotrun can roll back to it.
    ArtifactKept {
        /// The generation that was built.
        id: GenId,
    },
    /// The number of open connections.
    Connections {
        /// The generation.
        id: GenId,
        /// How many.
        count: usize,
    },
    /// Output of a program, in pieces as they were read.
    Output {
        /// The generation.
        id: GenId,
        /// The stream.
        stream: Stream,
        /// The output.
        bytes: Vec<u8>,
    },
    /// A stream of a program ended, and with it its last line.
    OutputEnded {
        /// The generation.
        id: GenId,
        /// The stream.
        stream: Stream,
    },
    /// Any other message.
    Message {
        /// Its level.
        level: Level,
        /// Lower case, without a final period. May have several lines.
        text: String,
        /// What the user can do.
        hint: Option<String>,
    },
}

/// A command to the user interface itself, from a key or from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UiCommand {
    /// The terminal was resized.
    Resized(Size),
    /// Show or hide the key help.
    ToggleHelp,
    /// Hide the key help.
    HideHelp,
    /// Print the whole output of the last build.
    ShowBuildLog,
    /// Clear the screen.
    Clear,
    /// Print a mark, to find this place again.
    Mark,
    /// Restore the terminal: hotrun is about to be suspended.
    ReleaseTerminal,
    /// hotrun continues after a suspend, or after a `SIGSTOP`, which it cannot catch.
    Resume {
        /// How long it was suspended together with its programs. This time does not count as uptime.
        away: Duration,
    },
}
