//! Finds out whether a process is waiting for connections on a listening socket.
//!
//! From its first instruction on, a program holds the sockets that were passed to it, and so does every wrapper around
//! it (`sh`, `cargo`). So holding a socket says nothing about accepting on it. What matters is whether a new connection
//! would wake a process that holds the socket, which is the case if:
//!
//! * the socket is in one of its epoll sets (`/proc/PID/fdinfo/N`, `proc_pid_fdinfo(5)`),
//! * one of its threads sleeps in `accept` or in a read on the socket (`/proc/PID/task/TID/syscall`,
//!   `proc_pid_syscall(5)`), or
//! * one of its threads sleeps in `poll` or `select` with the socket in the set (read through `/proc/PID/mem`, which
//!   requires the same permission as reading the `syscall` file).
//!
//! A thread in `poll` or `select` with a short timeout may just be testing whether the address is free, so the socket
//! is [`Accepting::Unknown`].
//!
//! A process with an io_uring may accept through it, which is not visible. Its sockets are [`Accepting::Unknown`].
//!
//! The result is a snapshot: a thread that happens to be running is reported as `running`, and a later check finds it
//! asleep. So callers should poll; the result errs towards [`Accepting::No`].
//!
//! Rights: a user may read the descriptors of a dumpable process of their own; the `syscall` file requires
//! `PTRACE_MODE_ATTACH`, which Yama grants for descendants, and generations are descendants. If either is refused, the
//! result is [`Accepting::Unknown`].

mod proc_files;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::LazyLock;

use self::proc_files::{Set, Sleep, Timeout};
use super::seccomp::read_memory;
use crate::os::Accepting;
use crate::os::socket_holders::{descriptors_of, socket_inode};

/// The longest timeout with which a thread may just be testing whether the address is free, in milliseconds. Most
/// servers wait longer.
const BRIEF: i32 = 50;

/// Returns, for each of `sockets` (inodes), whether one of `pids` is waiting on it. Processes that have ended are
/// skipped. Returns `None` if the kernel does not provide this information: without `/proc`, or without its `syscall`
/// files (gVisor, some architectures).
///
/// This costs about one `readlink` per descriptor of each process, and one small read per thread of each process that
/// holds one of the sockets; `tests::one_inspection_takes_less_than_20_ms` measures it.
pub fn accepting(pids: &[i32], sockets: &[u64]) -> Option<Vec<Accepting>> {
    static HAS_SYSCALL_FILES: LazyLock<bool> =
        LazyLock::new(|| Path::new("/proc/self/syscall").exists());
    if !*HAS_SYSCALL_FILES {
        return None;
    }
    let mut seen = vec![Accepting::No; sockets.len()];
    for &pid in pids {
        if let Err(error) = inspect(pid, sockets, &mut seen)
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            seen.iter_mut()
                .for_each(|one| *one = (*one).max(Accepting::Unknown));
        }
        if seen.iter().all(|one| *one == Accepting::Yes) {
            break;
        }
    }
    Some(seen)
}

/// Does the cheap steps first: most servers use an epoll set, so their threads need not be read.
fn inspect(pid: i32, sockets: &[u64], seen: &mut [Accepting]) -> io::Result<()> {
    let process = SocketProcess::open(pid, sockets)?;
    if process.held.is_empty() {
        return Ok(());
    }
    for epoll in &process.epolls {
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{epoll}")).unwrap_or_default();
        let watched: Vec<_> = proc_files::watched(&text).collect();
        for (inode, seen) in sockets.iter().zip(&mut *seen) {
            // Compare inodes, not descriptor numbers: an entry remains until the open file is closed, and the number
            // may have been reused (`epoll(7)`, question 6).
            if SOCKET_DEVICE.is_some_and(|device| watched.contains(&(*inode, device))) {
                *seen = Accepting::Yes;
            }
        }
    }
    if process.uses_io_uring {
        process.mark_unknown(seen);
    }
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let is_final = |&(_, index): &(i32, usize)| seen[index] == Accepting::Yes;
        if process.held.iter().all(is_final) {
            break;
        }
        let text = fs::read_to_string(thread?.path().join("syscall"));
        match text.and_then(|text| process.waits_on(&proc_files::parse(&text))) {
            Ok(Some((fds, found))) => {
                let waits = process.held.iter().filter(|(fd, _)| fds.contains(fd));
                waits.for_each(|&(_, index)| seen[index] = seen[index].max(found));
            }
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                // The thread has ended, or its set is gone. The next check reads the thread again.
            }
            Ok(None) | Err(_) => process.mark_unknown(seen),
        }
    }
    Ok(())
}

