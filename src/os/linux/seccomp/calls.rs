use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::filter::{CREAT, OPEN, RENAME, UNLINK};
use super::{Call, FileArgument, Next, Reply, Syscall};
use crate::os::scm_rights;

/// `SECCOMP_IOC_MAGIC` (`include/uapi/linux/seccomp.h`). The request number includes the structure's size: a kernel
/// with a larger structure refuses the request instead of writing past the end of ours.
const MAGIC: u8 = b'!';
nix::ioctl_readwrite!(receive, MAGIC, 0, libc::seccomp_notif);
nix::ioctl_readwrite!(send, MAGIC, 1, libc::seccomp_notif_resp);
nix::ioctl_write_ptr!(id_valid, MAGIC, 2, u64);
// The flags are passed by value, although the request number describes a pointer to them.
const SET_FLAGS: nix::sys::ioctl::ioctl_num_type =
    nix::request_code_write!(MAGIC, 4, size_of::<u64>());
nix::ioctl_write_int_bad!(set_flags, SET_FLAGS);

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (Linux 6.6): the kernel runs the thread that waits for a call, and then the
/// caller, on the same processor at once.
const SYNC_WAKE_UP: i32 = 1;

/// The seccomp listener of a program whose calls are intercepted: it delivers the calls and takes the replies.
///
/// Only one thread at a time may receive calls; any thread may reply. Once the last copy of the listener is
/// closed, every pending and future call fails with `ENOSYS`.
#[derive(Debug)]
pub struct InterceptedCalls(OwnedFd);

impl InterceptedCalls {
    /// Waits for [`install`](super::install) to send the listener over the channel, or the reason why the program runs
    /// without one.
    ///
    /// # Errors
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof): the channel was closed before anything was sent, because the
    /// program was not started or was killed. [`WouldBlock`](io::ErrorKind::WouldBlock): the channel's timeout has
    /// expired.
    pub fn accept(channel: impl AsFd) -> io::Result<Result<Self, Errno>> {
        let mut bytes = [0; 4];
        loop {
            let mut received = match scm_rights::receive(channel.as_fd(), &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            let listener = received.descriptors.pop();
            return match (received.length, i32::from_ne_bytes(bytes), listener) {
                (0, ..) => Err(io::ErrorKind::UnexpectedEof.into()),
                (4, 0, Some(listener)) => {
                    // An older kernel refuses this, and interception is just slower.
                    // SAFETY: the call touches no memory.
                    let _ = unsafe { set_flags(listener.as_raw_fd(), SYNC_WAKE_UP) };
                    Ok(Ok(Self(listener)))
                }
                (4, errno, None) if errno > 0 => Ok(Err(Errno::from_raw(errno))),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
        }
    }

    /// Waits for the next call. Returns [`Next::Stopped`] when the timeout expires, or when one of `stops` is readable or
    /// its other end is closed, even if a call is waiting as well.
    ///
    /// From receipt to reply, only a fatal signal can interrupt the caller; see [`InterceptedCalls::is_pending`].
    pub fn next(&self, stops: &[impl AsFd], timeout: Option<Duration>) -> io::Result<Next> {
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)
        });
        loop {
            let fds = [self.0.as_fd()].into_iter();
            let fds = fds.chain(stops.iter().map(AsFd::as_fd));
            let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            let ready = match poll(&mut fds, timeout) {
                Err(Errno::EINTR) => continue,
                ready => ready?,
            };
            let mut events = fds.iter().filter_map(PollFd::revents);
            let calls = events.next().unwrap_or(PollFlags::empty());
            if calls == PollFlags::POLLHUP {
                // No process is left that could make a call, so the wait is over even if one of `stops` is ready.
                return Ok(Next::Ended);
            }
            if ready == 0 || events.any(|stop| !stop.is_empty()) {
                return Ok(Next::Stopped);
            }
            if !calls.contains(PollFlags::POLLIN) {
                // `POLLERR`: a signal kept the kernel from checking (`seccomp_notify_poll` in `kernel/seccomp.c`).
                continue;
            }
            match self.receive() {
                // The caller was interrupted before we received the call. It will repeat the call, or is dead.
                Err(Errno::ENOENT | Errno::EINTR) | Ok(None) => {}
                Err(errno) => return Err(errno.into()),
                Ok(Some(call)) => return Ok(Next::Call(call)),
            }
        }
    }

    /// Receives a call. Does not block after `poll` has reported one, even if its caller is already gone: the kernel
    /// does not decrement its count of calls when one is interrupted, and returns `ENOENT` instead.
    fn receive(&self) -> Result<Option<Call>, Errno> {
        let received = MaybeUninit::<libc::seccomp_notif>::zeroed();
        // SAFETY: the structure consists of integers, for which zeros are valid. The kernel requires zeros.
        let mut received = unsafe { received.assume_init() };
        // SAFETY: the call fills in the structure.
        unsafe { receive(self.0.as_raw_fd(), &raw mut received) }?;
        let Some(syscall) = syscall(&received.data) else {
            // Our filter intercepts no such call, but its caller must not wait forever.
            self.reply(received.id, Reply::Continue)?;
            return Ok(None);
        };
        Ok(Some(Call {
            id: received.id,
            thread: received.pid.cast_signed(),
            syscall,
        }))
    }

    /// Whether the caller is still waiting. Call this *after* using the thread id or reading the thread's memory:
    /// because thread ids are reused, the descriptor or the data is this caller's only if the caller is still waiting
    /// (`seccomp_unotify(2)`).
    pub fn is_pending(&self, call: &Call) -> bool {
        // SAFETY: the call reads the eight bytes of the id.
        uninterrupted(|| unsafe { id_valid(self.0.as_raw_fd(), &raw const call.id) }).is_ok()
    }

    /// Replies to the caller of the call with this id, which then continues. It is not an error if the caller has died.
    ///
    /// Success does not prove that the caller got the reply: kernels before the fix (in 6.18, 6.12.53 and 6.6.112) lose
    /// a reply that arrives just as a signal wakes the caller, and the caller then repeats the call ("Fix a race with
    /// `WAIT_KILLABLE_RECV` if the tracer replies too fast"). So the code that replies [`Reply::Success`] must
    /// recognize a socket that it has already bound.
    pub fn reply(&self, id: u64, reply: Reply) -> nix::Result<()> {
        let (error, flags) = match reply {
            Reply::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Reply::Success => (0, 0),
            // The kernel's system calls return negative error numbers.
            Reply::Errno(errno) => (-errno.abs(), 0),
        };
        let mut response = libc::seccomp_notif_resp {
            id,
            val: 0,
            error,
            flags,
        };
        // SAFETY: the call reads the structure.
        match uninterrupted(|| unsafe { send(self.0.as_raw_fd(), &raw mut response) }) {
            Err(Errno::ENOENT) => Ok(()),
            sent => sent,
        }
    }
}

