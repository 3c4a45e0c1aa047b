//! Finds out whether interception works on this system, by intercepting one call.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
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

/// The timeout of each of the three steps. One system call takes far less time, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Intercepts a child process's `bind` call, reads the child's descriptor and memory, and replies. Takes about half a
/// millisecond, and at most three seconds.
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
    // The child has usually exited already. Its status may be lost, because our parent may have made us ignore
    // `SIGCHLD`.
    let _ = kill(pid, Signal::SIGKILL);
    while waitpid(pid, None) == Err(Errno::EINTR) {}
    result
}

/// Returns the refusal named by the test hook `REFUSE`.
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

/// Installs the filter and binds a socket. The address has no name, so the kernel chooses one (`unix(7)`, "Autobind
/// feature"), which works even without a network.
fn child(channel: BorrowedFd<'_>) -> i32 {
    if install(&[channel], false).is_err() {
        return 1;
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    let Ok(socket) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else {
        return 1;
    };
    if bind(socket.as_raw_fd(), &UnixAddr::new_unnamed()).is_ok() {
        let _ = write(channel, b"+");
    }
    0
}

/// Receives the child's call, replies to it, and waits for the byte that the child sends once the call has returned.
fn attempt(mut channel: &UnixStream) -> Result<(), Unavailable> {
    let timeout = channel.set_read_timeout(Some(TIMEOUT));
    timeout.map_err(Unavailable::Process)?;
    let calls = accept(channel)?;
    // The child sends nothing before its call returns, so a readable channel means that the child has exited.
    let next = calls.next(&[channel], Some(TIMEOUT));
    let Next::Call(call) = next.map_err(Unavailable::Seccomp)? else {
        return Err(Unavailable::Silent);
    };
    reach(&call)?;
    if !calls.is_pending(&call) {
        return Err(Unavailable::Silent);
    }
    let reply = calls.reply(call.id, Reply::Success);
    reply.map_err(|errno| Unavailable::Seccomp(errno.into()))?;
    // `read_exact` continues after a signal. `SA_RESTART` does not restart a read with a timeout (`signal(7)`).
    let returned = channel.read_exact(&mut [0]);
    returned.map_err(|_| Unavailable::Silent)
}

fn accept(channel: &UnixStream) -> Result<InterceptedCalls, Unavailable> {
    match InterceptedCalls::accept(channel) {
        Ok(Ok(calls)) => Ok(calls),
        Ok(Err(errno)) => Err(unavailable(errno)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Unavailable::Silent),
        // A sandbox may kill a process that tries to install a filter.
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

/// Explains the errno that [`InterceptedCalls::accept`] returns instead of a listener.
pub fn unavailable(errno: Errno) -> Unavailable {
    reason(errno, release())
}

fn reason(errno: Errno, release: String) -> Unavailable {
    if NATIVE.is_none() {
        Unavailable::Unsupported
    } else if errno == Errno::EBUSY {
        Unavailable::Busy
    } else if errno == Errno::EINVAL && is_older(&release, OLDEST) {
        // The kernel does not know one of the flags. Newer kernels may have other reasons for `EINVAL`.
        Unavailable::OldKernel(release)
    } else {
        Unavailable::Seccomp(errno.into())
    }
}

/// Returns the release of the running kernel, such as `6.12.53-generic`.
fn release() -> String {
    let name = nix::sys::utsname::uname();
    name.map_or_else(
        |_| "unknown".into(),
        |name| name.release().to_string_lossy().into_owned(),
    )
}

/// Whether this kernel can lose a reply, so that the caller repeats its call; see [`InterceptedCalls::reply`]. Kernels of
/// an older series count even if they contain the fix.
pub fn may_lose_replies() -> bool {
    is_older(&release(), (6, 18))
}

/// Compares the numbers at the beginning of a release.
fn is_older(release: &str, than: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse().ok();
    number().zip(number()).is_some_and(|version| version < than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_succeeds_within_the_timeout() {
        let began = std::time::Instant::now();
        probe().unwrap();
        assert!(began.elapsed() < TIMEOUT);
    }

    #[test]
    fn an_errno_is_translated_into_a_reason() {
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
