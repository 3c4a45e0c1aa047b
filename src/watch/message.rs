use std::path::PathBuf;
use std::time::Instant;
use std::{error, fmt, io};

/// What the watch has to tell.
#[derive(Debug)]
pub enum Message {
    /// From now on no change is missed.
    Watching {
        /// How many directories are watched.
        dirs: usize,
        /// How many files in them count.
        files: usize,
    },
    /// These files were created, removed, or have another content. Sorted, never empty.
    Changed {
        /// Which.
        paths: Vec<PathBuf>,
        /// When the first and the last was heard of them.
        heard: (Instant, Instant),
    },
    /// Something can't be watched as it should.
    Trouble(Trouble),
}

/// What is wrong with the watch. It goes on with what can be watched.
#[derive(Debug)]
pub enum Trouble {
    /// The system allows no more watches.
    WatchLimit {
        /// How many directories are watched.
        watched: usize,
        /// The first that is not.
        dir: PathBuf,
    },
    /// Nothing tells of all changes there, so they are looked for.
    Polled {
        /// The first such directory.
        dir: PathBuf,
        /// The kind of its file system.
        kind: &'static str,
    },
    /// A directory can't be watched or read.
    Unwatchable {
        /// Which.
        dir: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system has dropped events. Everything was looked at again, nothing is missed.
    Overflow,
    /// The system watches nothing, or nothing any more. Everything is polled.
    NoWatch {
        /// Why, in its words.
        reason: String,
        /// Whether it is because the user has as many watchers as he may.
        limited: bool,
    },
}

impl Trouble {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::WatchLimit { .. } => Some(
                "raise it with `sudo sysctl fs.inotify.max_user_watches=524288`, or watch less with `--watch` and `--ignore`",
            ),
            Self::Polled { .. } => Some(
                "changes are seen a little later; `--watch` and `--ignore` make it less to look at",
            ),
            Self::Unwatchable { .. } => Some("leave it out with `--ignore`"),
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
                "the system's limit is reached with {watched} directories watched; `{}` and what follows is polled",
                dir.display()
            ),
            Self::Polled { dir, kind } => write!(
                f,
                "`{}` is on {kind}, where not every change is told; it is polled",
                dir.display()
            ),
            Self::Unwatchable { dir, reason } => {
                write!(f, "cannot watch `{}`: {reason}", dir.display())
            }
            Self::Overflow => {
                f.write_str("the system dropped events; every file was looked at again")
            }
            Self::NoWatch { reason, .. } => write!(
                f,
                "the system does not tell of changes ({reason}); everything is polled"
            ),
        }
    }
}

/// Why nothing can be watched at all.
#[derive(Debug)]
pub enum StartError {
    /// A pattern to ignore is no pattern.
    Pattern {
        /// As it was typed.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No thread could be started.
    Thread(io::Error),
}

impl StartError {
    /// What to do about it.
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
            Self::Pattern { pattern, reason } => write!(f, "cannot ignore `{pattern}`: {reason}"),
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
