//! The table's types: its listeners, its inputs, and the ops that it requests from the kernel.

use std::io;

use crate::os::Queue;
use crate::reload::{GenId, Time};
use crate::socket::Endpoint;
use crate::unclaimed::UnclaimedPolicy;

/// The id of a group, which is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::socket) struct GroupId(pub(in crate::socket) u64);

/// The id of a listener, which is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::socket) struct ListenerId(pub(in crate::socket) u64);

/// The generation whose program accepts connections from a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::socket) enum Owner {
    /// No program: the previous owner has closed the descriptor or opened another socket instead, or the listener is an
    /// [`Anchor`](Origin::Anchor).
    Nobody,
    /// No program: hotrun holds connections here although a generation is live.
    Waiting,
    /// The next generation to be prepared.
    Next,
    /// This generation.
    Generation(GenId),
}

/// The stage that a listener's owner has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) enum ListenerPhase {
    /// The owner has not been live yet.
    Prepared,
    /// The owner is or was live.
    Served,
    /// No program can accept from the listener any longer. It is closed as soon as that is safe.
    Released,
}

/// Who opened a socket, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) enum Origin {
    /// hotrun opened it to pass it to a program.
    Hotrun,
    /// The program opened it.
    Program,
    /// hotrun opened it because the group's other sockets are multipath TCP, and the kernel attaches no steering program
    /// through those. It is kept until the group is removed.
    Anchor,
}

/// One listening socket of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Listener {
    pub(in crate::socket) id: ListenerId,
    pub(in crate::socket) owner: Owner,
    pub(in crate::socket) phase: ListenerPhase,
    pub(in crate::socket) origin: Origin,
    /// Whether this is a multipath TCP socket, through which no steering program can be attached
    /// (`mptcp_setsockopt_sol_socket` in `net/mptcp/sockopt.c`).
    pub(in crate::socket) multipath: bool,
    /// Whether the listener should get no more new connections, because its owner is draining or gone, or because no
    /// program owns it. Connections that still land in it are forwarded.
    pub(in crate::socket) retired: bool,
    /// The last time at which the kernel may have chosen the listener for a new connection. `None` if it never has. Not
    /// updated while the listener's owner is in the pool.
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
            phase: ListenerPhase::Prepared,
            origin,
            multipath: false,
            retired: false,
            targeted_until: None,
            quiescent: false,
            forwards: false,
            watched: false,
        }
    }

    pub(super) fn is_released(&self) -> bool {
        self.phase == ListenerPhase::Released
    }

    /// Records that the kernel may have chosen the listener for new connections until now.
    pub(super) fn warm(&mut self, now: Time) {
        self.targeted_until = Some(now);
        self.quiescent = false;
    }

    /// Whether the owner may still go live.
    pub(super) fn may_become_live(&self) -> bool {
        self.phase == ListenerPhase::Prepared && !self.retired
    }
}

/// An event or request that the table handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::socket) enum TableInput {
    /// Add the group of a `--listen` address: an IP address, or `None` for a unix socket.
    Add(Option<Endpoint>),
    /// A generation is about to start and needs its listeners.
    Prepare(GenId),
    /// A program has bound a socket to this address and wants to listen on it.
    Join(Endpoint, Joining),
    /// No process holds these sockets any longer.
    Orphan(Vec<ListenerId>),
    /// Switch new connections to this generation, and to those `beside` it that are live already: other instances of the
    /// program.
    Switch { id: GenId, beside: Vec<GenId> },
    /// Send this percentage of new connections to a generation beside the live one. Zero: none any longer.
    Share { id: GenId, percent: u8 },
    /// No generation is live: hold connections.
    Hold,
    /// Whether to hold new connections although a generation is live.
    HoldNew(bool),
    /// No generation is live or about to start, or new connections are held: respond to connections.
    Respond,
    /// Stop responding, and hold connections again.
    StopResponding,
    /// Whether a generation is being built or started.
    Reloading(bool),
    /// A generation is about to be asked to stop.
    Drain(GenId),
    /// All processes of a generation are gone.
    Release(GenId),
    /// Divert connections from this source port to this generation. `None` ends the diversion.
    Divert {
        group: GroupId,
        port: u16,
        to: Option<GenId>,
    },
    /// A program has shut a listener down.
    ShutDown(ListenerId),
    /// A scan requested by [`Op::Scan`] has finished.
    Scanned { group: GroupId, sight: Sight },
    /// [`Table::deadline`](super::Table::deadline) has passed.
    Tick,
    /// hotrun is exiting.
    Close,
}

