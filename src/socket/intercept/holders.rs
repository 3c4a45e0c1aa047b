use std::os::fd::{AsFd, BorrowedFd};

use crate::os::pidfd_set::PidfdSet;
use crate::os::socket_holders::sockets_of;

/// The processes of a program, and which sockets they have.
pub(super) struct Holders {
    pids: Box<dyn Fn() -> Vec<i32> + Send>,
    deaths: Option<PidfdSet>,
}

impl Holders {
    /// `pids` are its processes at the moment of the call.
    pub(super) fn new(pids: Box<dyn Fn() -> Vec<i32> + Send>) -> Self {
        Self {
            pids,
            deaths: PidfdSet::new().ok(),
        }
    }

    /// The inodes of the sockets that the processes have; nothing if one of them may not be looked into, or they are not
    /// known. From then on
    /// the ends of those are told that have one that `counts`.
    pub(super) fn look(&mut self, counts: impl Fn(u64) -> bool) -> Option<Vec<u64>> {
        let (mut held, mut holding) = (Vec::new(), Vec::new());
        let pids = (self.pids)();
        if pids.is_empty() {
            // An end stays readable until nobody watches for it.
            self.watch(&[]);
            return None;
        }
        let seen = pids.into_iter().try_for_each(|pid| {
            let sockets: Vec<u64> = sockets_of(pid, |_| None).ok()?.into_values().collect();
            holding.extend(sockets.iter().any(|inode| counts(*inode)).then_some(pid));
            held.extend(sockets);
            Some(())
        });
        self.watch(&holding);
        seen.map(|()| held)
    }

    fn watch(&mut self, pids: &[i32]) {
        if let Some(deaths) = &mut self.deaths {
            deaths.watch(pids);
        }
    }

    /// Readable when one of them has ended.
    pub(super) fn deaths(&self) -> Option<BorrowedFd<'_>> {
        self.deaths.as_ref().map(AsFd::as_fd)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI32, Ordering};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn told(holders: &Holders) -> bool {
        let deaths = holders.deaths().unwrap();
        let mut fds = [PollFd::new(deaths, PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    /// The thread that looks would do nothing else any more.
    #[test]
    fn an_end_is_told_no_more_once_no_process_is_left() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new("sleep");
        command
            .arg("60")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)));
        let mut child = command.spawn().unwrap();
        let pid = Arc::new(AtomicI32::new(i32::try_from(child.id()).unwrap()));
        let there = pid.clone();
        let pids = move || Some(there.load(Ordering::SeqCst)).filter(|pid| *pid != 0);
        let mut holders = Holders::new(Box::new(move || pids().into_iter().collect()));
        assert_eq!(holders.look(|_| true).unwrap().len(), 1);
        assert!(!told(&holders));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(told(&holders));
        pid.store(0, Ordering::SeqCst);
        assert_eq!(holders.look(|_| true), None);
        assert!(!told(&holders));
    }
}
