//! Closes and inspects file descriptors.

use std::fs;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::fcntl::SealFlag;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};

/// Closes every descriptor numbered `first` or higher.
///
/// Call this only when a process starts, before anything in it owns a descriptor in that range. A descriptor that is
/// open at that point was leaked by the parent, as terminals and shells sometimes do, and this process would keep it
/// open.
pub fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: closing touches no memory, and the caller guarantees that nothing owns these descriptors.
    for_each_from(first, 0, |fd| unsafe { libc::close(fd) })
}

/// Takes ownership of a descriptor that this process was started with, and sets `CLOEXEC`.
///
/// Call this only once for each descriptor, and only for one that the parent has passed on purpose.
pub fn take_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: reading a descriptor's flags touches no memory, and a closed descriptor is an error.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: the descriptor is open, and the caller guarantees that nothing else owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(owned)
}

/// Sets `CLOEXEC` on every open descriptor numbered `first` or higher.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    /// `CLOSE_RANGE_CLOEXEC` (`include/uapi/linux/close_range.h`).
    const ON_EXEC: u32 = 4;
    // SAFETY: setting a descriptor flag touches no memory, and closes nothing before an exec.
    let set = |fd| unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    for_each_from(first, ON_EXEC, set)
}

/// Uses one `close_range` call if possible, and otherwise calls `act` for each descriptor: Linux lacks the call before
/// 5.9, and the flag before 5.11. If `act` fails, the descriptor has been closed in the meantime.
fn for_each_from(first: RawFd, flags: u32, act: impl Fn(RawFd) -> i32) -> io::Result<()> {
    if close_range(first, flags).is_ok() {
        return Ok(());
    }
    // Collect the numbers first, because listing the directory itself uses a descriptor.
    let open: Vec<RawFd> = fs::read_dir("/dev/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| *fd >= first) {
        act(fd);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn close_range(first: RawFd, flags: u32) -> nix::Result<()> {
    use libc::c_long;
    // SAFETY: the call touches no memory. The caller guarantees that nothing owns these descriptors, and with the flag,
    // nothing is closed before an exec. The call is made by number because some C libraries have no wrapper.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            c_long::from(first),
            c_long::from(u32::MAX),
            c_long::from(flags),
        )
    };
    Errno::result(result).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn close_range(_first: RawFd, _flags: u32) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}

/// Enlarges a pipe to hold `bytes` before its writer has to wait. If the kernel refuses (`/proc/sys/fs/pipe-max-size`),
/// the pipe keeps its size.
pub fn widen_pipe(pipe: impl AsFd, bytes: i32) {
    #[cfg(target_os = "linux")]
    let _ = nix::fcntl::fcntl(&pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(bytes));
    let _ = (pipe, bytes);
}

/// Returns the regular files that our own output is redirected to, by their current names (`proc_pid_fd(5)`).
pub fn output_files() -> Vec<PathBuf> {
    let output = ["/proc/self/fd/1", "/proc/self/fd/2"].map(Path::new);
    let files = output.into_iter().filter(|fd| fd.is_file());
    files.filter_map(|fd| fd.read_link().ok()).collect()
}

/// Returns the inode of an open descriptor. For a socket, this is the number shown in `/proc/PID/fd`.
pub fn inode(fd: &impl AsFd) -> io::Result<u64> {
    // The width of `st_ino` differs between systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    Ok(fstat(fd)?.st_ino as u64)
}

/// Whether the contents of this file can no longer change, because it is a memfd that is sealed against writing
/// (`F_SEAL_WRITE`, `fcntl(2)`).
pub fn is_sealed(fd: &impl AsFd) -> bool {
    #[cfg(target_os = "linux")]
    {
        let seals = fcntl(fd, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
        seals.is_ok_and(|seals| seals.contains(SealFlag::F_SEAL_WRITE))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = fd;
        false
    }
}

/// Whether the two descriptors are duplicates of each other. Where `kcmp(2)` is not allowed, as in some containers,
/// only duplicates of sockets are recognized.
pub fn is_duplicate(one: &impl AsFd, other: &impl AsFd) -> bool {
    fn socket(fd: &impl AsFd) -> Option<(libc::dev_t, libc::ino_t)> {
        let stat = fstat(fd).ok()?;
        let is_socket = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFSOCK.bits();
        is_socket.then_some((stat.st_dev, stat.st_ino))
    }
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        /// `include/uapi/linux/kcmp.h`
        const KCMP_FILE: libc::c_int = 0;
        let (first, second) = (one.as_fd().as_raw_fd(), other.as_fd().as_raw_fd());
        let own = nix::unistd::getpid().as_raw();
        // SAFETY: the call touches no memory. It compares two descriptors of this process.
        let order = unsafe { libc::syscall(libc::SYS_kcmp, own, own, KCMP_FILE, first, second) };
        if order >= 0 {
            return order == 0;
        }
    }
    let known = socket(one);
    known.is_some() && known == socket(other)
}

#[cfg(test)]
mod tests {
    use super::is_duplicate;

    #[test]
    fn a_duplicate_is_recognized_but_the_other_end_is_not_taken_for_one() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(is_duplicate(&here, &here.try_clone().unwrap()));
        assert!(!is_duplicate(&here, &there));
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!is_duplicate(&reader, &writer));
    }
}
