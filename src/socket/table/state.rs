use std::io;
use std::time::Duration;

use super::op::Kernel;
use crate::reload::{GenId, Time};

/// What all groups share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Common {
    pub(super) live: Option<GenId>,
    /// Whether hotrun responds in the place of a program while no generation is live.
    pub(super) responds: bool,
    /// The number of the next listener or group.
    pub(super) next: u64,
}

impl Common {
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

/// What an operation on a group needs besides the group.
pub(super) struct Env<'a> {
    pub(super) now: Time,
    pub(super) common: Common,
    pub(super) kernel: &'a mut dyn Kernel,
}

/// What is known of an address that a program opened and `--listen` did not name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Adopted {
    /// Whether new connections do not find the group any more.
    pub(super) hidden: bool,
    /// Whether the live generation has closed its last socket here.
    pub(super) closed_by_live: bool,
    /// Since when no running generation has listened here.
    pub(super) abandoned_since: Option<Time>,
}

/// When to look next whether a released listener can be closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sweep {
    pub(super) at: Time,
    /// The time between two looks. It doubles while nothing happens.
    pub(super) pause: Duration,
    /// Whether a look is under way in another thread.
    pub(super) scanning: bool,
}

/// The generation has no listener here: it was not prepared, is draining, or shut the socket down.
pub(in crate::socket) fn does_not_listen(id: GenId) -> io::Error {
    let message = format!("generation {id} does not listen");
    io::Error::new(io::ErrorKind::NotFound, message)
}
