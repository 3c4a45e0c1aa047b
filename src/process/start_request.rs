//! The first message to a guardian: the program and the descriptors that go with it.
//!
//! ```text
//! length of the body and number of descriptors: u32 LE each, with the first descriptors attached
//! a byte with further descriptors attached, as often as necessary
//! the body: a line with a JSON `Head`; then words that each end with a zero byte:
//!   working directory, arguments..., environment...
//! ```
//!
//! The descriptors are the sockets, the stored ones, and the channel for interception. The program's environment travels here
//! instead of being the guardian's own: a variable such as `LD_PRELOAD` or a library path concerns the program, and must not
//! keep the guardian from working.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use super::{SpawnError, Spec, environment};
use crate::os::cleanup::Cleanup;
use crate::os::fd_limit;
use crate::os::scm_rights;

/// A program to start, as the guardian receives it.
pub(super) struct StartRequest {
    pub(super) head: Head,
    pub(super) workdir: CString,
    pub(super) argv: Vec<CString>,
    /// `KEY=VALUE`
    pub(super) env: Vec<CString>,
    pub(super) sockets: Vec<OwnedFd>,
    /// The channel for the listener that intercepts its calls.
    pub(super) intercept: Option<OwnedFd>,
}

/// Everything but the strings and the descriptors of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) stdio: StdioMode,
    pub(super) listen_pid: bool,
    /// Its limit of open descriptors, if it differs from ours.
    pub(super) fd_limit: Option<u64>,
    pub(super) cleanup: Vec<Cleanup>,
    intercept: bool,
    arguments: usize,
}

/// The standard input and output of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StdioMode {
    /// Empty input, and two pipes for output.
    Pipes,
    /// Empty input, and a pty for output.
    PtyOutput,
    /// A pty for both.
    Pty,
}

/// Checks the spec before anything is started for it.
pub(super) fn check(spec: &Spec) -> Result<(), SpawnError> {
    if spec.argv.is_empty() {
        return Err(SpawnError::Empty);
    }
    let invalid = |name: &str| name.contains(|c: char| c == ':' || c.is_control());
    if let Some((name, _)) = spec.sockets.iter().find(|(name, _)| invalid(name)) {
        return Err(SpawnError::SocketName(name.clone()));
    }
    let most = scm_rights::MAX_FDS - usize::from(spec.intercept.is_some());
    match spec.sockets.len() {
        count if count > most => Err(SpawnError::TooManySockets(count)),
        _ => Ok(()),
    }
}

/// The body of the message.
pub(super) fn encode(spec: &Spec, stdio: StdioMode) -> Result<Vec<u8>, SpawnError> {
    let head = Head {
        stdio,
        listen_pid: spec.listen_pid,
        fd_limit: fd_limit::original(),
        cleanup: spec.cleanup.clone(),
        intercept: spec.intercept.is_some(),
        arguments: spec.argv.len(),
    };
    let mut body = serde_json::to_vec(&head).map_err(|error| SpawnError::Channel(error.into()))?;
    body.push(b'\n');
    let mut word = |word: &OsStr| {
        if word.as_bytes().contains(&0) {
            return Err(SpawnError::ZeroByte(word.to_owned()));
        }
        body.extend_from_slice(word.as_bytes());
        body.push(0);
        Ok(())
    };
    word(spec.workdir.as_os_str())?;
    for argument in &spec.argv {
        word(argument)?;
    }
    for (mut pair, value) in environment::of(spec) {
        pair.push("=");
        pair.push(value);
        word(&pair)?;
    }
    Ok(body)
}

