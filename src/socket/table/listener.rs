//! One listening socket of a group.

use crate::reload::{GenId, Time};
use crate::socket::Endpoint;

/// Names a listener. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::socket) struct ListenerId(pub(in crate::socket) u64);

/// Names a group. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::socket) struct GroupId(pub(in crate::socket) u64);

/// Where a group listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) enum Place {
    Ip(Endpoint),
    /// The path is known by who performs the ops.
    Unix,
}

/// Which program takes connections from a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::socket) enum Owner {
    /// None, and none will: the program closed its descriptor, or opened another socket instead.
    Nobody,
    /// The next generation that is prepared.
    Next,
    /// This generation's.
    Generation(GenId),
}

/// How far the owner of a listener has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) enum Phase {
    /// It has not been live yet.
    Prepared,
    /// It is or was live.
    Served,
    /// Its process tree is gone. The listener is closed as soon as that is safe.
    Released,
}

/// Who opened the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) enum Origin {
    /// hotrun, to pass it to a program.
    Hotrun,
    /// The program.
    Program,
    /// hotrun, because the kernel attaches no steering program through the multipath TCP sockets of the others. It
    /// stays until the group is closed.
    Anchor,
}

/// One listening socket of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Listener {
    pub(in crate::socket) id: ListenerId,
    pub(in crate::socket) owner: Owner,
    pub(in crate::socket) phase: Phase,
    pub(in crate::socket) origin: Origin,
    /// A multipath TCP socket, by which no steering program can be attached (`mptcp_setsockopt_sol_socket` in
    /// `net/mptcp/sockopt.c`).
    pub(in crate::socket) multipath: bool,
    /// Whether its owner has been or will be asked to stop: it gets no new connections, and those that land in it
    /// are forwarded.
    pub(in crate::socket) draining: bool,
    /// When it last may have been chosen for a new connection, unless it never was or still is.
    pub(in crate::socket) targeted_until: Option<Time>,
    /// Whether it is certain that no connection is on its way into it.
    pub(in crate::socket) quiescent: bool,
    /// Whether hotrun accepts from it.
    pub(in crate::socket) forwards: bool,
    /// Whether hotrun will notice when the program shuts it down.
    pub(in crate::socket) watched: bool,
}

impl Listener {
    pub(super) fn new(id: ListenerId, owner: Owner, origin: Origin) -> Self {
        Self {
            id,
            owner,
            phase: Phase::Prepared,
            origin,
            multipath: false,
            draining: false,
            targeted_until: None,
            quiescent: false,
            forwards: false,
            watched: false,
        }
    }

    pub(super) fn is_released(&self) -> bool {
        self.phase == Phase::Released
    }

    /// Whether its generation may still become live.
    pub(super) fn may_become_live(&self) -> bool {
        self.phase == Phase::Prepared && !self.draining
    }

    /// It may have been chosen for a connection until now.
    pub(super) fn warm(&mut self, now: Time) {
        self.targeted_until = Some(now);
        self.quiescent = false;
    }
}
