//! Descriptors in bulk, one by one.

use std::io;
use std::os::fd::{AsFd, RawFd};
use std::path::PathBuf;

use nix::sys::socket::MsgFlags;

/// No flag for it everywhere: the receiver sets `CLOEXEC` afterwards.
pub const RECEIVE_CLOSED_ON_EXEC: MsgFlags = MsgFlags::empty();

/// Beyond this nobody leaks descriptors by accident, and a limit may be in the millions.
const LAST: RawFd = 4096;

/// Closes every descriptor from `first` up to a bound. Only for the first lines of a process.
///
/// # Errors
/// None here.
pub fn close_from(first: RawFd) -> io::Result<()> {
    for fd in first..LAST {
        // SAFETY: closing what others own is ruled out by the contract; unused numbers give `EBADF`.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Sets `CLOEXEC` on every open descriptor from `first` up to a bound.
///
/// # Errors
/// None here.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    for fd in first..LAST {
        // SAFETY: setting a flag of a descriptor touches no memory; unused numbers give `EBADF`.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// The size of a pipe is the system's affair here.
pub fn widen_pipe(_pipe: impl AsFd, _bytes: i32) {}

/// The regular files to which our own output goes: not to be had.
pub fn output_files() -> Vec<PathBuf> {
    Vec::new()
}
