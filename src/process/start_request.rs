//! The first message to a guardian: the program to start, and its descriptors.
//!
//! ```text
//! length of the body and number of descriptors: u32 LE each, with the first descriptors attached
//! a byte with further descriptors attached, as often as necessary
//! the body: a `StartRequest` as JSON
//! ```
//!
//! The descriptors are the sockets, the stored descriptors, and the interception channel. The program's environment is
//! part of the message instead of the guardian's own environment: a variable such as `LD_PRELOAD` or a library path is
//! meant for the program, and must not keep the guardian from working.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use super::{SpawnError, Spec};
use crate::os::cleanup::Cleanup;
use crate::os::fd_limit;
use crate::os::scm_rights::{self, MAX_FDS};

/// A program to start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StartRequest {
    pub(super) stdio: StdioMode,
    pub(super) listen_pid: bool,
    /// The program's limit on open descriptors, if it differs from hotrun's.
    pub(super) fd_limit: Option<u64>,
    pub(super) cleanup: Vec<Cleanup>,
    pub(super) workdir: CString,
    pub(super) argv: Vec<CString>,
    /// `KEY=VALUE`
    pub(super) env: Vec<CString>,
    is_intercepted: bool,
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

/// Encodes the body of the message. Fails if the spec is invalid.
pub(super) fn encode(spec: &Spec, stdio: StdioMode) -> Result<Vec<u8>, SpawnError> {
    if spec.argv.is_empty() {
        return Err(SpawnError::Empty);
    }
    let invalid = |name: &str| name.contains(|c: char| c == ':' || c.is_control());
    if let Some((name, _)) = spec.sockets.iter().find(|(name, _)| invalid(name)) {
        return Err(SpawnError::SocketName(name.clone()));
    }
    let word = |word: &OsStr| {
        CString::new(word.as_bytes()).map_err(|_| SpawnError::ZeroByte(word.to_owned()))
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
        argv: argv.collect::<Result<_, _>>()?,
        env: env.collect::<Result<_, _>>()?,
        is_intercepted: spec.intercept.is_some(),
        sockets: Vec::new(),
        intercept: None,
    };
    serde_json::to_vec(&request).map_err(|error| SpawnError::Channel(error.into()))
}

