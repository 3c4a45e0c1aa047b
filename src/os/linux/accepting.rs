//! Whether a process waits for connections on a listening socket.
//!
//! A socket that was passed to a program is held from its first instruction on, and by every wrapper around it (`sh`,
//! `cargo`), so holding it means nothing. The question is whether a connection would wake a process that holds it:
//!
//! * the socket is in an epoll set (`/proc/PID/fdinfo/N`, `proc_pid_fdinfo(5)`),
//! * a thread sleeps in `accept` or in a read on it (`/proc/PID/task/TID/syscall`, `proc_pid_syscall(5)`),
//! * a thread sleeps in `poll` or `select` with the socket in its set (read through `/proc/PID/mem`, which requires the same
//!   right as the `syscall` file),
//! * an `accept` is pending in an io_uring (its `fdinfo`).
//!
//! All of it is a snapshot of something that moves: a thread that runs at this moment reports `running`, and the next look
//! finds it asleep. So the result is meant for polling, and errs towards [`Accepting::No`].
//!
//! Rights: a user may read the descriptors of a dumpable process of their own; the `syscall` file requires
//! `PTRACE_MODE_ATTACH`, which Yama grants for descendants, and generations are descendants. If either is refused the result
//! is [`Accepting::Unknown`].

mod fdinfo;
mod syscall;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use self::syscall::Sleep;
use super::socket_holders::socket_inode;
use crate::os::Accepting;

/// For each of `sockets` (inodes) whether one of `pids` waits on it. Processes that have ended are skipped. `None` if the
/// kernel does not show it: without `/proc`, or without its `syscall` files (gVisor, some architectures).
///
/// The cost is about one `readlink` per descriptor of each process, and one small read per thread of a process that holds one
/// of the sockets; `tests::cost` prints it.
#[must_use]
pub fn accepting(pids: &[i32], sockets: &[u64]) -> Option<Vec<Accepting>> {
    if !has_syscall_files() {
        return None;
    }
    let mut seen = Seen(vec![Accepting::No; sockets.len()]);
    for &pid in pids {
        if let Err(error) = look(pid, sockets, &mut seen)
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            (0..sockets.len()).for_each(|index| seen.set_unknown(index));
        }
        if seen.all() {
            break;
        }
    }
    Some(seen.0)
}

fn has_syscall_files() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| Path::new("/proc/self/syscall").exists())
}

/// The results so far, by index of the socket. `Yes` is final.
struct Seen(Vec<Accepting>);

impl Seen {
    fn set_yes(&mut self, index: usize) {
        self.0[index] = Accepting::Yes;
    }

    fn set_unknown(&mut self, index: usize) {
        if self.0[index] == Accepting::No {
            self.0[index] = Accepting::Unknown;
        }
    }

    fn all(&self) -> bool {
        self.0.iter().all(|&one| one == Accepting::Yes)
    }
}

/// The cheap steps first: most servers use an epoll set, and their threads need not be read.
fn look(pid: i32, sockets: &[u64], seen: &mut Seen) -> io::Result<()> {
    let process = Process::open(pid, sockets)?;
    if process.held.is_empty() {
        return Ok(());
    }
    process.epolls(sockets, seen);
    if process.is_final(seen) {
        return Ok(());
    }
    process.rings(seen);
    process.threads(seen)
}

/// The relevant descriptors of one process.
struct Process {
    pid: i32,
    /// Descriptors and the indices of their sockets.
    held: Vec<(i32, usize)>,
    epolls: Vec<i32>,
    rings: Vec<i32>,
}

