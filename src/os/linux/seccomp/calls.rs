use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::install::told;
use super::{Call, Next, Reply, Syscall};
use crate::os::scm_rights;

/// The listener of a trapped program: its calls come out here, and wait for their answers.
///
/// One thread at a time takes calls out; answers may be given from any. Dropping it lets every call that waits or is
/// yet to come fail with `ENOSYS`.
#[derive(Debug)]
pub struct InterceptedCalls(OwnedFd);

impl InterceptedCalls {
    /// Waits for what [`Filter::install`](super::Filter::install) sends over the channel: the listener, or why the program
    /// runs without.
    ///
    /// # Errors
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof): the program was never started.
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the channel was given a timeout and it is over.
    // By value: the channel has nothing to say after that.
    #[expect(clippy::needless_pass_by_value)]
    pub fn accept(channel: OwnedFd) -> io::Result<Result<Self, Errno>> {
        Self::receive(channel.as_fd())
    }

    pub(super) fn receive(channel: BorrowedFd<'_>) -> io::Result<Result<Self, Errno>> {
        let mut bytes = [0; 4];
        loop {
            match scm_rights::receive(channel, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((4, mut fds)) => return Ok(told(bytes, fds.pop())?.map(Self)),
                Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// Waits for the next call, or for `stop` to become readable or be closed at its other end, which comes first if both
    /// are there.
    ///
    /// Between here and the answer only a fatal signal interrupts the caller; [`InterceptedCalls::is_pending`] knows.
    ///
    /// # Errors
    /// What `poll(2)` or the kernel's `ioctl` reports, short of memory above all.
    pub fn next(&self, stop: BorrowedFd<'_>) -> io::Result<Next> {
        self.next_within(Some(stop), None)
    }

    /// The same, with [`Next::Stopped`] also when this time is over.
    ///
    /// # Errors
    /// As for [`InterceptedCalls::next`].
    pub fn next_within(
        &self,
        stop: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<Next> {
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)
        });
        loop {
            let calls = match self.wait(stop, timeout) {
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
                Ok(None) => return Ok(Next::Stopped),
                Ok(Some(calls)) => calls,
            };
            if !calls.contains(PollFlags::POLLIN) {
                // `HUP`: nobody has the filter any more. `ERR`: only that a signal kept the kernel from looking
                // (`seccomp_notify_poll` in `kernel/seccomp.c`).
                match calls.contains(PollFlags::POLLHUP) {
                    true => return Ok(Next::Ended),
                    false => continue,
                }
            }
            match self.receive_call() {
                // The caller was interrupted before we took the call out. It comes again, or is dead.
                Err(Errno::ENOENT | Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(None) => {}
                Ok(Some(call)) => return Ok(Next::Call(call)),
            }
        }
    }

    /// What the listener is ready for; nothing if it is time to stop.
    fn wait(
        &self,
        stop: Option<BorrowedFd<'_>>,
        timeout: PollTimeout,
    ) -> Result<Option<PollFlags>, Errno> {
        let listener = PollFd::new(self.0.as_fd(), PollFlags::POLLIN);
        // Twice the same where there is nothing to stop us.
        let stop = PollFd::new(stop.unwrap_or(self.0.as_fd()), PollFlags::POLLIN);
        let mut fds = [listener, stop];
        let ready = poll(&mut fds, timeout)?;
        let [listener, stop] = fds;
        let said = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
        let stopped = stop.as_fd().as_raw_fd() != self.0.as_raw_fd() && !said(&stop).is_empty();
        // Nobody is left who could call: whatever else there is to do, that is the end.
        let over = said(&listener) == PollFlags::POLLHUP;
        Ok((ready > 0 && (over || !stopped)).then(|| said(&listener)))
    }

    /// Takes a call out. Does not wait after `poll` has shown one, even if its caller is gone by now: the kernel counts
    /// calls up but does not count those down that were interrupted, and answers `ENOENT` instead.
    fn receive_call(&self) -> Result<Option<Call>, Errno> {
        // The kernel wants zeros.
        let mut heard = libc::seccomp_notif {
            id: 0,
            pid: 0,
            flags: 0,
            data: libc::seccomp_data {
                nr: 0,
                arch: 0,
                instruction_pointer: 0,
                args: [0; 6],
            },
        };
        // SAFETY: the call fills in the structure, whose size is part of its number, so that a kernel with a
        // greater one would refuse instead of writing behind its end.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut heard,
            )
        };
        Errno::result(result)?;
        let call = syscall(&heard.data).map(|syscall| Call {
            id: heard.id,
            thread: heard.pid.cast_signed(),
            syscall,
        });
        if call.is_none() {
            // Not by our filter. Its caller must not wait for ever.
            self.send(heard.id, Reply::Continue)?;
        }
        Ok(call)
    }

    /// Whether the caller still waits. What was found out by the number of its thread, or read from its memory, is
    /// of this caller only if it waits *afterwards*: numbers are given anew (`seccomp_unotify(2)`).
    pub fn is_pending(&self, call: &Call) -> bool {
        let id = call.id;
        loop {
            // SAFETY: the call reads the eight bytes of `id`.
            let result = unsafe {
                libc::ioctl(
                    self.0.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
                    &raw const id,
                )
            };
            match Errno::result(result) {
                Err(Errno::EINTR) => {}
                other => return other.is_ok(),
            }
        }
    }

    /// Lets the caller go on. A caller that has died is no error.
    ///
    /// Success does not prove that the caller got it: before 6.18 (6.12.53, 6.6.112) the kernel loses an answer that comes
    /// while a signal wakes the caller, who then makes the same call once more ("Fix a race with `WAIT_KILLABLE_RECV` if
    /// the tracer replies too fast"). So whoever answers [`Reply::Success`] must know a socket that it has bound already.
    ///
    /// # Errors
    /// `EINPROGRESS` if it was answered already.
    pub fn reply(&self, call: &Call, answer: Reply) -> io::Result<()> {
        match self.send(call.id, answer) {
            Err(Errno::ENOENT) => Ok(()),
            other => Ok(other?),
        }
    }

    fn send(&self, id: u64, answer: Reply) -> Result<(), Errno> {
        let (error, flags) = match answer {
            Reply::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Reply::Success => (0, 0),
            // As the kernel's own calls return it.
            Reply::Errno(errno) => (-errno.abs(), 0),
        };
        let mut response = libc::seccomp_notif_resp {
            id,
            val: 0,
            error,
            flags,
        };
        loop {
            // SAFETY: the call reads the structure, whose size is part of its number.
            let result = unsafe {
                libc::ioctl(
                    self.0.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_SEND,
                    &raw mut response,
                )
            };
            match Errno::result(result) {
                Err(Errno::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }
}

/// Arguments are registers: a C `int` is the lower half of one, whatever the upper half holds.
fn syscall(data: &libc::seccomp_data) -> Option<Syscall> {
    let [first, second, third, ..] = data.args;
    let number = libc::c_long::from(data.nr);
    (number == libc::SYS_bind)
        .then_some(Syscall::Bind {
            fd: first as i32,
            address: second,
            length: third as u32,
        })
        .or((number == libc::SYS_listen).then_some(Syscall::Listen {
            fd: first as i32,
            backlog: second as i32,
        }))
}
