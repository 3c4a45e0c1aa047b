use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::reload::{GenId, Notice};

/// One of a program's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// How important a message is. The level determines the message's color and the verbosity at which it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Shown with `-v`.
    Detail,
    /// Information.
    Info,
    /// The result that the user is waiting for.
    Success,
    /// Something is wrong, but hotrun continues.
    Warning,
    /// Something failed.
    Error,
}

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A notice from the state machine.
    Notice(Notice),
    /// hotrun has started watching files in this many directories.
    Watching(usize),
    /// A socket is open.
    Listening {
        /// The socket's name, as in `LISTEN_FDNAMES`; empty if no name is shown.
        name: String,
        /// The socket's actual address, as a user would type it.
        address: String,
        /// The generation whose program opened the socket; `None` if hotrun opened it, for all generations.
        by: Option<GenId>,
        /// Whether the address has not been reported before.
        first: bool,
    },
    /// The files at these absolute paths changed, and hotrun reacts to the change; a notice about the reaction follows.
    Changed(Vec<PathBuf>),
    /// A compiler diagnostic.
    Diagnostic {
        /// The generation that is being built.
        id: GenId,
        /// The diagnostic's level.
        level: Level,
        /// The text as rendered by the compiler, with colors.
        rendered: String,
    },
    /// The build printed a line, which is passed without its line ending.
    BuildLine(GenId, String),
    /// The program's process was started.
    Spawned {
        /// The generation.
        id: GenId,
        /// The program's own pid.
        pid: i32,
        /// The program's name.
        program: String,
    },
    /// The generation is this instance of the program, from 0. Reported only if there are several.
    Instance(GenId, usize),
    /// The first generation is started from the build of the second one, which is older.
    EarlierBuild(GenId, GenId),
    /// A program named another of its processes as its main process (`MAINPID`).
    MainProcess(GenId, i32),
    /// A program reported its status (`STATUS`), which replaces the previous one. It contains no control characters, and
    /// is empty if the program cleared it.
    Status(GenId, String),
    /// A source is down, for this reason, or up again (`None`).
    Source(String, Option<String>),
    /// The build's progress.
    Progress {
        /// The generation that is being built.
        id: GenId,
        /// How many crates cargo has compiled.
        done: usize,
        /// The total number of crates.
        all: usize,
    },
    /// The build is waiting for another cargo that has locked the target directory. cargo also prints a line about
    /// this.
    BuildBlocked,
    /// The artifact of this generation was stored, so that hotrun can roll back to it.
    ArtifactKept(GenId),
    /// The number of a generation's open connections has changed.
    Connections(GenId, usize),
    /// A piece of a program's output, as it was read.
    Output(GenId, OutputStream, Vec<u8>),
    /// A program's stream ended, which also ends its last line.
    OutputEnded(GenId, OutputStream),
    /// Any other message.
    Message {
        /// The message's level.
        level: Level,
        /// The text, in lowercase and without a final period. May have several lines.
        text: String,
        /// What the user can do.
        hint: Option<String>,
    },
}

/// A command to the user interface itself, from a key or from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UiCommand {
    /// The terminal was resized.
    Resized,
    /// Show or hide the key help.
    ToggleHelp,
    /// Hide the key help.
    HideHelp,
    /// Print the whole output of the last build.
    ShowBuildLog,
    /// Clear the screen.
    Clear,
    /// Print a mark, to find this place in the output again.
    Mark,
    /// Restore the terminal, because hotrun is about to be suspended.
    ReleaseTerminal,
    /// Continue after a suspend, or after a `SIGSTOP`, which hotrun cannot catch.
    Resume {
        /// How long hotrun and its programs were suspended. This time does not count as uptime.
        away: Duration,
    },
}
