//! What is open: the sockets behind the listeners of the table.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use socket2::Socket;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::address::Address;
use super::bind::stream;
use super::endpoint::Endpoint;
use super::forwarder::Forwarder;
use super::table::GroupId;
use super::unclaimed::Unclaimed;
use super::unix_path::{Name, UnixPath};

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
    /// The inode of the socket itself, not of a file by which it is reached.
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
        let _ = self.socket.shutdown(Shutdown::Read);
    }
}

/// A TCP socket that shares the address and does not listen yet.
pub(super) fn sharing(endpoint: Endpoint) -> io::Result<Socket> {
    let socket = stream(endpoint.address)?;
    if endpoint.address.is_ipv6() {
        socket.set_only_v6(endpoint.only_v6)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&endpoint.address.into())?;
    Ok(socket)
}