fn uninterrupted(mut call: impl FnMut() -> nix::Result<i32>) -> nix::Result<()> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

/// Parses the call and its arguments. Each argument is a 64-bit register, of which a C `int` is the lower half; the
/// upper half may hold anything.
fn syscall(data: &libc::seccomp_data) -> Option<Syscall> {
    let [first, second, third, fourth, ..] = data.args;
    let number = libc::c_long::from(data.nr);
    let (fd, address, length) = (first as i32, second, third as u32);
    let file = |dir: u64, path, follows| {
        let dir = dir as i32;
        Some(FileArgument { dir, path, follows })
    };
    let working_dir = libc::AT_FDCWD as u64;
    match number {
        libc::SYS_bind => Some(Syscall::Bind {
            fd,
            address,
            length,
        }),
        libc::SYS_listen => Some(Syscall::Listen {
            fd,
            backlog: second as i32,
        }),
        libc::SYS_connect => Some(Syscall::Connect {
            fd,
            address,
            length,
        }),
        libc::SYS_openat => Some(Syscall::Write([file(first, second, true), None])),
        libc::SYS_renameat | libc::SYS_renameat2 => {
            let files = [file(first, second, false), file(third, fourth, false)];
            Some(Syscall::Write(files))
        }
        libc::SYS_unlinkat => Some(Syscall::Write([file(first, second, false), None])),
        OPEN | CREAT => Some(Syscall::Write([file(working_dir, first, true), None])),
        RENAME => {
            let files = [first, second].map(|path| file(working_dir, path, false));
            Some(Syscall::Write(files))
        }
        UNLINK => Some(Syscall::Write([file(working_dir, first, false), None])),
        _ => None,
    }
}