impl Process {
    fn open(pid: i32, sockets: &[u64]) -> io::Result<Self> {
        let mut process = Self {
            pid,
            held: Vec::new(),
            epolls: Vec::new(),
            rings: Vec::new(),
        };
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let path = entry?.path();
            // It was closed since it was listed.
            let Ok(link) = fs::read_link(&path) else {
                continue;
            };
            let (Some(fd), Some(link)) = (number(&path), link.to_str()) else {
                continue;
            };
            process.sort(fd, link, sockets);
        }
        Ok(process)
    }

    fn sort(&mut self, fd: i32, link: &str, sockets: &[u64]) {
        match link {
            "anon_inode:[eventpoll]" => self.epolls.push(fd),
            "anon_inode:[io_uring]" => self.rings.push(fd),
            other => {
                let inode = socket_inode(other);
                if let Some(index) = sockets.iter().position(|&one| Some(one) == inode) {
                    self.held.push((fd, index));
                }
            }
        }
    }

    /// The index of the socket of this descriptor, if it is one of `sockets`.
    fn socket(&self, fd: i32) -> Option<usize> {
        self.held
            .iter()
            .find(|&&(held, _)| held == fd)
            .map(|&(_, index)| index)
    }

    fn is_final(&self, seen: &Seen) -> bool {
        self.held
            .iter()
            .all(|&(_, index)| seen.0[index] == Accepting::Yes)
    }

    fn set_unknown(&self, seen: &mut Seen) {
        self.held
            .iter()
            .for_each(|&(_, index)| seen.set_unknown(index));
    }

    fn fdinfo(&self, fd: i32) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", self.pid))
    }

    fn epolls(&self, sockets: &[u64], seen: &mut Seen) {
        for &epoll in &self.epolls {
            let Ok(text) = self.fdinfo(epoll) else {
                continue;
            };
            for target in fdinfo::targets(&text).filter(|target| target.readable) {
                if let Some(index) = self.registered(&target, sockets) {
                    seen.set_yes(index);
                }
            }
        }
    }

    /// The index of the socket that an entry of an epoll set refers to. The number alone could mislead: an entry lives as long
    /// as the open file, so it may have the number of a descriptor that was closed and reused (`epoll(7)`, question 6).
    /// Kernels before 4.13 print no inode and leave nothing better.
    fn registered(&self, target: &fdinfo::Target, sockets: &[u64]) -> Option<usize> {
        match target.file {
            Some((inode, device)) if Some(device) == fdinfo::socket_device() => {
                sockets.iter().position(|&one| one == inode)
            }
            Some(_) => None,
            None => self.socket(target.fd),
        }
    }

    /// An io_uring lists its pending operations without their descriptors. If there are as many accepts as held sockets, there
    /// is no doubt; otherwise a pending accept or poll may be on any of them.
    fn rings(&self, seen: &mut Seen) {
        let mut accepts = 0;
        for &ring in &self.rings {
            match self.fdinfo(ring).ok().as_deref().and_then(fdinfo::pending) {
                Some(pending) => {
                    accepts += pending.accepts;
                    if pending.accepts + pending.polls > 0 {
                        self.set_unknown(seen);
                    }
                }
                None => self.set_unknown(seen),
            }
        }
        if accepts >= self.held.len() {
            self.held.iter().for_each(|&(_, index)| seen.set_yes(index));
        }
    }

    fn threads(&self, seen: &mut Seen) -> io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            match fs::read_to_string(entry?.path().join("syscall")) {
                Ok(text) => self.thread(&syscall::parse(&text), seen),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    self.set_unknown(seen);
                }
                // It ended since it was listed.
                Err(_) => {}
            }
            if self.is_final(seen) {
                break;
            }
        }
        Ok(())
    }

    fn thread(&self, sleep: &Sleep, seen: &mut Seen) {
        match *sleep {
            Sleep::Elsewhere => {}
            Sleep::Resumed => self.set_unknown(seen),
            Sleep::On(fd) => self.mark([fd], seen),
            Sleep::Poll { address, count } => {
                let read = self.memory(address, syscall::poll_size(count));
                self.set(read.map(|bytes| syscall::polled(&bytes)), seen);
            }
            Sleep::Select { address, limit } => {
                let read = self.memory(address, syscall::select_size(limit));
                self.set(read.map(|bytes| syscall::selected(&bytes)), seen);
            }
        }
    }

    /// A set that may not be read can contain any socket. One that is gone by now is read again by the next look.
    fn set(&self, read: io::Result<Vec<i32>>, seen: &mut Seen) {
        match read {
            Ok(fds) => self.mark(fds, seen),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.set_unknown(seen),
            Err(_) => {}
        }
    }

    fn mark(&self, fds: impl IntoIterator<Item = i32>, seen: &mut Seen) {
        fds.into_iter()
            .filter_map(|fd| self.socket(fd))
            .for_each(|index| seen.set_yes(index));
    }

    fn memory(&self, address: u64, size: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        File::open(format!("/proc/{}/mem", self.pid))?.read_exact_at(&mut bytes, address)?;
        Ok(bytes)
    }
}

fn number(path: &Path) -> Option<i32> {
    path.file_name()?.to_str()?.parse().ok()
}
