//! The language of the table: inputs, ops, and the kernel that performs them.

use std::io;

use super::listener::{GroupId, ListenerId, Place};
use super::reuseport::Steering;
use crate::os::Queue;
use crate::reload::{GenId, Time};
use crate::socket::Endpoint;

/// An event or a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::socket) enum Input {
    /// `--listen` names this address. Its first listener is open.
    Listen(Place),
    /// A generation is about to start and needs its listeners.
    Prepare(GenId),
    /// A program has bound a socket to this address and wants to listen.
    Join(Endpoint, Joining),
    /// No process has these sockets any more.
    Orphan(Vec<ListenerId>),
    /// New connections are for this generation.
    Switch(GenId),
    /// No generation is live. Connections wait.
    Hold,
    /// No generation is live or on its way: hotrun responds.
    Respond,
    /// Connections wait again.
    StopResponding,
    /// A generation is about to be asked to stop.
    Drain(GenId),
    /// All processes of a generation are gone.
    Release(GenId),
    /// Connections from this source port are for this generation.
    Divert {
        group: GroupId,
        port: u16,
        id: GenId,
    },
    /// Connections from this source port are like all others.
    Restore { group: GroupId, port: u16 },
    /// A program has shut a listener down.
    ShutDown(ListenerId),
    /// [`Op::Scan`] has ended.
    Scanned { group: GroupId, sight: Sight },
    /// [`Table::deadline`](super::Table::deadline) is past.
    Tick,
    /// hotrun ends.
    Close,
}

impl Input {
    /// Whether the result includes that of [`Table::tidy`](super::Table::tidy), which starts forwarders.
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

/// The result of a look at the sockets of the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Sight {
    /// The start of the look.
    pub(in crate::socket) since: Time,
    /// Whether a socket that is not ours listens at the very same address. It is a member of the group and has an index.
    pub(in crate::socket) stranger: bool,
    /// Whether a handshake with the address had begun and not ended, or that was not looked at.
    pub(in crate::socket) half_open: bool,
}

/// The treatment of a connection that no program takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::socket) enum UnclaimedPolicy {
    /// It waits.
    #[default]
    Wait,
    /// It is forwarded to the live generation.
    Forward,
    /// It gets a response from hotrun if it speaks HTTP, and waits otherwise.
    Respond,
}

/// An operation that the table requests.
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
    /// Let new connections find the listeners on an address that covers this one's.
    Hide { listener: ListenerId },
    /// Set `O_NONBLOCK`, once no program has the socket.
    SetNonblocking { listener: ListenerId },
    /// Begin to accept connections and to treat them by the group's policy.
    Forward { listener: ListenerId },
    /// Accept no more. Fails while a connection is being accepted.
    StopForwarding { listener: ListenerId },
    /// Report it when a program shuts the socket down.
    Watch { listener: ListenerId },
    /// Set the treatment of connections that no program takes.
    SetPolicy {
        group: GroupId,
        policy: UnclaimedPolicy,
    },
    /// Look, in another thread, for sockets of others at the address, and for unfinished handshakes if they matter.
    /// [`Input::Scanned`] follows.
    Scan { group: GroupId, handshakes: bool },
    /// Forget the group. Its listeners are closed already.
    Remove { group: GroupId },
}

/// The real sockets, or a model of them in tests.
///
/// An op is performed at once, because what the table does next depends on whether it worked. So between two ops the
/// table and the kernel always agree.
pub(in crate::socket) trait Kernel {
    /// Performs it. After an error nothing has changed.
    fn perform(&mut self, op: Op) -> io::Result<()>;

    /// Whether a listener still listens and how many connections wait in it, if the system reports it.
    fn queue(&mut self, listener: ListenerId) -> Option<Queue>;
}

/// The state that all groups share.
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

/// The surroundings of an operation on a group.
pub(super) struct Env<'a> {
    pub(super) now: Time,
    pub(super) common: Common,
    pub(super) kernel: &'a mut dyn Kernel,
}

/// The generation has no listener here: it was not prepared, is draining, or shut the socket down.
pub(in crate::socket) fn does_not_listen(id: GenId) -> io::Error {
    let message = format!("generation {id} does not listen");
    io::Error::new(io::ErrorKind::NotFound, message)
}
