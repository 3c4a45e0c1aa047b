//! Whether a process waits for connections on a listening socket.
//!
//! A socket that was passed to a program is held from its first instruction on, and by every wrapper around it (`sh`,
//! `cargo`), so holding it means nothing. The question is whether a connection would wake a process that holds it:
//!
//! * the socket is in an epoll set (`/proc/PID/fdinfo/N`, `proc_pid_fdinfo(5)`),
//! * a thread sleeps in `accept` or in a read on it (`/proc/PID/task/TID/syscall`, `proc_pid_syscall(5)`),
//! * a thread sleeps in `poll` or `select` with the socket in its set (read through `/proc/PID/mem`, which requires the same
//!   right as the `syscall` file).
//!
//! A process with an io_uring may accept through that, which is not visible: its sockets are [`Accepting::Unknown`].
//!
//! All of it is a snapshot of something that moves: a thread that runs at this moment reports `running`, and the next look
//! finds it asleep. So the result is meant for polling, and errs towards [`Accepting::No`].
//!
//! Rights: a user may read the descriptors of a dumpable process of their own; the `syscall` file requires
//! `PTRACE_MODE_ATTACH`, which Yama grants for descendants, and generations are descendants. If either is refused the result
//! is [`Accepting::Unknown`].

mod proc_files;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::LazyLock;

use self::proc_files::Sleep;
use crate::os::Accepting;
use crate::os::socket_holders::socket_inode;

/// For each of `sockets` (inodes) whether one of `pids` waits on it. Processes that have ended are skipped. `None` if the
/// kernel does not show it: without `/proc`, or without its `syscall` files (gVisor, some architectures).
///
/// The cost is about one `readlink` per descriptor of each process, and one small read per thread of a process that holds one
/// of the sockets; `tests::cost` prints it.
#[must_use]
pub fn accepting(pids: &[i32], sockets: &[u64]) -> Option<Vec<Accepting>> {
    static HAS_SYSCALL_FILES: LazyLock<bool> =
        LazyLock::new(|| Path::new("/proc/self/syscall").exists());
    if !*HAS_SYSCALL_FILES {
        return None;
    }
    let mut seen = vec![Accepting::No; sockets.len()];
    for &pid in pids {
        if let Err(error) = look(pid, sockets, &mut seen)
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

/// The cheap steps first: most servers use an epoll set, and their threads need not be read.
fn look(pid: i32, sockets: &[u64], seen: &mut [Accepting]) -> io::Result<()> {
    let process = Process::open(pid, sockets)?;
    if process.held.is_empty() {
        return Ok(());
    }
    for epoll in &process.epolls {
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{epoll}")).unwrap_or_default();
        let watched: Vec<_> = proc_files::watched(&text).collect();
        for (inode, seen) in sockets.iter().zip(&mut *seen) {
            // The number of the descriptor could mislead: an entry lives as long as the open file (`epoll(7)`, question 6).
            if SOCKET_DEVICE.is_some_and(|device| watched.contains(&(*inode, device))) {
                *seen = Accepting::Yes;
            }
        }
    }
    if process.uses_io_uring {
        process.mark_all(Accepting::Unknown, seen);
    }
    process.threads(seen)
}

/// The device number of the socket file system, as the kernel prints it (`MAJOR << 20 | MINOR`).
///
/// Inode numbers are unique only within a file system: a pipe or a timer in the same epoll set may have the number of a
/// socket. The socket file system has no path, so the number is read from a new socket.
static SOCKET_DEVICE: LazyLock<Option<u64>> = LazyLock::new(|| {
    let socket = UnixDatagram::unbound().ok()?;
    let device = nix::sys::stat::fstat(socket.as_fd()).ok()?.st_dev;
    Some(u64::from(libc::major(device) << 20 | libc::minor(device)))
});

/// The relevant descriptors of one process.
struct Process {
    pid: i32,
    /// Descriptors and the indices of their sockets.
    held: Vec<(i32, usize)>,
    epolls: Vec<i32>,
    uses_io_uring: bool,
}

impl Process {
    fn open(pid: i32, sockets: &[u64]) -> io::Result<Self> {
        let mut process = Self {
            pid,
            held: Vec::new(),
            epolls: Vec::new(),
            uses_io_uring: false,
        };
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let entry = entry?;
            let name = entry.file_name();
            let fd = name.to_str().and_then(|name| name.parse().ok());
            // Without a link it was closed since it was listed.
            let (Some(fd), Ok(link)) = (fd, fs::read_link(entry.path())) else {
                continue;
            };
            match link.to_str() {
                Some("anon_inode:[eventpoll]") => process.epolls.push(fd),
                Some("anon_inode:[io_uring]") => process.uses_io_uring = true,
                other => {
                    let inode = other.and_then(socket_inode);
                    let index = sockets.iter().position(|&one| Some(one) == inode);
                    process.held.extend(index.map(|index| (fd, index)));
                }
            }
        }
        Ok(process)
    }

    fn mark_all(&self, found: Accepting, seen: &mut [Accepting]) {
        for &(_, index) in &self.held {
            seen[index] = seen[index].max(found);
        }
    }

    fn threads(&self, seen: &mut [Accepting]) -> io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let is_final = |&(_, index): &(i32, usize)| seen[index] == Accepting::Yes;
            if self.held.iter().all(is_final) {
                break;
            }
            let text = fs::read_to_string(entry?.path().join("syscall"));
            match text.and_then(|text| self.waits_on(&proc_files::parse(&text))) {
                Ok(Some(fds)) => {
                    let waits = self.held.iter().filter(|(fd, _)| fds.contains(fd));
                    waits.for_each(|&(_, index)| seen[index] = Accepting::Yes);
                }
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                    // The thread has ended, or its set is gone: the next look reads it again.
                }
                Ok(None) | Err(_) => self.mark_all(Accepting::Unknown, seen),
            }
        }
        Ok(())
    }

    /// The descriptors that a thread waits on; `None` if unknown.
    fn waits_on(&self, sleep: &Sleep) -> io::Result<Option<Vec<i32>>> {
        let memory = |address, size| -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; size];
            File::open(format!("/proc/{}/mem", self.pid))?.read_exact_at(&mut bytes, address)?;
            Ok(bytes)
        };
        Ok(match *sleep {
            Sleep::Resumed => None,
            Sleep::Elsewhere => Some(Vec::new()),
            Sleep::On(fd) => Some(vec![fd]),
            Sleep::Poll { address, count } => {
                let bytes = memory(address, proc_files::poll_size(count))?;
                Some(proc_files::polled(&bytes))
            }
            Sleep::Select { address, limit } => {
                let bytes = memory(address, proc_files::select_size(limit))?;
                Some(proc_files::selected(&bytes))
            }
        })
    }
}
