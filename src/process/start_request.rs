//! Describes a program to start ([`Spec`]), and sends it to a guardian in the first message.
//!
//! ```text
//! length of the body and number of descriptors: u32 LE each, with the first descriptors attached
//! a byte with further descriptors attached, as often as necessary
//! the body: a `StartRequest` as JSON
//! ```
//!
//! The descriptors are the sockets, the stored descriptors, and the interception channel. The program's environment is
//! part of the message instead of the guardian's own environment: a variable such as `LD_PRELOAD` or a library path is
//! meant for the program, and must not interfere with the guardian.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::os::cleanup::Cleanup;
use crate::os::fd_limit;
use crate::os::scm_rights::{self, MAX_FDS};

#[cfg(test)]
mod tests;

/// A program to start.
#[derive(Debug, Default)]
pub struct Spec {
    /// The program and its arguments. A program name without a `/` is searched for in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The program's complete environment, except for the variables that describe sockets, notifications and the
    /// watchdog (`LISTEN_FDS`, `NOTIFY_SOCKET`, `WATCHDOG_USEC` and related ones). Those in `env` were meant for hotrun
    /// and are ignored; the program's are set from the fields below.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub workdir: PathBuf,
    /// Named sockets, which become the program's descriptors 3 and up, described by `LISTEN_FDS` and `LISTEN_FDNAMES`.
    pub sockets: Vec<(String, OwnedFd)>,
    /// The descriptors that earlier generations stored. They follow the sockets and are described in the same way.
    pub stored: Vec<(String, Arc<OwnedFd>)>,
    /// The watchdog period, for `WATCHDOG_USEC`.
    pub watchdog: Option<Duration>,
    /// Whether to set `LISTEN_PID` and `WATCHDOG_PID`. Must be false for wrappers that fork, because the wrapped
    /// program would see a pid that is not its own, and ignore its sockets.
    pub listen_pid: bool,
    /// The value of `NOTIFY_SOCKET`.
    pub notify: Option<OsString>,
    /// The files that the guardian removes if hotrun is killed.
    pub cleanup: Vec<Cleanup>,
    /// One end of a [`channel`](crate::os::seccomp::channel) that carries the seccomp listener, if the program's
    /// `bind`, `listen` and `connect` calls are to be intercepted.
    pub intercept: Option<OwnedFd>,
    /// Whether the program's calls that write files are also intercepted.
    pub reports_writes: bool,
}

impl Spec {
    /// Describes a program without sockets or notifications.
    pub fn new(argv: Vec<OsString>, env: Vec<(OsString, OsString)>, workdir: PathBuf) -> Self {
        Self {
            argv,
            env,
            workdir,
            ..Self::default()
        }
    }

    /// Describes a shell command, to be run by `sh -c`.
    pub fn shell(line: &str, env: Vec<(OsString, OsString)>, workdir: PathBuf) -> Self {
        Self::new(vec!["sh".into(), "-c".into(), line.into()], env, workdir)
    }
}

/// The body of the message, and the descriptors that accompany it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StartRequest {
    pub(super) stdio: StdioMode,
    pub(super) listen_pid: bool,
    /// The program's limit on open descriptors, if it differs from hotrun's.
    pub(super) fd_limit: Option<fd_limit::Limit>,
    pub(super) cleanup: Vec<Cleanup>,
    pub(super) workdir: CString,
    pub(super) argv: Vec<CString>,
    /// `KEY=VALUE`
    pub(super) env: Vec<CString>,
    is_intercepted: bool,
    pub(super) reports_writes: bool,
    #[serde(skip)]
    pub(super) sockets: Vec<OwnedFd>,
    /// The channel that carries the seccomp listener.
    #[serde(skip)]
    pub(super) intercept: Option<OwnedFd>,
}

/// The standard input and output of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StdioMode {
    /// Empty input, and two pipes for the output.
    Pipes,
    /// Empty input, and a pty for the output.
    PtyOutput,
    /// A pty for both input and output.
    Pty,
}