/// Variables that hotrun's supervisor has set only for hotrun: `sd_listen_fds(3)`, `sd_notify(3)`,
/// `sd_watchdog_enabled(3)`. `FDSTORE` limits the descriptor store (`systemd.exec(5)`). `LISTEN_PIDFDID` accompanies
/// `LISTEN_PID`. The names must match exactly, because `LISTEN_PORT` and `WATCHDOG_NAME`, for example, belong to the
/// user.
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
    // The buffer is empty, so these few bytes are sent completely or not at all.
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
    let (received, mut fds) = scm_rights::receive(socket.as_fd(), bytes)?;
    if received != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [length, count] = sizes.map(|size| u32::from_le_bytes(size) as usize);
    while fds.len() < count {
        let (received, more) = scm_rights::receive(socket.as_fd(), &mut [0])?;
        if received == 0 || more.is_empty() {
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

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::sync::Arc;

    use super::*;

    fn spec() -> Spec {
        let argv = vec![
            "prog".into(),
            "".into(),
            OsString::from_vec(vec![b'a', 0xff]),
        ];
        let env = vec![("A".into(), "b=c".into()), ("PATH".into(), "/x".into())];
        Spec {
            listen_pid: true,
            cleanup: vec![Cleanup::Socket {
                path: OsString::from_vec(b"/run/a:\xff.sock".to_vec()),
                file: Some((1, 2)),
            }],
            ..Spec::new(argv, env, "/tmp".into())
        }
    }

    #[test]
    fn a_request_is_received_as_it_was_sent() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut spec = spec();
        spec.sockets
            .push(("s".into(), std::io::pipe().unwrap().0.into()));
        send(&here, &encode(&spec, StdioMode::Pty).unwrap(), &spec).unwrap();
        let request = receive(&there).unwrap();
        assert_eq!(request.argv, [c"prog", c"", c"a\xff"]);
        assert_eq!(
            request.env,
            [c"A=b=c", c"PATH=/x", c"LISTEN_FDS=1", c"LISTEN_FDNAMES=s"]
        );
        assert_eq!(request.workdir.as_c_str(), c"/tmp");
        assert_eq!((request.sockets.len(), request.listen_pid), (1, true));
        assert_eq!(request.stdio, StdioMode::Pty);
        assert_eq!(request.cleanup, spec.cleanup);
    }

    /// There are more descriptors than fit into one message.
    #[test]
    fn all_descriptors_are_received_in_order() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut spec = spec();
        let pipe = || std::io::pipe().unwrap();
        spec.sockets.push(("s".into(), pipe().0.into()));
        let stored: Arc<OwnedFd> = Arc::new(pipe().0.into());
        spec.stored = vec![("ws".into(), stored); 2 * scm_rights::MAX_FDS];
        let (mut last, _writer) = pipe();
        let end = last.try_clone().unwrap();
        spec.stored.push(("last".into(), Arc::new(end.into())));
        let sender = std::thread::spawn(move || {
            send(&here, &encode(&spec, StdioMode::Pipes).unwrap(), &spec).unwrap();
        });
        let mut request = receive(&there).unwrap();
        sender.join().unwrap();
        assert_eq!(request.sockets.len(), 2 * scm_rights::MAX_FDS + 2);
        drop(_writer);
        let arrived = request.sockets.pop().unwrap();
        assert!(same(&arrived, &last));
        assert_eq!(last.read(&mut [0]).unwrap(), 0);
    }

    fn same(one: &impl AsFd, other: &impl AsFd) -> bool {
        crate::os::inode(one).unwrap() == crate::os::inode(other).unwrap()
    }

    #[test]
    fn an_invalid_spec_is_refused() {
        let mut bad = spec();
        bad.argv.clear();
        assert!(matches!(
            encode(&bad, StdioMode::Pipes),
            Err(SpawnError::Empty)
        ));
        let mut bad = spec();
        bad.argv.push("a\0b".into());
        assert!(matches!(
            encode(&bad, StdioMode::Pipes),
            Err(SpawnError::ZeroByte(_))
        ));
        let mut bad = spec();
        bad.sockets
            .push(("a:b".into(), std::io::pipe().unwrap().0.into()));
        assert!(matches!(
            encode(&bad, StdioMode::Pipes),
            Err(SpawnError::SocketName(_))
        ));
        assert!(encode(&spec(), StdioMode::Pipes).is_ok());
    }

    fn with_env(env: &[(&str, &str)]) -> Spec {
        let env = env.iter().map(|(k, v)| (k.into(), v.into())).collect();
        Spec::new(vec!["true".into()], env, "/".into())
    }

    fn pairs(spec: &Spec) -> Vec<String> {
        let pair =
            |(key, value): &(OsString, OsString)| format!("{}={}", key.display(), value.display());
        environment(spec).iter().map(pair).collect()
    }

    #[test]
    fn variables_for_hotrun_are_not_passed_on() {
        let spec = with_env(&[
            ("LISTEN_PID", "1"),
            ("LISTEN_FDS", "2"),
            ("LISTEN_FDNAMES", "a:b"),
            ("LISTEN_PIDFDID", "7"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("WATCHDOG_USEC", "1"),
            ("WATCHDOG_PID", "1"),
            ("FDSTORE", "16"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(pairs(&spec), ["PATH=/bin"]);
    }

    #[test]
    fn the_users_own_variables_with_similar_names_are_passed_on() {
        let own = [
            ("LISTEN_ADDR", "a"),
            ("LISTEN_PORT", "80"),
            ("WATCHDOG_NAME", "rex"),
        ];
        let kept = ["LISTEN_ADDR=a", "LISTEN_PORT=80", "WATCHDOG_NAME=rex"];
        assert_eq!(pairs(&with_env(&own)), kept);
    }

    #[test]
    fn variables_for_the_program_are_set() {
        let fd = || std::io::pipe().unwrap().0.into();
        let mut spec = with_env(&[("LISTEN_FDS", "9")]);
        spec.sockets = vec![("http".into(), fd()), ("admin".into(), fd())];
        spec.notify = Some("@n".into());
        spec.watchdog = Some(std::time::Duration::from_millis(1500));
        let stored = |name: &str| (name.to_owned(), std::sync::Arc::new(fd()));
        spec.stored = vec![stored("ws"), stored("ws")];
        let wanted = [
            "NOTIFY_SOCKET=@n",
            "WATCHDOG_USEC=1500000",
            "LISTEN_FDS=4",
            "LISTEN_FDNAMES=http:admin:ws:ws",
        ];
        assert_eq!(pairs(&spec), wanted);
    }
}