/// Sends body and descriptors. Blocks only if the body is larger than the socket's buffer, until the guardian has started to
/// read.
pub(super) fn send(mut socket: &UnixStream, body: &[u8], spec: &Spec) -> io::Result<()> {
    let sockets = spec.sockets.iter().map(|(_, fd)| fd.as_fd());
    let stored = spec.stored.iter().map(|(_, fd)| fd.as_fd());
    let intercept = spec.intercept.as_ref().map(AsFd::as_fd);
    let fds: Vec<BorrowedFd<'_>> = sockets.chain(stored).chain(intercept).collect();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let count = u32::try_from(fds.len()).map_err(io::Error::other)?;
    let sizes = [length.to_le_bytes(), count.to_le_bytes()].concat();
    let (first, rest) = fds.split_at(fds.len().min(scm_rights::MAX_FDS));
    let sent = scm_rights::send(socket.as_fd(), &sizes, first)?;
    // The buffer is empty, so this few bytes are sent completely or not at all.
    debug_assert_eq!(sent, sizes.len());
    for fds in rest.chunks(scm_rights::MAX_FDS) {
        scm_rights::send(socket.as_fd(), &[0], fds)?;
    }
    socket.write_all(body)
}

/// Receives what [`send`] has sent.
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
    decode(&body, fds).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn decode(body: &[u8], mut fds: Vec<OwnedFd>) -> Option<StartRequest> {
    let end = body.iter().position(|byte| *byte == b'\n')?;
    let head: Head = serde_json::from_slice(&body[..end]).ok()?;
    // Each word ends with a zero byte, so nothing follows the last one.
    let mut words = body[end + 1..].strip_suffix(&[0])?.split(|byte| *byte == 0);
    let mut word = || CString::new(words.next()?).ok();
    let workdir = word()?;
    let argv = (0..head.arguments).map(|_| word());
    let argv = argv.collect::<Option<Vec<_>>>()?;
    let env = std::iter::from_fn(word).collect();
    let intercept = if head.intercept {
        Some(fds.pop()?)
    } else {
        None
    };
    (!argv.is_empty()).then_some(StartRequest {
        head,
        workdir,
        argv,
        env,
        sockets: fds,
        intercept,
    })
}

impl StartRequest {
    /// The program's `PATH`; without one, the default of `execvp(3)`.
    pub(super) fn path(&self) -> OsString {
        let mut env = self.env.iter();
        let value = env.find_map(|pair| pair.as_bytes().strip_prefix(b"PATH="));
        OsString::from_vec(value.unwrap_or(b"/bin:/usr/bin").to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn spec() -> Spec {
        Spec {
            argv: vec![
                "prog".into(),
                "".into(),
                OsString::from_vec(vec![b'a', 0xff]),
            ],
            env: vec![("A".into(), "b=c".into()), ("PATH".into(), "/x".into())],
            workdir: "/tmp".into(),
            sockets: Vec::new(),
            stored: Vec::new(),
            watchdog: None,
            listen_pid: true,
            notify: None,
            cleanup: vec![Cleanup::Socket {
                path: OsString::from_vec(b"/run/a:\xff.sock".to_vec()).into(),
                file: Some((1, 2)),
            }],
            intercept: None,
        }
    }

    #[test]
    fn every_byte_arrives() {
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
        assert_eq!(request.workdir, *c"/tmp");
        assert_eq!((request.sockets.len(), request.head.listen_pid), (1, true));
        assert_eq!(request.head.stdio, StdioMode::Pty);
        assert_eq!(request.head.cleanup, spec.cleanup);
        assert_eq!(request.path(), "/x");
    }

    /// More than fit into one message, in order.
    #[test]
    fn every_descriptor_arrives() {
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
    fn a_truncated_body_starts_nothing() {
        let mut spec = spec();
        spec.env.clear();
        let body = encode(&spec, StdioMode::Pipes).unwrap();
        assert!(decode(&body, Vec::new()).is_some());
        for end in 0..body.len() {
            assert!(decode(&body[..end], Vec::new()).is_none(), "cut at {end}");
        }
    }

    #[test]
    fn an_invalid_spec_is_refused() {
        let mut bad = spec();
        bad.argv.clear();
        assert!(matches!(check(&bad), Err(SpawnError::Empty)));
        let mut bad = spec();
        bad.argv.push("a\0b".into());
        assert!(matches!(
            encode(&bad, StdioMode::Pipes),
            Err(SpawnError::ZeroByte(_))
        ));
        let mut bad = spec();
        bad.sockets
            .push(("a:b".into(), std::io::pipe().unwrap().0.into()));
        assert!(matches!(check(&bad), Err(SpawnError::SocketName(_))));
        assert!(check(&spec()).is_ok());
    }
}
