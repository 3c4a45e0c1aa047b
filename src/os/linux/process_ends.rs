//! Waits for the end of processes that are not our children.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::seccomp::pidfd_open;

/// A descriptor that becomes and stays readable once any of a set of processes has ended.
#[derive(Debug)]
pub struct ProcessEnds {
    epoll: Epoll,
    _pidfds: Vec<OwnedFd>,
}

impl ProcessEnds {
    /// Watches these processes, except for those that are gone already.
    ///
    /// # Errors
    /// As for `epoll_create1(2)` and `epoll_ctl(2)`.
    pub fn of(pids: &[i32]) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let pidfds = pids.iter().filter_map(|pid| pidfd_open(*pid, 0).ok());
        let pidfds: Vec<OwnedFd> = pidfds.collect();
        for process in &pidfds {
            epoll.add(process, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        }
        Ok(Self {
            epoll,
            _pidfds: pidfds,
        })
    }
}

impl AsFd for ProcessEnds {
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

    fn readable(ends: &ProcessEnds, timeout_ms: u16) -> bool {
        let mut fds = [PollFd::new(ends.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(timeout_ms)).unwrap() == 1
    }

    #[test]
    fn the_end_of_one_process_is_reported() {
        let ((mut one, first), (mut other, second)) = (sleeper(), sleeper());
        let ends = ProcessEnds::of(&[first, second, i32::MAX]).unwrap();
        assert!(!readable(&ends, 0));
        one.kill().unwrap();
        assert!(
            readable(&ends, 30_000),
            "the end must be reported before the process is reaped"
        );
        one.wait().unwrap();
        let ends = ProcessEnds::of(&[second]).unwrap();
        assert!(!readable(&ends, 0));
        other.kill().unwrap();
        assert!(readable(&ends, 30_000));
        other.wait().unwrap();
    }
}
