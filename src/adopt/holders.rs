use std::os::fd::{AsFd, BorrowedFd};

use crate::os::deaths::Deaths;
use crate::os::socket_holders::sockets_of;

/// The processes of a program, and which sockets they have.
pub(super) struct Holders {
    pids: Box<dyn Fn() -> Vec<i32> + Send>,
    deaths: Option<Deaths>,
}

impl Holders {
    /// `pids` are its processes at the moment of the call.
    pub(super) fn new(pids: Box<dyn Fn() -> Vec<i32> + Send>) -> Self {
        Self {
            pids,
            deaths: Deaths::new().ok(),
        }
    }

    /// The inodes of the sockets that the processes have; nothing if one of them may not be looked into, or they are not
    /// known. From then on
    /// the ends of those are told that have one that `counts`.
    pub(super) fn look(&mut self, counts: impl Fn(u64) -> bool) -> Option<Vec<u64>> {
        let (mut held, mut holding) = (Vec::new(), Vec::new());
        let pids = (self.pids)();
        if pids.is_empty() {
            return None;
        }
        let seen = pids.into_iter().try_for_each(|pid| {
            let sockets: Vec<u64> = sockets_of(pid, |_| None).ok()?.into_values().collect();
            holding.extend(sockets.iter().any(|inode| counts(*inode)).then_some(pid));
            held.extend(sockets);
            Some(())
        });
        if let Some(deaths) = &mut self.deaths {
            deaths.watch(&holding);
        }
        seen.map(|()| held)
    }

    /// Readable when one of them has ended.
    pub(super) fn deaths(&self) -> Option<BorrowedFd<'_>> {
        self.deaths.as_ref().map(AsFd::as_fd)
    }
}
