use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};

use crate::os::PidfdSet;
use crate::os::socket_holders::sockets_of;

/// The processes of a program, and the sockets that they hold.
pub(super) struct Holders {
    pids: Box<dyn Fn() -> Vec<i32> + Send>,
    deaths: Option<PidfdSet>,
}

impl Holders {
    /// `pids` returns the current processes.
    pub(super) fn new(pids: Box<dyn Fn() -> Vec<i32> + Send>) -> Self {
        Self {
            pids,
            deaths: PidfdSet::new().ok(),
        }
    }

    /// The inodes of the sockets that the processes hold. `None` if there are no processes, or one of them may not be
    /// inspected. From then on, [`Self::deaths`] reports the deaths of those that hold a socket of `ours`.
    pub(super) fn look(&mut self, ours: impl Fn(u64) -> bool) -> Option<HashSet<u64>> {
        let (mut held, mut holding) = (HashSet::new(), Vec::new());
        let pids = (self.pids)();
        let inspected = pids.iter().try_for_each(|pid| {
            let sockets = sockets_of(*pid, |_| None).ok()?;
            holding.extend(sockets.values().any(|inode| ours(*inode)).then_some(*pid));
            held.extend(sockets.into_values());
            Some(())
        });
        // A death stays readable until its process is removed from the set.
        if let Some(deaths) = &mut self.deaths {
            deaths.watch(&holding);
        }
        inspected.filter(|()| !pids.is_empty()).map(|()| held)
    }

    /// Readable when one of them has died.
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

    fn reported(holders: &Holders) -> bool {
        let deaths = holders.deaths().unwrap();
        let mut fds = [PollFd::new(deaths, PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    /// Otherwise the thread would look again and again.
    #[test]
    fn a_death_is_reported_until_the_next_look() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new("sleep");
        command
            .arg("60")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)));
        let mut child = command.spawn().unwrap();
        let pid = Arc::new(AtomicI32::new(i32::try_from(child.id()).unwrap()));
        let current = pid.clone();
        let pids = move || Some(current.load(Ordering::SeqCst)).filter(|pid| *pid != 0);
        let mut holders = Holders::new(Box::new(move || pids().into_iter().collect()));
        assert_eq!(holders.look(|_| true).unwrap().len(), 1);
        assert!(!reported(&holders));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reported(&holders));
        pid.store(0, Ordering::SeqCst);
        assert_eq!(holders.look(|_| true), None);
        assert!(!reported(&holders));
    }
}
