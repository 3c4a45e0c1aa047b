//! Does somebody wait on a listening socket?
//!
//! A socket that was passed to a program is held from its first instruction on, and by every wrapper
//! around it (`sh`, `cargo`), so holding it says nothing. What says something is that a process which
//! holds it would be woken by a connection:
//!
//! * it is in an epoll set (`/proc/PID/fdinfo/N`, `proc_pid_fdinfo(5)`),
//! * a thread sleeps in `accept` or in a read on it (`/proc/PID/task/TID/syscall`, `proc_pid_syscall(5)`),
//! * a thread sleeps in `poll` or `select` and the set that it gave to the kernel has it
//!   (read through `/proc/PID/mem`, which asks for the same right as the `syscall` file),
//! * an `accept` is pending in an io_uring (its `fdinfo` again).
//!
//! All of it is a look from outside at something that moves: a thread that runs at this moment says
//! `running`, and the next look finds it asleep. So the answer is for polling, and errs towards "nobody".
//!
//! Rights: the descriptors of a process may be read by its own user as long as it is dumpable, the
//! `syscall` file needs `PTRACE_MODE_ATTACH` (Yama grants it for descendants, which is what a
//! generation is). Where either is refused the answer is [`Waiting::Hidden`].

mod fdinfo;
mod syscall;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use syscall::Sleep;

/// What can be seen of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A process waits on it.
    Somebody,
    /// Everything could be seen, and nobody waits on it.
    Nobody,
    /// A process that may wait on it could not be looked into.
    Hidden,
}

/// For each of `sockets` (inode numbers of the socket file system) whether one of `pids` waits on it.
///
/// Processes that are gone meanwhile are passed over. `None` where it cannot be told at all: without
/// `/proc`, or on a kernel whose `/proc` has no `syscall` files (gVisor, some architectures).
///
/// The cost is about one `readlink` for each descriptor of each process and one small read for each
/// thread of a process that holds one of the sockets; `tests::cost` prints it.
#[must_use]
pub fn waiting(pids: &[i32], sockets: &[u64]) -> Option<Vec<Waiting>> {
    if !can_tell() {
        return None;
    }
    let mut seen = Seen(vec![Waiting::Nobody; sockets.len()]);
    for &pid in pids {
        if let Err(error) = look(pid, sockets, &mut seen)
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            (0..sockets.len()).for_each(|index| seen.hidden(index));
        }
        if seen.all() {
            break;
        }
    }
    Some(seen.0)
}

fn can_tell() -> bool {
    static CAN_TELL: OnceLock<bool> = OnceLock::new();
    *CAN_TELL.get_or_init(|| Path::new("/proc/self/syscall").exists())
}

/// What is known so far, by index of the socket. Certainty is never taken back.
struct Seen(Vec<Waiting>);

impl Seen {
    fn somebody(&mut self, index: usize) {
        self.0[index] = Waiting::Somebody;
    }

    fn hidden(&mut self, index: usize) {
        if self.0[index] == Waiting::Nobody {
            self.0[index] = Waiting::Hidden;
        }
    }

    fn all(&self) -> bool {
        self.0.iter().all(|&one| one == Waiting::Somebody)
    }
}

/// Cheap things first: most answers come from an epoll set and need no look at the threads.
fn look(pid: i32, sockets: &[u64], seen: &mut Seen) -> io::Result<()> {
    let process = Process::open(pid, sockets)?;
    if process.held.is_empty() {
        return Ok(());
    }
    process.epolls(sockets, seen);
    if process.settled(seen) {
        return Ok(());
    }
    process.rings(seen);
    process.threads(seen)
}

/// The descriptors of one process, as far as they matter here.
struct Process {
    pid: i32,
    /// Descriptor, index of the socket that it is.
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
            // A descriptor that was closed since it was listed.
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
                let inode = fdinfo::socket_inode(other);
                if let Some(index) = sockets.iter().position(|&one| Some(one) == inode) {
                    self.held.push((fd, index));
                }
            }
        }
    }

    /// The socket that this descriptor is, if it is one of those that are asked for.
    fn socket(&self, fd: i32) -> Option<usize> {
        self.held
            .iter()
            .find(|&&(held, _)| held == fd)
            .map(|&(_, index)| index)
    }

    fn settled(&self, seen: &Seen) -> bool {
        self.held
            .iter()
            .all(|&(_, index)| seen.0[index] == Waiting::Somebody)
    }

    fn hide(&self, seen: &mut Seen) {
        self.held.iter().for_each(|&(_, index)| seen.hidden(index));
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
                    seen.somebody(index);
                }
            }
        }
    }

    /// Which socket a line of an epoll set is about. The number alone could mislead: an entry lives as
    /// long as the open file, so it may carry the number of a descriptor that was closed and used
    /// again (`epoll(7)`, question 6). Kernels before 4.13 print no inode and leave no better way.
    fn registered(&self, target: &fdinfo::Target, sockets: &[u64]) -> Option<usize> {
        match target.file {
            Some((inode, device)) if Some(device) == fdinfo::socket_device() => {
                sockets.iter().position(|&one| one == inode)
            }
            Some(_) => None,
            None => self.socket(target.fd),
        }
    }

    /// An io_uring names the pending operations and not their descriptors. As many pending accepts as
    /// sockets are held leave no doubt; otherwise a pending accept or poll may be on any of them.
    fn rings(&self, seen: &mut Seen) {
        let mut accepts = 0;
        for &ring in &self.rings {
            match self.fdinfo(ring).ok().as_deref().and_then(fdinfo::pending) {
                Some(pending) => {
                    accepts += pending.accepts;
                    if pending.accepts + pending.polls > 0 {
                        self.hide(seen);
                    }
                }
                None => self.hide(seen),
            }
        }
        if accepts >= self.held.len() {
            self.held
                .iter()
                .for_each(|&(_, index)| seen.somebody(index));
        }
    }

    fn threads(&self, seen: &mut Seen) -> io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            match fs::read_to_string(entry?.path().join("syscall")) {
                Ok(text) => self.thread(&syscall::parse(&text), seen),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.hide(seen),
                // A thread that ended since it was listed.
                Err(_) => {}
            }
            if self.settled(seen) {
                break;
            }
        }
        Ok(())
    }

    fn thread(&self, sleep: &Sleep, seen: &mut Seen) {
        match *sleep {
            Sleep::Elsewhere => {}
            Sleep::Resumed => self.hide(seen),
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

    /// A set that may not be read hides what it has; one that is gone meanwhile is looked at again later.
    fn set(&self, read: io::Result<Vec<i32>>, seen: &mut Seen) {
        match read {
            Ok(fds) => self.mark(fds, seen),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.hide(seen),
            Err(_) => {}
        }
    }

    fn mark(&self, fds: impl IntoIterator<Item = i32>, seen: &mut Seen) {
        fds.into_iter()
            .filter_map(|fd| self.socket(fd))
            .for_each(|index| seen.somebody(index));
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
