//! To be told when processes end that are not our children.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::seccomp::pidfd_open;

/// Readable as soon as one of the processes has ended.
#[derive(Debug)]
pub struct PidfdSet {
    epoll: Epoll,
    /// Closing one takes it out of `epoll`.
    watched: HashMap<i32, OwnedFd>,
}

impl PidfdSet {
    /// Of nobody yet.
    ///
    /// # Errors
    /// What `epoll_create1(2)` reports.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            watched: HashMap::new(),
        })
    }

    /// Of these from now on, and of no others. One that has ended already, or cannot be watched, is not among them.
    pub fn watch(&mut self, pids: &[i32]) {
        self.watched.retain(|pid, _| pids.contains(pid));
        for pid in pids {
            if !self.watched.contains_key(pid)
                && let Ok(process) = pidfd_open(*pid, 0)
                && self
                    .epoll
                    .add(&process, EpollEvent::new(EpollFlags::EPOLLIN, 0))
                    .is_ok()
            {
                self.watched.insert(*pid, process);
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

    fn told(deaths: &PidfdSet, patience: u16) -> bool {
        let mut fds = [PollFd::new(deaths.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(patience)).unwrap() == 1
    }

    #[test]
    fn the_end_of_a_process_is_told_until_it_is_not_watched_any_more() {
        let mut deaths = PidfdSet::new().unwrap();
        let ((mut one, first), (mut other, second)) = (sleeper(), sleeper());
        deaths.watch(&[first, second, i32::MAX]);
        assert!(!told(&deaths, 0));
        one.kill().unwrap();
        assert!(told(&deaths, 30_000), "before anybody has waited for it");
        deaths.watch(&[second]);
        assert!(!told(&deaths, 0));
        one.wait().unwrap();
        other.kill().unwrap();
        assert!(told(&deaths, 30_000));
        other.wait().unwrap();
    }
}
