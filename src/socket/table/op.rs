use std::io;

use super::listener::{GroupId, ListenerId, Place};
use super::steering::Steering;
use crate::os::Queue;

/// What becomes of a connection that no program takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::socket) enum UnclaimedPolicy {
    /// It waits.
    #[default]
    Wait,
    /// It is forwarded to the live generation.
    Forward,
    /// It gets an answer from hotrun if it speaks HTTP, and waits otherwise.
    Respond,
}

/// What the table wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::socket) enum Op {
    /// A new group.
    Add { group: GroupId, place: Place },
    /// Take over the socket that was opened for an address of `--listen`. It listens already.
    Take {
        group: GroupId,
        listener: ListenerId,
    },
    /// Open a socket at the group's address and let it listen. It becomes the last member.
    Open {
        group: GroupId,
        listener: ListenerId,
    },
    /// Let the socket listen that a program has bound. It becomes the last member. Fails if a process that is not ours
    /// shares the address.
    Listen {
        group: GroupId,
        listener: ListenerId,
        backlog: i32,
    },
    /// Replace the steering program of the whole group, through one of its members.
    Attach { via: ListenerId, steering: Steering },
    /// Let the path of a unix socket lead to this listener.
    Place { listener: ListenerId },
    /// The same, if nothing is at the path.
    Restore { listener: ListenerId },
    /// Shut the socket down and close it. It leaves the group at once; the last member takes its index.
    Close { listener: ListenerId },
    /// Let new connections find whatever listens on an address that covers this one's.
    Hide { listener: ListenerId },
    /// Set or clear `O_NONBLOCK`, once no program has the socket.
    SetNonblocking {
        listener: ListenerId,
        nonblocking: bool,
    },
    /// Begin to accept connections and to treat them by the group's policy.
    Forward { listener: ListenerId },
    /// Accept no more. Fails while a connection is being accepted.
    StopForwarding { listener: ListenerId },
    /// Report it when a program shuts the socket down.
    Watch { listener: ListenerId },
    /// What is to become of connections that no program takes.
    SetPolicy {
        group: GroupId,
        policy: UnclaimedPolicy,
    },
    /// Look, in another thread, for sockets of others at the address, and for unfinished handshakes if they matter.
    /// [`Input::Scanned`](super::Input::Scanned) follows.
    Scan { group: GroupId, handshakes: bool },
    /// Forget the group. Its listeners are closed already.
    Remove { group: GroupId },
}

/// What the table acts on: the real sockets, or a model of them in tests.
///
/// An op is performed at once, because what the table does next depends on whether it worked. So between two ops the
/// table and the kernel always agree.
pub(in crate::socket) trait Kernel {
    /// Performs it.
    ///
    /// # Errors
    /// What the system reports. Then nothing has changed.
    fn perform(&mut self, op: Op) -> io::Result<()>;

    /// Whether a listener still listens and how many connections wait in it, if the system tells.
    fn queue(&mut self, listener: ListenerId) -> Option<Queue>;
}
