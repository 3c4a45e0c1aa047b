use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use socket2::Socket;
use tokio::task::AbortHandle;

use super::relay::Relay;
use super::roster::{Key, Owner};
use crate::os;

/// How far a slot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its generation has not been live yet.
    Prepared,
    /// Its generation is or was live.
    Served,
    /// Its generation's tree is gone: to be closed as soon as that is safe.
    Released,
}

/// Who opened a slot's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// hotrun, before the program was started.
    Hotrun,
    /// The program itself.
    Program,
    /// hotrun, to steer those that the program opens. It stays as long as the group.
    Anchor,
}

/// One listening socket of a group.
pub(super) struct Slot {
    pub(super) key: Key,
    pub(super) owner: Owner,
    pub(super) stage: Stage,
    pub(super) origin: Origin,
    /// Ours and, by duplicates, the program's: the flags of the description are shared with it.
    pub(super) socket: Arc<Socket>,
    /// The inode of the socket itself, not of a file by which it is reached.
    pub(super) inode: u64,
    /// Until when it got new connections, unless it never did.
    pub(super) aimed_at: Option<Instant>,
    /// Whether it is certain that no connection is on its way into it.
    pub(super) cold: bool,
    /// Whether its generation is being dismissed: nothing new is for it, live or not.
    pub(super) leaving: bool,
    pub(super) relay: Option<Relay>,
    /// The task that looks whether its program shuts it down. It has a duplicate.
    pub(super) watch: Option<AbortHandle>,
}

impl Slot {
    pub(super) fn new(key: Key, owner: Owner, socket: Socket) -> io::Result<Self> {
        let inode = os::inode(&socket)?;
        let socket = Arc::new(socket);
        Ok(Self {
            key,
            owner,
            stage: Stage::Prepared,
            origin: Origin::Hotrun,
            socket,
            inode,
            aimed_at: None,
            cold: false,
            leaving: false,
            relay: None,
            watch: None,
        })
    }

    /// Ends its relay, if it has one, unless that may be taking a connection at this moment; whether it has none now.
    pub(super) fn end_relay(&mut self) -> bool {
        if self.relay.as_ref().is_none_or(Relay::end_idle) {
            self.relay = None;
        }
        self.relay.is_none()
    }

    /// Whether the kernel takes a steering program by this socket: not by one of multipath TCP
    /// (`mptcp_setsockopt_sol_socket` in `net/mptcp/sockopt.c`).
    pub(super) fn takes_program(&self) -> bool {
        !os::is_multipath(&*self.socket)
    }

    /// A duplicate for the program, closed on exec until the one who starts it says otherwise.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(self.socket.try_clone()?.into())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.end();
        }
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        // Closing our descriptor would not do: an observer has a duplicate, a process that escaped may have one,
        // and a relay that sleeps in `accept` keeps the socket open by that alone. Shut down, it leaves the group
        // now, and that sleeper wakes with EINVAL (`inet_csk_wait_for_connect` in
        // `net/ipv4/inet_connection_sock.c`, `unix_accept`).
        let _ = self.socket.shutdown(std::net::Shutdown::Read);
    }
}
