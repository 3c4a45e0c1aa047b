//! Descriptors in bulk.

use std::io;
use std::os::fd::{AsFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::MsgFlags;

/// Descriptors that arrive over a socket close on exec from the first instant.
pub const RECEIVE_CLOSED_ON_EXEC: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;

/// Closes every descriptor from `first` up.
///
/// Only for the first lines of a process, before anything in it owns a descriptor up there: what is
/// open then was leaked by whoever started us (terminals and shells do), and would be kept alive.
///
/// # Errors
/// What `close_range(2)` reports, or reading `/proc/self/fd` on a kernel before 5.9.
pub fn close_from(first: RawFd) -> io::Result<()> {
    match range(first, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => close_each(first),
        result => result,
    }
}

/// Sets `CLOEXEC` on every open descriptor from `first` up.
///
/// # Errors
/// As [`close_from`].
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    match range(first, libc::CLOSE_RANGE_CLOEXEC) {
        // `ENOSYS` before 5.9, `EINVAL` before 5.11, which brought the flag.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => {
            mark_each(first)
        }
        result => result,
    }
}

fn range(first: RawFd, flags: libc::c_uint) -> io::Result<()> {
    let first = libc::c_uint::try_from(first).map_err(|_| Errno::EBADF)?;
    let flags = libc::c_long::from(flags);
    // SAFETY: the call touches no memory. Closing what others own is ruled out by the contract of
    // `close_from`; with the flag nothing is closed. By number, for C libraries without a wrapper.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            libc::c_long::from(first),
            libc::c_long::from(libc::c_uint::MAX),
            flags,
        )
    };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

fn open_from(first: RawFd) -> io::Result<Vec<RawFd>> {
    // Collected before any is closed: the listing itself has a descriptor.
    let names = std::fs::read_dir("/proc/self/fd")?;
    Ok(names
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd >= first)
        .collect())
}

fn close_each(first: RawFd) -> io::Result<()> {
    for fd in open_from(first)? {
        // SAFETY: as in `range`; the number of the listing's own descriptor gives `EBADF`.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

fn mark_each(first: RawFd) -> io::Result<()> {
    for fd in open_from(first)? {
        // SAFETY: setting a flag of a descriptor touches no memory and closes nothing now.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Asks for a pipe that takes `bytes` before its writer has to wait; what the system refuses
/// (`/proc/sys/fs/pipe-max-size`) is not worth an error.
pub fn widen_pipe(pipe: impl AsFd, bytes: i32) {
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes));
}

/// The regular files to which our own output goes, by the names that they have now (`proc_pid_fd(5)`).
pub fn output_files() -> Vec<PathBuf> {
    let output = ["/proc/self/fd/1", "/proc/self/fd/2"].map(Path::new);
    let files = output.into_iter().filter(|fd| fd.is_file());
    files.filter_map(|fd| fd.read_link().ok()).collect()
}
