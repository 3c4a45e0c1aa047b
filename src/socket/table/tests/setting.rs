//! The settings of explorations, and the possible moves.

use std::net::IpAddr;
use std::time::Duration;

use crate::reload::{GenId, Time};
use crate::socket::Endpoint;
use crate::socket::table::{GroupId, ListenerId};

/// The starting point of one exploration, and its limits.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// The `--listen` addresses.
    pub(super) listed: Vec<Option<Endpoint>>,
    /// The addresses that the programs open, for each generation.
    pub(super) opened: Vec<Vec<Endpoint>>,
    pub(super) multipath: bool,
    /// Whether all generations are instances of the program, so that they serve beside each other.
    pub(super) instances: bool,
    pub(super) budget: Budget,
}

/// Limits how much may happen on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) generations: u8,
    pub(super) clients: u8,
    /// Switches back to a generation that was live before.
    pub(super) returns: u8,
    /// Ops that fail.
    pub(super) failures: u8,
    /// Listeners that programs shut down or close.
    pub(super) closes: u8,
    pub(super) strangers: u8,
    pub(super) probes: u8,
    pub(super) responses: u8,
    /// How often new connections are held although a generation is live.
    pub(super) holds: u8,
    /// How often a share is given to a generation, or changed.
    pub(super) shares: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    Running,
    /// The generation's processes are gone, but the table does not know yet.
    Dead,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Generation {
    pub(super) life: Life,
    pub(super) draining: bool,
    pub(super) served: bool,
    /// How many of its addresses the generation has opened.
    pub(super) opened: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Move {
    Prepare,
    /// The program opens the next of its addresses.
    Join(GenId),
    Switch(GenId),
    /// The generation gets a share of the new connections, or another one.
    Share(GenId),
    StopSharing(GenId),
    Hold,
    Drain(GenId),
    /// The generation's processes exit.
    Die(GenId),
    Release(GenId),
    Respond,
    StopResponding,
    /// New connections are held although a generation is live.
    HoldNew,
    StopHolding,
    Divert(GroupId, GenId),
    StopDiverting,
    /// A program shuts its listener down.
    ShutDown(ListenerId),
    /// The table learns that a listener was shut down.
    Notice(ListenerId),
    /// A program closes a socket that it opened, and the table learns of it.
    Unhold(ListenerId),
    StrangerComes(GroupId),
    StrangerGoes(GroupId),
    /// The kernel chooses this member for the first packet of a client that connects to this address.
    Connect(ListenerId, IpAddr),
    /// The client's connection becomes visible to scans.
    Appear,
    /// The client's handshake completes.
    Complete,
    /// A program accepts the connection.
    Accept,
    /// A forwarder accepts the connection and opens a new one, which lands in this member.
    Forward(ListenerId),
    /// hotrun responds to the connection.
    Respond503,
    Scan(usize),
    Report(usize),
    /// The shortest time that affects a decision passes.
    Pass,
    /// Enough time passes for every timeout to expire.
    PassLong,
}

/// Which of a move's fallible ops fail, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Failing {
    Only(usize),
    /// This op and all later ones, as when no descriptors are left.
    From(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// The kernel has chosen a listener for the connection, but no scan can see it yet.
    Chosen { since: Time },
    /// The handshake has begun.
    HalfOpen { since: Time },
    /// The connection is waiting to be accepted.
    Queued,
}

/// A client that is connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// The address that the client has connected to.
    pub(super) to: IpAddr,
    pub(super) at: ListenerId,
    pub(super) step: Step,
}

/// Longer than any timeout.
pub(super) const LONG: Duration = Duration::from_secs(11);
