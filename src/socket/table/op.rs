//! The table's interface: inputs, ops, and the kernel that performs the ops.

use std::io;

use super::listener::{GroupId, ListenerId, Place};
use super::reuseport::Steering;
use crate::os::Queue;
use crate::reload::{GenId, Time};
use crate::socket::Endpoint;

/// An event or request that the table handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::socket) enum Input {
    /// A `--listen` address has been opened, with its first listener.
    Listen(Place),
    /// A generation is about to start and needs its listeners.
    Prepare(GenId),
    /// A program has bound a socket to this address and wants to listen.
    Join(Endpoint, Joining),
    /// No process holds these sockets any longer.
    Orphan(Vec<ListenerId>),
    /// Switch new connections to this generation.
    Switch(GenId),
    /// No generation is live: hold connections.
    Hold,
    /// No generation is live or about to start: respond to connections.
    Respond,
    /// Stop responding, and hold connections again.
    StopResponding,
    /// A generation is about to be asked to stop.
    Drain(GenId),
    /// All processes of a generation are gone.
    Release(GenId),
    /// Divert connections from this source port to this generation.
    Divert {
        group: GroupId,
        port: u16,
        id: GenId,
    },
    /// Stop diverting connections from this source port.
    Restore { group: GroupId, port: u16 },
    /// A program has shut a listener down.
    ShutDown(ListenerId),
    /// A scan requested by [`Op::Scan`] has finished.
    Scanned { group: GroupId, sight: Sight },
    /// [`Table::deadline`](super::Table::deadline) has passed.
    Tick,
    /// hotrun is exiting.
    Close,
}

impl Input {
    /// Whether the result must include that of [`Table::tidy`](super::Table::tidy), which starts forwarders.
    pub(in crate::socket) fn starts_forwarders(&self) -> bool {
        matches!(
            self,
            Self::Hold | Self::Respond | Self::Drain(_) | Self::Release(_)
        )
    }
}

/// A socket that a program has bound and wants to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::socket) struct Joining {
    pub(in crate::socket) id: GenId,
    pub(in crate::socket) multipath: bool,
    pub(in crate::socket) backlog: i32,
}

/// The result of scanning the sockets of the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Sight {
    /// When the scan started.
    pub(in crate::socket) since: Time,
    /// Whether a socket that is not ours listens on exactly the same address. Such a socket is a member of the group
    /// and has an index.
    pub(in crate::socket) stranger: bool,
    /// Whether a handshake with the address was unfinished, or the scan did not include handshakes.
    pub(in crate::socket) half_open: bool,
}

/// How to handle a connection that no program accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::socket) enum UnclaimedPolicy {
    /// Let it wait.
    #[default]
    Wait,
    /// Forward it to the live generation.
    Forward,
    /// Respond to it if it speaks HTTP, and let it wait otherwise.
    Respond,
}

/// An operation that the table requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::socket) enum Op {
    /// Add a new group.
    Add { group: GroupId, place: Place },
    /// Take over the socket that was opened for a `--listen` address. It is already listening.
    Take {
        group: GroupId,
        listener: ListenerId,
    },
    /// Open a listening socket on the group's address. It becomes the last member.
    Open {
        group: GroupId,
        listener: ListenerId,
    },
    /// Start listening on the socket that a program has bound. It becomes the last member. Fails if a stranger shares
    /// the address.
    Listen {
        group: GroupId,
        listener: ListenerId,
        backlog: i32,
    },
    /// Replace the whole group's steering program, through one of its members.
    Attach { via: ListenerId, steering: Steering },
    /// Make the path of a unix socket lead to this listener.
    Place { listener: ListenerId },
    /// Make the path lead to this listener if the path does not exist.
    Restore { listener: ListenerId },
    /// Shut the socket down and close it. It leaves the group immediately, and the last member takes its index.
    Close { listener: ListenerId },
    /// Hide the listener from new connections, so that they find the listeners on an address that covers this one.
    Hide { listener: ListenerId },
    /// Set `O_NONBLOCK`, which is allowed once no program has the socket.
    SetNonblocking { listener: ListenerId },
    /// Start accepting connections and handling them by the group's policy.
    Forward { listener: ListenerId },
    /// Stop accepting connections. Fails while a connection is being accepted.
    StopForwarding { listener: ListenerId },
    /// Report when a program shuts the socket down.
    Watch { listener: ListenerId },
    /// Set how to handle connections that no program accepts.
    SetPolicy {
        group: GroupId,
        policy: UnclaimedPolicy,
    },
    /// Scan, on another thread, for strangers' sockets on the address and, if `handshakes` is set, for unfinished
    /// handshakes. [`Input::Scanned`] follows.
    Scan { group: GroupId, handshakes: bool },
    /// Forget the group. Its listeners have already been closed.
    Remove { group: GroupId },
}

/// The real sockets, or a model of them in tests.
///
/// An op is performed immediately, because the table's next step depends on whether it succeeded. So between two ops
/// the table and the kernel always agree.
pub(in crate::socket) trait Kernel {
    /// Performs an op. After an error, nothing has changed.
    fn perform(&mut self, op: Op) -> io::Result<()>;

    /// Returns whether the listener is still listening and how many connections are waiting in it, if the system
    /// reports this.
    fn queue(&mut self, listener: ListenerId) -> Option<Queue>;
}

/// The state that all groups share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Common {
    pub(super) live: Option<GenId>,
    /// Whether hotrun responds in place of a program while no generation is live.
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

/// The context of an operation on a group.
pub(super) struct Env<'a> {
    pub(super) now: Time,
    pub(super) common: Common,
    pub(super) kernel: &'a mut dyn Kernel,
}

/// Returns the error for a generation that has no listener here: it was not prepared, is draining, or has shut the
/// socket down.
pub(in crate::socket) fn does_not_listen(id: GenId) -> io::Error {
    let message = format!("generation {id} does not listen");
    io::Error::new(io::ErrorKind::NotFound, message)
}
