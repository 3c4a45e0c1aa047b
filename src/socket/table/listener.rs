//! One listening socket of a group.

use crate::reload::{GenId, Time};
use crate::socket::Endpoint;

/// The id of a listener, which is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::socket) struct ListenerId(pub(in crate::socket) u64);

/// The id of a group, which is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::socket) struct GroupId(pub(in crate::socket) u64);

/// The kind of address that a group listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) enum Place {
    Ip(Endpoint),
    /// A unix socket. Only the kernel's side knows the path.
    Unix,
}

/// The generation whose program accepts connections from a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::socket) enum Owner {
    /// No program accepts from the listener, and none will: its program has closed the descriptor, or opened another
    /// socket instead.
    Nobody,
    /// The next generation to be prepared.
    Next,
    /// This generation.
    Generation(GenId),
}

/// The stage that a listener's owner has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) enum Phase {
    /// The owner has not been live yet.
    Prepared,
    /// The owner is or was live.
    Served,
    /// The owner's process tree is gone. The listener is closed as soon as that is safe.
    Released,
}

/// Who opened a socket, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) enum Origin {
    /// hotrun opened it to pass it to a program.
    Hotrun,
    /// The program opened it.
    Program,
    /// hotrun opened it because the group's other sockets are multipath TCP, through which the kernel attaches no
    /// steering program. It is kept until the group is closed.
    Anchor,
}

/// One listening socket of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Listener {
    pub(in crate::socket) id: ListenerId,
    pub(in crate::socket) owner: Owner,
    pub(in crate::socket) phase: Phase,
    pub(in crate::socket) origin: Origin,
    /// Whether this is a multipath TCP socket, through which no steering program can be attached
    /// (`mptcp_setsockopt_sol_socket` in `net/mptcp/sockopt.c`).
    pub(in crate::socket) multipath: bool,
    /// Whether the owner has been or will be asked to stop. The listener then gets no new connections, and those that
    /// still land in it are forwarded.
    pub(in crate::socket) draining: bool,
    /// When the kernel may last have chosen the listener for a new connection. `None` if it never has, or still does.
    pub(in crate::socket) targeted_until: Option<Time>,
    /// Whether it is certain that no connection is on its way into the listener.
    pub(in crate::socket) quiescent: bool,
    /// Whether hotrun accepts connections from the listener.
    pub(in crate::socket) forwards: bool,
    /// Whether hotrun will notice when the program shuts the socket down.
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

    /// Whether the owner may still go live.
    pub(super) fn may_become_live(&self) -> bool {
        self.phase == Phase::Prepared && !self.draining
    }

    /// Records that the kernel may have chosen the listener for connections until now.
    pub(super) fn warm(&mut self, now: Time) {
        self.targeted_until = Some(now);
        self.quiescent = false;
    }
}
