//! The steps between a fork and an exec that std has no safe call for, on every Unix.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, Pid};

/// Forks; the child runs `child` and ends with the status that it returns, without running
/// anything that was registered for the end of this process.
///
/// # Errors
/// What `fork(2)` reports; `EBUSY` when this process has more than one thread, where the child
/// could only hang on locks that threads it does not have hold.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    if !super::single_threaded() {
        return Err(Errno::EBUSY.into());
    }
    // SAFETY: there is no other thread, so the child's memory is whole: no lock is held by anybody
    // who is not there any more, and it may allocate and call what it likes (`signal-safety(7)`).
    unsafe { fork_beside_threads(child) }
}

/// The same in a process that may have other threads.
///
/// # Safety
/// The child must neither allocate nor lock, nor do anything else that `signal-safety(7)` does not allow: it has no
/// thread but its own, and for ever whatever the others had locked.
pub(super) unsafe fn fork_beside_threads(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the caller sees to what the child does.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => exit_now(child()),
    }
}

fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Puts the descriptors at `first`, `first + 1` and so on, open across exec, and closes the rest on
/// exec. Whatever was open at those numbers is replaced: only for a process about to exec.
///
/// # Errors
/// What `fcntl(2)` and `dup2(2)` report, `EMFILE` above all.
pub fn place(fds: Vec<OwnedFd>, first: RawFd) -> io::Result<()> {
    let end = first + RawFd::try_from(fds.len()).map_err(|_| Errno::EMFILE)?;
    // A descriptor may sit at a number that another is to get. As a rule they come in order, each at its number or
    // above: then none is overwritten before its turn. Else all of them move out of the way first, which takes twice
    // as many numbers.
    let in_order = fds
        .windows(2)
        .all(|two| two[0].as_raw_fd() < two[1].as_raw_fd())
        && fds.first().is_none_or(|lowest| lowest.as_raw_fd() >= first);
    let ready = match in_order {
        true => fds,
        false => fds
            .into_iter()
            .map(|fd| raise(&fd, end))
            .collect::<io::Result<Vec<_>>>()?,
    };
    for (number, fd) in (first..end).zip(ready) {
        move_to(fd, number)?;
    }
    super::close_on_exec_from(end)
}

/// A copy of the descriptor at `lowest` or above, closed on exec.
///
/// # Errors
/// What `fcntl(2)` reports.
pub fn raise(fd: &OwnedFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: `F_DUPFD_CLOEXEC` made this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// `dup2` clears `CLOEXEC` on the new descriptor, but does nothing where the numbers are equal.
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

/// Gives every signal its default disposition and blocks none.
///
/// Dispositions to ignore and the mask survive exec (`signal(7)`): Rust's runtime ignores `PIPE`,
/// `nohup` ignores `HUP`, a shell ignores `INT` for what it starts in the background. None of that
/// is the program's.
pub fn reset_signals() {
    for number in 1..=highest_signal() {
        // SAFETY: `SIG_DFL` runs no code of ours. Numbers that are refused (`KILL`, `STOP`, those
        // that the C library keeps) only fail.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

fn highest_signal() -> i32 {
    super::highest_signal()
}

/// Whether this process was started with the signal ignored (`nohup` does it to `HUP`).
pub fn ignored(signal: nix::sys::signal::Signal) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action asks without changing anything, and `now` has room for the answer.
    let result = unsafe { libc::sigaction(signal as i32, std::ptr::null(), now.as_mut_ptr()) };
    if result != 0 {
        return false;
    }
    // SAFETY: the call succeeded, so it filled `now` in.
    let now = unsafe { now.assume_init() };
    now.sa_sigaction == libc::SIG_IGN
}
