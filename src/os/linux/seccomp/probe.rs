//! Finds out whether interception works here, by doing it once.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use nix::sys::wait::waitpid;
use nix::unistd::write;

use super::filter::NATIVE;
use super::{
    Call, InterceptedCalls, Next, Reply, Syscall, Unavailable, channel, descriptor_of, install,
    read_memory,
};
use crate::os::intercept::OLDEST;
use crate::os::process::fork_beside_threads;
use crate::os::test_hook;

/// For each of the three steps. No machine takes this long for one system call.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Sent by the child once its call has returned.
const RETURNED: [u8; 1] = [b'+'];

/// Intercepts a `bind` of a child process, reaches into the child, and replies. Takes about half a millisecond, and three
/// seconds at most.
///
/// # Errors
/// [`Unavailable`]: why calls cannot be intercepted here.
pub fn probe() -> Result<(), Unavailable> {
    if let Some(refusal) = simulated() {
        return Err(refusal);
    }
    let (here, there) = channel().map_err(Unavailable::Process)?;
    // SAFETY: `child` makes a handful of system calls, and neither allocates nor locks.
    let pid = unsafe { fork_beside_threads(|| child(there.as_fd())) };
    let pid = pid.map_err(Unavailable::Process)?;
    drop(there);
    let result = attempt(&here.into());
    // Usually it has ended by now. Its status may be lost: our parent may have made us ignore `CHLD`.
    let _ = kill(pid, Signal::SIGKILL);
    while waitpid(pid, None) == Err(Errno::EINTR) {}
    result
}

/// The refusal that the test hook `REFUSE` names.
fn simulated() -> Option<Unavailable> {
    let forbidden = || Errno::EPERM.into();
    match test_hook("REFUSE")?.as_str() {
        "kernel" => Some(Unavailable::OldKernel(release())),
        "seccomp" => Some(Unavailable::Seccomp(forbidden())),
        "busy" => Some(Unavailable::Busy),
        "pidfd" => Some(Unavailable::Pidfd(forbidden())),
        _ => None,
    }
}

