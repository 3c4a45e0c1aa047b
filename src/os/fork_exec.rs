//! The steps between fork and exec for which std has no safe call, on every Unix.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{ForkResult, Pid};

/// Forks. The child runs `child` and exits with the status that it returns, without running exit handlers.
///
/// # Errors
/// As for `fork(2)`; `EBUSY` if this process has more than one thread, because the child could then hang on locks held by
/// threads that it does not have.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    if !super::single_threaded() {
        return Err(Errno::EBUSY.into());
    }
    // SAFETY: there is no other thread, so the child's memory is whole: no lock is held by anybody
    // who is not there any more, and it may allocate and call what it likes (`signal-safety(7)`).
    unsafe { fork_beside_threads(child) }
}

/// Forks in a process that may have other threads.
///
/// # Safety
/// The child must neither allocate nor lock, nor do anything else that `signal-safety(7)` does not allow: it has no
/// thread but its own, and for ever whatever the others had locked.
pub(super) unsafe fn fork_beside_threads(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the caller sees to what the child does.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let status = child();
            // SAFETY: `_exit` has no preconditions.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Puts the descriptors at `first`, `first + 1` and so on, open across exec, and closes the rest on exec. Only for a process
/// about to exec: whatever was open at those numbers is replaced.
pub fn place(fds: Vec<OwnedFd>, first: RawFd) -> io::Result<()> {
    let end = first + RawFd::try_from(fds.len()).map_err(|_| Errno::EMFILE)?;
    // A descriptor may be at a number that another one is to get. Usually they are in order, each at its number or above:
    // then none is overwritten before it is moved. Otherwise all of them move out of the way first, which takes twice as
    // many numbers.
    let in_order = fds.is_sorted_by_key(AsRawFd::as_raw_fd)
        && fds.first().is_none_or(|lowest| lowest.as_raw_fd() >= first);
    let fds = match in_order {
        true => fds,
        false => {
            let raised = fds.iter().map(|fd| raise(fd, end));
            raised.collect::<io::Result<Vec<_>>>()?
        }
    };
    for (number, fd) in (first..end).zip(fds) {
        move_to(fd, number)?;
    }
    super::close_on_exec_from(end)
}

/// A duplicate of the descriptor at `lowest` or above, with `CLOEXEC`.
pub fn raise(fd: &OwnedFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: `F_DUPFD_CLOEXEC` made this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// `dup2` clears `CLOEXEC` on the new descriptor, but does nothing if the numbers are equal.
fn move_to(fd: OwnedFd, number: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let _ = fd.into_raw_fd();
        return Ok(());
    }
    // SAFETY: `dup2` has no memory preconditions; replacing what is at `number` is what the caller
    // of `place` asks for.
    let new = unsafe { nix::unistd::dup2_raw(&fd, number) }?;
    // It stays open for the program.
    let _ = new.into_raw_fd();
    Ok(())
}
