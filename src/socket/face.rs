use std::io;
use std::path::PathBuf;
use std::time::Duration;

use socket2::Socket;

use super::address::Address;
use super::drain::MonitoredListener;
use super::endpoint::Endpoint;
use super::roster::{Key, Owner};
use super::scan::{Scan, Scanned};
use super::slot::Slot;
use crate::os::Queue;
use crate::reload::GenId;

/// What differs between the groups of TCP and of unix sockets. Nothing of it decides which slot is meant.
pub(super) trait Face: Send {
    /// Where the group listens.
    fn address(&self) -> Address;

    /// One more listening socket. It gets no connection before [`Self::aim`] (or is the only one).
    fn open(&mut self, key: Key, owner: Owner) -> io::Result<Socket>;

    /// Where the group listens, for a TCP address.
    fn endpoint(&self) -> Option<Endpoint>;

    /// A socket that a program has bound to the address listens from now on, with this backlog at least. As for
    /// [`Self::open`].
    fn join(&mut self, key: Key, owner: Owner, socket: &Socket, backlog: i32) -> io::Result<()>;

    /// The slot belongs to another one now.
    fn give(&mut self, key: Key, owner: Owner);

    /// New connections go to the slots of `owner` from now on.
    fn aim(&mut self, slots: &[Slot], owner: Owner) -> io::Result<()>;

    /// Puts right what others may have changed.
    fn tend(&mut self, slots: &[Slot]) -> io::Result<()>;

    /// Whether closing the slot now lets no connection go astray, as far as our own slots are concerned, but into one from
    /// which it is `carried`.
    fn may_leave(&self, slot: &Slot, carried: &[Key]) -> bool;

    /// What is to be looked at before a slot is closed.
    fn look(&self) -> Scan;

    /// Whether what is to be looked at does not forbid to close slots.
    fn may_close(&self, sight: &Scanned) -> bool;

    /// The slot's socket was closed, or listens no more.
    fn closed(&mut self, slots: &[Slot], key: Key) -> io::Result<()>;

    /// What waits in the slot.
    fn queue(&self, slot: &Slot) -> io::Result<Queue>;

    /// How long a relay may sleep before it looks after the group, while the program behind the slot still runs.
    fn tend_every(&self) -> Option<Duration>;

    /// What an observer of the slot looks at.
    fn monitored(&self, slot: &Slot) -> MonitoredListener;

    /// The path that leads to this slot whoever is live, if there is one.
    fn own_path(&self, slot: &Slot) -> Option<PathBuf>;

    /// Connections from this source port go to the slots of `id` until [`Self::restore`].
    fn divert(&mut self, slots: &[Slot], port: u16, id: GenId) -> io::Result<()>;

    /// Nobody shall find the group any more.
    fn close(&mut self);

    /// Ends [`Self::divert`].
    fn restore(&mut self, slots: &[Slot], port: u16) -> io::Result<()>;
}