/// Binds without a name, which lets the kernel choose one (`unix(7)`, "Autobind feature"): it works without a network.
fn child(channel: BorrowedFd<'_>) -> i32 {
    if install(channel).is_err() {
        return 1;
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    let Ok(socket) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else {
        return 1;
    };
    if bind(socket.as_raw_fd(), &UnixAddr::new_unnamed()).is_ok() {
        let _ = write(channel, &RETURNED);
    }
    0
}

/// The side that replies.
fn attempt(channel: &UnixStream) -> Result<(), Unavailable> {
    let timeout = channel.set_read_timeout(Some(TIMEOUT));
    timeout.map_err(Unavailable::Process)?;
    let calls = accept(channel)?;
    // The child has nothing to send before its call returns, so a readable channel means that it has ended.
    let next = calls.next(Some(channel.as_fd()), Some(TIMEOUT));
    let Next::Call(call) = next.map_err(Unavailable::Seccomp)? else {
        return Err(Unavailable::Silent);
    };
    reach(&call)?;
    if !calls.is_pending(&call) {
        return Err(Unavailable::Silent);
    }
    let reply = calls.reply(&call, Reply::Success);
    reply.map_err(Unavailable::Seccomp)?;
    returned(channel)
}

fn accept(channel: &UnixStream) -> Result<InterceptedCalls, Unavailable> {
    match InterceptedCalls::accept(channel) {
        Ok(Ok(calls)) => Ok(calls),
        Ok(Err(errno)) => Err(unavailable(errno)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Unavailable::Silent),
        // A sandbox may kill a process for the attempt.
        Err(error) => Err(Unavailable::Seccomp(error)),
    }
}

fn reach(call: &Call) -> Result<(), Unavailable> {
    let Syscall::Bind {
        fd,
        address,
        length,
    } = call.syscall
    else {
        return Err(Unavailable::Silent);
    };
    descriptor_of(call.thread, fd).map_err(Unavailable::Pidfd)?;
    let family = read_memory(call.thread, address, length.min(2) as usize);
    family.map(drop).map_err(Unavailable::Memory)
}

fn returned(mut channel: &UnixStream) -> Result<(), Unavailable> {
    let mut byte = [0];
    // `read_exact` continues after a signal, which `SA_RESTART` does not for a read with a timeout (`signal(7)`).
    match channel.read_exact(&mut byte) {
        Ok(()) if byte == RETURNED => Ok(()),
        Ok(()) | Err(_) => Err(Unavailable::Silent),
    }
}

/// The meaning of the errno that [`InterceptedCalls::accept`] returns instead of a listener.
pub fn unavailable(errno: Errno) -> Unavailable {
    reason(errno, release())
}

fn reason(errno: Errno, release: String) -> Unavailable {
    if NATIVE.is_none() {
        Unavailable::Unsupported
    } else if errno == Errno::EBUSY {
        Unavailable::Busy
    } else if errno == Errno::EINVAL && is_old(&release) {
        // The kernel does not know a flag. Newer kernels may have other reasons for `EINVAL`.
        Unavailable::OldKernel(release)
    } else {
        Unavailable::Seccomp(errno.into())
    }
}

/// The release of the running kernel, such as `6.12.53-generic`.
fn release() -> String {
    let name = nix::sys::utsname::uname();
    name.map_or_else(
        |_| "unknown".into(),
        |name| name.release().to_string_lossy().into_owned(),
    )
}

/// The numbers that a release begins with, three at most.
fn version(release: &str) -> Vec<u32> {
    let numbers = release.split(|c: char| !c.is_ascii_digit());
    let numbers = numbers.map_while(|number| number.parse().ok());
    numbers.take(3).collect()
}

fn is_old(release: &str) -> bool {
    match version(release)[..] {
        [major, minor, ..] => (major, minor) < OLDEST,
        [] | [_] => false,
    }
}

/// Whether this kernel can lose a reply, so that the caller repeats its call: before 6.18, 6.12.53 and 6.6.112, see
/// [`InterceptedCalls::reply`].
pub fn may_lose_replies() -> bool {
    static LOST: LazyLock<bool> = LazyLock::new(|| loses_replies(&release()));
    *LOST
}

fn loses_replies(release: &str) -> bool {
    match version(release)[..] {
        [6, 12, patch] => patch < 53,
        [6, 6, patch] => patch < 112,
        [major, minor, ..] => (major, minor) < (6, 18),
        [] | [_] => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_works_here_within_the_timeout() {
        let began = std::time::Instant::now();
        probe().unwrap();
        assert!(began.elapsed() < TIMEOUT);
    }

    #[test]
    fn kernels_that_lose_replies_are_known() {
        for old in ["5.19.0-generic", "6.6.111", "6.12.52", "6.17.9"] {
            assert!(loses_replies(old), "{old}");
        }
        for new in ["6.18.44-fc", "6.12.53-rt", "6.6.112", "7.0.0"] {
            assert!(!loses_replies(new), "{new}");
        }
    }

    #[test]
    fn an_errno_becomes_a_reason() {
        let new = "6.18.44-fc";
        assert!(matches!(
            reason(Errno::EBUSY, new.into()),
            Unavailable::Busy
        ));
        assert!(matches!(
            reason(Errno::EINVAL, "5.15.0-130-generic".into()),
            Unavailable::OldKernel(_)
        ));
        assert!(matches!(
            reason(Errno::EINVAL, "4.4.0".into()),
            Unavailable::OldKernel(_)
        ));
        for (errno, release) in [
            (Errno::EINVAL, new),
            (Errno::EINVAL, "5.19"),
            (Errno::EINVAL, "what"),
            (Errno::EPERM, "4.4.0"),
            (Errno::ENOSYS, new),
        ] {
            let reason = reason(errno, release.into());
            assert!(matches!(reason, Unavailable::Seccomp(_)), "{reason:?}");
        }
    }
}
