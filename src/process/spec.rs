use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::os::cleanup::Cleanup;
use crate::os::scm_rights;

/// What to start.
#[derive(Debug)]
pub struct Spec {
    /// The program, looked up in `PATH` of `env` when it has no `/`, and its arguments.
    pub argv: Vec<OsString>,
    /// Its whole environment. Of the variables by which sockets and notifications are handed over
    /// (`LISTEN_*`, `NOTIFY_SOCKET`, `WATCHDOG_*`) none is taken from here, for they were meant for
    /// hotrun: they come from the fields below.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub workdir: PathBuf,
    /// Named sockets: its descriptors from 3 up, described by `LISTEN_FDS` and `LISTEN_FDNAMES`.
    pub sockets: Vec<(String, OwnedFd)>,
    /// What a generation before it has stored: its descriptors after those of the sockets, described in the same way.
    pub stored: Vec<(String, Arc<OwnedFd>)>,
    /// How often it is to give a sign of life, for `WATCHDOG_USEC`.
    pub watchdog: Option<Duration>,
    /// Whether to name its own pid in `LISTEN_PID` and `WATCHDOG_PID` too. Not for wrappers that fork: their program
    /// would find a pid that is not its own, and take nothing.
    pub listen_pid: bool,
    /// `NOTIFY_SOCKET`, if there is one.
    pub notify: Option<OsString>,
    /// The files that its guardian removes if hotrun cannot do so any more.
    pub cleanup: Vec<Cleanup>,
    /// The end of a [`channel`](crate::os::seccomp::channel) through which the listener comes that answers the program's
    /// `bind` and `listen`, if it is to be trapped.
    pub intercept: Option<OwnedFd>,
}

/// Why nothing was started.
#[derive(Debug)]
pub enum SpawnError {
    /// There is no program in `argv`.
    Empty,
    /// A word has a zero byte in it, which no program can be given.
    ZeroByte(OsString),
    /// The name of a socket has a `:` or a control character in it (`sd_listen_fds(3)`).
    SocketName(String),
    /// More sockets than can be handed over at once.
    TooManySockets(usize),
    /// The guardian could not be started from this executable.
    Guardian(PathBuf, io::Error),
    /// What it needs could not be made or handed over.
    Channel(io::Error),
    /// There is no terminal for it.
    Terminal(io::Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no program to start"),
            Self::ZeroByte(word) => write!(f, "`{}` contains a zero byte", word.display()),
            Self::SocketName(name) => {
                write!(
                    f,
                    "the socket name `{name}` contains a `:` or a control character"
                )
            }
            Self::TooManySockets(count) => {
                let most = scm_rights::MAX_FDS;
                write!(
                    f,
                    "{count} sockets are more than the {most} that can be handed over"
                )
            }
            Self::Guardian(path, error) => {
                let path = path.display();
                write!(f, "cannot start the guardian from `{path}`: {error}")
            }
            Self::Channel(error) => write!(f, "cannot reach the guardian: {error}"),
            Self::Terminal(error) => write!(f, "cannot make a terminal: {error}"),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Guardian(_, error) | Self::Channel(error) | Self::Terminal(error) => Some(error),
            Self::Empty | Self::ZeroByte(_) | Self::SocketName(_) | Self::TooManySockets(_) => None,
        }
    }
}
