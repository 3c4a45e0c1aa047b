use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use signal_hook::low_level::pipe;

use crate::os;

/// Sent at the end of whoever started us. Not one that people send: it must wake, and do no more.
const PARENTS_END: Signal = Signal::SIGUSR2;

/// Signals as something to wait on together with the control socket.
pub(super) struct Wake {
    signals: UnixStream,
}

impl Wake {
    /// From here on no signal ends the guardian but `KILL`, and `CHLD` and the parent's end wake it.
    pub(super) fn new() -> io::Result<Self> {
        let (signals, writer) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        pipe::register(Signal::SIGCHLD as i32, writer.try_clone()?)?;
        pipe::register(PARENTS_END as i32, writer)?;
        let mut blocked = SigSet::all();
        blocked.remove(Signal::SIGCHLD);
        blocked.remove(PARENTS_END);
        // Blocked rather than ignored: ignoring would be inherited through exec, and there is one
        // place for the program's mask to be undone.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
        os::signal_at_parents_end(PARENTS_END)?;
        Ok(Self { signals })
    }

    /// Waits until a signal or something on the socket has come, or the time is over.
    pub(super) fn wait(&mut self, socket: Option<BorrowedFd<'_>>, patience: Option<Duration>) {
        let timeout = patience.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(socket.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        // `EINTR` is a signal that has come: the same as an answer.
        let _ = poll(&mut fds, timeout);
        let mut bytes = [0; 64];
        while matches!((&self.signals).read(&mut bytes), Ok(count) if count > 0) {}
    }
}

/// Whether a read would return at once.
pub(super) fn ready(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(count) if count > 0)
}
