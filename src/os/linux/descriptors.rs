//! Descriptors in bulk, and comparing them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::MsgFlags;

/// `recvmsg(2)` sets `CLOEXEC` on the descriptors it delivers.
pub const RECEIVE_CLOSED_ON_EXEC: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;

/// Closes every descriptor from `first` up.
///
/// Only for the start of a process, before anything in it owns a descriptor in that range: what is open then was leaked by
/// the parent (terminals and shells do that) and would be kept alive.
///
/// # Errors
/// As for `close_range(2)`; on kernels before 5.9, `/proc/self/fd` cannot be read.
pub fn close_from(first: RawFd) -> io::Result<()> {
    match close_range(first, 0) {
        Err(Errno::ENOSYS) => for_each_from(first, |fd| {
            // SAFETY: as in `close_range`; the listing's own descriptor is closed by then and gives `EBADF`.
            unsafe { libc::close(fd) };
        }),
        result => Ok(result?),
    }
}

/// Sets `CLOEXEC` on every open descriptor from `first` up.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    match close_range(first, libc::CLOSE_RANGE_CLOEXEC) {
        // `ENOSYS` before 5.9; `EINVAL` before 5.11, which added the flag.
        Err(Errno::ENOSYS | Errno::EINVAL) => for_each_from(first, |fd| {
            // SAFETY: setting a flag of a descriptor touches no memory and closes nothing now.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }),
        result => Ok(result?),
    }
}

fn close_range(first: RawFd, flags: libc::c_uint) -> Result<(), Errno> {
    let first = libc::c_long::from(first);
    let last = libc::c_long::from(libc::c_uint::MAX);
    // SAFETY: the call touches no memory. Closing what others own is ruled out by the contract of
    // `close_from`; with the flag nothing is closed. By number, for C libraries without a wrapper.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            last,
            libc::c_long::from(flags),
        )
    };
    Errno::result(result).map(drop)
}

fn for_each_from(first: RawFd, act: impl Fn(RawFd)) -> io::Result<()> {
    // Collected first, because the listing itself has a descriptor.
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    open.into_iter().filter(|fd| *fd >= first).for_each(act);
    Ok(())
}

/// Lets a pipe hold `bytes` before its writer has to wait. A refusal (`/proc/sys/fs/pipe-max-size`) is ignored.
pub fn widen_pipe(pipe: impl AsFd, bytes: i32) {
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes));
}

/// The regular files to which our own output goes, by their current names (`proc_pid_fd(5)`).
pub fn output_files() -> Vec<PathBuf> {
    let output = ["/proc/self/fd/1", "/proc/self/fd/2"].map(Path::new);
    let files = output.into_iter().filter(|fd| fd.is_file());
    files.filter_map(|fd| fd.read_link().ok()).collect()
}

/// The comparison of two descriptors by `kcmp(2)` (`include/uapi/linux/kcmp.h`).
const KCMP_FILE: libc::c_int = 0;

/// Whether the two descriptors are duplicates of each other. Where `kcmp(2)` is missing or forbidden, as in some
/// containers, only sockets are recognized.
pub fn is_duplicate(one: &impl AsFd, other: &impl AsFd) -> bool {
    let (first, second) = (one.as_fd().as_raw_fd(), other.as_fd().as_raw_fd());
    let own = nix::unistd::getpid().as_raw();
    // SAFETY: the call touches no memory, and compares what this process has at two numbers.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, own, own, KCMP_FILE, first, second) };
    match order {
        -1 => crate::os::sockets::is_same_socket(one, other),
        order => order == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::is_duplicate;

    #[test]
    fn a_duplicate_is_recognized_and_the_other_end_is_not() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(is_duplicate(&here, &here.try_clone().unwrap()));
        assert!(!is_duplicate(&here, &there));
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!is_duplicate(&reader, &writer));
    }
}
