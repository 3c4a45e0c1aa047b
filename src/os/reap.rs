//! Taking in what has ended, on every Unix.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What [`reap`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child had ended; its number is free from now on.
    Ended(i32, ExitStatus),
    /// There are children, and none has ended.
    Running,
    /// There is no such child.
    NoChild,
}

/// Takes in one child that has ended, this one or (`None`) any, without waiting.
///
/// Not the wrapper of `nix`: it answers `EINVAL` for a child that a real-time signal killed, when
/// that child is already taken in and its number lost.
pub fn reap(pid: Option<i32>) -> Reaped {
    let mut status = 0;
    // SAFETY: `status` has room for the answer.
    let result = unsafe { libc::waitpid(pid.unwrap_or(-1), &raw mut status, libc::WNOHANG) };
    match result {
        0 => Reaped::Running,
        ended if ended > 0 => Reaped::Ended(ended, ExitStatus::from_raw(status)),
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => reap(pid),
        _ => Reaped::NoChild,
    }
}
