//! What explorations are about, and what may happen in them.

use std::time::Duration;

use crate::reload::GenId;
use crate::socket::Endpoint;
use crate::socket::table::{GroupId, ListenerId, Place};

/// What one exploration is about.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// What `--listen` names.
    pub(super) listed: Vec<Place>,
    /// What programs open, each generation in turn.
    pub(super) opened: Vec<Vec<Endpoint>>,
    pub(super) multipath: bool,
    pub(super) budget: Budget,
}

/// How much may happen on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) generations: u8,
    pub(super) clients: u8,
    /// Switches beyond the first to each generation.
    pub(super) returns: u8,
    /// Ops that fail.
    pub(super) failures: u8,
    /// Listeners that programs shut down or close.
    pub(super) closes: u8,
    pub(super) strangers: u8,
    pub(super) probes: u8,
    pub(super) responses: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    Running,
    /// Its processes are gone, and the table has not heard of it.
    Dead,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Generation {
    pub(super) life: Life,
    pub(super) draining: bool,
    pub(super) served: bool,
    /// How many of its addresses it has opened.
    pub(super) opened: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Move {
    Prepare,
    /// The program opens the next of its addresses.
    Join(GenId),
    Switch(GenId),
    Hold,
    Drain(GenId),
    /// Its processes end.
    Die(GenId),
    Release(GenId),
    Respond,
    StopResponding,
    Divert(GroupId, GenId),
    Restore,
    /// A program shuts its listener down.
    ShutDown(ListenerId),
    /// That is noticed.
    Notice(ListenerId),
    /// A program closes its own socket, and that is noticed.
    Unhold(ListenerId),
    StrangerComes(GroupId),
    StrangerGoes(GroupId),
    /// A client's first packet chooses this member.
    Connect(ListenerId),
    /// What it began can be seen.
    Appear,
    /// Its handshake ends.
    Complete,
    /// A program takes it.
    Accept,
    /// A forwarder takes it; it lands in this member.
    Forward(ListenerId),
    /// hotrun answers it.
    Respond503,
    Look(usize),
    Report(usize),
    /// The shortest time that makes a difference.
    Pass,
    /// Longer than anything is waited for.
    PassLong,
}

/// Longer than anything is waited for.
pub(super) const LONG: Duration = Duration::from_secs(11);
