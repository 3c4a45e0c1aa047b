use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::socket::{MsgFlags, recv};
use signal_hook::low_level::pipe;

use crate::os::process::signal_at_parents_end;
use crate::process::wire::{self, Order, ProgramEvent};

/// The signal that the kernel sends to the guardian when its parent exits. Its only effect is to wake the guardian.
const PARENTS_END: Signal = Signal::SIGUSR2;

/// The guardian's end of the control socket, and the signals that wake the guardian.
pub(super) struct Channel {
    pub(super) socket: UnixStream,
    signals: UnixStream,
    unread: Vec<u8>,
    /// Whether hotrun has closed its end.
    pub(super) closed: bool,
}

impl Channel {
    /// Takes the socket from standard input, and replaces standard input with the null device, which the program
    /// inherits. From here on, `CHLD` and the parent's exit wake the guardian, and no signal except `KILL` and `STOP`
    /// affects it.
    pub(super) fn take() -> io::Result<Self> {
        let fd = io::stdin().as_fd().try_clone_to_owned()?;
        let null = OpenOptions::new().read(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        let (signals, writer) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        pipe::register(Signal::SIGCHLD as i32, writer.try_clone()?)?;
        pipe::register(PARENTS_END as i32, writer)?;
        let mut blocked = SigSet::all();
        blocked.remove(Signal::SIGCHLD);
        blocked.remove(PARENTS_END);
        // The other signals are blocked instead of ignored. Both states survive exec, but a mask can be reset in one
        // call.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
        signal_at_parents_end(PARENTS_END)?;
        Ok(Self {
            socket: UnixStream::from(fd),
            signals,
            unread: Vec::new(),
            closed: false,
        })
    }

    /// Waits until a signal or an order arrives, or the timeout has passed.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        let timeout = timeout.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
        });
        // A closed socket is always readable, so it is no longer polled.
        let socket = (!self.closed).then(|| self.socket.as_fd());
        let fds = [Some(self.signals.as_fd()), socket].into_iter().flatten();
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // An `EINTR` means that a signal has arrived.
        let _ = poll(&mut fds, timeout);
        let mut bytes = [0; 64];
        while matches!(self.signals.read(&mut bytes), Ok(count) if count > 0) {}
    }

    /// Reports an event. If this fails, hotrun is gone, which the next read will notice.
    pub(super) fn report(&mut self, event: ProgramEvent) {
        let _ = self.socket.write_all(wire::to_line(&event).as_bytes());
    }

    /// Returns the orders that have arrived since the last call, without waiting.
    pub(super) fn orders(&mut self) -> Vec<Order> {
        let mut buffer = [0; 4096];
        while !self.closed {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => self.closed = true,
                Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                // `ECONNRESET` means that hotrun exited without reading all events.
                Err(_) => self.closed = true,
            }
        }
        let end = self.unread.iter().rposition(|byte| *byte == b'\n');
        let lines: Vec<u8> = self.unread.drain(..end.map_or(0, |at| at + 1)).collect();
        let text = String::from_utf8_lossy(&lines);
        text.lines().filter_map(wire::from_line).collect()
    }
}
