//! Into the program that waits: its descriptors and its memory.
//!
//! Both want the right to trace it (`ptrace(2)`, "Ptrace access mode checking"), which one has over one's own
//! descendants unless Yama is set to 2 or more, a container's profile forbids it, or the program took that right away by
//! changing its user or by an executable that it may not read.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// A descriptor of our own for what the thread has at `fd`, closed on exec. To be followed by
/// [`InterceptedCalls::is_pending`](super::InterceptedCalls::is_pending).
///
/// # Errors
/// `EBADF` if it has nothing there, `EPERM` without the right to reach into it, `ESRCH` if it is gone.
pub fn descriptor_of(thread: i32, fd: RawFd) -> io::Result<OwnedFd> {
    let process = open(thread)?;
    // SAFETY: the call touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0_u32) };
    own(result)
}

/// A thread may have descriptors of its own (`CLONE_FILES`, `unshare(2)`), so the thread itself is asked, which kernels
/// from 6.9 on can do for any; older ones only for leaders.
fn open(thread: i32) -> io::Result<OwnedFd> {
    match pidfd_open(thread, libc::PIDFD_THREAD) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => pidfd_open(leader(thread)?, 0),
        other => other,
    }
}

pub(in crate::os::linux) fn pidfd_open(pid: i32, flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the call touches no memory.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) })
}

fn own(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(Errno::result(result)?).map_err(io::Error::other)?;
    // SAFETY: both calls give a new descriptor, with `CLOEXEC` set, of which nothing else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The process that the thread is of.
fn leader(thread: i32) -> io::Result<i32> {
    // Bytes, because the name in it may be anything.
    let text = std::fs::read(format!("/proc/{thread}/status"))?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    found.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What is at this address of the thread's memory. Who calls bounds the length. To be followed by
/// [`InterceptedCalls::is_pending`](super::InterceptedCalls::is_pending).
///
/// # Errors
/// `EFAULT` unless all of it is there to read, `EPERM` without the right to reach into it, `ESRCH` if it is gone.
pub fn read_memory(thread: i32, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    match from_memory(thread, address, &mut bytes) {
        // Some sandboxes and small kernels go without it (`CONFIG_CROSS_MEMORY_ATTACH`).
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
    // It stops at a page that is not there.
    if read == len {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

fn from_file(thread: i32, address: u64, bytes: &mut [u8]) -> io::Result<()> {
    let memory = File::open(format!("/proc/{thread}/mem"))?;
    // `EIO` is what it says of a page that is not there, and the end of the file what it says of the kernel's part.
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
    fn a_thread_that_leads_nothing_is_reached() {
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
    fn an_older_kernel_finds_the_leader() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(leader(thread()).unwrap(), own);
        assert!(leader(i32::MAX).is_err());
    }

    type Read = fn(i32, u64, &mut [u8]) -> io::Result<()>;

    #[test]
    fn memory_is_read_in_both_ways_and_a_bad_address_is_a_fault() {
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
    fn what_begins_in_memory_and_ends_outside_is_a_fault() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        // Nothing is ever mapped right above it.
        let stack = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let end = stack.split(['-', ' ']).nth(1).unwrap();
        let end = u64::from_str_radix(end, 16).unwrap();
        assert!(read_memory(thread(), end - 8, 8).is_ok());
        assert_eq!(errno(read_memory(thread(), end - 8, 9)), Some(libc::EFAULT));
    }
}
