//! Accesses the descriptors and the memory of a program whose call was intercepted.
//!
//! Both require the right to trace the program (`ptrace(2)`, "Ptrace access mode checking"). A process may trace its
//! descendants unless Yama's `ptrace_scope` is 2 or higher, a container profile forbids it, or the descendant has
//! changed its user or runs an executable that it has no permission to read.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

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

/// Opens a pidfd, with `CLOEXEC`.
pub(in crate::os::linux) fn pidfd_open(pid: i32, flags: libc::c_uint) -> io::Result<OwnedFd> {
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
/// `EFAULT` unless the whole range is readable, `EPERM` without the right to trace the thread, `ESRCH` if the thread is
/// gone.
pub fn read_memory(thread: i32, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    match from_memory(thread, address, &mut bytes) {
        // Some sandboxes and small kernels lack `process_vm_readv` (`CONFIG_CROSS_MEMORY_ATTACH`).
        Err(Errno::ENOSYS) => from_file(thread, address, &mut bytes)?,
        other => other?,
    }
    Ok(bytes)
}

fn from_memory(thread: i32, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
    let base = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    let len = bytes.len();
    let remote = [RemoteIoVec { base, len }];
    let read = process_vm_readv(
        Pid::from_raw(thread),
        &mut [IoSliceMut::new(bytes)],
        &remote,
    )?;
    // The call stops at an unmapped page.
    if read == len {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

fn from_file(thread: i32, address: u64, bytes: &mut [u8]) -> io::Result<()> {
    let memory = File::open(format!("/proc/{thread}/mem"))?;
    // Reading an unmapped page fails with `EIO`, and reading a kernel address returns end of file.
    memory
        .read_exact_at(bytes, address)
        .map_err(|_| Errno::EFAULT.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

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

    type Read = fn(i32, u64, &mut [u8]) -> io::Result<()>;

    #[test]
    fn both_ways_of_reading_memory_report_bad_addresses() {
        let text = *b"an address";
        let there = text.as_ptr() as u64;
        let ways: [Read; 2] = [
            |thread, address, bytes| Ok(from_memory(thread, address, bytes)?),
            from_file,
        ];
        for way in ways {
            let mut bytes = [0; 10];
            way(thread(), there, &mut bytes).unwrap();
            assert_eq!(bytes, text);
            for bad in [0, 1, u64::MAX - 4, 0xffff_8000_0000_0000] {
                let result = way(thread(), bad, &mut bytes);
                assert_eq!(errno(result), Some(libc::EFAULT), "{bad:#x}");
            }
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
