use std::path::PathBuf;

use crate::reload::{GenId, Notice};

/// One of the two output streams of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Shown with `-v`.
    Detail,
    /// Good to know.
    Info,
    /// Something is not as the user wants it, hotrun goes on.
    Warning,
    /// Something failed.
    Error,
}

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// What the core tells.
    Notice(Notice),
    /// Files are watched from now on.
    Watching {
        /// In so many directories.
        directories: usize,
    },
    /// A socket is open.
    Listening {
        /// Its name, as in `LISTEN_FDNAMES`; empty if it has none worth showing.
        name: String,
        /// Its actual address, as a person would type it.
        address: String,
        /// The generation that has opened it by itself; `None`: hotrun has, for all of them.
        by: Option<GenId>,
        /// Whether nobody listened there before.
        first: bool,
    },
    /// These files changed, and something is done about it. Comes before the notice of what is done.
    Changed {
        /// Absolute paths.
        paths: Vec<PathBuf>,
    },
    /// The compiler has something to say.
    Diagnostic {
        /// The generation that is being built.
        id: GenId,
        /// How much it matters.
        level: Level,
        /// As the compiler renders it, with escape codes for colours.
        rendered: String,
    },
    /// The build printed a line.
    BuildLine {
        /// The generation that is being built.
        id: GenId,
        /// Without the line's end.
        text: String,
    },
    /// A process was started.
    Spawned {
        /// For this generation.
        id: GenId,
        /// The program's own pid.
        pid: i32,
        /// The program's name.
        program: String,
    },
    /// A program names another of its processes as its main one.
    MainProcess {
        /// Of this generation.
        id: GenId,
        /// That process.
        pid: i32,
    },
    /// A program says what it does. What it said before counts no more.
    Status {
        /// Of this generation.
        id: GenId,
        /// In its own words, without control characters; empty: nothing any more.
        text: String,
    },
    /// So many crates are compiled.
    Progress {
        /// The generation that is being built.
        id: GenId,
        /// Of these.
        done: usize,
        /// Of so many.
        all: usize,
    },
    /// The build waits for another one that works in the same place. The build's own line about it comes besides.
    BuildBlocked {
        /// The generation that is being built.
        id: GenId,
    },
    /// What a build made is kept, to go back to it.
    ArtifactKept {
        /// The generation that was built.
        id: GenId,
    },
    /// So many connections are open.
    Connections {
        /// To this generation.
        id: GenId,
        /// How many.
        count: usize,
    },
    /// A program printed something. The pieces are as they were read; lines need not be whole.
    Output {
        /// Which generation.
        id: GenId,
        /// Where.
        stream: Stream,
        /// What.
        bytes: Vec<u8>,
    },
    /// A stream of a program has ended: what it printed without a line's end is complete.
    OutputEnded {
        /// Which generation.
        id: GenId,
        /// Which stream.
        stream: Stream,
    },
    /// Anything else, in words.
    Message {
        /// How much it matters.
        level: Level,
        /// A sentence, lower case, without a final period. May have several lines.
        text: String,
        /// What to do about it.
        hint: Option<String>,
    },
}
