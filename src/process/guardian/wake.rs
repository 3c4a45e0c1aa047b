use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use signal_hook::low_level::pipe;

use crate::os::process::signal_at_parents_end;

/// Sent when the parent ends. It only wakes the guardian, so it must not be a signal with a meaning.
const PARENTS_END: Signal = Signal::SIGUSR2;

/// Waits for signals and for the control socket together.
pub(super) struct Wake {
    signals: UnixStream,
}

impl Wake {
    /// From here on `CHLD` and the parent's end wake the guardian, and no signal but `KILL` ends it.
    pub(super) fn new() -> io::Result<Self> {
        let (signals, writer) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        pipe::register(Signal::SIGCHLD as i32, writer.try_clone()?)?;
        pipe::register(PARENTS_END as i32, writer)?;
        let mut blocked = SigSet::all();
        blocked.remove(Signal::SIGCHLD);
        blocked.remove(PARENTS_END);
        // Blocked instead of ignored: both are inherited through exec, and a mask is reset in one call.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
        signal_at_parents_end(PARENTS_END)?;
        Ok(Self { signals })
    }

    /// Waits for a signal, for the socket, or until the timeout.
    pub(super) fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) {
        let timeout = timeout.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(socket.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        // `EINTR` means that a signal has arrived.
        let _ = poll(&mut fds, timeout);
        let mut bytes = [0; 64];
        while matches!((&self.signals).read(&mut bytes), Ok(count) if count > 0) {}
    }
}

/// Whether a read would return at once.
pub(super) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(count) if count > 0)
}
