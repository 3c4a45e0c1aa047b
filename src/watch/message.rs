use std::path::PathBuf;
use std::time::Instant;
use std::{error, fmt, io};

/// What the watch reports.
#[derive(Debug)]
pub enum Message {
    /// From now on no change is missed.
    Watching {
        /// The number of watched directories.
        dirs: usize,
        /// The number of files in them that count.
        files: usize,
    },
    /// Files were created, removed, or have other contents.
    Changed {
        /// The files. Sorted, never empty.
        paths: Vec<PathBuf>,
        /// When the first and the last event for them arrived.
        seen: (Instant, Instant),
    },
    /// Something cannot be watched as it should be.
    Trouble(Trouble),
}

/// What is wrong with the watch. Everything else is watched all the same.
#[derive(Debug)]
pub enum Trouble {
    /// The system allows no more watches.
    WatchLimit {
        /// The number of watched directories.
        watched: usize,
        /// The first directory that is not watched.
        dir: PathBuf,
    },
    /// A file system does not report all changes, so it is polled.
    Polled {
        /// The first such directory.
        dir: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// A directory cannot be watched or read.
    Unwatchable {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// The system dropped events. All files were checked, so no change is missed.
    Overflow,
    /// The system sends no events, or has stopped to. Everything is polled.
    NoWatch {
        /// The system's error.
        reason: String,
        /// Whether the reason is the limit of inotify instances.
        limited: bool,
    },
}

impl Trouble {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::WatchLimit { .. } => Some(
                "raise it with `sudo sysctl fs.inotify.max_user_watches=524288`, or watch less with `--watch` and `--ignore`",
            ),
            Self::Polled { .. } => Some(
                "changes are seen a little later; `--watch` and `--ignore` reduce what is polled",
            ),
            Self::Unwatchable { .. } => Some("exclude it with `--ignore`"),
            Self::Overflow => {
                Some("`sudo sysctl fs.inotify.max_queued_events=65536` makes room for more")
            }
            Self::NoWatch { limited: true, .. } => Some(
                "`sudo sysctl fs.inotify.max_user_instances=1024` allows more watchers; changes are seen a little later",
            ),
            Self::NoWatch { limited: false, .. } => {
                Some("changes are seen a little later; restart hotrun to try again")
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WatchLimit { watched, dir } => write!(
                f,
                "the system allows no more than {watched} watched directories; hotrun polls `{}` and the others",
                dir.display()
            ),
            Self::Polled { dir, kind } => write!(
                f,
                "`{}` is on {kind}, which does not report every change; hotrun polls it",
                dir.display()
            ),
            Self::Unwatchable { dir, reason } => {
                write!(f, "cannot watch `{}`: {reason}", dir.display())
            }
            Self::Overflow => f.write_str("the system dropped events; hotrun checked every file"),
            Self::NoWatch { reason, .. } => {
                write!(
                    f,
                    "the system sends no file events ({reason}); hotrun polls"
                )
            }
        }
    }
}

/// Why the watch could not start.
#[derive(Debug)]
pub enum StartError {
    /// A pattern to ignore is invalid.
    Pattern {
        /// As the user typed it.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No thread could be started.
    Thread(io::Error),
}

impl StartError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Pattern { .. } => Some("patterns are written as in a `.gitignore`"),
            Self::Thread(_) => None,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern { pattern, reason } => {
                write!(f, "invalid pattern `{pattern}` to ignore: {reason}")
            }
            Self::Thread(error) => write!(f, "cannot start a thread to watch files: {error}"),
        }
    }
}

impl error::Error for StartError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Thread(error) => Some(error),
            Self::Pattern { .. } => None,
        }
    }
}
