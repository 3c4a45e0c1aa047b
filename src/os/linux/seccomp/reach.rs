//! Accesses the descriptors, the memory and the files of a program whose call was intercepted.
//!
//! All of them require the right to trace the program (`ptrace(2)`, "Ptrace access mode checking"). A process may trace its
//! descendants unless Yama's `ptrace_scope` is 2 or higher, a container profile forbids it, or the descendant has
//! changed its user or runs an executable that it has no permission to read.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::FileArgument;
use crate::os::process_tree::status_field;

/// Duplicates the thread's descriptor `fd`, with `CLOEXEC`. Check
/// [`InterceptedCalls::is_pending`](super::InterceptedCalls::is_pending) afterwards.
///
/// # Errors
/// `EBADF` if the thread has no such descriptor, `EPERM` without the right to trace the thread, `ESRCH` if the thread
/// is gone.
pub fn descriptor_of(thread: i32, fd: RawFd) -> io::Result<OwnedFd> {
    let process = open(thread)?;
    // SAFETY: the call touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0_u32) };
    own(result)
}

/// Opens a pidfd of the thread, because a thread may have its own descriptor table (`CLONE_FILES`, `unshare(2)`).
/// Kernels before 6.9 have pidfds only for thread group leaders.
fn open(thread: i32) -> io::Result<OwnedFd> {
    match pidfd_open(thread, libc::PIDFD_THREAD) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => pidfd_open(leader(thread)?, 0),
        other => other,
    }
}

/// Opens pidfds of these processes, except for those that are gone already. Each becomes and stays readable once its
/// process has ended.
pub fn pidfds(pids: &[i32]) -> Vec<OwnedFd> {
    let pidfds = pids.iter().map(|pid| pidfd_open(*pid, 0));
    pidfds.filter_map(Result::ok).collect()
}

/// Opens a pidfd, with `CLOEXEC`.
fn pidfd_open(pid: i32, flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the call touches no memory.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) })
}

fn own(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(Errno::result(result)?).map_err(io::Error::other)?;
    // SAFETY: `pidfd_open` and `pidfd_getfd` return a new descriptor with `CLOEXEC` set, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns the thread group leader, whose id is the pid of the process.
fn leader(thread: i32) -> io::Result<i32> {
    let group = status_field(thread, "Tgid:").and_then(|group| group.parse().ok());
    group.ok_or_else(|| Errno::ESRCH.into())
}

/// Reads `length` bytes of the thread's memory at `address`. The caller must bound the length, and check
/// [`InterceptedCalls::is_pending`](super::InterceptedCalls::is_pending) afterwards.
///
/// # Errors
/// `EFAULT` unless the whole range is readable, `EACCES` without the right to trace the thread, `ENOENT` if the thread
/// is gone.
pub fn read_memory(thread: i32, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let memory = File::open(format!("/proc/{thread}/mem"))?;
    // Reading an unmapped page fails with `EIO`, and reading a kernel address returns end of file.
    let read = memory.read_exact_at(&mut bytes, address);
    read.map_err(|_| Errno::EFAULT)?;
    Ok(bytes)
}

/// Returns the path of the file that an argument of the thread's call names, without symbolic links in it. A program with
/// another root directory or mount namespace may mean another file. Check
/// [`InterceptedCalls::is_pending`](super::InterceptedCalls::is_pending) afterwards.
pub fn file_of(thread: i32, file: FileArgument) -> io::Result<PathBuf> {
    let mut bytes = [0; libc::PATH_MAX as usize];
    let memory = File::open(format!("/proc/{thread}/mem"))?;
    // Stops at the first page that is not mapped.
    let length = memory.read_at(&mut bytes, file.path)?;
    let end = bytes[..length].iter().position(|byte| *byte == 0);
    let path = Path::new(OsStr::from_bytes(&bytes[..end.ok_or(Errno::EFAULT)?]));
    let dir = match file.dir {
        libc::AT_FDCWD => format!("/proc/{thread}/cwd"),
        fd => format!("/proc/{thread}/fd/{fd}"),
    };
    // An absolute path replaces the directory.
    let path = Path::new(&dir).join(path);
    if file.follows
        && let Ok(target) = path.canonicalize()
    {
        return Ok(target);
    }
    let (parent, name) = path.parent().zip(path.file_name()).ok_or(Errno::ENOENT)?;
    Ok(parent.canonicalize()?.join(name))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn errno<T>(result: io::Result<T>) -> Option<i32> {
        result.err().and_then(|error| error.raw_os_error())
    }

    fn thread() -> i32 {
        nix::unistd::gettid().as_raw()
    }

    #[test]
    fn the_descriptors_of_any_thread_can_be_duplicated() {
        let (reader, _writer) = io::pipe().unwrap();
        assert_ne!(thread(), i32::try_from(std::process::id()).unwrap());
        let ours = descriptor_of(thread(), reader.as_raw_fd()).unwrap();
        assert_ne!(ours.as_raw_fd(), reader.as_raw_fd());
        let inode = |fd: OwnedFd| File::from(fd).metadata().unwrap().ino();
        assert_eq!(inode(ours), inode(reader.into()));
        assert_eq!(errno(descriptor_of(thread(), -1)), Some(libc::EBADF));
        assert_eq!(errno(descriptor_of(i32::MAX, 0)), Some(libc::ESRCH));
    }

    #[test]
    fn the_leader_of_a_thread_is_found() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(leader(thread()).unwrap(), own);
        assert!(leader(i32::MAX).is_err());
    }

    #[test]
    fn the_end_of_a_process_is_reported_before_it_is_reaped() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let ends = pidfds(&[i32::try_from(child.id()).unwrap(), i32::MAX]);
        let mut fds = [PollFd::new(ends[0].as_fd(), PollFlags::POLLIN)];
        assert_eq!((ends.len(), poll(&mut fds, PollTimeout::ZERO)), (1, Ok(0)));
        child.kill().unwrap();
        assert_eq!(poll(&mut fds, PollTimeout::from(30_000_u16)), Ok(1));
        child.wait().unwrap();
    }

    #[test]
    fn reading_memory_reports_bad_addresses() {
        let text = *b"an address";
        let there = text.as_ptr() as u64;
        assert_eq!(read_memory(thread(), there, 10).unwrap(), text);
        for bad in [0, 1, u64::MAX - 4, 0xffff_8000_0000_0000] {
            let result = read_memory(thread(), bad, 10);
            assert_eq!(errno(result), Some(libc::EFAULT), "{bad:#x}");
        }
    }

    #[test]
    fn reading_past_the_end_of_a_mapping_fails_with_efault() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        // Nothing is ever mapped directly above the stack.
        let stack = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let end = stack.split(['-', ' ']).nth(1).unwrap();
        let end = u64::from_str_radix(end, 16).unwrap();
        assert!(read_memory(thread(), end - 8, 8).is_ok());
        assert_eq!(errno(read_memory(thread(), end - 8, 9)), Some(libc::EFAULT));
    }
}
