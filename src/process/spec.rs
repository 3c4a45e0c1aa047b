use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::os::cleanup::Cleanup;

/// A program to start.
#[derive(Debug)]
pub struct Spec {
    /// The program and its arguments. A program without a `/` is searched for in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The program's complete environment. The variables that pass sockets and notifications (`LISTEN_*`,
    /// `NOTIFY_SOCKET`, `WATCHDOG_*`) are ignored here, because they were meant for hotrun. The fields below set them.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub workdir: PathBuf,
    /// Named sockets, which become the program's descriptors from 3 up, described by `LISTEN_FDS` and `LISTEN_FDNAMES`.
    pub sockets: Vec<(String, OwnedFd)>,
    /// The descriptors that earlier generations stored. They follow the sockets and are described in the same way.
    pub stored: Vec<(String, Arc<OwnedFd>)>,
    /// The watchdog period, for `WATCHDOG_USEC`.
    pub watchdog: Option<Duration>,
    /// Whether to set `LISTEN_PID` and `WATCHDOG_PID`. Must be false for wrappers that fork: their program would see a
    /// pid that is not its own, and ignore its sockets.
    pub listen_pid: bool,
    /// The value of `NOTIFY_SOCKET`.
    pub notify: Option<OsString>,
    /// The files that the guardian removes if hotrun was killed.
    pub cleanup: Vec<Cleanup>,
    /// One end of a [`channel`](crate::os::seccomp::channel) that carries the seccomp listener, if the program's `bind`
    /// and `listen` calls are to be intercepted.
    pub intercept: Option<OwnedFd>,
}

impl Spec {
    /// Describes a program without sockets and notifications.
    pub const fn new(
        argv: Vec<OsString>,
        env: Vec<(OsString, OsString)>,
        workdir: PathBuf,
    ) -> Self {
        Self {
            argv,
            env,
            workdir,
            sockets: Vec::new(),
            stored: Vec::new(),
            watchdog: None,
            listen_pid: false,
            notify: None,
            cleanup: Vec::new(),
            intercept: None,
        }
    }

    /// Describes a shell command, which `sh -c` runs.
    pub fn shell(line: &str, env: Vec<(OsString, OsString)>, workdir: PathBuf) -> Self {
        Self::new(vec!["sh".into(), "-c".into(), line.into()], env, workdir)
    }
}

/// Why a program was not started.
#[derive(Debug)]
pub enum SpawnError {
    /// `argv` is empty.
    Empty,
    /// This argument, variable or path contains a zero byte, which cannot be passed to a program.
    ZeroByte(OsString),
    /// The name of a socket contains a `:` or a control character (`sd_listen_fds(3)`).
    SocketName(String),
    /// The guardian could not be started from this executable.
    Guardian(PathBuf, io::Error),
    /// The program's pipes and sockets could not be created, or could not be passed to the guardian.
    Channel(io::Error),
    /// The program's pty could not be created.
    Pty(io::Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no program to start"),
            Self::ZeroByte(word) => write!(f, "`{}` contains a zero byte", word.display()),
            Self::SocketName(name) => {
                write!(
                    f,
                    "the socket name `{name}` contains a `:` or a control character"
                )
            }
            Self::Guardian(path, error) => {
                let path = path.display();
                write!(f, "cannot start the guardian from `{path}`: {error}")
            }
            Self::Channel(error) => write!(f, "cannot reach the guardian: {error}"),
            Self::Pty(error) => write!(f, "cannot create a pty: {error}"),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Guardian(_, error) | Self::Channel(error) | Self::Pty(error) => Some(error),
            Self::Empty | Self::ZeroByte(_) | Self::SocketName(_) => None,
        }
    }
}
