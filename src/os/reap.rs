//! Reaping children, on every Unix.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;

/// The result of [`reap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child had ended; its pid is free from now on.
    Ended(i32, ExitStatus),
    /// There are children, and none has ended.
    Running,
    /// There is no such child.
    NoChild,
}

/// Reaps this child, or any child (`None`), if it has ended. Does not wait.
///
/// nix's wrapper does not serve: for a child killed by a real-time signal it returns `EINVAL`, after it has reaped that child
/// and lost its pid.
pub fn reap(pid: Option<i32>) -> Reaped {
    let mut status = 0;
    // SAFETY: `status` has room for the answer.
    let result = unsafe { libc::waitpid(pid.unwrap_or(-1), &raw mut status, libc::WNOHANG) };
    match Errno::result(result) {
        Ok(0) => Reaped::Running,
        Ok(pid) => Reaped::Ended(pid, ExitStatus::from_raw(status)),
        Err(Errno::EINTR) => reap(pid),
        Err(_) => Reaped::NoChild,
    }
}
