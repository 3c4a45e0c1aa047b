//! What a guardian is told before anything else: the program, and the sockets that go with it.
//!
//! ```text
//! length of the body and number of descriptors: u32 LE each; a byte for each further message that is needed to
//! carry the descriptors; then the body: words that each end with a zero byte
//!   1 or 0 (set LISTEN_PID), where it prints, 1 or 0 (trap), limit of open files or nothing, number of arguments, number of kept files,
//!   working directory, arguments..., kept files..., environment...
//! ```
//!
//! The sockets are attached to the lengths, and behind them what was stored and the channel of the trap. The program and its environment travel here rather than
//! as the guardian's own: a variable such as `LD_PRELOAD` or a library path is the program's affair,
//! and must not keep the guardian from working.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;

use super::{SpawnError, Spec, environment};
use crate::os::cleanup::Cleanup;
use crate::os::fd_limit;
use crate::os::scm_rights;

/// A program to start, as the guardian has it.
pub(super) struct StartRequest {
    pub(super) workdir: CString,
    pub(super) argv: Vec<CString>,
    /// `KEY=VALUE`
    pub(super) env: Vec<CString>,
    pub(super) sockets: Vec<OwnedFd>,
    pub(super) listen_pid: bool,
    pub(super) stdio: StdioMode,
    pub(super) cleanup: Vec<Cleanup>,
    /// How many descriptors it may have open, if not as many as we.
    pub(super) open_files: Option<u64>,
    /// Where the listener goes.
    pub(super) intercept: Option<OwnedFd>,
}

/// What a program has for its input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StdioMode {
    /// Nothing to read, and two pipes.
    Pipes,
    /// Nothing to read, and a terminal.
    Screen,
    /// A terminal, to read too.
    Terminal,
}

impl StdioMode {
    const ALL: [Self; 3] = [Self::Pipes, Self::Screen, Self::Terminal];

    const fn word(self) -> &'static str {
        match self {
            Self::Pipes => "pipes",
            Self::Screen => "screen",
            Self::Terminal => "terminal",
        }
    }
}