/// The device number of the socket file system, in the form that the kernel prints (`MAJOR << 20 | MINOR`).
///
/// Inode numbers are unique only within a file system: a pipe or a timer in the same epoll set may have the same number
/// as a socket. The socket file system has no path, so the number is read from a new socket.
static SOCKET_DEVICE: LazyLock<Option<u64>> = LazyLock::new(|| {
    let socket = UnixDatagram::unbound().ok()?;
    let device = nix::sys::stat::fstat(socket.as_fd()).ok()?.st_dev;
    Some(u64::from(libc::major(device) << 20 | libc::minor(device)))
});

/// The relevant descriptors of one process.
struct SocketProcess {
    pid: i32,
    /// The descriptors of the inspected sockets, each with the index of its socket.
    held: Vec<(i32, usize)>,
    epolls: Vec<i32>,
    uses_io_uring: bool,
}

impl SocketProcess {
    fn open(pid: i32, sockets: &[u64]) -> io::Result<Self> {
        let mut process = Self {
            pid,
            held: Vec::new(),
            epolls: Vec::new(),
            uses_io_uring: false,
        };
        for (fd, target) in descriptors_of(pid)? {
            match target.to_str() {
                Some("anon_inode:[eventpoll]") => process.epolls.push(fd),
                Some("anon_inode:[io_uring]") => process.uses_io_uring = true,
                Some(_) | None => {
                    let inode = socket_inode(&target);
                    let index = sockets.iter().position(|&one| Some(one) == inode);
                    process.held.extend(index.map(|index| (fd, index)));
                }
            }
        }
        Ok(process)
    }

    fn mark_unknown(&self, seen: &mut [Accepting]) {
        for &(_, index) in &self.held {
            seen[index] = seen[index].max(Accepting::Unknown);
        }
    }

    /// Returns the descriptors that a thread is waiting on and what that shows about them, or `None` if they are
    /// unknown.
    fn waits_on(&self, sleep: &Sleep) -> io::Result<Option<(Vec<i32>, Accepting)>> {
        let memory = |set: &Set| read_memory(self.pid, set.address, set.size);
        let (fds, timeout) = match sleep {
            Sleep::Resumed => return Ok(None),
            Sleep::Elsewhere => return Ok(Some((Vec::new(), Accepting::No))),
            Sleep::On(fd) => return Ok(Some((vec![*fd], Accepting::Yes))),
            Sleep::Poll(set) => (proc_files::polled(&memory(set)?), &set.timeout),
            Sleep::Select(set) => (proc_files::selected(&memory(set)?), &set.timeout),
        };
        let is_brief = match *timeout {
            Timeout::Millis(millis) => (0..=BRIEF).contains(&millis),
            Timeout::At { address: 0, .. } => false,
            Timeout::At { address, parts } => {
                let bytes = read_memory(self.pid, address, 16)?;
                let (seconds, rest) = bytes.split_at(8);
                let rest = rest.try_into().map_or(i64::MAX, i64::from_ne_bytes);
                seconds == [0; 8] && rest <= parts / 1000 * i64::from(BRIEF)
            }
        };
        Ok(Some(match is_brief {
            true => (fds, Accepting::Unknown),
            false => (fds, Accepting::Yes),
        }))
    }
}
