//! The sockets behind the listeners of the table.

use std::net::Shutdown;
use std::sync::Arc;

use socket2::Socket;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::address::Address;
use super::endpoint::Endpoint;
use super::forward::Unclaimed;
use super::forwarder::Forwarder;
use super::table::GroupId;
use super::unix_path::{Name, UnixPath};

/// How generations share an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each has a listener of its own, and a program in the kernel chooses which of them gets new connections.
    Steered,
    /// Each has a duplicate of one socket, for systems where [`STEERING`](crate::os::STEERING) is false. No connection is
    /// refused; the old generation may accept one just before it ends.
    Shared,
}

/// A group's address.
pub(super) struct Group {
    pub(super) address: Address,
    pub(super) at: At,
    pub(super) unclaimed: watch::Sender<Unclaimed>,
}

pub(super) enum At {
    Ip(Endpoint),
    Path(UnixPath),
}

/// An open socket.
pub(super) struct Listener {
    pub(super) group: GroupId,
    /// Ours and, by duplicates, the program's: the flags of the description are shared with it.
    pub(super) socket: Arc<Socket>,
    pub(super) sharing: Sharing,
    /// The inode of the socket itself, not of a file that leads to it.
    pub(super) inode: u64,
    pub(super) name: Option<Name>,
    pub(super) forwarder: Option<Forwarder>,
    /// The task that watches for the program to shut it down. It has a duplicate.
    pub(super) watch: Option<AbortHandle>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(forwarder) = self.forwarder.take() {
            forwarder.end();
        }
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        // To close our descriptor is not enough: a drain monitor has a duplicate, a process that escaped may have one,
        // and a forwarder that sleeps in `accept` keeps the socket open. Shut down, it leaves the group now, and that
        // sleeper wakes with EINVAL (`inet_csk_wait_for_connect` in `net/ipv4/inet_connection_sock.c`, `unix_accept`).
        if self.sharing == Sharing::Steered {
            let _ = self.socket.shutdown(Shutdown::Read);
        }
    }
}
