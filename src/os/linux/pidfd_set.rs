//! Waiting for the end of processes that are not our children.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::seccomp::pidfd_open;

/// A descriptor that is readable as soon as one of a set of processes has ended.
#[derive(Debug)]
pub struct PidfdSet {
    epoll: Epoll,
    /// Closing one removes it from `epoll`.
    pidfds: HashMap<i32, OwnedFd>,
}

impl PidfdSet {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            pidfds: HashMap::new(),
        })
    }

    /// Replaces the set by these processes. Those that have ended or cannot be watched are left out.
    pub fn watch(&mut self, pids: &[i32]) {
        self.pidfds.retain(|pid, _| pids.contains(pid));
        for pid in pids {
            if !self.pidfds.contains_key(pid)
                && let Ok(process) = pidfd_open(*pid, 0)
                && self
                    .epoll
                    .add(&process, EpollEvent::new(EpollFlags::EPOLLIN, 0))
                    .is_ok()
            {
                self.pidfds.insert(*pid, process);
            }
        }
    }
}

impl AsFd for PidfdSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn sleeper() -> (Child, i32) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        (child, pid)
    }

    fn readable(set: &PidfdSet, timeout_ms: u16) -> bool {
        let mut fds = [PollFd::new(set.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(timeout_ms)).unwrap() == 1
    }

    #[test]
    fn the_end_of_a_watched_process_makes_the_set_readable() {
        let mut set = PidfdSet::new().unwrap();
        let ((mut one, first), (mut other, second)) = (sleeper(), sleeper());
        set.watch(&[first, second, i32::MAX]);
        assert!(!readable(&set, 0));
        one.kill().unwrap();
        assert!(readable(&set, 30_000), "even before it is reaped");
        set.watch(&[second]);
        assert!(!readable(&set, 0));
        one.wait().unwrap();
        other.kill().unwrap();
        assert!(readable(&set, 30_000));
        other.wait().unwrap();
    }
}
