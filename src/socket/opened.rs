//! The sockets behind the table's listeners.

use std::net::Shutdown;
use std::sync::Arc;

use socket2::Socket;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::address::Address;
use super::endpoint::Endpoint;
use super::table::{GroupId, UnclaimedPolicy};
use super::unclaimed::ForwarderControl;
use super::unix_path::{Name, UnixPath};

/// How generations share an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each generation has its own listener, and a program in the kernel chooses which of them gets new connections.
    Steered,
    /// All generations have duplicates of one socket, for systems where [`STEERING`](crate::os::STEERING) is false. No
    /// connection is refused, but the old generation may accept one just before it exits.
    Shared,
}

/// A group's address, and the policy for its unclaimed connections.
pub(super) struct Group {
    pub(super) address: Address,
    pub(super) at: At,
    pub(super) policy: watch::Sender<UnclaimedPolicy>,
}

pub(super) enum At {
    Ip(Endpoint),
    Path(UnixPath),
}

/// A listener's open socket.
pub(super) struct Listener {
    pub(super) group: GroupId,
    /// Our descriptor. The program has a duplicate, which shares the file status flags.
    pub(super) socket: Arc<Socket>,
    pub(super) sharing: Sharing,
    /// The inode of the socket itself, not that of its path.
    pub(super) inode: u64,
    pub(super) name: Option<Name>,
    pub(super) forwarder: Option<Arc<ForwarderControl>>,
    /// The task that waits for the program to shut the socket down. It has a duplicate.
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
        // Closing our descriptor is not enough: a drain monitor has a duplicate, a process that has escaped may have
        // one, and a forwarder blocked in `accept` keeps the socket open. The shutdown removes the socket from its
        // group immediately, and wakes the forwarder with EINVAL (`inet_csk_wait_for_connect` in
        // `net/ipv4/inet_connection_sock.c`, `unix_accept`).
        if self.sharing == Sharing::Steered {
            let _ = self.socket.shutdown(Shutdown::Read);
        }
    }
}
