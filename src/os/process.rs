//! Forks and reaps child processes, and sets attributes of the calling process.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
#[cfg(target_os = "linux")]
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid};

/// Forks. The child process runs `child` and exits with the returned status, without running exit handlers.
///
/// # Errors
/// As for `fork(2)`; `EBUSY` if this process has more than one thread, because the child could then hang on locks held
/// by threads that do not exist in the child.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // On other systems this is not checked, but the guardian, which is the only caller, starts no threads there either.
    let tasks = || fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1);
    if cfg!(target_os = "linux") && !tasks() {
        return Err(Errno::EBUSY.into());
    }
    // SAFETY: there is no other thread, so no lock is held by a thread that does not exist in the child. The child may
    // allocate and call any function (`signal-safety(7)`).
    unsafe { fork_beside_threads(child) }
}

/// Forks in a process that may have other threads.
///
/// # Safety
/// The child must neither allocate nor lock, nor do anything else that `signal-safety(7)` forbids: locks held by other
/// threads are never released in the child.
pub(super) unsafe fn fork_beside_threads(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the caller guarantees that the child does only what is allowed.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let status = child();
            // SAFETY: `_exit` has no preconditions.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Moves the descriptors to `first`, `first + 1` and so on, where they stay open across exec, and marks all higher ones
/// to be closed on exec. Call this only just before an exec: it replaces any descriptors at those numbers.
///
/// The descriptors must be in the order in which this process got them, with all numbers below `first` in use. Then each
/// is at or above its target, because a new descriptor gets the lowest free number (`open(2)`), so none is overwritten
/// before it is moved.
pub fn place(fds: Vec<OwnedFd>, first: RawFd) -> io::Result<()> {
    let end = first + RawFd::try_from(fds.len()).map_err(|_| Errno::EMFILE)?;
    for (number, fd) in (first..end).zip(fds) {
        // `dup2` clears `CLOEXEC` on the new descriptor, but does nothing if the numbers are equal.
        let placed = if fd.as_raw_fd() == number {
            fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
            fd
        } else {
            // SAFETY: `dup2` has no memory preconditions, and the caller asks to replace this descriptor.
            unsafe { nix::unistd::dup2_raw(&fd, number) }?
        };
        // Leave it open for the program.
        let _ = placed.into_raw_fd();
    }
    super::close_on_exec_from(end)
}

/// Duplicates the descriptor to a number of at least `lowest`, with `CLOEXEC`.
pub fn raise(fd: &OwnedFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: `F_DUPFD_CLOEXEC` has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// The result of [`reap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child has exited, and its pid may now be reused.
    Ended(i32, ExitStatus),
    /// This child has been stopped by this signal.
    Stopped(i32, i32),
    /// The child is still running, or there are children but none of them has exited or been stopped.
    Running,
    /// There is no such child.
    NoChild,
}

/// Reaps this child, or any child (`None`), if it has exited, or reports that it was stopped. Does not wait.
///
/// nix's `waitpid` cannot be used: for a child killed by a real-time signal it returns `EINVAL` after it has reaped the
/// child, so the pid is lost.
pub fn reap(pid: Option<i32>) -> Reaped {
    let mut status = 0;
    // SAFETY: `status` has room for the result.
    let result = unsafe {
        libc::waitpid(
            pid.unwrap_or(-1),
            &raw mut status,
            libc::WNOHANG | libc::WUNTRACED,
        )
    };
    match Errno::result(result) {
        Ok(0) => Reaped::Running,
        Ok(pid) if libc::WIFSTOPPED(status) => Reaped::Stopped(pid, libc::WSTOPSIG(status)),
        Ok(pid) => Reaped::Ended(pid, ExitStatus::from_raw(status)),
        Err(Errno::EINTR) => reap(pid),
        Err(_) => Reaped::NoChild,
    }
}

/// Makes this process a subreaper: a descendant whose parent exits becomes a child of this process, unless a closer
/// ancestor is also a subreaper (`PR_SET_CHILD_SUBREAPER`, `prctl(2)`). Does nothing where
/// [`SUBREAPER`](super::SUBREAPER) is false.
pub fn become_subreaper() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    prctl::set_child_subreaper(true)?;
    Ok(())
}

/// Requests that the kernel send this signal to the calling process when the *thread* that started it exits
/// (`PR_SET_PDEATHSIG`; `reparent_leader` in `kernel/exit.c`). The parent process may still be running, so the receiver
/// must check whether its parent has changed. Does nothing on systems other than Linux.
pub fn signal_at_parents_end(signal: Signal) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    prctl::set_pdeathsig(signal)?;
    let _ = signal;
    Ok(())
}

/// Sets the name that `ps` and `top` show, which the kernel truncates to 15 bytes. Does nothing on systems other than
/// Linux.
pub fn set_name(name: &CStr) {
    #[cfg(target_os = "linux")]
    let _ = prctl::set_name(name);
    let _ = name;
}