/// A socket that a program has bound and wants to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::socket) struct Joining {
    pub(in crate::socket) id: GenId,
    pub(in crate::socket) multipath: bool,
    pub(in crate::socket) backlog: i32,
    /// Whether the next generation need not open the address, because the program has been running for longer than it
    /// may take to become ready.
    pub(in crate::socket) late: bool,
}

/// Something that happened to an address that a program opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressEvent {
    /// The new live generation does not listen there, although clients expect it to. Unless it starts listening soon,
    /// connections will be refused.
    GivenUp,
    /// The live generation has closed the address, and connections are refused from now on.
    Closed,
    /// The live generation closed the address while another one was being built or started, or just before.
    ClosedDuringReload,
}

/// The result of scanning the sockets of the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Sight {
    /// When the scan started.
    pub(in crate::socket) since: Time,
    /// Whether another process's socket listens on exactly the same address. Such a socket is a member of the group and
    /// has an index.
    pub(in crate::socket) stranger: bool,
    /// Whether a handshake with the address was unfinished, or the scan did not include handshakes.
    pub(in crate::socket) half_open: bool,
}

/// The indices of the members to which a group sends its connections. An index is a position in the kernel's array of
/// members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Steering {
    /// The percentages of new connections, which add up to 100, and for each the members of which one gets such a
    /// connection. Neither the pool nor any of its lists is empty.
    pub(in crate::socket) pool: Vec<(u8, Vec<u32>)>,
    /// A connection from one of these source ports is sent to one of the port's own targets instead. Each list has at
    /// least one target.
    pub(in crate::socket) diverted: Vec<(u16, Vec<u32>)>,
}

/// An operation that the table requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::socket) enum Op {
    /// Add a group for an IP address or, if there is none, for the unix socket path that comes with the input.
    AddGroup {
        group: GroupId,
        endpoint: Option<Endpoint>,
    },
    /// Open a listening socket on the group's address, or take over the one that comes with the input. It becomes the
    /// last member.
    Open {
        group: GroupId,
        listener: ListenerId,
    },
    /// Start listening on the program's socket that comes with the input. It becomes the last member. Fails if another
    /// process shares the address.
    Join {
        group: GroupId,
        listener: ListenerId,
        backlog: i32,
    },
    /// Replace the whole group's steering program, through one of its members.
    Attach { via: ListenerId, steering: Steering },
    /// Make the path of a unix socket lead to this listener.
    LinkPath { listener: ListenerId },
    /// Like `LinkPath`, but only if the path does not exist.
    RestorePath { listener: ListenerId },
    /// Hide the socket if it listens, shut it down and close it. It leaves the group immediately, and the last member
    /// takes its index.
    Close { listener: ListenerId },
    /// Hide the listener, so that new connections reach the listeners on an address that covers this one instead.
    Hide { listener: ListenerId },
    /// Set `O_NONBLOCK`, which is allowed once no program holds the socket.
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
    /// Scan, on another thread, for other processes' sockets on the address and, if `handshakes` is set, for unfinished
    /// handshakes. [`TableInput::Scanned`] follows.
    Scan { group: GroupId, handshakes: bool },
    /// Report what happened to a group's address.
    Report { group: GroupId, event: AddressEvent },
    /// Forget the group. Its listeners have already been closed.
    RemoveGroup { group: GroupId },
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

/// The share of new connections that goes to a generation beside the live one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Share {
    pub(super) id: GenId,
    /// From 1 to 99.
    pub(super) percent: u8,
}

/// The state that all groups share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Common {
    /// The live generations, one for each instance of the program. The last one to go live comes first.
    pub(super) live: Vec<GenId>,
    /// The share of new connections that goes to another generation than the live one, until the next switch.
    pub(super) share: Option<Share>,
    /// Whether hotrun responds in place of a program.
    pub(super) responds: bool,
    /// Whether to hold new connections although a generation is live.
    pub(super) holds_new: bool,
    /// Whether a generation is being built or started.
    pub(super) reloading: bool,
    /// The number of the next listener or group.
    pub(super) next: u64,
}

impl Common {
    /// Whether a generation is live.
    pub(super) fn is_served(&self) -> bool {
        !self.live.is_empty()
    }

    pub(super) fn is_live(&self, id: GenId) -> bool {
        self.live.contains(&id)
    }

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
pub(super) fn does_not_listen(id: GenId) -> io::Error {
    let message = format!("generation {id} is not listening");
    io::Error::new(io::ErrorKind::NotFound, message)
}