/// Says what is wrong with it before anything is started for it.
pub(super) fn check(spec: &Spec) -> Result<(), SpawnError> {
    if spec.argv.is_empty() {
        return Err(SpawnError::Empty);
    }
    let unfit = |name: &str| name.contains(|c: char| c == ':' || c.is_control());
    if let Some((name, _)) = spec.sockets.iter().find(|(name, _)| unfit(name)) {
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
    let mut body = Vec::new();
    let mut word = |word: OsString| {
        if word.as_bytes().contains(&0) {
            return Err(SpawnError::ZeroByte(word));
        }
        body.extend_from_slice(word.as_bytes());
        body.push(0);
        Ok(())
    };
    word(u8::from(spec.listen_pid).to_string().into())?;
    word(stdio.word().into())?;
    word(u8::from(spec.intercept.is_some()).to_string().into())?;
    let open_files = fd_limit::original().map(|limit| limit.to_string());
    word(open_files.unwrap_or_default().into())?;
    word(spec.argv.len().to_string().into())?;
    word(spec.cleanup.len().to_string().into())?;
    word(spec.workdir.clone().into())?;
    for argument in &spec.argv {
        word(argument.clone())?;
    }
    for kept in &spec.cleanup {
        word(kept.to_argument())?;
    }
    for (mut pair, value) in environment::of(spec) {
        pair.push("=");
        pair.push(value);
        word(pair)?;
    }
    Ok(body)
}

/// Hands body and sockets over. Blocks only when the body is greater than a socket's buffer, and
/// then until the guardian has started to read.
pub(super) fn send(mut socket: &UnixStream, body: &[u8], spec: &Spec) -> io::Result<()> {
    let sockets = spec.sockets.iter().map(|(_, fd)| fd.as_fd());
    let stored = spec.stored.iter().map(|(_, fd)| fd.as_fd());
    let trap = spec.intercept.as_ref().map(AsFd::as_fd);
    let fds: Vec<BorrowedFd<'_>> = sockets.chain(stored).chain(trap).collect();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let count = u32::try_from(fds.len()).map_err(io::Error::other)?;
    let head = [length.to_le_bytes(), count.to_le_bytes()].concat();
    let (first, rest) = fds.split_at(fds.len().min(scm_rights::MAX_FDS));
    let sent = scm_rights::send(socket.as_fd(), &head, first)?;
    // The buffer is empty: so few bytes go whole or not at all.
    debug_assert_eq!(sent, head.len());
    for fds in rest.chunks(scm_rights::MAX_FDS) {
        scm_rights::send(socket.as_fd(), &[0], fds)?;
    }
    socket.write_all(body)
}

/// What [`send`] sent.
pub(super) fn receive(mut socket: &UnixStream) -> io::Result<StartRequest> {
    let mut head = [0; 8];
    let (received, mut sockets) = scm_rights::receive(socket.as_fd(), &mut head)?;
    if received != head.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [length, count] = [&head[..4], &head[4..]].map(number);
    while sockets.len() < count {
        let (received, more) = scm_rights::receive(socket.as_fd(), &mut [0])?;
        if received == 0 || more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        sockets.extend(more);
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    decode(body, sockets).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn decode(mut body: Vec<u8>, mut sockets: Vec<OwnedFd>) -> Option<StartRequest> {
    // Each word ends with a zero byte, so there is an empty piece behind the last one.
    (body.pop()? == 0).then_some(())?;
    let mut words = body.split(|byte| *byte == 0);
    let mut word = || CString::new(words.next()?).ok();
    let listen_pid = word()?.as_bytes() == b"1";
    let stdio = word()?;
    let stdio = |known: &StdioMode| known.word().as_bytes() == stdio.as_bytes();
    let stdio = StdioMode::ALL.into_iter().find(stdio)?;
    let trapped = word()?.as_bytes() == b"1";
    let intercept = if trapped { Some(sockets.pop()?) } else { None };
    let open_files = word()?.to_str().ok()?.parse().ok();
    let count: usize = word()?.to_str().ok()?.parse().ok()?;
    let kept: usize = word()?.to_str().ok()?.parse().ok()?;
    let workdir = word()?;
    let argv = (0..count).map(|_| word()).collect::<Option<Vec<_>>>()?;
    let kept = (0..kept).map(|_| Cleanup::from_argument(OsStr::from_bytes(word()?.as_bytes())));
    let cleanup = kept.collect::<Option<Vec<_>>>()?;
    let env = std::iter::from_fn(word).collect();
    (!argv.is_empty()).then_some(StartRequest {
        workdir,
        argv,
        env,
        sockets,
        listen_pid,
        stdio,
        cleanup,
        open_files,
        intercept,
    })
}

impl StartRequest {
    /// The program's `PATH`.
    pub(super) fn path(&self) -> OsString {
        let value = self
            .env
            .iter()
            .find_map(|pair| pair.as_bytes().strip_prefix(b"PATH="));
        // Without one, what `execvp(3)` takes.
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
                path: "/run/a.sock".into(),
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
        send(&here, &encode(&spec, StdioMode::Terminal).unwrap(), &spec).unwrap();
        let launch = receive(&there).unwrap();
        assert_eq!(launch.argv, [c"prog", c"", c"a\xff"]);
        assert_eq!(
            launch.env,
            [c"A=b=c", c"PATH=/x", c"LISTEN_FDS=1", c"LISTEN_FDNAMES=s"]
        );
        assert_eq!(launch.workdir, *c"/tmp");
        assert_eq!((launch.sockets.len(), launch.listen_pid), (1, true));
        assert_eq!(launch.stdio, StdioMode::Terminal);
        assert_eq!(launch.cleanup, spec.cleanup);
        assert_eq!(launch.path(), "/x");
    }

    /// More than one message can carry, in their order.
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
        let mut launch = receive(&there).unwrap();
        sender.join().unwrap();
        assert_eq!(launch.sockets.len(), 2 * scm_rights::MAX_FDS + 2);
        drop(_writer);
        let arrived = launch.sockets.pop().unwrap();
        assert!(same(&arrived, &last));
        assert_eq!(last.read(&mut [0]).unwrap(), 0);
    }

    fn same(one: &impl AsFd, other: &impl AsFd) -> bool {
        crate::os::inode(one).unwrap() == crate::os::inode(other).unwrap()
    }

    #[test]
    fn a_body_that_is_cut_before_its_last_argument_starts_nothing() {
        let body = encode(&spec(), StdioMode::Pipes).unwrap();
        // `1`, `pipes`, `0`, ``, `3`, `1`, `/tmp`, `prog`, ``, `a\xff`, the socket's file, each with its zero byte.
        let kept = spec().cleanup[0].to_argument().len() + 1;
        let arguments = 2 + 6 + 2 + 1 + 2 + 2 + 5 + 5 + 1 + 3 + kept;
        for cut in 0..arguments {
            assert!(
                decode(body[..cut].to_vec(), Vec::new()).is_none(),
                "cut at {cut}"
            );
        }
        assert!(decode(body[..arguments].to_vec(), Vec::new()).is_some());
    }

    #[test]
    fn what_cannot_be_passed_is_refused() {
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