/// Encodes the body of the message.
///
/// # Errors
/// The spec is invalid. A program cannot get a word that contains a zero byte.
pub(super) fn encode(spec: &Spec, stdio: StdioMode) -> Result<Vec<u8>> {
    ensure!(!spec.argv.is_empty(), "no program to start");
    for (name, _) in &spec.sockets {
        let valid = !name.contains(|c: char| c == ':' || c.is_control());
        // `sd_listen_fds(3)`
        ensure!(
            valid,
            "the socket name `{name}` contains a `:` or a control character"
        );
    }
    let word = |word: &OsStr| {
        let text = CString::new(word.as_bytes());
        text.with_context(|| format!("cannot pass `{}` to the program", word.display()))
    };
    let pair = |(mut pair, value): (OsString, OsString)| {
        pair.push("=");
        pair.push(value);
        word(&pair)
    };
    let argv = spec.argv.iter().map(|argument| word(argument));
    let env = environment(spec).into_iter().map(pair);
    let request = StartRequest {
        stdio,
        listen_pid: spec.listen_pid,
        fd_limit: fd_limit::original(),
        cleanup: spec.cleanup.clone(),
        workdir: word(spec.workdir.as_os_str())?,
        argv: argv.collect::<Result<_>>()?,
        env: env.collect::<Result<_>>()?,
        is_intercepted: spec.intercept.is_some(),
        reports_writes: spec.reports_writes,
        sockets: Vec::new(),
        intercept: None,
    };
    Ok(serde_json::to_vec(&request)?)
}

/// The variables that hotrun's own supervisor may have set for hotrun: see `sd_listen_fds(3)`, `sd_notify(3)` and
/// `sd_watchdog_enabled(3)`. `FDSTORE` limits the descriptor store (`systemd.exec(5)`). `LISTEN_PIDFDID` accompanies
/// `LISTEN_PID`. Names must match exactly: `LISTEN_PORT` and `WATCHDOG_NAME`, for example, belong to the user.
const HANDOVER: &[&str] = &[
    "FDSTORE",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// The program's environment, without `LISTEN_PID` and `WATCHDOG_PID`, because the program's pid is not known yet.
fn environment(spec: &Spec) -> Vec<(OsString, OsString)> {
    let mut env = spec.env.clone();
    env.retain(|(key, _)| !HANDOVER.iter().any(|name| key == *name));
    if let Some(path) = &spec.notify {
        env.push(("NOTIFY_SOCKET".into(), path.clone()));
    }
    if let Some(period) = spec.watchdog {
        let period = period.as_micros().to_string();
        env.push(("WATCHDOG_USEC".into(), period.into()));
    }
    let sockets = spec.sockets.iter().map(|(name, _)| name.as_str());
    let stored = spec.stored.iter().map(|(name, _)| name.as_str());
    let names: Vec<&str> = sockets.chain(stored).collect();
    if !names.is_empty() {
        env.push(("LISTEN_FDS".into(), names.len().to_string().into()));
        env.push(("LISTEN_FDNAMES".into(), names.join(":").into()));
    }
    env
}

/// Sends the body and the descriptors. If the body is larger than the socket's buffer, blocks until the guardian reads.
pub(super) fn send(mut socket: &UnixStream, body: &[u8], spec: &Spec) -> io::Result<()> {
    let sockets = spec.sockets.iter().map(|(_, fd)| fd.as_fd());
    let stored = spec.stored.iter().map(|(_, fd)| fd.as_fd());
    let intercept = spec.intercept.as_ref().map(AsFd::as_fd);
    let fds: Vec<BorrowedFd<'_>> = sockets.chain(stored).chain(intercept).collect();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let count = u32::try_from(fds.len()).map_err(io::Error::other)?;
    let sizes = [length.to_le_bytes(), count.to_le_bytes()].concat();
    let (first, rest) = fds.split_at(fds.len().min(MAX_FDS));
    // The socket's buffer is empty, so these few bytes are sent completely or not at all.
    scm_rights::send(socket.as_fd(), &sizes, first)?;
    for fds in rest.chunks(MAX_FDS) {
        scm_rights::send(socket.as_fd(), &[0], fds)?;
    }
    socket.write_all(body)
}

/// Receives the message that [`send`] sends.
pub(super) fn receive(mut socket: &UnixStream) -> io::Result<StartRequest> {
    let mut sizes = [[0; 4]; 2];
    let bytes = sizes.as_flattened_mut();
    let received = scm_rights::receive(socket.as_fd(), bytes)?;
    if received.length != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut fds = received.descriptors;
    let [length, count] = sizes.map(|size| u32::from_le_bytes(size) as usize);
    while fds.len() < count {
        let more = scm_rights::receive(socket.as_fd(), &mut [0])?.descriptors;
        if more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        fds.extend(more);
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    let mut request: StartRequest = serde_json::from_slice(&body)?;
    request.intercept = fds.pop_if(|_| request.is_intercepted);
    request.sockets = fds;
    Ok(request)
}
